//! Changes the project file and leaves everything else in it as it is: comments, order, blanks.
//!
//! An edit begins with what the file holds and ends with [`ProjectEdit::save`], which refuses a file that someone else
//! has changed meanwhile. What a change means is not checked here: the file is read anew by whoever runs it.

use std::fs;
use std::path::{Path, PathBuf};

use toml_edit::{Array, DocumentMut, InlineTable, Item, Key, Table, TableLike, Value};

use crate::replacing::replace;

/// A project file that is being changed.
pub struct ProjectEdit {
    path: PathBuf,
    before: String,
    document: DocumentMut,
}

/// Why a project file cannot be changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// It cannot be read.
    #[error("{} cannot be read: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: String,
    },
    /// It is not TOML.
    #[error("{} is not TOML, so nothing in it is changed", path.display())]
    NotToml {
        /// The file.
        path: PathBuf,
    },
    /// A part of the path is a value, and no table.
    #[error("`{key}` is no table, so nothing can be written into it")]
    NoTable {
        /// The path of the value.
        key: String,
    },
    /// Someone else has changed it since it was read.
    #[error("{} has been changed by someone else meanwhile, so nothing was written", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be written.
    #[error("{} cannot be written: {cause}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: String,
    },
}

impl EditError {
    /// Returns what to do about it.
    pub const fn mend(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "name the project file with --project FILE",
            Self::NotToml { .. } => "crosspoint check shows what is wrong",
            Self::NoTable { .. } => "look at that key in the file, or name another",
            Self::Changed { .. } => "do it again",
            Self::Unwritable { .. } => "let this user write the file and its folder",
        }
    }
}

impl ProjectEdit {
    /// Reads a project file.
    ///
    /// # Errors
    /// It cannot be read, or is not TOML.
    pub fn open(path: &Path) -> Result<Self, EditError> {
        let before = fs::read_to_string(path)
            .map_err(|error| EditError::Unreadable { path: path.to_owned(), cause: error.to_string() })?;
        // The parser's own error quotes the line, and with it what may be a password.
        let document = before.parse().map_err(|_| EditError::NotToml { path: path.to_owned() })?;
        Ok(Self { path: path.to_owned(), before, document })
    }

    /// Returns the file that is changed.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the file as it would be written.
    pub fn text(&self) -> String {
        self.document.to_string()
    }

    /// Returns the text that stands at a path of keys.
    pub fn text_at(&self, keys: &[&str]) -> Option<&str> {
        let (last, parents) = keys.split_last()?;
        self.table(parents)?.get(last)?.as_str()
    }

    /// Tells whether anything stands at a path of keys.
    pub fn has(&self, keys: &[&str]) -> bool {
        let Some((last, parents)) = keys.split_last() else { return true };
        self.table(parents).is_some_and(|table| table.contains_key(last))
    }

    /// Tells whether a table stands at a path of keys.
    pub fn has_table(&self, keys: &[&str]) -> bool {
        self.table(keys).is_some()
    }

    fn table(&self, keys: &[&str]) -> Option<&dyn TableLike> {
        let root: &dyn TableLike = self.document.as_table();
        keys.iter().try_fold(root, |table, key| table.get(key)?.as_table_like())
    }

    /// Writes a text at a path of keys. What stood there goes, its comment stays; tables that are missing are made.
    ///
    /// # Errors
    /// A part of the path is a value.
    pub fn set_text(&mut self, keys: &[&str], text: &str) -> Result<(), EditError> {
        self.set(keys, text.into())
    }

    /// Writes a whole number at a path of keys, as [`set_text`](Self::set_text) does a text.
    ///
    /// # Errors
    /// A part of the path is a value.
    pub fn set_integer(&mut self, keys: &[&str], number: i64) -> Result<(), EditError> {
        self.set(keys, number.into())
    }

    /// Writes a list of texts at a path of keys, as [`set_text`](Self::set_text) does a text.
    ///
    /// # Errors
    /// A part of the path is a value.
    pub fn set_texts(&mut self, keys: &[&str], texts: &[String]) -> Result<(), EditError> {
        self.set(keys, texts.iter().map(String::as_str).collect())
    }

    /// Takes away what stands at a path of keys, with the comment above it; tells whether anything did.
    pub fn remove(&mut self, keys: &[&str]) -> bool {
        let Some((last, parents)) = keys.split_last() else { return false };
        let mut table: &mut dyn TableLike = self.document.as_table_mut();
        for key in parents {
            let Some(next) = table.get_mut(key).and_then(Item::as_table_like_mut) else { return false };
            table = next;
        }
        table.remove(last).is_some()
    }

    fn set(&mut self, keys: &[&str], value: Value) -> Result<(), EditError> {
        let Some((last, parents)) = keys.split_last() else { return Ok(()) };
        let mut table: &mut dyn TableLike = self.document.as_table_mut();
        for (depth, key) in parents.iter().enumerate() {
            let is_inline = table.is_dotted() && depth > 0;
            let missing = || if is_inline { dotted() } else { implicit() };
            let next = table.entry(key).or_insert_with(missing);
            let no_table = || EditError::NoTable { key: keys.get(..=depth).unwrap_or_default().join(".") };
            table = next.as_table_like_mut().ok_or_else(no_table)?;
        }
        match table.get_mut(last).and_then(Item::as_value_mut) {
            Some(old) => replace_value(old, value),
            None => {
                table.insert(last, Item::Value(value));
            }
        }
        Ok(())
    }

    /// Shows every text of the file, with its path of keys, and replaces those for which another is returned.
    pub fn replace_texts(&mut self, mut with: impl FnMut(&[String], &str) -> Option<String>) {
        texts_of_table(self.document.as_table_mut(), &mut Vec::new(), &mut with);
    }

    /// Shows every text of the file, with its path of keys.
    pub fn each_text(&self, mut show: impl FnMut(&[String], &str)) {
        let mut document = self.document.clone();
        texts_of_table(document.as_table_mut(), &mut Vec::new(), &mut |keys, text| {
            show(keys, text);
            None
        });
    }

    /// Writes the file, as a whole or not at all; a file that is as it was is left alone.
    ///
    /// # Errors
    /// It has been changed since it was read, or cannot be written.
    pub fn save(&mut self) -> Result<(), EditError> {
        let after = self.text();
        if after == self.before {
            return Ok(());
        }
        let unwritable = |error: std::io::Error| EditError::Unwritable {
            path: self.path.clone(),
            cause: error.to_string(),
        };
        if fs::read_to_string(&self.path).map_err(unwritable)? != self.before {
            return Err(EditError::Changed { path: self.path.clone() });
        }
        if fs::metadata(&self.path).map_err(unwritable)?.permissions().readonly() {
            let cause = "it is read-only".to_owned();
            return Err(EditError::Unwritable { path: self.path.clone(), cause });
        }
        replace(&self.path, after.as_bytes(), None).map_err(unwritable)?;
        self.before = after;
        Ok(())
    }
}

/// Reads a path of keys as TOML writes it: `connector.plant.password`, `broker.user."a b".password`.
pub fn keys_of(path: &str) -> Option<Vec<String>> {
    let keys = Key::parse(path).ok()?;
    Some(keys.into_iter().map(|key| key.get().to_owned()).collect())
}

/// A table without a header of its own until something stands in it.
fn implicit() -> Item {
    let mut table = Table::new();
    table.set_implicit(true);
    Item::Table(table)
}

fn dotted() -> Item {
    let mut table = InlineTable::new();
    table.set_dotted(true);
    Item::Value(Value::InlineTable(table))
}

fn replace_value(old: &mut Value, new: Value) {
    let decor = old.decor().clone();
    *old = new;
    *old.decor_mut() = decor;
}

type Visit<'a> = dyn FnMut(&[String], &str) -> Option<String> + 'a;

fn texts_of_table(table: &mut dyn TableLike, keys: &mut Vec<String>, visit: &mut Visit<'_>) {
    for (key, item) in table.iter_mut() {
        keys.push(key.get().to_owned());
        match item {
            Item::Value(value) => texts_of_value(value, keys, visit),
            Item::Table(table) => texts_of_table(table, keys, visit),
            Item::ArrayOfTables(tables) => {
                tables.iter_mut().for_each(|table| texts_of_table(table, keys, visit));
            }
            Item::None => {}
        }
        keys.pop();
    }
}

fn texts_of_value(value: &mut Value, keys: &mut Vec<String>, visit: &mut Visit<'_>) {
    match value {
        Value::String(text) => {
            if let Some(new) = visit(keys, text.value()) {
                replace_value(value, new.into());
            }
        }
        Value::Array(array) => texts_of_array(array, keys, visit),
        Value::InlineTable(table) => texts_of_table(table, keys, visit),
        _ => {}
    }
}

fn texts_of_array(array: &mut Array, keys: &mut Vec<String>, visit: &mut Visit<'_>) {
    array.iter_mut().for_each(|value| texts_of_value(value, keys, visit));
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# a project\n[connector.plant] # ours\nurl = \"mqtt://h\"   # there\npassword = 'old' # why\ntls = { ca = [\"a\", \"b\"] }\n\n[environment.live.connector.plant]\nurl = \"mqtt://g\"\n";

    fn edit(text: &str) -> (tempfile::TempDir, ProjectEdit) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("crosspoint.toml");
        fs::write(&path, text).unwrap();
        let edit = ProjectEdit::open(&path).unwrap();
        (folder, edit)
    }

    fn check(keys: &[&str], from: &str, to: &str) {
        let (_folder, mut edit) = edit(FILE);
        edit.set_text(keys, "new").unwrap();
        assert_eq!(edit.text(), FILE.replace(from, to));
        assert_eq!(edit.text_at(keys), Some("new"));
    }

    #[test]
    fn only_the_value_changes() {
        check(&["connector", "plant", "password"], "'old'", "\"new\"");
        check(&["connector", "plant", "tls", "key"], "\"b\"] }", "\"b\"] , key = \"new\" }");
        check(&["connector", "plant", "username"], "\"b\"] }\n", "\"b\"] }\nusername = \"new\"\n");
    }

    #[test]
    fn what_is_missing_on_the_way_is_made() {
        let (_folder, mut edit) = edit(FILE);
        edit.set_text(&["environment", "test", "connector", "plant", "password"], "new").unwrap();
        let text = edit.text();
        assert!(text.starts_with(FILE), "{text}");
        assert!(text.contains("[environment.test.connector.plant]\npassword = \"new\"\n"), "{text}");
        assert_eq!(
            edit.set_text(&["connector", "plant", "url", "x"], "new").unwrap_err().to_string(),
            "`connector.plant.url` is no table, so nothing can be written into it"
        );
    }

    #[test]
    fn every_text_is_shown_and_may_be_replaced() {
        let (_folder, mut edit) = edit(FILE);
        let mut seen = Vec::new();
        edit.each_text(|keys, text| seen.push(format!("{}={text}", keys.join("."))));
        assert_eq!(
            seen,
            [
                "connector.plant.url=mqtt://h",
                "connector.plant.password=old",
                "connector.plant.tls.ca=a",
                "connector.plant.tls.ca=b",
                "environment.live.connector.plant.url=mqtt://g"
            ]
        );
        edit.replace_texts(|_, text| (text == "b").then(|| "c".to_owned()));
        assert_eq!(edit.text(), FILE.replace("\"b\"", "\"c\""));
    }

    #[test]
    fn a_file_that_was_changed_meanwhile_is_not_overwritten() {
        let (_folder, mut edit) = edit(FILE);
        edit.set_text(&["connector", "plant", "password"], "new").unwrap();
        fs::write(edit.path(), "# mine\n").unwrap();
        assert!(matches!(edit.save(), Err(EditError::Changed { .. })));
        assert_eq!(fs::read_to_string(edit.path()).unwrap(), "# mine\n");
        fs::write(edit.path(), FILE).unwrap();
        edit.save().unwrap();
        assert_eq!(fs::read_to_string(edit.path()).unwrap(), edit.text());
        edit.set_text(&["connector", "plant", "password"], "newer").unwrap();
        edit.save().unwrap();
    }

    #[test]
    fn a_read_only_file_is_not_replaced() {
        let (_folder, mut edit) = edit(FILE);
        let mut permissions = fs::metadata(edit.path()).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(edit.path(), permissions).unwrap();
        edit.set_text(&["connector", "plant", "password"], "new").unwrap();
        assert!(edit.save().unwrap_err().to_string().contains("read-only"));
    }

    #[test]
    fn a_file_that_is_no_toml_is_refused_without_a_quotation() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.toml");
        fs::write(&path, "password = hunter2").unwrap();
        let Err(error) = ProjectEdit::open(&path) else { panic!("it is read") };
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_taken_away_leaves_the_rest_as_it_was() {
        let (_folder, mut edit) = edit(FILE);
        edit.set_texts(&["broker", "user", "al", "roles"], &["a".to_owned(), "b".to_owned()]).unwrap();
        assert_eq!(edit.text(), format!("{FILE}\n[broker.user.al]\nroles = [\"a\", \"b\"]\n"));
        assert!(edit.remove(&["broker", "user", "al"]) && !edit.remove(&["broker", "user", "al"]));
        assert_eq!(edit.text(), FILE);
        assert!(edit.remove(&["connector", "plant", "password"]));
        assert_eq!(edit.text(), FILE.replace("password = 'old' # why\n", ""));
    }

    #[test]
    fn paths_are_read_as_toml_writes_them() {
        assert_eq!(keys_of("a.b-c.\"d e\".f").unwrap(), ["a", "b-c", "d e", "f"]);
        assert!(keys_of("a..b").is_none() && keys_of("").is_none());
    }
}
