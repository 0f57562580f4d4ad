//! Holds the tree against the declarations: unknown keys, kinds, bounds.
//!
//! Everything that one key alone can get wrong is found here, once, for the project and for every overlay. What
//! comes after reads keys of the right shape and takes the default for the others.

use std::ops::Range;

use super::diagnostic::Findings;
use super::file::{Entry, Item, Table, Value};
use super::setting::{Setting, Shape};
use super::settings::{self, UNSET};
use super::suggest::{closest, grouped, listed};

/// How long a name may be.
pub(super) const NAME_CHARACTERS_MAX: usize = 64;

/// The word of `check --env` that no environment may have as its name.
pub(super) const ALL_ENVIRONMENTS: &str = "all";

/// Checks a project or, inside it, the overlays.
pub(super) fn check(root: &Table, findings: &mut Findings) {
    Walk { findings, overlay: None }.table(root, settings::PROJECT, "");
}

struct Walk<'a> {
    findings: &'a mut Findings,
    /// The name of the environment that is walked.
    overlay: Option<String>,
}

impl Walk<'_> {
    fn table(&mut self, table: &Table, known: &[&Setting], path: &str) {
        for entry in &table.entries {
            let path = join(path, &entry.key);
            match known.iter().find(|setting| setting.key == entry.key) {
                Some(setting) => self.setting(setting, entry, &path),
                None if entry.key == UNSET && self.overlay.is_some() => self.texts(&entry.item, UNSET, &path),
                None => self.unknown(entry, known, &path),
            }
        }
    }

    fn setting(&mut self, setting: &Setting, entry: &Entry, path: &str) {
        let item = &entry.item;
        match (&setting.shape, &item.value) {
            (Shape::NotYet, _) => self.not_yet(setting, entry, path),
            (Shape::Flag { .. }, Value::Flag(_))
            | (Shape::Text { .. } | Shape::Secret | Shape::TextOrTable(_), Value::Text(_)) => {}
            (Shape::Integer { min, max, .. }, Value::Integer(number)) => {
                self.bounds(setting, item, path, *number, *min, *max);
            }
            (Shape::Choice { values, .. }, Value::Text(word)) => {
                self.choice(setting, item, path, values, word)
            }
            (Shape::Texts, Value::Text(_) | Value::List(_)) => self.texts(item, setting.key, path),
            (Shape::Secrets, Value::Table(table)) => self.secrets(table, path),
            (Shape::Pairs, Value::Table(table)) => self.pairs(table, path),
            (Shape::Table(known) | Shape::TextOrTable(known), Value::Table(table)) => {
                self.table(table, known, path)
            }
            (Shape::Tables(known), Value::Table(table)) => self.table(table, known, path),
            (Shape::Tables(known), Value::List(items)) => self.tables(setting, items, known, path),
            (Shape::Named(known), Value::Table(table)) => self.named(setting, table, known, path),
            (Shape::Overlays, Value::Table(table)) if self.overlay.is_none() => self.overlays(table),
            (Shape::Overlays, Value::Table(_)) => self.nested_overlay(entry),
            _ => self.wrong_kind(setting, entry, path),
        }
    }

    fn bounds(
        &mut self,
        setting: &Setting,
        item: &Item,
        path: &str,
        number: Option<i64>,
        min: i64,
        max: i64,
    ) {
        if number.is_some_and(|number| (min..=max).contains(&number)) {
            return;
        }
        let label = match number {
            Some(number) if number < min => format!("{} is less than {}", grouped(number), grouped(min)),
            Some(number) => format!("{} is more than {}", grouped(number), grouped(max)),
            None => format!("this is more than {}", grouped(max)),
        };
        let finding = self.findings.error(&item.span, format!("`{path}` is out of bounds"));
        finding.label(label).help(example(setting));
    }

    fn choice(&mut self, setting: &Setting, item: &Item, path: &str, values: &[&str], word: &str) {
        if values.contains(&word) {
            return;
        }
        let finding = self.findings.error(&item.span, format!("`{path}` cannot be \"{word}\""));
        finding.label(format!("not one of {}", listed(values)));
        match closest(word, values.iter().copied()) {
            Some(meant) => finding.help(format!("did you mean {} = \"{meant}\"?", setting.key)),
            None => finding.help(example(setting)),
        };
    }

    fn texts(&mut self, item: &Item, key: &str, path: &str) {
        let Value::List(items) = &item.value else { return };
        for item in items.iter().filter(|item| !matches!(item.value, Value::Text(_))) {
            let message = format!("`{path}` holds texts, and one of them is {}", item.value.kind());
            self.findings
                .error(&item.span, message)
                .label("not a text")
                .help(format!("write {key} = [\"...\"]"));
        }
    }

    fn secrets(&mut self, table: &Table, path: &str) {
        for entry in table.entries.iter().filter(|entry| !matches!(entry.item.value, Value::Text(_))) {
            let message =
                format!("`{}` is {}, but must be a text", join(path, &entry.key), entry.item.value.kind());
            let finding = self.findings.error(&entry.item.span, message);
            finding.label("not a text").help("write \"...\", \"env:NAME\" or \"file:PATH\"");
        }
    }

    fn pairs(&mut self, table: &Table, path: &str) {
        for entry in &table.entries {
            let path = join(path, &entry.key);
            match &entry.item.value {
                Value::Text(_) => {}
                Value::List(_) => self.texts(&entry.item, &entry.key, &path),
                other => {
                    let message =
                        format!("`{path}` is {}, but must be a text or a list of texts", other.kind());
                    let finding = self.findings.error(&entry.item.span, message);
                    finding.label("not a text").help("write it in quotes");
                }
            }
        }
    }

    fn tables(&mut self, setting: &Setting, items: &[Item], known: &[&Setting], path: &str) {
        for item in items {
            match &item.value {
                Value::Table(table) => self.table(table, known, path),
                other => {
                    let message = format!("`{path}` holds tables, and one of them is {}", other.kind());
                    let finding = self.findings.error(&item.span, message);
                    finding.label("not a table").help(example(setting));
                }
            }
        }
    }

    fn named(&mut self, setting: &Setting, table: &Table, known: &[&Setting], path: &str) {
        for entry in &table.entries {
            if entry.key == UNSET && self.overlay.is_some() && !matches!(entry.item.value, Value::Table(_)) {
                self.texts(&entry.item, UNSET, path);
                continue;
            }
            self.name(setting, entry);
            match &entry.item.value {
                Value::Table(table) => self.table(table, known, &join(path, &entry.key)),
                _ => self.not_a_section(setting, entry),
            }
        }
    }

    fn name(&mut self, setting: &Setting, entry: &Entry) {
        // Users are named as they sign in, but never so that `%u` in a rule becomes a wildcard.
        let is_user = setting.key == settings::broker::USER.key;
        let is_usable = |c: char| match is_user {
            true => !c.is_control() && !matches!(c, '+' | '#'),
            false => c.is_ascii_alphanumeric() || matches!(c, '-' | '_'),
        };
        let length = entry.key.chars().count();
        if (1..=NAME_CHARACTERS_MAX).contains(&length) && entry.key.chars().all(is_usable) {
            return;
        }
        let message = format!("\"{}\" cannot be the name of a {}", entry.key.escape_debug(), setting.key);
        let finding = self.findings.error(&entry.key_span, message);
        let characters =
            if is_user { "characters without `+` and `#`" } else { "letters, digits, `-` and `_`" };
        finding.label("not a usable name").help(format!("use 1 to {NAME_CHARACTERS_MAX} {characters}"));
    }

    fn not_a_section(&mut self, setting: &Setting, entry: &Entry) {
        let key = setting.key;
        let message =
            format!("`{key}` holds sections with names, and `{}` is {}", entry.key, entry.item.value.kind());
        let finding = self.findings.error(&entry.key_span, message);
        finding.label("a name is missing").help(format!("write it under a name: [{key}.NAME]"));
    }

    fn overlays(&mut self, table: &Table) {
        for entry in &table.entries {
            self.name(&settings::ENVIRONMENT, entry);
            if entry.key == ALL_ENVIRONMENTS {
                let message = "\"all\" cannot be the name of an environment";
                let finding = self.findings.error(&entry.key_span, message).label("means every environment");
                finding.help("choose another name: `crosspoint check --env all` checks them all");
            }
            match &entry.item.value {
                Value::Table(overlay) => {
                    self.overlay = Some(entry.key.clone());
                    self.table(overlay, settings::PROJECT, "");
                    self.overlay = None;
                }
                _ => self.not_a_section(&settings::ENVIRONMENT, entry),
            }
        }
    }

    fn nested_overlay(&mut self, entry: &Entry) {
        let message = "an environment cannot hold another environment";
        let finding = self.findings.error(&entry.key_span, message);
        finding.label("nested").help("write each environment at the top: [environment.NAME]");
    }

    fn not_yet(&mut self, setting: &Setting, entry: &Entry, path: &str) {
        let finding = self.findings.error(&entry.key_span, format!("`{path}` is not in this version"));
        finding.label("known, but not built yet");
        finding.help(format!("remove the key; it would mean: {}", setting.help));
    }

    fn wrong_kind(&mut self, setting: &Setting, entry: &Entry, path: &str) {
        let (kind, wanted) = (entry.item.value.kind(), wanted(&setting.shape));
        let span: &Range<usize> = match entry.item.value {
            Value::Table(_) => &entry.key_span,
            _ => &entry.item.span,
        };
        let finding = self.findings.error(span, format!("`{path}` is {kind}, but must be {wanted}"));
        finding.label(format!("not {wanted}")).help(example(setting));
    }

    fn unknown(&mut self, entry: &Entry, known: &[&Setting], path: &str) {
        let finding = self.findings.error(&entry.key_span, format!("`{path}` is not a known key"));
        finding.label("unknown key");
        match closest(&entry.key, known.iter().map(|setting| setting.key)) {
            Some(meant) => finding.help(format!("did you mean `{meant}`?")),
            None => {
                let is_usable = |setting: &&&Setting| setting.shape != Shape::NotYet;
                let keys: Vec<_> = known.iter().filter(is_usable).map(|setting| setting.key).collect();
                finding.help(format!("the keys here are {}", keys.join(", ")))
            }
        };
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn wanted(shape: &Shape) -> &'static str {
    match shape {
        Shape::Flag { .. } => "true or false",
        Shape::Integer { .. } => "a whole number",
        Shape::Text { .. } | Shape::Choice { .. } | Shape::Secret => "a text",
        Shape::Texts => "a text or a list of texts",
        Shape::TextOrTable(_) => "a text or a table",
        Shape::Tables(_) => "a table or a list of tables",
        Shape::Secrets
        | Shape::Pairs
        | Shape::Table(_)
        | Shape::Named(_)
        | Shape::Overlays
        | Shape::NotYet => "a table",
    }
}

/// Says what to write at a key, from its declaration.
fn example(setting: &Setting) -> String {
    let key = setting.key;
    match &setting.shape {
        Shape::Flag { .. } => format!("write {key} = true or {key} = false"),
        Shape::Integer { min, max, default } => {
            let bounds =
                format!("write a number from {} to {}, without quotes", grouped(*min), grouped(*max));
            default.map_or(bounds.clone(), |default| format!("{bounds} (default: {})", grouped(default)))
        }
        Shape::Text { .. } => format!("write {key} = \"...\""),
        Shape::Choice { values, .. } => format!("write one of {}", listed(values)),
        Shape::Secret => format!("write {key} = \"env:NAME\", {key} = \"file:PATH\" or the text itself"),
        Shape::Texts => format!("write {key} = \"...\" or {key} = [\"...\", \"...\"]"),
        Shape::Secrets | Shape::Pairs => format!("write {key} = {{ Name = \"value\" }}"),
        Shape::Table(_) | Shape::Overlays | Shape::NotYet => {
            format!("write {key} as a table: {key} = {{ ... }}")
        }
        Shape::TextOrTable(_) => format!("write {key} = \"...\" or {key} = {{ ... }}"),
        Shape::Tables(_) => format!("write {key} = [{{ ... }}]"),
        Shape::Named(_) => format!("write it under a name: [{key}.NAME]"),
    }
}
