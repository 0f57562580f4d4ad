//! The hub's own folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crosspoint_protocol::limits::CLIENT_ID_BYTES_MAX_V3_1;
use ring::rand::{SecureRandom, SystemRandom};

use crate::replacing;

/// The folder beside a project file that is the hub's own unless it is told another.
const BESIDE: &str = "crosspoint-data";

/// The file that holds the hub's identity.
const IDENTITY: &str = "hub-id";

/// The file that holds the secret of which salts are made.
const SALT_SECRET: &str = "scram.salts";

/// How long it is.
const SALT_SECRET_BYTES: usize = 32;

/// The folder in which a hub keeps what it must not forget.
#[derive(Debug, Clone)]
pub struct DataDir {
    path: PathBuf,
    hub_id: String,
}

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the data folder {} cannot be used: {source}", path.display())]
pub struct DataDirError {
    path: PathBuf,
    source: io::Error,
}

impl DataDir {
    /// Opens the folder, and makes it if it is not there: for its owner only, and not to be committed.
    ///
    /// # Errors
    /// It can be neither read nor made.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, DataDirError> {
        let path = path.into();
        match prepare(&path) {
            Ok(hub_id) => Ok(Self { path, hub_id }),
            Err(source) => Err(DataDirError { path, source }),
        }
    }

    /// Returns where the folder of a project's hub is when nothing else is said.
    pub fn beside(project: &Path) -> PathBuf {
        project.with_file_name(BESIDE)
    }

    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns where the store is.
    pub fn store_path(&self) -> PathBuf {
        self.path.join("store")
    }

    /// Returns the secret of which the embedded broker makes salts for SCRAM: made once and kept, for its owner only.
    ///
    /// # Errors
    /// It can be neither read nor made.
    pub fn salt_secret(&self) -> Result<[u8; SALT_SECRET_BYTES], DataDirError> {
        let path = self.path.join(SALT_SECRET);
        let failed = |source| DataDirError { path: self.path.clone(), source };
        match fs::read(&path) {
            Ok(kept) => kept.try_into().map_err(|_| {
                let what = format!("{SALT_SECRET} is damaged: remove it, a new one is made");
                failed(io::Error::new(io::ErrorKind::InvalidData, what))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut made = [0; SALT_SECRET_BYTES];
                let filled = SystemRandom::new().fill(&mut made);
                filled.map_err(|_| failed(io::Error::other("the system gives no randomness")))?;
                replacing::replace(&path, &made, Some(0o600)).map_err(failed)?;
                Ok(made)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Returns the client identifier that a connector has when none is written: made once and kept.
    ///
    /// It is short enough for every MQTT 3.1 server, so that stepping down to 3.1 needs no other one; of a long name only
    /// the beginning is in it, and what tells such names apart.
    pub fn client_id(&self, connector: &str) -> String {
        let whole = format!("{connector}-{}", self.hub_id);
        if whole.len() <= CLIENT_ID_BYTES_MAX_V3_1 {
            return whole;
        }
        let beginning: String = connector.chars().take(NAME_CHARACTERS).collect();
        format!("{beginning}-{:016x}", fnv1a(whole.as_bytes()))
    }
}

/// How much of a long name is in a client identifier: with `-` and 16 digits it is as long as it may be.
const NAME_CHARACTERS: usize = CLIENT_ID_BYTES_MAX_V3_1 - 17;

/// The hash FNV-1a, which is the same in every version of this program.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn prepare(path: &Path) -> io::Result<String> {
    if !path.is_dir() {
        fs::create_dir_all(path)?;
        keep_private(path, 0o700)?;
    }
    let ignore = path.join(".gitignore");
    if !ignore.exists() {
        fs::write(&ignore, "*\n")?;
    }
    let identity = path.join(IDENTITY);
    match fs::read_to_string(&identity) {
        Ok(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
        Ok(_) => make_identity(&identity),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make_identity(&identity),
        Err(error) => Err(error),
    }
}

/// Makes an identity and writes it as a whole or not at all.
fn make_identity(path: &Path) -> io::Result<String> {
    let hub_id = format!("{:08x}", fastrand::u32(..));
    let draft = path.with_extension("new");
    fs::write(&draft, format!("{hub_id}\n"))?;
    keep_private(&draft, 0o600)?;
    fs::File::open(&draft)?.sync_all()?;
    fs::rename(&draft, path)?;
    Ok(hub_id)
}

#[cfg(unix)]
fn keep_private(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn keep_private(_: &Path, _: u32) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let first = DataDir::open(&path).unwrap().client_id("plant");
        assert_eq!(DataDir::open(&path).unwrap().client_id("plant"), first);
        assert_eq!(fs::read_to_string(path.join(".gitignore")).unwrap(), "*\n");
    }

    #[test]
    fn a_made_up_client_id_fits_every_version_and_is_one_for_each_connector() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path().join("data")).unwrap();
        assert!(data.client_id("plant").starts_with("plant-"));
        let (a, b) = (
            data.client_id("a-connector-with-a-long-name-1"),
            data.client_id("a-connector-with-a-long-name-2"),
        );
        assert!(a.starts_with("a-conn-") && b.starts_with("a-conn-") && a != b, "{a} {b}");
        assert_eq!((a.len(), b.len()), (23, 23));
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
    }

    #[test]
    fn the_secret_of_the_salts_is_made_once_and_kept_and_a_damaged_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path().join("data")).unwrap();
        let first = data.salt_secret().unwrap();
        assert_eq!(DataDir::open(data.path()).unwrap().salt_secret().unwrap(), first);
        let other = DataDir::open(folder.path().join("other")).unwrap();
        assert_ne!(other.salt_secret().unwrap(), first);
        fs::write(data.path().join(SALT_SECRET), "short").unwrap();
        let error = data.salt_secret().unwrap_err().to_string();
        assert!(error.contains("scram.salts is damaged"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn the_folder_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        DataDir::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = DataDir::open(file.join("data")).unwrap_err().to_string();
        assert!(error.starts_with("the data folder ") && error.contains("file/data"), "{error}");
    }
}
