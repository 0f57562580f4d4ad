//! Reads the keys of one table by their declarations.
//!
//! A key of the wrong shape reads as if it were not written: `shape.rs` has already said so.

use std::ops::Range;

use super::file::{Entry, Item, Table, Value};
use super::setting::{Setting, Shape};

/// One table of the project and where it is.
#[derive(Clone)]
pub(super) struct Section<'a> {
    table: Option<&'a Table>,
    /// The key path from the top of the project.
    pub(super) path: String,
    /// The key that opens the table: the place for what is missing in it.
    pub(super) span: Range<usize>,
}

/// Text and its place.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) text: &'a str,
    pub(super) span: &'a Range<usize>,
}

impl<'a> Section<'a> {
    pub(super) fn root(table: &'a Table) -> Self {
        Self { table: Some(table), path: String::new(), span: 0..0 }
    }

    /// Tells whether the key is written, in whatever shape.
    pub(super) fn has(&self, setting: &Setting) -> bool {
        self.entry(setting).is_some()
    }

    /// Tells whether the key is written and holds a table.
    pub(super) fn has_table(&self, setting: &Setting) -> bool {
        matches!(self.value(setting), Some(Value::Table(_)))
    }

    /// Tells whether the key is missing or holds a list without items.
    pub(super) fn lacks(&self, setting: &Setting) -> bool {
        match self.value(setting) {
            None => true,
            Some(Value::List(items)) => items.is_empty(),
            Some(_) => false,
        }
    }

    /// Returns the key path of a setting in this table.
    pub(super) fn path_of(&self, setting: &Setting) -> String {
        if self.path.is_empty() { setting.key.to_owned() } else { format!("{}.{}", self.path, setting.key) }
    }

    /// Returns the place of a value, or of the table when it is not written.
    pub(super) fn span_of(&self, setting: &Setting) -> Range<usize> {
        self.entry(setting).map_or_else(|| self.span.clone(), |entry| entry.item.span.clone())
    }

    /// Returns the place of a key, or of the table when it is not written.
    pub(super) fn key_span_of(&self, setting: &Setting) -> Range<usize> {
        self.entry(setting).map_or_else(|| self.span.clone(), |entry| entry.key_span.clone())
    }

    pub(super) fn flag(&self, setting: &Setting) -> Option<bool> {
        let Shape::Flag { default } = setting.shape else { return None };
        match self.value(setting) {
            Some(Value::Flag(flag)) => Some(*flag),
            _ => default,
        }
    }

    /// Returns a number within its bounds.
    pub(super) fn integer(&self, setting: &Setting) -> Option<i64> {
        let Shape::Integer { min, max, default } = setting.shape else { return None };
        match self.value(setting) {
            Some(Value::Integer(Some(number))) if (min..=max).contains(number) => Some(*number),
            _ => default,
        }
    }

    /// Returns a number of a setting that has a default; its bounds make it fit `T`.
    pub(super) fn number<T: TryFrom<i64> + Default>(&self, setting: &Setting) -> T {
        self.integer(setting).and_then(|number| T::try_from(number).ok()).unwrap_or_default()
    }

    /// Returns a text that is written.
    pub(super) fn text(&self, setting: &Setting) -> Option<Text<'a>> {
        let item = &self.entry(setting)?.item;
        match &item.value {
            Value::Text(text) => Some(Text { text, span: &item.span }),
            _ => None,
        }
    }

    /// Returns a text or its default.
    pub(super) fn text_or_default(&self, setting: &Setting) -> &'a str {
        let default = match setting.shape {
            Shape::Text { default } | Shape::Choice { default, .. } => default.unwrap_or_default(),
            _ => "",
        };
        self.text(setting).map_or(default, |text| text.text)
    }

    /// Returns the texts of a setting that takes one or a list.
    pub(super) fn texts(&self, setting: &Setting) -> Vec<Text<'a>> {
        let text_of = |item: &'a Item| match &item.value {
            Value::Text(text) => Some(Text { text, span: &item.span }),
            _ => None,
        };
        match self.entry(setting).map(|entry| &entry.item) {
            Some(Item { value: Value::List(items), .. }) => items.iter().filter_map(text_of).collect(),
            Some(item) => text_of(item).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// Returns the names and values of a table with free names, in the order of the file; a list is several of its name.
    pub(super) fn pairs(&self, setting: &Setting) -> Vec<(&'a str, Text<'a>)> {
        let table = self.table(setting);
        let mut pairs = Vec::new();
        for entry in table.entries() {
            let items = match &entry.item.value {
                Value::List(items) => items.as_slice(),
                _ => std::slice::from_ref(&entry.item),
            };
            pairs.extend(items.iter().filter_map(|item| match &item.value {
                Value::Text(text) => Some((entry.key.as_str(), Text { text, span: &item.span })),
                _ => None,
            }));
        }
        pairs
    }

    /// Returns a table, empty when it is not written.
    pub(super) fn table(&self, setting: &Setting) -> Section<'a> {
        let table = match self.value(setting) {
            Some(Value::Table(table)) => Some(table),
            _ => None,
        };
        Section { table, path: self.path_of(setting), span: self.key_span_of(setting) }
    }

    /// Returns the tables of a setting that takes one or a list.
    pub(super) fn tables(&self, setting: &Setting) -> Vec<Section<'a>> {
        let section = |item: &'a Item| match &item.value {
            Value::Table(table) => Some(Section {
                table: Some(table),
                path: self.path_of(setting),
                span: self.place_of(setting, item),
            }),
            _ => None,
        };
        match self.entry(setting).map(|entry| &entry.item) {
            Some(Item { value: Value::List(items), .. }) => items.iter().filter_map(section).collect(),
            Some(item) => section(item).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// Returns the named tables of a setting, in the order of the file.
    pub(super) fn named(&self, setting: &Setting) -> Vec<(&'a str, Section<'a>)> {
        let path = self.path_of(setting);
        let named = |entry: &'a Entry| match &entry.item.value {
            Value::Table(table) => {
                let path = format!("{path}.{}", entry.key);
                Some((entry.key.as_str(), Section { table: Some(table), path, span: entry.key_span.clone() }))
            }
            _ => None,
        };
        self.table(setting).entries().iter().filter_map(named).collect()
    }

    /// Returns the texts of a table with free names, in the order of the file.
    pub(super) fn free_texts(&self) -> impl Iterator<Item = (&'a str, Text<'a>)> {
        self.entries().iter().filter_map(|entry| match &entry.item.value {
            Value::Text(text) => Some((entry.key.as_str(), Text { text, span: &entry.item.span })),
            _ => None,
        })
    }

    pub(super) fn entries(&self) -> &'a [Entry] {
        self.table.map_or(&[], |table| table.entries.as_slice())
    }

    /// A table in a list has no key of its own; one in braces has a place, one under `[[...]]` its header.
    fn place_of(&self, setting: &Setting, item: &Item) -> Range<usize> {
        if item.span.is_empty() { self.key_span_of(setting) } else { item.span.clone() }
    }

    fn entry(&self, setting: &Setting) -> Option<&'a Entry> {
        self.table?.entry(setting.key)
    }

    fn value(&self, setting: &Setting) -> Option<&'a Value> {
        self.entry(setting).map(|entry| &entry.item.value)
    }
}
