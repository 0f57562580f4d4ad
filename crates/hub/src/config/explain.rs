//! What a key is in effect, and why: written, from an environment, from a preset, by default, or made of other keys.
//!
//! It asks the tree that the plan is made of, so that it can say nothing else than what runs. It answers for a file
//! with errors too, as long as that is TOML. A secret is never part of an answer.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::diagnostic::{Diagnostic, Findings, Severity, Source};
use super::file::{self, Entry, Item, Table, Value};
use super::preset;
use super::resolve::derived;
use super::setting::{Setting, Shape};
use super::settings::{self, ENVIRONMENT};
use super::suggest::closest;
use super::{Plan, mask, overlay};
use crate::secret::KeySource;

/// A key of the project file, and what it is in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// The key path.
    pub path: String,
    /// What is in effect.
    pub value: Shown,
    /// Why.
    pub origin: Origin,
    /// What the environment replaced or took away, and its line in the file.
    pub replaced: Option<(Shown, usize)>,
    /// What may stand there, bounds and choices included.
    pub values: String,
    /// The value when it is not written, if that does not depend on other keys.
    pub default: Option<String>,
    /// What it does.
    pub help: &'static str,
}

/// A value as far as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// The value, as it would be written in the file.
    Value(String),
    /// A secret: that it is there and no more.
    Hidden,
    /// There is none.
    Nothing,
}

/// Where a value came from. Lines are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// It is written in the project.
    Written {
        /// The line.
        line: usize,
    },
    /// It is written in the overlay of an environment.
    Environment {
        /// The name of the environment.
        name: String,
        /// The line.
        line: usize,
    },
    /// A preset fills it in.
    Preset {
        /// The name of the preset.
        name: String,
        /// The line that names the preset.
        line: usize,
    },
    /// It is not written and depends on other keys.
    OtherKeys,
    /// It is not written, and this is what it is then.
    Default,
}

/// Why nothing can be explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExplainError {
    /// The file cannot be read, is not TOML, or lacks the environment.
    File(Vec<Diagnostic>),
    /// There is no such key.
    Key {
        /// What is wrong with it.
        what: String,
        /// What to ask for instead.
        help: String,
    },
}

/// Explains a key, or every key of a table: `connector.plant.url`, `connector.plant`, or `` for all that is written.
/// `sealing` opens what is sealed.
///
/// # Errors
/// The file is no TOML, has no such environment, or there is no such key.
pub fn explain(
    path: &Path,
    environment: Option<&str>,
    sealing: &KeySource,
    key: &str,
) -> Result<Vec<Explained>, ExplainError> {
    let name = path.display().to_string();
    let text = super::read(path).map_err(|reason| ExplainError::File(super::unreadable(&name, &reason)))?;
    let (plan, findings) = match super::check(&text, &name, path, environment, sealing) {
        Ok((plan, _)) => (Some(plan), Vec::new()),
        Err(findings) => (None, findings),
    };
    Asked::new(&text, environment, plan.as_ref(), findings)?.answer(key)
}

/// A file and what is in effect of it.
struct Asked<'a> {
    text: &'a str,
    /// The text with secrets masked, byte for byte.
    masked: String,
    base: Table,
    merged: Table,
    environment: Option<&'a str>,
    /// Where the overlay of the environment has its keys.
    overlaid: BTreeSet<usize>,
    /// `None` when the file has errors.
    plan: Option<&'a Plan>,
}

impl<'a> Asked<'a> {
    fn new(
        text: &'a str,
        environment: Option<&'a str>,
        plan: Option<&'a Plan>,
        findings: Vec<Diagnostic>,
    ) -> Result<Self, ExplainError> {
        let (base, syntax_errors) = file::read(text);
        let mut merged = base.clone();
        let mut unmerged = Findings::new(Arc::new(Source::default()));
        overlay::apply(&mut merged, environment, &mut unmerged);
        let is_unknown = unmerged.into_list().iter().any(|finding| finding.span.is_none());
        if !syntax_errors.is_empty() || is_unknown {
            let errors = findings.into_iter().filter(|finding| finding.severity == Severity::Error);
            return Err(ExplainError::File(errors.collect()));
        }
        preset::fill(&mut merged);
        let mut overlaid = BTreeSet::new();
        if let Some(overlay) = environment.and_then(|name| table_at(&base, &[ENVIRONMENT.key, name])) {
            places(overlay, &mut overlaid);
        }
        let masked = mask::masked(text, &base).text;
        Ok(Self { text, masked, base, merged, environment, overlaid, plan })
    }

    fn answer(&self, key: &str) -> Result<Vec<Explained>, ExplainError> {
        let keys = keys_of(key)?;
        let found = self.locate(&keys)?;
        let mut answer = Vec::new();
        match found {
            Found::Key(setting) => answer.push(self.explained(setting, &keys)),
            Found::Keys(known) => self.all(known, &keys, &mut answer),
            Found::Names(known) => self.all_named(known, &keys, &mut answer),
        }
        Ok(answer)
    }

    /// Finds what the keys stand for in the declarations.
    fn locate(&self, keys: &[String]) -> Result<Found, ExplainError> {
        let mut found = Found::Keys(settings::PROJECT);
        for (depth, key) in keys.iter().enumerate() {
            let before = keys.get(..depth).unwrap_or_default();
            found = match found {
                Found::Keys(known) | Found::Key(&Setting { shape: Shape::TextOrTable(known), .. }) => {
                    match known.iter().find(|setting| setting.key == key) {
                        Some(setting) => into(setting),
                        None => return Err(unknown_key(before, key, known)),
                    }
                }
                Found::Names(known) => {
                    self.check_name(before, key)?;
                    Found::Keys(known)
                }
                Found::Key(Setting { shape: Shape::Secrets, .. }) => return Err(secret_name(before)),
                Found::Key(setting) if setting.key == ENVIRONMENT.key => return Err(overlays(keys)),
                Found::Key(_) => return Err(no_table(before, key)),
            };
        }
        Ok(found)
    }

    fn check_name(&self, before: &[String], name: &str) -> Result<(), ExplainError> {
        let before: Vec<&str> = before.iter().map(String::as_str).collect();
        let names = table_at(&self.merged, &before).map(|table| table.entries.as_slice()).unwrap_or_default();
        let mut names = names.iter().map(|entry| entry.key.as_str());
        if names.any(|known| known == name) {
            return Ok(());
        }
        let path = before.join(".");
        let known: Vec<&str> = table_at(&self.merged, &before)
            .into_iter()
            .flat_map(|table| table.entries.iter().map(|entry| entry.key.as_str()))
            .collect();
        let help = match closest(name, known.iter().copied()) {
            Some(meant) => format!("did you mean {path}.{meant}?"),
            None if known.is_empty() => format!("the file has none; a section [{path}.{name}] makes it"),
            None => format!("there are {}", known.join(", ")),
        };
        Err(ExplainError::Key { what: format!("the file has no `{path}.{name}`"), help })
    }

    /// Explains every key of a table, with those of the tables in it.
    fn all(&self, known: &[&'static Setting], keys: &[String], answer: &mut Vec<Explained>) {
        for setting in known.iter().copied() {
            let keys = [keys, &[setting.key.to_owned()]].concat();
            match into(setting) {
                Found::Key(Setting { shape: Shape::NotYet | Shape::Overlays, .. }) => {}
                Found::Key(setting) => answer.push(self.explained(setting, &keys)),
                Found::Keys(known) => self.all(known, &keys, answer),
                Found::Names(known) => self.all_named(known, &keys, answer),
            }
        }
    }

    fn all_named(&self, known: &'static [&'static Setting], keys: &[String], answer: &mut Vec<Explained>) {
        let path: Vec<&str> = keys.iter().map(String::as_str).collect();
        let Some(table) = table_at(&self.merged, &path) else { return };
        for entry in &table.entries {
            self.all(known, &[keys, std::slice::from_ref(&entry.key)].concat(), answer);
        }
    }

    fn explained(&self, setting: &'static Setting, keys: &[String]) -> Explained {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let path = keys.join(".");
        let (value, origin) = match entry_at(&self.merged, &keys) {
            Some(entry) => (self.shown(setting, &entry.item), self.origin(entry, &keys)),
            None => match self.plan.and_then(|plan| derived::value(plan, &keys)) {
                Some(value) => (Shown::Value(value), Origin::OtherKeys),
                None => {
                    let default = setting.shape.default_text();
                    (default.map_or(Shown::Nothing, Shown::Value), Origin::Default)
                }
            },
        };
        let (values, default) = (setting.shape.values(), setting.shape.default_text());
        let replaced = self.replaced(setting, &keys, &value);
        Explained { path, value, origin, replaced, values, default, help: setting.help }
    }

    fn replaced(&self, setting: &Setting, keys: &[&str], value: &Shown) -> Option<(Shown, usize)> {
        let before = entry_at(&self.base, keys)?;
        let now = entry_at(&self.merged, keys);
        let is_same = now.is_some_and(|now| now.key_span == before.key_span);
        let shown = self.shown(setting, &before.item);
        (!is_same && (shown != *value || shown == Shown::Hidden))
            .then(|| (shown, self.line(&before.key_span)))
    }

    fn origin(&self, entry: &Entry, keys: &[&str]) -> Origin {
        let line = self.line(&entry.key_span);
        if let Some(name) = self.filled_by(entry, keys) {
            return Origin::Preset { name: name.to_owned(), line };
        }
        match self.environment {
            Some(name) if self.overlaid.contains(&entry.key_span.start) => {
                Origin::Environment { name: name.to_owned(), line }
            }
            _ => Origin::Written { line },
        }
    }

    /// Returns the preset that filled a key in: its place is that of the preset's name.
    fn filled_by(&self, entry: &Entry, keys: &[&str]) -> Option<&str> {
        let connector = keys.get(..2)?;
        let preset = table_at(&self.merged, connector)?.entry(settings::connector::PRESET.key)?;
        match &preset.item.value {
            Value::Text(name) if preset.item.span == entry.key_span => Some(name),
            _ => None,
        }
    }

    fn shown(&self, setting: &Setting, item: &Item) -> Shown {
        let is_secret = match setting.shape {
            Shape::Secret | Shape::Secrets => true,
            Shape::TextOrTable(_) => matches!(item.value, Value::Table(_)),
            _ => false,
        };
        let is_masked = self.text.get(item.span.clone()) != self.masked.get(item.span.clone());
        match (&item.value, is_secret) {
            // Where it is kept is no secret.
            (Value::Text(text), true) if mask::is_reference(text) => Shown::Value(format!("{text:?}")),
            (_, true) => Shown::Hidden,
            _ if is_masked => Shown::Hidden,
            (value, false) => Shown::Value(text_of(value)),
        }
    }

    fn line(&self, span: &Range<usize>) -> usize {
        self.text.get(..span.start).map_or(0, |before| before.matches('\n').count()) + 1
    }
}

/// What a key path stands for.
#[derive(Clone, Copy)]
enum Found {
    /// A key with a value.
    Key(&'static Setting),
    /// A table of keys.
    Keys(&'static [&'static Setting]),
    /// A table of names.
    Names(&'static [&'static Setting]),
}

fn into(setting: &'static Setting) -> Found {
    match setting.shape {
        Shape::Table(known) => Found::Keys(known),
        Shape::Named(known) => Found::Names(known),
        _ => Found::Key(setting),
    }
}

/// Reads a key path as TOML reads a dotted key.
fn keys_of(path: &str) -> Result<Vec<String>, ExplainError> {
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let (mut table, errors) = file::read(&format!("{path} = 0"));
    let mut keys = Vec::new();
    while let Some(entry) = table.entries.pop() {
        keys.push(entry.key);
        match entry.item.value {
            Value::Table(inner) if table.entries.is_empty() => table = inner,
            _ => break,
        }
    }
    if !errors.is_empty() || !table.entries.is_empty() {
        let what = format!("`{}` is not a key path", path.escape_debug());
        let help =
            "write it with dots, such as connector.plant.url, and quotes where TOML wants them".to_owned();
        return Err(ExplainError::Key { what, help });
    }
    Ok(keys)
}

fn unknown_key(before: &[String], key: &str, known: &[&Setting]) -> ExplainError {
    let path = |key: &str| [before, &[key.to_owned()]].concat().join(".");
    let help = match closest(key, known.iter().map(|setting| setting.key)) {
        Some(meant) => format!("did you mean {}?", path(meant)),
        None => format!(
            "the keys here are {}",
            known.iter().map(|setting| setting.key).collect::<Vec<_>>().join(", ")
        ),
    };
    ExplainError::Key { what: format!("`{}` is not a known key", path(key).escape_debug()), help }
}

fn secret_name(before: &[String]) -> ExplainError {
    let path = before.join(".");
    ExplainError::Key {
        what: format!("the values of `{path}` are never shown"),
        help: format!("ask for {path}"),
    }
}

fn overlays(keys: &[String]) -> ExplainError {
    let rest = keys.get(2..).unwrap_or_default().join(".");
    let name = keys.get(1).map_or("NAME", String::as_str);
    let help = format!("ask for {rest} with --env {name}").replace("for  with", "for a key with");
    ExplainError::Key { what: "an environment is merged over the rest of the file".to_owned(), help }
}

fn no_table(before: &[String], key: &str) -> ExplainError {
    let path = before.join(".");
    ExplainError::Key {
        what: format!("`{path}` is no table, so it has no `{}`", key.escape_debug()),
        help: format!("ask for {path}"),
    }
}

fn entry_at<'a>(table: &'a Table, keys: &[&str]) -> Option<&'a Entry> {
    let (last, before) = keys.split_last()?;
    table_at(table, before)?.entry(last)
}

fn table_at<'a>(mut table: &'a Table, keys: &[&str]) -> Option<&'a Table> {
    for key in keys {
        match &table.entry(key)?.item.value {
            Value::Table(inner) => table = inner,
            _ => return None,
        }
    }
    Some(table)
}

/// Gathers where the keys of a table and of all in it begin.
fn places(table: &Table, found: &mut BTreeSet<usize>) {
    for entry in &table.entries {
        found.insert(entry.key_span.start);
        if let Value::Table(inner) = &entry.item.value {
            places(inner, found);
        }
    }
}

/// Returns a value on one line as TOML.
fn text_of(value: &Value) -> String {
    let list = |items: Vec<String>| items.join(", ");
    match value {
        Value::Text(text) => format!("{text:?}"),
        Value::Integer(Some(number)) => number.to_string(),
        Value::Flag(flag) => flag.to_string(),
        Value::List(items) => format!("[{}]", list(items.iter().map(|item| text_of(&item.value)).collect())),
        Value::Table(table) => {
            let entry = |entry: &Entry| format!("{} = {}", entry.key, text_of(&entry.item.value));
            format!("{{ {} }}", list(table.entries.iter().map(entry).collect()))
        }
        Value::Integer(None) | Value::Float | Value::Date => format!("({})", value.kind()),
    }
}
