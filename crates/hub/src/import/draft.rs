//! The project file that is being made: sections with entries and comments, and how they are written.
//!
//! Keys are those of `config::settings`, so nothing is written that is not declared there, and no number that is out
//! of its bounds.

use crate::config::setting::{Setting, Shape};
use crate::config::settings;

/// A project file.
#[derive(Default)]
pub(super) struct Draft {
    /// What stands at the top.
    pub(super) preface: Vec<String>,
    /// What sealed secrets know the project by.
    pub(super) id: Option<String>,
    sections: Vec<Section>,
}

/// One table of the project file.
#[derive(Clone, Default)]
pub(super) struct Section {
    /// The parts of its path.
    path: Vec<String>,
    comments: Vec<String>,
    entries: Vec<(String, Value)>,
}

/// What a key holds.
#[derive(Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Flag(bool),
    List(Vec<Value>),
    /// A table on one line.
    Inline(Vec<(String, Value)>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<Vec<String>> for Value {
    fn from(texts: Vec<String>) -> Self {
        Self::List(texts.into_iter().map(Self::Text).collect())
    }
}

impl Draft {
    pub(super) fn push(&mut self, section: Section) {
        self.sections.push(section);
    }

    /// Keeps a place for a section that is known later.
    pub(super) fn reserve(&mut self) -> usize {
        self.sections.push(Section::default());
        self.sections.len() - 1
    }

    /// Fills a place that was kept; one without entries is not written.
    pub(super) fn fill(&mut self, position: usize, section: Section) {
        if let Some(place) = self.sections.get_mut(position) {
            *place = section;
        }
    }

    /// Tells whether there is a section with this path.
    pub(super) fn has(&self, path: &[&str]) -> bool {
        self.sections.iter().any(|section| section.path == path)
    }

    /// Writes the project file.
    pub(super) fn render(&self) -> String {
        let mut text = String::new();
        for line in &self.preface {
            text.push_str(&comment(line));
        }
        if let Some(id) = &self.id {
            text.push_str(&format!("{} = {}\n", settings::ID.key, quoted(id)));
        }
        for section in self.sections.iter().filter(|section| !section.entries.is_empty()) {
            if !text.is_empty() {
                text.push('\n');
            }
            for line in &section.comments {
                text.push_str(&comment(line));
            }
            let path: Vec<_> = section.path.iter().map(|part| key(part)).collect();
            text.push_str(&format!("[{}]\n", path.join(".")));
            for (name, value) in &section.entries {
                text.push_str(&format!("{name} = {}\n", written(value)));
            }
        }
        text
    }
}

impl Section {
    pub(super) fn new(path: &[&str]) -> Self {
        Self { path: path.iter().map(|part| (*part).to_owned()).collect(), ..Self::default() }
    }

    /// Adds a comment before the section.
    pub(super) fn comment(&mut self, line: impl Into<String>) {
        self.comments.push(line.into());
    }

    /// Sets a key.
    pub(super) fn set(&mut self, setting: &Setting, value: impl Into<Value>) {
        self.set_path(setting.key.to_owned(), value.into());
    }

    /// Sets a key of a table inside, such as `tls.ca`.
    pub(super) fn set_in(&mut self, table: &Setting, setting: &Setting, value: impl Into<Value>) {
        self.set_path(format!("{}.{}", table.key, setting.key), value.into());
    }

    /// Sets a number; one that is out of bounds becomes the nearest that is not, which is returned then.
    pub(super) fn set_integer(&mut self, setting: &Setting, number: i64) -> Result<(), i64> {
        let nearest = match setting.shape {
            Shape::Integer { min, max, .. } => number.clamp(min, max),
            _ => number,
        };
        self.set_path(setting.key.to_owned(), Value::Integer(nearest));
        if nearest == number { Ok(()) } else { Err(nearest) }
    }

    pub(super) fn has(&self, setting: &Setting) -> bool {
        self.entries.iter().any(|(key, _)| key == setting.key)
    }

    pub(super) fn has_in(&self, table: &Setting, setting: &Setting) -> bool {
        let path = format!("{}.{}", table.key, setting.key);
        self.entries.iter().any(|(key, _)| *key == path)
    }

    /// Returns the path of a key of this section.
    pub(super) fn path_of(&self, key: &str) -> String {
        format!("{}.{key}", self.path.join("."))
    }

    fn set_path(&mut self, key: String, value: Value) {
        self.entries.retain(|(other, _)| *other != key);
        self.entries.push((key, value));
    }
}

fn comment(line: &str) -> String {
    let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.is_empty() { "#\n".to_owned() } else { format!("# {line}\n") }
}

fn key(name: &str) -> String {
    let is_bare =
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    if is_bare { name.to_owned() } else { quoted(name) }
}

fn written(value: &Value) -> String {
    match value {
        Value::Text(text) if text.contains('\n') && !text.contains("'''") && is_printable(text) => {
            format!("'''\n{}'''", text.replace("\r\n", "\n"))
        }
        Value::Text(text) => quoted(text),
        Value::Integer(number) => number.to_string(),
        Value::Flag(flag) => flag.to_string(),
        Value::List(items) => {
            let items: Vec<_> = items.iter().map(written).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Inline(entries) => {
            let entries: Vec<_> =
                entries.iter().map(|(name, value)| format!("{} = {}", key(name), written(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
    }
}

/// Tells whether a text may stand in a literal of several lines.
fn is_printable(text: &str) -> bool {
    text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t'))
        && !text.replace("\r\n", "\n").contains('\r')
        && !text.ends_with('\'')
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            letter if letter.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(letter))),
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_reads_as_what_was_written() {
        for text in
            ["", "plain", "\"\\", "a\nb\n", "'''\n", "it's\n'", "\u{1}\r\n", "\u{7f}", "ü\tx", "\n", "a\rb\n"]
        {
            let toml = format!("a = {}", written(&Value::from(text)));
            let read: toml::Table = toml.parse().unwrap();
            let expected = if is_printable(text) { text.replace("\r\n", "\n") } else { text.to_owned() };
            assert_eq!(read["a"].as_str(), Some(expected.as_str()), "{toml}");
        }
    }

    #[test]
    fn a_section_holds_comments_keys_and_quoted_names() {
        let mut section = Section::new(&["broker", "user", "a b"]);
        section.comment("two\nlines");
        section.set(&settings::broker::USER_ROLES, vec!["r".to_owned()]);
        let mut draft = Draft::default();
        draft.push(section);
        assert_eq!(draft.render(), "# two lines\n[broker.user.\"a b\"]\nroles = [\"r\"]\n");
    }
}
