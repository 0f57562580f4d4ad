//! Files that are replaced as a whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Writes a file beside `path`, syncs it, and gives it that name.
///
/// A crash leaves the old file or the new one. `mode` is that of the new file on Unix; without one it gets that of the
/// old file. A symbolic link stays one: what it leads to is replaced.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: Option<u32>) -> io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let draft = draft_of(&path);
    let written = write_draft(&draft, bytes, mode, &path).and_then(|()| fs::rename(&draft, &path));
    if written.is_err() {
        // What failed is told; that the draft stays behind is the lesser harm.
        fs::remove_file(&draft).unwrap_or_default();
        return written;
    }
    sync_folder_of(&path)
}

/// Makes a file that is not there yet, for its owner only.
pub(crate) fn create_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = private(&mut options).write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    sync_folder_of(path)
}

fn draft_of(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{:08x}.new", fastrand::u32(..)));
    path.with_file_name(name)
}

fn write_draft(draft: &Path, bytes: &[u8], mode: Option<u32>, like: &Path) -> io::Result<()> {
    // Private from its first moment: what comes later may only widen that.
    let mut options = OpenOptions::new();
    let mut file = private(&mut options).write(true).create_new(true).open(draft)?;
    file.write_all(bytes)?;
    match (mode, fs::metadata(like)) {
        (Some(mode), _) => set_mode(&file, mode)?,
        (None, Ok(old)) => file.set_permissions(old.permissions())?,
        (None, Err(_)) => set_mode(&file, 0o644)?,
    }
    file.sync_all()
}

#[cfg(unix)]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(0o600)
}

#[cfg(not(unix))]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

#[cfg(unix)]
fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(_: &File, _: u32) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder_of(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_replaced_file_keeps_its_mode_and_its_link_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        replace(&link, b"new", None).unwrap();
        assert_eq!((fs::read_to_string(&file).unwrap().as_str(), mode(&file)), ("new", 0o640));
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_is_made_is_private_and_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        create_private(&file, b"new").unwrap();
        assert_eq!(mode(&file), 0o600);
        assert_eq!(create_private(&file, b"x").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        replace(&file, b"newer", Some(0o600)).unwrap();
        assert_eq!(mode(&file), 0o600);
    }

    #[test]
    fn a_failed_replacement_leaves_the_old_file_and_no_draft() {
        let folder = tempfile::tempdir().unwrap();
        // A folder cannot be replaced by a file.
        let path = folder.path().join("folder");
        fs::create_dir(&path).unwrap();
        assert!(replace(&path, b"new", None).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
