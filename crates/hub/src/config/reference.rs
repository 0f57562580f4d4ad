//! The reference of the project file as Markdown, made of the declarations in `settings/`.

use std::fmt::Write;

use super::setting::{Setting, Shape};
use super::settings;

/// What stands above the sections.
const HEAD: &str = "\
# Every key of the project file

Made of the declarations that the program itself reads the file by, with `crosspoint schema --markdown`. A key that is not here
is an error. A table in `[environment.NAME]` has the same keys and `unset`, the keys that the environment takes away: see
[Environments](environments.md).

A *secret* is never shown: `\"sealed:v1:...\"` is one that is [sealed](secrets.md), `\"env:NAME\"` reads it from the environment,
`\"file:PATH\"` from a file beside the project.
";

/// What stands above a table.
const COLUMNS: &str = "| key | values | default | meaning |\n| --- | --- | --- | --- |\n";

/// Returns the page, with a line feed at its end.
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    let is_alone =
        |setting: &&Setting| !matches!(setting.shape, Shape::Table(_) | Shape::Named(_) | Shape::Overlays);
    let alone: Vec<&Setting> = settings::PROJECT.iter().copied().filter(is_alone).collect();
    page.push_str("\n## Above all sections\n\n");
    page.push_str(COLUMNS);
    rows_of(&mut page, &alone, "");
    sections(&mut page, settings::PROJECT, "");
    page
}

/// Writes a section for each table at the top, and for each that has names beneath it.
fn sections(page: &mut String, known: &[&Setting], path: &str) {
    for setting in known {
        let path = join(path, setting.key);
        match setting.shape {
            Shape::Table(inner) => section(page, setting, inner, &path),
            Shape::Named(inner) => section(page, setting, inner, &format!("{path}.NAME")),
            _ => {}
        }
    }
}

fn section(page: &mut String, setting: &Setting, keys: &[&Setting], path: &str) {
    let mut rows = String::new();
    rows_of(&mut rows, keys, "");
    // Writing to a text cannot fail.
    let _ = write!(page, "\n## `[{path}]`\n\n{}\n\n{COLUMNS}{rows}", setting.help);
    let later: Vec<String> = not_yet(keys, "");
    if !later.is_empty() {
        let _ = writeln!(
            page,
            "\nKnown and refused, because this version does not have them: {}.",
            later.join(", ")
        );
    }
    let named: Vec<&Setting> =
        keys.iter().copied().filter(|key| matches!(key.shape, Shape::Named(_))).collect();
    sections(page, &named, path);
}

fn rows_of(rows: &mut String, keys: &[&Setting], path: &str) {
    for setting in keys {
        let path = join(path, setting.key);
        if matches!(setting.shape, Shape::NotYet | Shape::Named(_)) {
            continue;
        }
        let default = setting.shape.default_text().map(|default| format!("`{default}`")).unwrap_or_default();
        let _ = writeln!(
            rows,
            "| `{path}` | {} | {default} | {} |",
            setting.shape.values(),
            setting.help.replace('|', "\\|")
        );
        if let Shape::Table(inner) | Shape::TextOrTable(inner) | Shape::Tables(inner) = setting.shape {
            rows_of(rows, inner, &path);
        }
    }
}

fn not_yet(keys: &[&Setting], path: &str) -> Vec<String> {
    let mut found = Vec::new();
    for setting in keys {
        let path = join(path, setting.key);
        match setting.shape {
            Shape::NotYet => found.push(format!("`{path}`")),
            Shape::Table(inner) | Shape::TextOrTable(inner) | Shape::Tables(inner) => {
                found.extend(not_yet(inner, &path))
            }
            _ => {}
        }
    }
    found
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
