//! The arrows between the parts of the hub.

use super::Finding;
use super::source::{Source, is_identifier};
use super::tree::Tree;

const HUB: &str = "crates/hub/src/";

/// The parts of the hub that are ignorant on purpose, and the other parts that each may know. A part that is not listed runs
/// something, and may know every other.
const ARROWS: &[(&str, &[&str])] = &[
    ("config", &["certificates", "replacing", "secret"]),
    ("diagnosis", &["config"]),
    ("flow", &["config", "loop_guard"]),
    ("import", &["config", "secret"]),
    ("loop_guard", &[]),
    ("outbox", &["config", "environment", "pace"]),
    ("secret", &["config", "data_dir", "replacing"]),
];

/// Finds parts of the hub that know more of it than is drawn.
pub(super) fn undrawn(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in &tree.sources {
        let Some(part) = part_of(&source.path) else { continue };
        let Some((_, known)) = ARROWS.iter().find(|(listed, _)| *listed == part) else { continue };
        for (line, other) in mentions(source) {
            if other != part && !known.contains(&other) && !source.is_test_line(line) {
                findings.push(Finding::at(&source.path, line, format!("nobody drew {part} -> {other}")));
            }
        }
    }
    findings
}

/// Returns the part that a file belongs to: `flow` for `flow.rs` and for what is in `flow/`.
fn part_of(path: &str) -> Option<&str> {
    let first = path.strip_prefix(HUB)?.split('/').next()?;
    Some(first.strip_suffix(".rs").unwrap_or(first))
}

/// Returns what a file names behind `crate::`, each with its line, counted from 0.
fn mentions(source: &Source) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (start, matched) in source.code.match_indices("crate::") {
        let line = source.code.get(..start).unwrap_or_default().matches('\n').count();
        let rest = source.code.get(start + matched.len()..).unwrap_or_default();
        match rest.strip_prefix('{') {
            Some(group) => found.extend(first_names(group).into_iter().map(|name| (line, name))),
            None => found.push((line, name(rest))),
        }
    }
    found
}

/// Returns the first name of each path in a group of imports, whose opening brace has been read.
fn first_names(group: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let (mut depth, mut is_first) = (0_usize, true);
    for (index, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => is_first = true,
            _ if is_first && is_identifier(letter) => {
                names.push(name(group.get(index..).unwrap_or_default()));
                is_first = false;
            }
            _ => {}
        }
    }
    names
}

fn name(text: &str) -> &str {
    text.split(|letter| !is_identifier(letter)).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<Finding> {
        undrawn(&Tree::of_sources(&[(path, text)]))
    }

    #[test]
    fn a_pure_part_that_knows_what_runs_is_found() {
        let text =
            "use crate::config::plan::Plan;\nuse crate::connector::State;\nfn a() { crate::hub::b() }\n";
        let path = "crates/hub/src/flow.rs";
        let expected = [
            Finding::at(path, 1, "nobody drew flow -> connector"),
            Finding::at(path, 2, "nobody drew flow -> hub"),
        ];
        assert_eq!(found(path, text), expected);
        assert!(found("crates/hub/src/hub/flows.rs", text).is_empty(), "what runs may know everything");
        assert!(found("crates/broker/src/flow.rs", text).is_empty(), "another room");
    }

    #[test]
    fn groups_are_read_and_tests_may_know_everything() {
        let text = "use crate::{\n    config::{self, intake},\n    hub::{Hub, Plan},\n};\n\
                    #[cfg(test)]\nmod tests {\n    use crate::testing::message;\n}\n";
        let path = "crates/hub/src/diagnosis/dial.rs";
        assert_eq!(found(path, text), [Finding::at(path, 0, "nobody drew diagnosis -> hub")]);
    }
}
