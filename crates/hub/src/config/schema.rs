//! The JSON Schema (2020-12) of a project file, for editors and for programs that write project files.
//!
//! It is made of the declarations in `settings/` and says what `shape.rs` checks: keys, kinds, bounds, choices, names.
//! What several keys together must be is not in it; `crosspoint check` says that.

use serde_json::{Map, Value, json};

use super::setting::{Setting, Shape};
use super::settings::{self, UNSET};
use super::shape::{ALL_ENVIRONMENTS, NAME_CHARACTERS_MAX};

/// Which part of a file a schema is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Project,
    /// An environment: what the project has but environments, and `unset` in every table.
    Overlay,
}

/// Returns the schema as text, with a line feed at its end.
pub fn schema() -> String {
    let mut root = Map::new();
    root.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    root.insert("title".to_owned(), json!("crosspoint.toml"));
    root.insert(
        "description".to_owned(),
        json!("A project of Crosspoint: connectors, flows, the embedded broker."),
    );
    root.extend(table(settings::PROJECT, Part::Project));
    root.insert("$defs".to_owned(), json!({ "overlay": table(settings::PROJECT, Part::Overlay) }));
    format!("{:#}\n", Value::Object(root))
}

fn table(known: &[&Setting], part: Part) -> Map<String, Value> {
    let is_offered = |setting: &&&Setting| match setting.shape {
        Shape::NotYet => false,
        Shape::Overlays => part == Part::Project,
        _ => true,
    };
    let mut properties: Map<String, Value> = known
        .iter()
        .filter(is_offered)
        .map(|setting| (setting.key.to_owned(), Value::Object(described(setting, part))))
        .collect();
    if part == Part::Overlay {
        properties.insert(UNSET.to_owned(), Value::Object(unset()));
    }
    object([("properties", Value::Object(properties)), ("additionalProperties", json!(false))])
}

fn described(setting: &Setting, part: Part) -> Map<String, Value> {
    let mut schema = of_shape(setting, part);
    schema.insert("description".to_owned(), json!(setting.help));
    schema
}

fn of_shape(setting: &Setting, part: Part) -> Map<String, Value> {
    match &setting.shape {
        Shape::Flag { default } => of_type("boolean", default.map(|flag| json!(flag))),
        Shape::Integer { min, max, default } => {
            let mut schema = of_type("integer", default.map(|number| json!(number)));
            schema.insert("minimum".to_owned(), json!(min));
            schema.insert("maximum".to_owned(), json!(max));
            schema
        }
        Shape::Text { default } => of_type("string", default.map(|text| json!(text))),
        Shape::Choice { values, default } => {
            let mut schema = of_type("string", default.map(|word| json!(word)));
            schema.insert("enum".to_owned(), json!(values));
            schema
        }
        Shape::Secret => secret(),
        Shape::Texts => texts(),
        Shape::Secrets => object([("additionalProperties", Value::Object(secret()))]),
        Shape::Pairs => object([("additionalProperties", Value::Object(texts()))]),
        Shape::Table(known) => table(known, part),
        Shape::TextOrTable(known) => {
            Map::from_iter([("anyOf".to_owned(), json!([secret(), table(known, part)]))])
        }
        Shape::Tables(known) => one_or_more(table(known, part)),
        Shape::Named(known) => named(setting, Value::Object(table(known, part)), part),
        Shape::Overlays => {
            let mut schema = named(setting, json!({ "$ref": "#/$defs/overlay" }), part);
            schema.insert("properties".to_owned(), json!({ ALL_ENVIRONMENTS: false }));
            schema
        }
        // Never offered; nothing would be right there.
        Shape::NotYet => Map::from_iter([("not".to_owned(), json!({}))]),
    }
}

/// Returns the schema of tables with names, which the same characters make as in `shape.rs`.
fn named(setting: &Setting, inner: Value, part: Part) -> Map<String, Value> {
    let characters = match setting.key == settings::broker::USER.key {
        true => r"[^+#\u0000-\u001F\u007F-\u009F]",
        false => "[A-Za-z0-9_-]",
    };
    let pattern = format!("^{characters}{{1,{NAME_CHARACTERS_MAX}}}$");
    let mut schema =
        object([("propertyNames", json!({ "pattern": pattern })), ("additionalProperties", inner.clone())]);
    if part == Part::Overlay {
        // Whoever is named so is a table and no list of keys.
        let either = json!({ "anyOf": [unset(), inner] });
        schema.insert("properties".to_owned(), json!({ UNSET: either }));
    }
    schema
}

fn unset() -> Map<String, Value> {
    let mut schema = texts();
    schema.insert("description".to_owned(), json!("The keys that this environment takes away."));
    schema
}

fn texts() -> Map<String, Value> {
    one_or_more(of_type("string", None))
}

fn secret() -> Map<String, Value> {
    let mut schema = of_type("string", None);
    schema.insert("writeOnly".to_owned(), json!(true));
    schema
}

fn one_or_more(one: Map<String, Value>) -> Map<String, Value> {
    let list = json!({ "type": "array", "items": one });
    Map::from_iter([("anyOf".to_owned(), json!([one, list]))])
}

fn of_type(name: &str, default: Option<Value>) -> Map<String, Value> {
    let kind = ("type".to_owned(), json!(name));
    let default = default.map(|default| ("default".to_owned(), default));
    std::iter::once(kind).chain(default).collect()
}

fn object<const PARTS: usize>(parts: [(&str, Value); PARTS]) -> Map<String, Value> {
    let parts = parts.into_iter().map(|(key, value)| (key.to_owned(), value));
    std::iter::once(("type".to_owned(), json!("object"))).chain(parts).collect()
}
