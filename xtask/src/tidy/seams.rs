//! Where one part may be exchanged for another, and who drives a connection.

use super::Finding;
use super::source::{Source, identifiers, is_identifier};
use super::tree::Tree;

/// The traits that rooms offer to each other. `ByteStream` names a set of bounds, for a real transport or a simulated one.
const SEAMS: &[&str] = &["Authenticator", "ByteStream", "Disk", "SessionStore", "Sink", "Source", "Store"];

/// Finds public traits that are no seam. A new one is a decision, and wants half a page in `docs/adr`.
pub(super) fn undecided_traits(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in rooms(tree) {
        for (line, code) in source.code_lines().filter(|(line, _)| !source.is_test_line(*line)) {
            let Some((_, rest)) = code.split_once("pub trait ") else { continue };
            let name = rest.split(|letter| !is_identifier(letter)).next().unwrap_or_default();
            if !SEAMS.contains(&name) {
                findings.push(Finding::at(&source.path, line, format!("`pub trait {name}`")));
            }
        }
    }
    findings
}

/// The two shells around a connection; each may fall into modules of its own.
const DRIVERS: &[&str] = &["crates/client/src/engine", "crates/broker/src/connection"];

/// Finds others that drain the output of a connection.
pub(super) fn other_drivers(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_shell = |source: &&Source| !DRIVERS.iter().any(|driver| source.path.starts_with(driver));
    let is_core = |source: &&Source| !source.path.starts_with("crates/protocol/");
    for source in rooms(tree).filter(is_shell).filter(is_core) {
        for (line, code) in source.code_lines().filter(|(line, _)| !source.is_test_line(*line)) {
            if identifiers(code).any(|word| word == "poll_output") {
                findings.push(Finding::at(&source.path, line, "`poll_output`"));
            }
        }
    }
    findings
}

/// Returns the files of the product; the testkit and whatever else stands around it is free.
fn rooms(tree: &Tree) -> impl Iterator<Item = &Source> {
    let is_room = |path: &str| path.starts_with("crates/") && path.contains("/src/");
    tree.sources
        .iter()
        .filter(move |source| is_room(&source.path) && !source.path.starts_with("crates/testkit/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_trait_that_nobody_decided_is_found() {
        let text = "pub trait Sink {}\npub trait Plugin<T> {}\ntrait Inner {}\npub(super) trait Payload {}\n";
        let findings = undecided_traits(&Tree::of_sources(&[("crates/hub/src/a.rs", text)]));
        assert_eq!(findings, [Finding::at("crates/hub/src/a.rs", 1, "`pub trait Plugin`")]);
        assert!(undecided_traits(&Tree::of_sources(&[("crates/testkit/src/a.rs", text)])).is_empty());
    }

    #[test]
    fn a_third_driver_of_connections_is_found() {
        let text = "fn a() { core.poll_output(); }\n";
        let paths = [
            "crates/client/src/engine.rs",
            "crates/broker/src/connection/turn.rs",
            "crates/broker/src/router.rs",
        ];
        let files = paths.map(|path| (path, text));
        let findings = other_drivers(&Tree::of_sources(&files));
        assert_eq!(findings, [Finding::at("crates/broker/src/router.rs", 0, "`poll_output`")]);
    }
}
