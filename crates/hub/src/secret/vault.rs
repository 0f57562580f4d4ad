//! The secrets of a project file: what there is, and how each gets its seal.

use std::path::{Path, PathBuf};

use super::envelope::{Label, SealError, Seat, open, seal, unseal};
use super::fields::{Field, FieldKind, fields, is_secret, seat_of};
use super::key_file::make_key_file;
use super::{KeyError, KeyOrigin, KeyRing, KeySource, ProjectId, SealingKey};
use crate::config::Secret;
use crate::config::edit::{ProjectEdit, keys_of};
use crate::config::settings::{ENVIRONMENT, ID};
use crate::data_dir::DataDir;

mod error;
mod rotation;

pub use error::VaultError;
pub use rotation::Rotated;

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
