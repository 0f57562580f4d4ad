//! Numbered statements of the specification that the code cites, and the tests that bear their numbers.

use std::collections::BTreeSet;

use super::Finding;
use super::source::{Source, is_identifier};
use super::tree::Tree;

/// Finds statements cited in a room without a test whose name has the number: `[MQTT-4.6.0-2]` and
/// `mqtt_4_6_0_2_acknowledgements_keep_the_order`.
pub(super) fn untested(tree: &Tree) -> Vec<Finding> {
    let tests: Vec<&str> = tree.sources.iter().flat_map(test_names).collect();
    let mut asked = BTreeSet::new();
    let mut findings = Vec::new();
    for source in tree.sources.iter().filter(|source| is_room(&source.path)) {
        for (line, text) in source.text.lines().enumerate() {
            for number in cited(text) {
                let missing = !tests.iter().any(|name| bears(name, &number));
                if asked.insert(number.clone()) && missing {
                    let what = format!("[MQTT-{number}] has no test called `{}_...`", stem(&number));
                    findings.push(Finding::at(&source.path, line, what));
                }
            }
        }
    }
    findings
}

fn is_room(path: &str) -> bool {
    path.starts_with("crates/") && path.contains("/src/")
}

/// Returns the numbers that a line cites; `[MQTT-4.6.0-2, -3]` cites two.
fn cited(line: &str) -> Vec<String> {
    let mut numbers = Vec::new();
    for opened in line.split("[MQTT-").skip(1) {
        let list = opened.split(']').next().unwrap_or_default();
        let mut chapter = String::new();
        for item in list.split(',').map(|item| item.trim().trim_start_matches("MQTT-")) {
            let Some((named, statement)) = item.split_once('-') else { continue };
            if !named.is_empty() {
                chapter = named.to_owned();
            }
            let is_number = |text: &str| text.chars().all(|letter| letter.is_ascii_digit() || letter == '.');
            if !chapter.is_empty() && !statement.is_empty() && is_number(&chapter) && is_number(statement) {
                numbers.push(format!("{chapter}-{statement}"));
            }
        }
    }
    numbers
}

/// Returns the names of the functions that stand in tests.
fn test_names(source: &Source) -> impl Iterator<Item = &str> {
    let lines = source.code_lines().filter(|(line, _)| source.is_test_line(*line));
    lines.flat_map(|(_, code)| {
        code.split("fn ")
            .skip(1)
            .map(|rest| rest.split(|letter| !is_identifier(letter)).next().unwrap_or_default())
    })
}

/// Returns whether a test's name has a statement's number, and not only as the beginning of a longer one.
fn bears(name: &str, number: &str) -> bool {
    let stem = stem(number);
    name.match_indices(&stem).any(|(start, _)| {
        let rest = name.get(start + stem.len()..).unwrap_or_default();
        !rest.starts_with(|letter: char| letter.is_ascii_digit())
    })
}

fn stem(number: &str) -> String {
    format!("mqtt_{}", number.replace(['.', '-'], "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_may_cite_several_statements() {
        assert_eq!(cited("// [MQTT-4.6.0-2, -3] and [MQTT-3.3.1-2]."), ["4.6.0-2", "4.6.0-3", "3.3.1-2"]);
        assert_eq!(cited("// [MQTT-x.y.z-n], [MQTT-3.1.1]"), Vec::<String>::new());
    }

    #[test]
    fn a_statement_without_a_test_is_found_once() {
        let tree = Tree::of_sources(&[
            ("crates/protocol/src/a.rs", "// [MQTT-3.1.2-1]\n// [MQTT-3.1.2-2]\n// [MQTT-3.1.2-1]\n"),
            ("conformance/src/chapter_3.rs", "fn mqtt_3_1_2_11_x() {}\nfn mqtt_3_1_2_2_y() {}\n"),
        ]);
        let findings = untested(&tree);
        let what = "[MQTT-3.1.2-1] has no test called `mqtt_3_1_2_1_...`";
        assert_eq!(findings, [Finding::at("crates/protocol/src/a.rs", 0, what)]);
    }

    #[test]
    fn only_a_function_of_the_tests_counts() {
        let cites = "// [MQTT-3.1.2-1]\nfn mqtt_3_1_2_1_is_no_test() {}\n";
        assert_eq!(untested(&Tree::of_sources(&[("crates/broker/src/a.rs", cites)])).len(), 1);
        let tested = "// [MQTT-3.1.2-1]\n#[cfg(test)]\nmod tests {\n    fn mqtt_3_1_2_1_holds() {}\n}\n";
        assert!(untested(&Tree::of_sources(&[("crates/broker/src/a.rs", tested)])).is_empty());
    }
}
