//! What may not stand in any file.

use super::Finding;
use super::source::{identifiers, is_identifier};
use super::tree::Tree;

/// Marks of unfinished work, in two halves so that this file has none of them.
const MARKS: &[(&str, &str)] = &[("TO", "DO"), ("FIX", "ME"), ("XX", "X"), ("HA", "CK")];

/// Macros that stand for code to come, in halves likewise.
const STANDINS: &[(&str, &str)] = &[("to", "do!("), ("unimpl", "emented!(")];

/// Finds marks of unfinished work.
pub(super) fn unfinished(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.all_texts() {
        for (line, text) in text.lines().enumerate() {
            let marked = MARKS.iter().map(|(left, right)| format!("{left}{right}"));
            let marked = marked.filter(|mark| identifiers(text).any(|word| word == mark));
            let standins = STANDINS.iter().map(|(left, right)| format!("{left}{right}"));
            let standins = standins.filter(|standin| text.contains(standin.as_str()));
            findings.extend(marked.chain(standins).map(|mark| Finding::at(path, line, mark)));
        }
    }
    findings
}

/// Finds tests that do not run.
pub(super) fn ignored_tests(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in &tree.sources {
        let ignored = source.code_lines().filter(|(_, code)| code.contains("#[ignore"));
        findings.extend(ignored.map(|(line, _)| Finding::at(&source.path, line, "an ignored test")));
    }
    findings
}

/// Finds folders that only this machine has.
pub(super) fn machine_paths(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.all_texts() {
        for (line, text) in text.lines().enumerate() {
            for folder in tree.machine_folders.iter().filter(|folder| names_folder(text, folder)) {
                findings.push(Finding::at(path, line, format!("`{folder}`")));
            }
        }
    }
    findings
}

/// Finds folders of a checkout that the compiler writes into a binary: a target directory that outlives the checkout
/// leads its tests into another one.
pub(super) fn checkouts_in_binaries(tree: &Tree) -> Vec<Finding> {
    let is_manifest_folder = |line: &str| line.contains(concat!("env!(\"CARGO_", "MANIFEST_DIR\")"));
    let mut findings = Vec::new();
    for source in &tree.sources {
        let lines = source.text.lines().enumerate().filter(|(_, line)| is_manifest_folder(line));
        findings.extend(lines.map(|(line, _)| Finding::at(&source.path, line, "ask for it at run time")));
    }
    findings
}

/// Returns whether a folder stands in a line, and not only as the beginning or end of another name.
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(start, _)| {
        let before = line.get(..start).unwrap_or_default().chars().next_back();
        let after = line.get(start + folder.len()..).unwrap_or_default().chars().next();
        let continues =
            |letter: Option<char>| letter.is_some_and(|letter| is_identifier(letter) || letter == '-');
        !continues(before) && (folder.ends_with('/') || !continues(after))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_is_found_in_code_and_in_documents() {
        for (left, right) in MARKS.iter().chain(STANDINS) {
            let text = format!("fn a() {{}} // {left}{right} later");
            assert_eq!(unfinished(&Tree::of_sources(&[("xtask/src/a.rs", &text)])).len(), 1, "{text}");
            let tree = Tree { texts: vec![("README.md".to_owned(), text)], ..Tree::default() };
            assert_eq!(unfinished(&tree).len(), 1);
        }
    }

    #[test]
    fn a_word_that_contains_a_mark_is_none() {
        let text: String =
            MARKS.iter().map(|(left, right)| format!("{left}{right}ED a.{left}{right}{left} ")).collect();
        assert!(unfinished(&Tree::of_sources(&[("xtask/src/a.rs", &text)])).is_empty());
    }

    #[test]
    fn an_ignored_test_is_found_and_a_word_about_it_is_not() {
        let text = "// no #[ignore]\n#[ignore = \"slow\"]\nfn a() {}\n";
        let findings = ignored_tests(&Tree::of_sources(&[("crates/a/src/b.rs", text)]));
        assert_eq!(findings, [Finding::at("crates/a/src/b.rs", 1, "an ignored test")]);
    }

    #[test]
    fn a_checkout_in_a_binary_is_found() {
        let text =
            format!("fn a() {{\n    env!({:?}); env!(\"CARGO_PKG_VERSION\");\n}}\n", "CARGO_MANIFEST_DIR");
        let findings = checkouts_in_binaries(&Tree::of_sources(&[("crates/a/src/b.rs", &text)]));
        assert_eq!(findings, [Finding::at("crates/a/src/b.rs", 1, "ask for it at run time")]);
    }

    #[test]
    fn a_path_of_this_machine_is_found() {
        let mut tree = Tree::of_sources(&[("a.rs", "\"/srv/code/x/y\"\n\"/srv/code-2\"\n\"/home/me/z\"\n")]);
        tree.machine_folders = vec!["/srv/code".to_owned(), "/home/me/".to_owned()];
        let lines: Vec<usize> = machine_paths(&tree).into_iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [1, 3]);
    }
}
