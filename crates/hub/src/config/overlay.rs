//! Lays an environment over the project: tables merge, everything else replaces, `unset` takes keys away.
//!
//! What comes from the overlay keeps its place, so an error about it points into the overlay.

use super::diagnostic::Findings;
use super::file::{Entry, Item, Table, Value};
use super::settings::{ENVIRONMENT, ID, UNSET};
use super::suggest::{closest, listed};

/// Takes the environments out of the project and merges the one that was asked for.
pub(super) fn apply(root: &mut Table, environment: Option<&str>, findings: &mut Findings) {
    let mut overlays = match root.remove(ENVIRONMENT.key) {
        Some(Entry { item: Item { value: Value::Table(table), .. }, .. }) => table,
        _ => Table::default(),
    };
    let Some(name) = environment else { return };
    match overlays.remove(name) {
        Some(Entry { item: Item { value: Value::Table(mut overlay), .. }, .. }) => {
            if let Some(id) = overlay.remove(ID.key) {
                identity(&id, findings);
            }
            merge(root, overlay, "", findings)
        }
        Some(_) => {}
        None => unknown(name, &overlays, findings),
    }
}

fn unknown(name: &str, overlays: &Table, findings: &mut Findings) {
    let names: Vec<_> = overlays.entries.iter().map(|entry| entry.key.as_str()).collect();
    let finding = findings.error_of_file(format!("there is no environment \"{}\"", name.escape_debug()));
    match closest(name, names.iter().copied()) {
        Some(meant) => finding.help(format!("did you mean --env {meant}?")),
        None if names.is_empty() => {
            finding.help(format!("the file has none; add a section [environment.{name}]"))
        }
        None => finding.help(format!("the file has {}", listed(&names))),
    };
}

fn identity(entry: &Entry, findings: &mut Findings) {
    let finding =
        findings.error(&entry.key_span, "an environment has the `id` of its project, and none of its own");
    finding.label("not here").help("remove it");
}

fn merge(base: &mut Table, mut overlay: Table, path: &str, findings: &mut Findings) {
    if let Some(entry) = take_unset(&mut overlay) {
        unset(base, &entry, path, findings);
    }
    for entry in overlay.entries {
        let Some(existing) = base.entries.iter_mut().find(|existing| existing.key == entry.key) else {
            base.entries.push(without_unset(entry));
            continue;
        };
        let path = format!("{path}{}.", entry.key);
        match (&mut existing.item.value, entry.item.value) {
            (Value::Table(table), Value::Table(over)) => merge(table, over, &path, findings),
            (_, value) => {
                let item = Item { span: entry.item.span, value };
                *existing = without_unset(Entry { key: entry.key, key_span: entry.key_span, item });
            }
        }
    }
}

fn unset(base: &mut Table, entry: &Entry, path: &str, findings: &mut Findings) {
    let one = std::slice::from_ref(&entry.item);
    let items = match &entry.item.value {
        Value::List(items) => items.as_slice(),
        _ => one,
    };
    for item in items {
        let Value::Text(key) = &item.value else { continue };
        if base.remove(key).is_some() {
            continue;
        }
        let message = format!("`{path}{key}` cannot be unset: it is not written in the rest of the file");
        let finding = findings.error(&item.span, message);
        finding.label("nothing to take away");
        match closest(key, base.entries.iter().map(|entry| entry.key.as_str())) {
            Some(meant) => finding.help(format!("did you mean \"{meant}\"?")),
            None => finding.help("remove it from the list"),
        };
    }
}

/// A table that is new in the overlay has nothing to unset, and its `unset` is no key of the project.
fn without_unset(mut entry: Entry) -> Entry {
    if let Value::Table(table) = &mut entry.item.value {
        take_unset(table);
        table.entries = std::mem::take(&mut table.entries).into_iter().map(without_unset).collect();
    }
    entry
}

/// A table of this name is no list of keys: it belongs to someone who chose the name.
fn take_unset(table: &mut Table) -> Option<Entry> {
    let is_list = !matches!(table.entry(UNSET)?.item.value, Value::Table(_));
    is_list.then(|| table.remove(UNSET)).flatten()
}
