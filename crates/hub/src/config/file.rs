//! The project file as typed: a tree of values, each with its place in the text.
//!
//! It knows TOML and nothing of what the keys mean; `shape.rs` holds the tree against the declarations in
//! `settings/`, `resolve/` makes the plan of it.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// How deep tables and lists may nest; the deepest key of a project has six levels.
const DEPTH_MAX: usize = 32;

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    pub(super) span: Range<usize>,
    pub(super) value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    /// `None` where the number does not fit 64 bits.
    Integer(Option<i64>),
    Float,
    Flag(bool),
    Date,
    List(Vec<Item>),
    Table(Table),
}

impl Value {
    /// Returns what it is, as a part of a sentence.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer(_) => "a whole number",
            Self::Float => "a number with a fraction",
            Self::Flag(_) => "true or false",
            Self::Date => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// The entries of a table, in the order of the file.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Table {
    pub(super) entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Range<usize>,
    pub(super) item: Item,
}

impl Table {
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    pub(super) fn remove(&mut self, key: &str) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(at))
    }
}

/// A fault of the TOML itself.
#[derive(PartialEq)]
pub(super) struct SyntaxError {
    pub(super) span: Range<usize>,
    pub(super) message: String,
}

/// Reads TOML; the table holds what could be read besides the faults.
pub(super) fn read(text: &str) -> (Table, Vec<SyntaxError>) {
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut errors: Vec<_> = errors
        .into_iter()
        .map(|error| SyntaxError { span: error.span().unwrap_or(0..0), message: error.message().to_owned() })
        .collect();
    let table = table_of(root.into_inner(), 0, &mut errors);
    (table, errors)
}

fn table_of(table: DeTable<'_>, depth: usize, errors: &mut Vec<SyntaxError>) -> Table {
    let mut entries: Vec<Entry> = table
        .into_iter()
        .map(|(key, value)| Entry {
            key_span: key.span(),
            key: key.into_inner().into_owned(),
            item: item_of(value, depth + 1, errors),
        })
        .collect();
    entries.sort_by_key(|entry| entry.key_span.start);
    Table { entries }
}

fn item_of(value: Spanned<DeValue<'_>>, depth: usize, errors: &mut Vec<SyntaxError>) -> Item {
    let span = value.span();
    if depth > DEPTH_MAX {
        let message = format!("tables and lists nest deeper than {DEPTH_MAX} levels");
        errors.push(SyntaxError { span: span.clone(), message });
        return Item { span, value: Value::Table(Table::default()) };
    }
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => Value::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok()),
        DeValue::Float(_) => Value::Float,
        DeValue::Boolean(flag) => Value::Flag(flag),
        DeValue::Datetime(_) => Value::Date,
        DeValue::Array(items) => {
            Value::List(items.into_iter().map(|item| item_of(item, depth + 1, errors)).collect())
        }
        DeValue::Table(table) => Value::Table(table_of(table, depth, errors)),
    };
    Item { span, value }
}
