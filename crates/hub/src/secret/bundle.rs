//! A project with all that it needs, encrypted, to be moved to another machine.
//!
//! A bundle is a tar archive in an age file, after `docs/formats/bundle.md`: other tools open it, too. It holds the project
//! file, the files that it names and the sealing key. What waits in outboxes and sessions is not in it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::iter;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use age::secrecy::SecretString;
use age::{Decryptor, Encryptor, Identity, IdentityFile, Recipient, scrypt, x25519};
use zeroize::Zeroizing;

use super::fields::{Field, FieldKind, fields};
use super::key_file::text_of;
use super::{KEY_FILE, KeyError, KeyOrigin, KeySource, ProjectId};
use crate::config::Secret;
use crate::config::edit::{EditError, ProjectEdit};
use crate::config::settings::ID;
use crate::data_dir::DataDir;
use crate::replacing::create_private;

/// The largest file that goes in besides the project file, as the hub reads none that is larger.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// How much a bundle may hold.
const BUNDLE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Keys of a `tls` table that name files unless they hold PEM.
const TLS_FILES: &[&str] = &["ca", "certificate", "key", "pkcs12"];

/// Who may open a bundle.
pub enum Lock {
    /// Whoever knows it.
    Passphrase(Secret),
    /// Whoever has the identity of one of these age recipients, `age1...`.
    Recipients(Vec<String>),
}

/// What opens a bundle.
pub enum Unlock {
    /// The passphrase that locked it.
    Passphrase(Secret),
    /// A file with age identities, `AGE-SECRET-KEY-1...`.
    Identities(PathBuf),
}

/// An encrypted project, and what is in it.
pub struct Bundle {
    /// The age file.
    pub bytes: Vec<u8>,
    /// The files in it.
    pub files: Vec<String>,
    /// What the project needs and is not in it, each with its reason.
    pub left_out: Vec<String>,
}

/// A project that has come out of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The files that were written, in the order of the bundle: the project file first.
    pub files: Vec<PathBuf>,
}

/// Why a bundle is not made or not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The project file cannot be read.
    #[error(transparent)]
    Project(#[from] EditError),
    /// The project has sealed values and there is no key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A recipient is none.
    #[error("\"{0}\" is no age recipient")]
    Recipient(String),
    /// The file of identities cannot be used.
    #[error("{} holds no age identity: {cause}", path.display())]
    Identities {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// The project needs too much.
    #[error("the project and its files have more than 64 MiB")]
    TooLarge,
    /// It is no age file.
    #[error("this is no bundle: it is not an age file")]
    NoBundle,
    /// The passphrase or the identity is another.
    #[error("the bundle does not open with this passphrase or identity, or it is damaged")]
    Closed,
    /// It opens, and does not hold a project.
    #[error("the bundle holds {0}, which no export of crosspoint does; nothing was written")]
    Foreign(String),
    /// A file is in the way.
    #[error("{} is there already; nothing was written", .0.display())]
    InTheWay(PathBuf),
    /// Something cannot be written.
    #[error("{} cannot be written: {cause}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: String,
    },
    /// The encryption fails.
    #[error("the bundle cannot be encrypted: {0}")]
    Encryption(String),
}

impl BundleError {
    /// Returns what to do about it.
    pub const fn mend(&self) -> &'static str {
        match self {
            Self::Project(error) => error.mend(),
            Self::Key(error) => error.mend(),
            Self::Recipient(_) => "name what age-keygen prints as the public key: age1...",
            Self::Identities { .. } => "name the file that age-keygen wrote",
            Self::TooLarge => "name smaller files in the project",
            Self::NoBundle => "name a file that crosspoint export --to has written",
            Self::Closed => "give the passphrase or the identity that it was made for",
            Self::Foreign(_) => "look into it with age and tar before you trust it",
            Self::InTheWay(_) => "name an empty folder with --into",
            Self::Unwritable { .. } => "name a folder that this user may write to",
            Self::Encryption(_) => "see whether the machine has memory left",
        }
    }
}

/// Encrypts a project with the files that it names and its sealing key.
///
/// # Errors
/// The project or its key cannot be read, or a recipient is none.
pub fn bundle(project: &Path, source: &KeySource, lock: &Lock) -> Result<Bundle, BundleError> {
    let edit = ProjectEdit::open(project)?;
    let mut gathered = Gathered::of(&edit, project);
    gathered.key(&edit, source)?;
    let Gathered { first, others, left_out } = gathered;
    let files: Vec<(String, Content)> = first.into_iter().chain(others).collect();
    let mut archive = tar::Builder::new(Vec::new());
    let unpackable = |error: io::Error| BundleError::Encryption(error.to_string());
    for (name, content) in &files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        archive.append_data(&mut header, name, content.as_slice()).map_err(unpackable)?;
    }
    let plain = Zeroizing::new(archive.into_inner().map_err(unpackable)?);
    if plain.len() as u64 > BUNDLE_BYTES_MAX {
        return Err(BundleError::TooLarge);
    }
    let names = files.into_iter().map(|(name, _)| name).collect();
    Ok(Bundle { bytes: encrypted(&plain, lock)?, files: names, left_out })
}

/// Writes what a bundle holds into a folder, which is made if it is not there; no file is written over.
///
/// # Errors
/// The bundle does not open, holds something else, or a file cannot be written.
pub fn open(bundle: &[u8], unlock: &Unlock, into: &Path) -> Result<Opened, BundleError> {
    let plain = decrypted(bundle, unlock)?;
    // All is looked at before anything is written.
    let files = unpacked(&plain)?;
    let paths: Vec<PathBuf> = files.iter().map(|(name, _)| into.join(name)).collect();
    if let Some(path) = paths.iter().find(|path| path.symlink_metadata().is_ok()) {
        return Err(BundleError::InTheWay(path.clone()));
    }
    for ((_, content), path) in files.iter().zip(&paths) {
        let unwritable = |cause: String| BundleError::Unwritable { path: path.clone(), cause };
        let folder = path.parent().unwrap_or(into);
        if path.ends_with(own_key()) {
            DataDir::open(folder).map_err(|error| unwritable(error.to_string()))?;
        } else {
            fs::create_dir_all(folder).map_err(|error| unwritable(error.to_string()))?;
        }
        create_private(path, content).map_err(|error| unwritable(error.to_string()))?;
    }
    Ok(Opened { files: paths })
}

type Content = Zeroizing<Vec<u8>>;

/// What goes into a bundle.
struct Gathered {
    first: Option<(String, Content)>,
    others: BTreeMap<String, Content>,
    left_out: Vec<String>,
}

impl Gathered {
    fn of(edit: &ProjectEdit, project: &Path) -> Self {
        let name = project.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let content = Zeroizing::new(edit.text().into_bytes());
        let mut gathered =
            Self { first: Some((name, content)), others: BTreeMap::new(), left_out: Vec::new() };
        let folder = project.parent().unwrap_or(Path::new(""));
        edit.each_text(|keys, text| match reference(keys, text) {
            Some(Reference::File(path)) => gathered.file(folder, path),
            Some(Reference::Variable(name)) => {
                gathered.leave_out(format!("the variable {name}: set it on the other machine"));
            }
            None => {}
        });
        gathered
    }

    fn file(&mut self, folder: &Path, path: &str) {
        let Some(name) = inside(path) else {
            return self.leave_out(format!("{path}: it is outside the folder of the project"));
        };
        if self.others.contains_key(&name) {
            return;
        }
        let mut content = Zeroizing::new(Vec::new());
        let read = fs::File::open(folder.join(&name))
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content));
        match read {
            Ok(_) if content.len() as u64 > FILE_BYTES_MAX => {
                self.leave_out(format!("{path}: it is larger than 1 MiB"));
            }
            Ok(_) => {
                self.others.insert(name, content);
            }
            Err(error) => self.leave_out(format!("{path}: {error}")),
        }
    }

    fn key(&mut self, edit: &ProjectEdit, source: &KeySource) -> Result<(), BundleError> {
        if !fields(edit).iter().any(|field| field.kind == FieldKind::Sealed) {
            return Ok(());
        }
        if let KeyOrigin::Passphrase(_) = source.origin() {
            self.leave_out("the passphrase of the sealed secrets: give it to the hub there, too".to_owned());
            return Ok(());
        }
        let keys = source.keys(edit.text_at(&[ID.key]).and_then(ProjectId::parse))?;
        let name = own_key().to_string_lossy().into_owned();
        self.others.insert(name, Zeroizing::new(text_of(&keys).as_bytes().to_vec()));
        Ok(())
    }

    fn leave_out(&mut self, what: String) {
        if !self.left_out.contains(&what) {
            self.left_out.push(what);
        }
    }
}

enum Reference<'a> {
    File(&'a str),
    Variable(&'a str),
}

/// Tells what a text of the project refers to.
fn reference<'a>(keys: &[String], text: &'a str) -> Option<Reference<'a>> {
    let (last, parents) = keys.split_last()?;
    let is_tls = TLS_FILES.contains(&last.as_str()) && parents.last().is_some_and(|parent| parent == "tls");
    if !is_tls && Field::of(keys, text).is_none() {
        return None;
    }
    if let Some(name) = text.strip_prefix("env:") {
        return Some(Reference::Variable(name));
    }
    if let Some(path) = text.strip_prefix("file:") {
        return Some(Reference::File(path));
    }
    let is_itself = text.contains("-----BEGIN") || text.starts_with("sealed:") || text == "auto";
    (is_tls && !is_itself).then_some(Reference::File(text))
}

/// Returns a path that stays within the folder it is relative to, with `/` between its parts.
fn inside(path: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// Returns where a hub looks for its key, seen from its project.
fn own_key() -> PathBuf {
    DataDir::beside(Path::new("")).join(KEY_FILE)
}

fn unpacked(plain: &[u8]) -> Result<Vec<(String, Content)>, BundleError> {
    let broken = |_: io::Error| BundleError::Foreign("no whole archive".to_owned());
    let mut archive = tar::Archive::new(plain);
    let mut files = Vec::new();
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let path = entry.path().map_err(broken)?.to_string_lossy().into_owned();
        let shown = path.escape_debug().to_string();
        let name = inside(&path).filter(|_| entry.header().entry_type().is_file());
        let name = name.ok_or_else(|| BundleError::Foreign(format!("`{shown}`")))?;
        let mut content = Zeroizing::new(Vec::new());
        entry.read_to_end(&mut content).map_err(broken)?;
        files.push((name, content));
    }
    match files.is_empty() {
        true => Err(BundleError::Foreign("nothing".to_owned())),
        false => Ok(files),
    }
}

fn encrypted(plain: &[u8], lock: &Lock) -> Result<Vec<u8>, BundleError> {
    let encryptor = match lock {
        Lock::Passphrase(phrase) => Encryptor::with_user_passphrase(phrase_of(phrase)?),
        Lock::Recipients(names) => {
            let parse = |name: &String| {
                x25519::Recipient::from_str(name).map_err(|_| BundleError::Recipient(name.clone()))
            };
            let recipients: Vec<_> = names.iter().map(parse).collect::<Result<_, _>>()?;
            Encryptor::with_recipients(recipients.iter().map(|one| one as &dyn Recipient))
                .map_err(|_| BundleError::Encryption("no recipient was named".to_owned()))?
        }
    };
    let failed = |error: io::Error| BundleError::Encryption(error.to_string());
    let mut writer = encryptor.wrap_output(Vec::new()).map_err(failed)?;
    writer.write_all(plain).map_err(failed)?;
    writer.finish().map_err(failed)
}

fn decrypted(bundle: &[u8], unlock: &Unlock) -> Result<Content, BundleError> {
    let decryptor = Decryptor::new_buffered(bundle).map_err(|_| BundleError::NoBundle)?;
    let reader = match unlock {
        Unlock::Passphrase(phrase) => {
            let identity = scrypt::Identity::new(phrase_of(phrase)?);
            decryptor.decrypt(iter::once(&identity as &dyn Identity))
        }
        Unlock::Identities(path) => {
            let unusable = |cause: String| BundleError::Identities { path: path.clone(), cause };
            let file = fs::File::open(path).map_err(|error| unusable(error.to_string()))?;
            let not_one = |_| unusable("it is not a file of age-keygen".to_owned());
            let read = IdentityFile::from_buffer(io::BufReader::new(file)).map_err(not_one)?;
            let identities =
                read.into_identities().map_err(|_| unusable("it is not a file of age-keygen".to_owned()))?;
            decryptor.decrypt(identities.iter().map(|one| &**one as &dyn Identity))
        }
    };
    let mut plain = Zeroizing::new(Vec::new());
    let reader = reader.map_err(|_| BundleError::Closed)?;
    reader.take(BUNDLE_BYTES_MAX + 1).read_to_end(&mut plain).map_err(|_| BundleError::Closed)?;
    match plain.len() as u64 > BUNDLE_BYTES_MAX {
        true => Err(BundleError::Foreign("more than 64 MiB".to_owned())),
        false => Ok(plain),
    }
}

fn phrase_of(phrase: &Secret) -> Result<SecretString, BundleError> {
    let text = phrase.expose_text().ok_or(BundleError::Closed)?;
    Ok(SecretString::from(text.to_owned()))
}

#[cfg(test)]
mod tests;
