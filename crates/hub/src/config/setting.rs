//! What a key of the project file is: its name, shape, bounds, default and help, declared once.
//!
//! The declarations themselves lie in `settings/`. The check of shapes, the defaults, the error texts, the schema, the
//! reference pages and the answers of `explain` come from them; forms can be made from the same constants.

use std::ops::RangeInclusive;

use super::suggest::{grouped, listed};

/// One key of the project file.
#[derive(Debug, PartialEq)]
pub struct Setting {
    /// The key, as it is written.
    pub key: &'static str,
    /// What may stand there.
    pub shape: Shape,
    /// What it does, in a sentence or two without a default or bounds: those are in the shape.
    pub help: &'static str,
}

/// What may stand at a key.
#[derive(Debug, PartialEq)]
pub enum Shape {
    /// `true` or `false`; without a default it depends on other keys.
    Flag {
        /// The value when the key is not written.
        default: Option<bool>,
    },
    /// A whole number within bounds.
    Integer {
        /// The smallest value.
        min: i64,
        /// The largest value.
        max: i64,
        /// The value when the key is not written; without one it depends on other keys.
        default: Option<i64>,
    },
    /// Text.
    Text {
        /// The value when the key is not written.
        default: Option<&'static str>,
    },
    /// One of a few words.
    Choice {
        /// The words.
        values: &'static [&'static str],
        /// The word when the key is not written; without one it depends on other keys.
        default: Option<&'static str>,
    },
    /// Text that is never shown: itself, `env:NAME` or `file:PATH`.
    Secret,
    /// One text or a list of texts.
    Texts,
    /// A table from free names to secrets.
    Secrets,
    /// A table from free names to texts or lists of texts.
    Pairs,
    /// A table.
    Table(&'static [&'static Setting]),
    /// Text that is never shown (itself, `env:NAME` or `file:PATH`), or a table.
    TextOrTable(&'static [&'static Setting]),
    /// One table or a list of tables.
    Tables(&'static [&'static Setting]),
    /// A table whose keys are names and whose values are tables.
    Named(&'static [&'static Setting]),
    /// A table whose keys are names and whose values are overlays of the whole project.
    Overlays,
    /// A key that other versions know; here it is an error and never ignored.
    NotYet,
}

impl Shape {
    /// Returns what may stand there in a few words, bounds and choices included.
    pub fn values(&self) -> String {
        match self {
            Self::Flag { .. } => "true or false".to_owned(),
            Self::Integer { min, max, .. } => format!("{} to {}", grouped(*min), grouped(*max)),
            Self::Text { .. } => "a text".to_owned(),
            Self::Choice { values, .. } => listed(values),
            Self::Secret => "a secret".to_owned(),
            Self::Texts => "a text or a list of texts".to_owned(),
            Self::Secrets => "names with a secret each".to_owned(),
            Self::Pairs => "names with a text or a list of texts each".to_owned(),
            Self::Table(_) => "a table".to_owned(),
            Self::TextOrTable(_) => "a secret or a table".to_owned(),
            Self::Tables(_) => "a table or a list of tables".to_owned(),
            Self::Named(_) => "names with a table each".to_owned(),
            Self::Overlays => "names with an overlay of the project each".to_owned(),
            Self::NotYet => "nothing in this version".to_owned(),
        }
    }

    /// Returns the value when the key is not written, as it would be written; `None` where there is none or it depends
    /// on other keys.
    pub fn default_text(&self) -> Option<String> {
        match self {
            Self::Flag { default } => default.map(|flag| flag.to_string()),
            Self::Integer { default, .. } => default.map(|number| number.to_string()),
            Self::Text { default } | Self::Choice { default, .. } => {
                default.map(|text| format!("\"{text}\""))
            }
            _ => None,
        }
    }
}

impl Setting {
    pub(super) const fn flag(key: &'static str, default: bool, help: &'static str) -> Self {
        Self { key, shape: Shape::Flag { default: Some(default) }, help }
    }

    pub(super) const fn optional_flag(key: &'static str, help: &'static str) -> Self {
        Self { key, shape: Shape::Flag { default: None }, help }
    }

    pub(super) const fn integer(
        key: &'static str,
        bounds: RangeInclusive<i64>,
        default: i64,
        help: &'static str,
    ) -> Self {
        let shape = Shape::Integer { min: *bounds.start(), max: *bounds.end(), default: Some(default) };
        Self { key, shape, help }
    }

    pub(super) const fn optional_integer(
        key: &'static str,
        bounds: RangeInclusive<i64>,
        help: &'static str,
    ) -> Self {
        Self { key, shape: Shape::Integer { min: *bounds.start(), max: *bounds.end(), default: None }, help }
    }

    pub(super) const fn text(key: &'static str, default: &'static str, help: &'static str) -> Self {
        Self { key, shape: Shape::Text { default: Some(default) }, help }
    }

    pub(super) const fn optional_text(key: &'static str, help: &'static str) -> Self {
        Self { key, shape: Shape::Text { default: None }, help }
    }

    pub(super) const fn choice(
        key: &'static str,
        values: &'static [&'static str],
        default: &'static str,
        help: &'static str,
    ) -> Self {
        Self { key, shape: Shape::Choice { values, default: Some(default) }, help }
    }

    pub(super) const fn optional_choice(
        key: &'static str,
        values: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self { key, shape: Shape::Choice { values, default: None }, help }
    }

    pub(super) const fn shaped(key: &'static str, shape: Shape, help: &'static str) -> Self {
        Self { key, shape, help }
    }

    pub(super) const fn not_yet(key: &'static str, help: &'static str) -> Self {
        Self { key, shape: Shape::NotYet, help }
    }
}
