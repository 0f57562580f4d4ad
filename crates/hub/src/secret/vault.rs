//! The secrets of a project file: what there is, and how each gets its seal.

use std::path::{Path, PathBuf};

use super::envelope::{Label, SealError, Seat, open, seal, unseal};
use super::fields::{Field, FieldKind, fields, is_secret, seat_of};
use super::key_file::{make_key_file, replace_key_file};
use super::{KeyError, KeyId, KeyOrigin, KeyRing, KeySource, ProjectId, SealingKey, WrongKey};
use crate::config::Secret;
use crate::config::edit::{EditError, ProjectEdit, keys_of};
use crate::config::settings::{ENVIRONMENT, ID};
use crate::data_dir::DataDir;

/// A project file whose secrets are looked at or changed.
pub struct Vault {
    edit: ProjectEdit,
    source: KeySource,
    made_key: Option<PathBuf>,
}

/// A secret of a project file, and whether it opens where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The secret.
    pub field: Field,
    /// How a sealed one stands.
    pub standing: Option<Standing>,
}

/// How a sealed value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It opens.
    Opens,
    /// It does not.
    Closed(String),
}

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// What was written.
    pub path: String,
    /// The environment in whose overlay it stands.
    pub environment: Option<String>,
}

/// What a rotation has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// How many values are sealed with the new key.
    pub values: usize,
    /// The new key.
    pub key: KeyId,
    /// The keys that nothing needs any more.
    pub retired: Vec<KeyId>,
    /// Other project files in the folder that still need the old key, which was therefore kept.
    pub needed_by: Vec<String>,
}

/// Why a secret cannot be changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// The file cannot be changed.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// There is no key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A key cannot be made.
    #[error("a key {0}")]
    Making(#[from] WrongKey),
    /// The value cannot be sealed.
    #[error("{0}")]
    Seal(#[from] SealError),
    /// The path leads to nothing that is secret.
    #[error("`{path}` is not the path of a secret")]
    NotASecret {
        /// What was named.
        path: String,
    },
    /// The section that it belongs to is not there.
    #[error("the project has no `{section}`")]
    NoSection {
        /// What is missing.
        section: String,
    },
    /// There is no such environment.
    #[error("the project has no environment {name}")]
    NoEnvironment {
        /// What was named.
        name: String,
    },
    /// There is no plain text to seal.
    #[error("`{path}` is not written as plain text")]
    NotPlain {
        /// What was named.
        path: String,
    },
    /// Nothing was sealed for one path and stands at the other.
    #[error("nothing that was sealed for `{from}` stands at `{to}`")]
    NothingMoved {
        /// What it was sealed for.
        from: String,
        /// Where it should stand.
        to: String,
    },
    /// A sealed value does not open, so it cannot be sealed anew.
    #[error("{field} {cause}, so nothing was changed")]
    Closed {
        /// What it is.
        field: String,
        /// Why it does not open.
        cause: SealError,
    },
    /// The key file cannot be written.
    #[error("the sealing key cannot be written to {path}: {cause}")]
    KeyFile {
        /// The file.
        path: String,
        /// What the system says.
        cause: String,
    },
    /// The key does not come from a file that could be replaced.
    #[error("the key comes from {origin}, which cannot be replaced from here")]
    FixedKey {
        /// Where it comes from.
        origin: KeyOrigin,
    },
    /// The `id` of the project is no identity.
    #[error("the `id` of the project file is not one that crosspoint has made")]
    WrongId,
}

impl VaultError {
    /// Returns what to do about it.
    pub fn mend(&self) -> String {
        match self {
            Self::Edit(error) => error.mend().to_owned(),
            Self::Key(error) => error.mend().to_owned(),
            Self::Making(_) => "see whether the machine has memory left".to_owned(),
            Self::Seal(_) => "name a shorter secret".to_owned(),
            Self::NotASecret { .. } => {
                "name one such as connector.NAME.password; crosspoint secret list shows those that are written".to_owned()
            }
            Self::NoSection { section } => format!("add a section [{section}] to the file first"),
            Self::NoEnvironment { name } => format!("add a section [{}.{name}] to the file first", ENVIRONMENT.key),
            Self::NotPlain { .. } => "enter it anew, without --keep".to_owned(),
            Self::NothingMoved { from, to } => {
                format!("rename `{from}` to `{to}` in the file first; crosspoint secret list shows what stands where")
            }
            Self::Closed { .. } => "enter that secret again, or give the key that sealed it".to_owned(),
            Self::KeyFile { .. } => "let this user write the file and its folder".to_owned(),
            Self::FixedKey { .. } => {
                "make the new key with crosspoint secret keygen, and name it: --new-key-file FILE".to_owned()
            }
            Self::WrongId => "restore the line `id = \"...\"` at the top of the file".to_owned(),
        }
    }
}

impl Vault {
    /// Opens the secrets of a project file.
    ///
    /// # Errors
    /// The file cannot be read, or is not TOML.
    pub fn open(project: &Path, source: KeySource) -> Result<Self, VaultError> {
        Ok(Self { edit: ProjectEdit::open(project)?, source, made_key: None })
    }

    /// Seals a secret for a path and returns what to write there. The file gets an `id` if it has none.
    ///
    /// # Errors
    /// The path is not that of a secret, there is no key, or the file cannot be written.
    pub fn seal(&mut self, path: &str, secret: &Secret) -> Result<String, VaultError> {
        let keys = secret_keys(path)?;
        let sealed = self.sealed(&keys, secret)?;
        self.edit.save()?;
        Ok(sealed)
    }

    /// Checks that a path is that of a secret, written or not.
    ///
    /// # Errors
    /// It is none.
    pub fn check_path(path: &str) -> Result<(), VaultError> {
        secret_keys(path).map(drop)
    }

    /// Checks that a secret may be written at a path, before anybody is asked for it.
    ///
    /// # Errors
    /// The path is not that of a secret; the section or the environment is not there.
    pub fn check(&self, path: &str, environment: Option<&str>) -> Result<(), VaultError> {
        let keys = secret_keys(path)?;
        environment.map_or(Ok(()), |name| self.check_environment(name))?;
        self.check_section(&keys, environment)
    }

    /// Seals a secret and writes it where the effective value comes from: into the overlay of an environment if it
    /// stands there, and into the rest of the file otherwise.
    ///
    /// # Errors
    /// As of [`seal`](Self::seal); the section or the environment is not there.
    pub fn set(
        &mut self,
        path: &str,
        environment: Option<&str>,
        secret: &Secret,
    ) -> Result<Written, VaultError> {
        let keys = secret_keys(path)?;
        let overlay = match environment {
            Some(name) => self.overlay_of(&keys, name)?,
            None => None,
        };
        self.write(&keys, overlay, secret)
    }

    /// Seals a secret and writes it into the overlay of an environment, whatever stands in the rest of the file.
    ///
    /// # Errors
    /// As of [`set`](Self::set).
    pub fn set_in_overlay(
        &mut self,
        path: &str,
        environment: &str,
        secret: &Secret,
    ) -> Result<Written, VaultError> {
        let keys = secret_keys(path)?;
        self.check_environment(environment)?;
        self.write(&keys, Some(environment), secret)
    }

    /// Seals what is written as plain text: at a path, in the rest of the file and in every overlay, or everywhere.
    ///
    /// # Errors
    /// Nothing at that path is plain text, there is no key, or the file cannot be written.
    pub fn keep(&mut self, path: Option<&str>) -> Result<Vec<Written>, VaultError> {
        let path = path.map(secret_keys).transpose()?.map(|keys| keys.join("."));
        let is_meant = |field: &Field| {
            field.kind == FieldKind::Plain && path.as_ref().is_none_or(|path| *path == field.path)
        };
        let mut written = Vec::new();
        if !fields(&self.edit).iter().any(is_meant) {
            return path.map_or(Ok(written), |path| Err(VaultError::NotPlain { path }));
        }
        self.make_first_key()?;
        let (project, keys) = self.project_and_keys()?;
        self.reseal(|field, text| {
            if !is_meant(field) {
                return Ok(None);
            }
            written.push(Written { path: field.path.clone(), environment: field.environment.clone() });
            let seat = Seat { project, path: field.path.clone() };
            seal(&Secret::new(text), &seat, &keys).map(Some)
        })?;
        self.edit.save()?;
        Ok(written)
    }

    /// Seals anew what was sealed for one path and stands at another: the secret itself, or all of a section.
    ///
    /// # Errors
    /// Nothing of that kind is there, it does not open, or the file cannot be written.
    pub fn rename(&mut self, from: &str, to: &str) -> Result<Vec<Written>, VaultError> {
        let canonical = |path: &str| {
            let wrong = || VaultError::NotASecret { path: path.to_owned() };
            keys_of(path).map(|keys| keys.join(".")).ok_or_else(wrong)
        };
        let (from, to) = (canonical(from)?, canonical(to)?);
        let (project, keys) = self.project_and_keys()?;
        let mut written = Vec::new();
        self.reseal(|field, text| {
            let is_meant = Label::of(text).is_ok_and(|label| {
                let rest = label.seat.path.strip_prefix(&from);
                let is_whole = rest.filter(|rest| rest.is_empty() || rest.starts_with('.'));
                is_whole
                    .is_some_and(|rest| format!("{to}{rest}") == field.path && label.seat.path != field.path)
            });
            if !is_meant {
                return Ok(None);
            }
            let (label, secret) = open(text, &keys)?;
            if label.seat.project != project {
                return Err(SealError::OtherProject { path: label.seat.path });
            }
            written.push(Written { path: field.path.clone(), environment: field.environment.clone() });
            seal(&secret, &Seat { project, path: field.path.clone() }, &keys).map(Some)
        })?;
        if written.is_empty() {
            return Err(VaultError::NothingMoved { from, to });
        }
        self.edit.save()?;
        Ok(written)
    }

    /// Returns every secret that is written, in the order of the file.
    ///
    /// # Errors
    /// There are sealed values and the `id` of the project is no identity.
    pub fn list(&self) -> Result<Vec<Listed>, VaultError> {
        let project = self.project()?;
        let mut keys = None;
        let mut listed = Vec::new();
        self.edit.each_text(|at, text| {
            let Some(field) = Field::of(at, text) else { return };
            let standing = (field.kind == FieldKind::Sealed).then(|| {
                let keys = keys.get_or_insert_with(|| self.source.keys(project));
                standing(text, &field.path, project, keys)
            });
            listed.push(Listed { field, standing });
        });
        Ok(listed)
    }

    /// Seals everything with a new key that takes the place of the old one in its file.
    ///
    /// For a moment that file holds both, so whatever a crash interrupts opens before and after; doing it again ends it.
    ///
    /// # Errors
    /// The key does not come from a file; a value does not open; the file or the key cannot be written. Nothing has
    /// changed then.
    pub fn rotate(&mut self) -> Result<Rotated, VaultError> {
        let path = match self.source.origin() {
            KeyOrigin::File(path) | KeyOrigin::Own(path) => path.clone(),
            origin => return Err(VaultError::FixedKey { origin: origin.clone() }),
        };
        let old = self.source.keys(self.project()?)?;
        let new = SealingKey::generate()?;
        let unwritable = |error: std::io::Error| VaultError::KeyFile {
            path: path.display().to_string(),
            cause: error.to_string(),
        };
        let values = self.seal_all(&old, &KeyRing::of(new.clone()))?;
        replace_key_file(&path, &old.clone().under(new.clone())).map_err(unwritable)?;
        if let Err(error) = self.edit.save() {
            // The old key still leads: the new one beside it would do no harm, but nothing needs it.
            replace_key_file(&path, &old).map_err(unwritable)?;
            return Err(error.into());
        }
        let retired: Vec<KeyId> = old.keys().map(SealingKey::id).collect();
        let needed_by = self.neighbours_with(&retired);
        if needed_by.is_empty() {
            replace_key_file(&path, &KeyRing::of(new.clone())).map_err(unwritable)?;
        }
        Ok(Rotated { values, key: new.id(), retired, needed_by })
    }

    /// Seals everything with a key that the caller has made; the file changes at once, and the old key is left to him.
    ///
    /// # Errors
    /// A value does not open, or the file cannot be written. Nothing has changed then.
    pub fn rotate_to(&mut self, new: &KeySource) -> Result<Rotated, VaultError> {
        let project = self.project()?;
        let (old, new) = (self.source.keys(project)?, new.keys(project)?);
        let values = self.seal_all(&old, &new)?;
        self.edit.save()?;
        let retired = old.keys().map(SealingKey::id).filter(|id| new.key(*id).is_none()).collect();
        Ok(Rotated { values, key: new.first().id(), retired, needed_by: Vec::new() })
    }

    /// Makes the key in the hub's own folder, where it is looked for and is not there yet; sealing something does so, too.
    ///
    /// Nothing is made while the project has sealed values: they need the key that sealed them.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn make_first_key(&mut self) -> Result<(), VaultError> {
        let KeyOrigin::Own(path) = self.source.origin() else { return Ok(()) };
        let has_sealed = fields(&self.edit).iter().any(|field| field.kind == FieldKind::Sealed);
        if path.exists() || has_sealed {
            return Ok(());
        }
        let keys = KeyRing::of(SealingKey::generate()?);
        let unwritable = |cause: String| VaultError::KeyFile { path: path.display().to_string(), cause };
        let folder = path.parent().unwrap_or(Path::new("."));
        DataDir::open(folder).map_err(|error| unwritable(error.to_string()))?;
        make_key_file(path, &keys).map_err(|error| unwritable(error.to_string()))?;
        self.made_key = Some(path.clone());
        Ok(())
    }

    /// Returns the file of the key that was made, which its owner should be told to back up.
    pub fn made_key(&self) -> Option<&Path> {
        self.made_key.as_deref()
    }

    fn seal_all(&mut self, old: &KeyRing, new: &KeyRing) -> Result<usize, VaultError> {
        let mut values = 0;
        self.reseal(|field, text| {
            if field.kind != FieldKind::Sealed {
                return Ok(None);
            }
            // It keeps the seat it was sealed for: what was moved stays refused, and is not lost.
            let (label, secret) = open(text, old)?;
            values += 1;
            seal(&secret, &label.seat, new).map(Some)
        })?;
        Ok(values)
    }

    /// Replaces secrets in the text that will be written; with an error none of them is.
    fn reseal(
        &mut self,
        mut with: impl FnMut(&Field, &str) -> Result<Option<String>, SealError>,
    ) -> Result<(), VaultError> {
        let mut failed = None;
        self.edit.replace_texts(|at, text| {
            let field = Field::of(at, text)?;
            match with(&field, text) {
                Ok(new) => new,
                Err(cause) => {
                    failed.get_or_insert(VaultError::Closed { field: field.shown(), cause });
                    None
                }
            }
        });
        failed.map_or(Ok(()), Err)
    }

    fn write(
        &mut self,
        keys: &[String],
        environment: Option<&str>,
        secret: &Secret,
    ) -> Result<Written, VaultError> {
        self.check_section(keys, environment)?;
        let sealed = self.sealed(keys, secret)?;
        let mut at: Vec<&str> = environment.map_or_else(Vec::new, |name| vec![ENVIRONMENT.key, name]);
        at.extend(keys.iter().map(String::as_str));
        self.edit.set_text(&at, &sealed)?;
        self.edit.save()?;
        Ok(Written { path: keys.join("."), environment: environment.map(str::to_owned) })
    }

    fn sealed(&mut self, keys: &[String], secret: &Secret) -> Result<String, VaultError> {
        self.make_first_key()?;
        let (project, ring) = self.project_and_keys()?;
        Ok(seal(secret, &Seat { project, path: keys.join(".") }, &ring)?)
    }

    /// Returns the environment in whose overlay the value stands.
    fn overlay_of<'a>(&self, keys: &[String], name: &'a str) -> Result<Option<&'a str>, VaultError> {
        self.check_environment(name)?;
        let mut at = vec![ENVIRONMENT.key, name];
        at.extend(keys.iter().map(String::as_str));
        let base: Vec<&str> = keys.iter().map(String::as_str).collect();
        let is_in_overlay = self.edit.text_at(&at).is_some();
        // What is written nowhere yet goes where its section is.
        let is_new = self.edit.text_at(&base).is_none() && !self.has_section(&base);
        Ok((is_in_overlay || is_new).then_some(name))
    }

    fn check_environment(&self, name: &str) -> Result<(), VaultError> {
        match self.edit.has_table(&[ENVIRONMENT.key, name]) {
            true => Ok(()),
            false => Err(VaultError::NoEnvironment { name: name.to_owned() }),
        }
    }

    /// A secret belongs to a section with a name, which must be there: a typing error must not make one.
    fn check_section(&self, keys: &[String], environment: Option<&str>) -> Result<(), VaultError> {
        let base: Vec<&str> = keys.iter().map(String::as_str).collect();
        let mut over = environment.map_or_else(Vec::new, |name| vec![ENVIRONMENT.key, name]);
        over.extend(section_of(&base));
        if self.has_section(&base) || self.edit.has_table(&over) {
            return Ok(());
        }
        Err(VaultError::NoSection { section: section_of(&base).join(".") })
    }

    fn has_section(&self, keys: &[&str]) -> bool {
        self.edit.has_table(section_of(keys))
    }

    fn project(&self) -> Result<Option<ProjectId>, VaultError> {
        let Some(text) = self.edit.text_at(&[ID.key]) else { return Ok(None) };
        ProjectId::parse(text).map(Some).ok_or(VaultError::WrongId)
    }

    /// Returns what to seal with; the project gets its `id` when something is sealed for the first time.
    fn project_and_keys(&mut self) -> Result<(ProjectId, KeyRing), VaultError> {
        let project = match self.project()? {
            Some(project) => project,
            None => {
                let project = ProjectId::generate()?;
                self.edit.set_text(&[ID.key], &project.to_string())?;
                project
            }
        };
        Ok((project, self.source.keys(Some(project))?))
    }

    /// Returns the other project files in the folder that have values sealed with one of these keys.
    fn neighbours_with(&self, retired: &[KeyId]) -> Vec<String> {
        let own = self.edit.path();
        let folder = own.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let others = entries.map(|entry| entry.path()).filter(|path| {
            path.extension().is_some_and(|ending| ending == "toml") && path.file_name() != own.file_name()
        });
        let needs = |path: &PathBuf| {
            let Ok(edit) = ProjectEdit::open(path) else { return false };
            let mut needs = false;
            edit.each_text(|_, text| {
                needs |= Label::of(text).is_ok_and(|label| retired.contains(&label.key));
            });
            needs
        };
        let mut found: Vec<String> = others.filter(needs).map(|path| path.display().to_string()).collect();
        found.sort();
        found
    }
}

/// Returns the keys of a secret's path.
fn secret_keys(path: &str) -> Result<Vec<String>, VaultError> {
    let keys = keys_of(path).filter(|keys| is_secret(seat_of(keys).1) && seat_of(keys).0.is_none());
    keys.ok_or_else(|| VaultError::NotASecret { path: path.to_owned() })
}

/// Returns the section with a name that a secret belongs to: `connector.NAME`, `broker.listener.NAME`.
fn section_of<'a, 'b>(keys: &'a [&'b str]) -> &'a [&'b str] {
    let depth = if keys.first() == Some(&"broker") { 3 } else { 2 };
    keys.get(..depth).unwrap_or(keys)
}

fn standing(
    text: &str,
    path: &str,
    project: Option<ProjectId>,
    keys: &Result<KeyRing, KeyError>,
) -> Standing {
    let opened = match (project, keys) {
        (Some(project), Ok(keys)) => {
            unseal(text, &Seat { project, path: path.to_owned() }, keys).map_err(|error| error.to_string())
        }
        (None, _) => Err("the project file has lost its `id`".to_owned()),
        (_, Err(error)) => Err(error.to_string()),
    };
    opened.map_or_else(Standing::Closed, |_| Standing::Opens)
}

#[cfg(test)]
mod tests;
