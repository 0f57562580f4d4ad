//! Sealing everything anew, with another key.

use std::path::{Path, PathBuf};

use super::{Vault, VaultError};
use crate::config::edit::ProjectEdit;
use crate::secret::envelope::{Label, open, seal};
use crate::secret::fields::FieldKind;
use crate::secret::key_file::replace_key_file;
use crate::secret::{KeyId, KeyOrigin, KeyRing, KeySource, SealingKey};

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

impl Vault {
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

    pub(super) fn seal_all(&mut self, old: &KeyRing, new: &KeyRing) -> Result<usize, VaultError> {
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
