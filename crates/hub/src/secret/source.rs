//! Where the sealing key comes from.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::envelope::{SealError, Seat, unseal};
use super::{KEY_FILE, KeyRing, ProjectId, SealingKey, WrongKey};
use crate::config::Secret;
use crate::data_dir::DataDir;

/// The largest file of a key or a passphrase.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Where to look for the sealing key: the first place that is given is the one, also when it holds no good key.
///
/// 1. the file that the command line names,
/// 2. `CROSSPOINT_KEY`, the key itself,
/// 3. `CROSSPOINT_KEY_FILE`, a file with it,
/// 4. the systemd credential `crosspoint-key`,
/// 5. `CROSSPOINT_PASSPHRASE`,
/// 6. `CROSSPOINT_PASSPHRASE_FILE`,
/// 7. the systemd credential `crosspoint-passphrase`,
/// 8. `sealing.key` in the hub's own folder, which the first start makes.
#[derive(Debug, Clone)]
pub struct KeySource {
    place: Place,
    origin: KeyOrigin,
    /// The key of a passphrase takes long to make.
    derived: Arc<Mutex<Option<(ProjectId, KeyRing)>>>,
}

/// Where a key comes from, to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyOrigin {
    /// A file that was named.
    File(PathBuf),
    /// A variable that holds it.
    Variable(&'static str),
    /// A passphrase, from a variable or a file.
    Passphrase(String),
    /// The file in the hub's own folder.
    Own(PathBuf),
}

#[derive(Debug, Clone)]
enum Place {
    Text(Secret),
    File(PathBuf),
    Passphrase(Secret),
    PassphraseFile(PathBuf),
}

/// Why there is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file is not there.
    #[error("there is no sealing key: {} is not there", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("the sealing key cannot be read from {origin}: {cause}")]
    Unreadable {
        /// Where it was looked for.
        origin: KeyOrigin,
        /// What the system says.
        cause: String,
    },
    /// What is there is no key.
    #[error("the sealing key from {origin} {cause}")]
    Wrong {
        /// Where it came from.
        origin: KeyOrigin,
        /// What is wrong.
        cause: WrongKey,
    },
    /// A passphrase makes a key for a project, and the file has no identity.
    #[error("a passphrase makes no key without the `id` of the project file")]
    NoProject,
}

impl KeyError {
    /// Returns what to do about it.
    pub const fn mend(&self) -> &'static str {
        match self {
            Self::Missing { .. } => {
                "put the key from your backup there, or name it with --key-file FILE or CROSSPOINT_KEY_FILE; \
                 without it the secrets must be entered again: crosspoint secret set"
            }
            Self::Unreadable { .. } => "let this user read it, or name another file with --key-file FILE",
            Self::Wrong { .. } => {
                "restore it from your backup; crosspoint secret keygen shows how a key looks"
            }
            Self::NoProject => "restore the line `id = \"...\"` at the top of the project file",
        }
    }
}

impl KeySource {
    /// Returns where to look for the key of the hub whose own folder is `data`: what the environment names, or there.
    pub fn of_environment(data: &Path) -> Self {
        Self::reading(data, |name| std::env::var_os(name))
    }

    /// Returns the same for a project whose hub's folder lies beside it.
    pub fn beside(project: &Path) -> Self {
        Self::of_environment(&DataDir::beside(project))
    }

    /// Returns a file that was named, and nothing else.
    pub fn of_file(path: &Path) -> Self {
        Self::new(Place::File(path.to_owned()), KeyOrigin::File(path.to_owned()))
    }

    /// Returns a file with a passphrase, and nothing else.
    pub fn of_passphrase_file(path: &Path) -> Self {
        let origin = KeyOrigin::Passphrase(format!("the passphrase in {}", path.display()));
        Self::new(Place::PassphraseFile(path.to_owned()), origin)
    }

    fn reading(data: &Path, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let given = |name: &str| variable(name).filter(|value| !value.is_empty());
        let secret = |name| given(name).map(|value| Secret::new(value.into_encoded_bytes()));
        let credential = |name: &str| {
            given("CREDENTIALS_DIRECTORY")
                .map(|folder| Path::new(&folder).join(name))
                .filter(|path| path.exists())
        };
        if let Some(key) = secret("CROSSPOINT_KEY") {
            return Self::new(Place::Text(key), KeyOrigin::Variable("CROSSPOINT_KEY"));
        }
        let file = given("CROSSPOINT_KEY_FILE").map(PathBuf::from).or_else(|| credential("crosspoint-key"));
        if let Some(path) = file {
            return Self::of_file(&path);
        }
        if let Some(phrase) = secret("CROSSPOINT_PASSPHRASE") {
            let origin = KeyOrigin::Passphrase("the variable CROSSPOINT_PASSPHRASE".to_owned());
            return Self::new(Place::Passphrase(phrase), origin);
        }
        let file = given("CROSSPOINT_PASSPHRASE_FILE").map(PathBuf::from);
        if let Some(path) = file.or_else(|| credential("crosspoint-passphrase")) {
            return Self::of_passphrase_file(&path);
        }
        let own = data.join(KEY_FILE);
        Self::new(Place::File(own.clone()), KeyOrigin::Own(own))
    }

    fn new(place: Place, origin: KeyOrigin) -> Self {
        Self { place, origin, derived: Arc::default() }
    }

    /// Returns where the key comes from.
    pub const fn origin(&self) -> &KeyOrigin {
        &self.origin
    }

    /// Reads the keys. A passphrase takes long the first time: about 0.2 s.
    ///
    /// # Errors
    /// There is no key, or what is there is none.
    pub fn keys(&self, project: Option<ProjectId>) -> Result<KeyRing, KeyError> {
        let wrong = |cause| KeyError::Wrong { origin: self.origin.clone(), cause };
        let parse = |bytes: Secret| KeyRing::parse(bytes.expose_text().unwrap_or_default()).map_err(wrong);
        match &self.place {
            Place::Text(text) => parse(text.clone()),
            Place::File(path) => parse(self.read(path)?),
            Place::Passphrase(phrase) => self.derive(phrase.clone(), project),
            Place::PassphraseFile(path) => {
                let phrase = self.read(path)?;
                let line = phrase.expose().strip_suffix(b"\n").unwrap_or(phrase.expose());
                self.derive(Secret::new(line.strip_suffix(b"\r").unwrap_or(line)), project)
            }
        }
    }

    fn derive(&self, phrase: Secret, project: Option<ProjectId>) -> Result<KeyRing, KeyError> {
        let project = project.ok_or(KeyError::NoProject)?;
        let mut derived = self.derived.lock();
        if let Some((_, keys)) = derived.as_ref().filter(|(of, _)| *of == project) {
            return Ok(keys.clone());
        }
        let key = SealingKey::of_passphrase(phrase.expose(), project)
            .map_err(|cause| KeyError::Wrong { origin: self.origin.clone(), cause })?;
        let keys = KeyRing::of(key);
        *derived = Some((project, keys.clone()));
        Ok(keys)
    }

    fn read(&self, path: &Path) -> Result<Secret, KeyError> {
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes));
        let secret = Secret::new(bytes);
        match read {
            Ok(_) => Ok(secret),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(KeyError::Missing { path: path.to_owned() })
            }
            Err(error) => Err(KeyError::Unreadable { origin: self.origin.clone(), cause: error.to_string() }),
        }
    }
}

impl fmt::Display for KeyOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) | Self::Own(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => write!(f, "the variable {name}"),
            Self::Passphrase(from) => f.write_str(from),
        }
    }
}

/// Opens the sealed values of one project file; looks for the key when the first of them is met.
pub(crate) struct Opener {
    source: KeySource,
    project: Option<ProjectId>,
    keys: OnceCell<Result<KeyRing, KeyError>>,
}

/// Why a value is not opened, and what to do.
pub(crate) struct Closed {
    pub(crate) what: String,
    pub(crate) help: String,
}

impl Opener {
    pub(crate) const fn new(source: KeySource, project: Option<ProjectId>) -> Self {
        Self { source, project, keys: OnceCell::new() }
    }

    /// Opens the value that stands at a path.
    pub(crate) fn open(&self, text: &str, path: &str) -> Result<Secret, Closed> {
        let project = self.project.ok_or_else(|| Closed {
            what: "is sealed, and the project file has lost the `id` that it was sealed for".to_owned(),
            help: format!(
                "restore the line `id = \"...\"` at the top of the file; a value from another project is set anew: crosspoint secret set {path}"
            ),
        })?;
        let keys = self.keys.get_or_init(|| self.source.keys(Some(project)));
        let keys = keys.as_ref().map_err(|error| Closed {
            what: format!("is sealed, and {error}"),
            help: error.mend().to_owned(),
        })?;
        let seat = Seat { project, path: path.to_owned() };
        unseal(text, &seat, keys).map_err(|error| Closed {
            help: help(&error, path, &self.source.origin),
            what: error.to_string(),
        })
    }
}

fn help(error: &SealError, path: &str, origin: &KeyOrigin) -> String {
    let again = format!("crosspoint secret set {path}");
    match error {
        SealError::Moved { path: from } => {
            format!("after a rename: crosspoint secret move {from} {path}; otherwise enter it again: {again}")
        }
        SealError::OtherKey { .. } => {
            format!("give the key that sealed it instead of {origin}, or enter the secret again: {again}")
        }
        SealError::NewerForm => "use a newer version of crosspoint".to_owned(),
        _ => format!("restore it from your backup, or enter the secret again: {again}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use super::*;

    fn source(folder: &Path, variables: &[(&str, &str)]) -> KeySource {
        let variables: BTreeMap<_, _> = variables.iter().copied().collect();
        KeySource::reading(folder, |name| variables.get(name).map(OsString::from))
    }

    fn key_in(path: &Path) -> (SealingKey, String) {
        let key = SealingKey::generate().unwrap();
        let text = key.expose_text().to_string();
        fs::write(path, &text).unwrap();
        (key, text)
    }

    #[test]
    fn the_first_place_that_is_given_is_the_one() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let project = ProjectId::generate().unwrap();
        let found = |source: KeySource| source.keys(Some(project)).unwrap().first().id();
        let (own, _) = key_in(&at(KEY_FILE));
        let (credential, _) = key_in(&at("crosspoint-key"));
        let (file, _) = key_in(&at("file"));
        let (variable, text) = (SealingKey::generate().unwrap(), String::new());
        let text = text + &variable.expose_text();
        let (file_name, credentials) = (at("file"), folder.path().to_str().unwrap());
        let file_name = file_name.to_str().unwrap();
        let all = [
            ("CROSSPOINT_KEY", text.as_str()),
            ("CROSSPOINT_KEY_FILE", file_name),
            ("CREDENTIALS_DIRECTORY", credentials),
            ("CROSSPOINT_PASSPHRASE", "phrase"),
        ];
        let of_phrase = SealingKey::of_passphrase(b"phrase", project).unwrap();
        assert_eq!(found(source(folder.path(), &all)), variable.id());
        assert_eq!(found(source(folder.path(), &all[1..])), file.id());
        assert_eq!(found(source(folder.path(), &all[2..])), credential.id());
        assert_eq!(found(source(folder.path(), &all[3..])), of_phrase.id());
        assert_eq!(found(source(folder.path(), &[("CROSSPOINT_KEY", "")])), own.id(), "empty is not given");
        fs::write(at("phrase"), "phrase\n").unwrap();
        let phrase = at("phrase");
        let by_file = [("CROSSPOINT_PASSPHRASE_FILE", phrase.to_str().unwrap())];
        assert_eq!(found(source(folder.path(), &by_file)), of_phrase.id());
    }

    #[test]
    fn a_place_that_is_given_and_broken_is_not_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        key_in(&folder.path().join(KEY_FILE));
        let error = source(folder.path(), &[("CROSSPOINT_KEY", "nonsense")]).keys(None).unwrap_err();
        assert_eq!(error.to_string().lines().next(), Some(error.to_string().as_str()));
        assert!(error.to_string().contains("CROSSPOINT_KEY") && !error.to_string().contains("nonsense"));
        let error = source(folder.path(), &[("CROSSPOINT_KEY_FILE", "/nowhere/key")]).keys(None).unwrap_err();
        assert_eq!(error, KeyError::Missing { path: "/nowhere/key".into() });
    }

    #[test]
    fn debug_shows_no_key_and_no_passphrase() {
        let folder = tempfile::tempdir().unwrap();
        let key = SealingKey::generate().unwrap().expose_text().to_string();
        for (name, value) in [("CROSSPOINT_KEY", key.as_str()), ("CROSSPOINT_PASSPHRASE", "hunter2")] {
            let source = source(folder.path(), &[(name, value)]);
            source.keys(Some(ProjectId::generate().unwrap())).unwrap();
            assert!(!format!("{source:?}").contains(value));
        }
    }
}
