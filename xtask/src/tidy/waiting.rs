//! Tests wait for the thing itself, with a deadline, never for a time.

use super::Finding;
use super::source::identifiers;
use super::tree::Tree;

/// Finds `sleep(` in tests. Where the pace itself is the matter, `// pace: REASON` at the end of the line says so.
pub(super) fn sleeping_tests(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in &tree.sources {
        let lines = source.code_lines().zip(source.text.lines());
        for ((line, code), text) in lines.filter(|((line, _), _)| source.is_test_line(*line)) {
            if sleeps(code) && !has_reason(text) {
                findings.push(Finding::at(
                    &source.path,
                    line,
                    "a test that sleeps; wait for the thing with a deadline",
                ));
            }
        }
    }
    findings
}

fn sleeps(code: &str) -> bool {
    code.split('(').rev().skip(1).any(|called| {
        identifiers(called).last() == Some("sleep")
            && called.ends_with("sleep")
            && !called.ends_with("fn sleep")
    })
}

fn has_reason(line: &str) -> bool {
    line.split_once("// pace:").is_some_and(|(_, reason)| !reason.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        sleeping_tests(&Tree::of_sources(&[(path, text)])).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_sleeping_test_is_found() {
        let text =
            "fn a() {\n    std::thread::sleep(x);\n    tokio::time::sleep(y).await;\n    sleep(z);\n}\n";
        assert_eq!(lines("crates/net/tests/tcp.rs", text), [2, 3, 4]);
        assert!(lines("crates/net/src/tcp.rs", text).is_empty());
    }

    #[test]
    fn a_reason_must_be_given_and_names_alone_do_not_count() {
        let text = "sleep(x); // pace: one message a second\nsleep(x); // pace:\n// sleep(x)\nno_sleep(x);\nsleep_until(x);\n";
        assert_eq!(lines("crates/net/tests/tcp.rs", text), [2]);
    }
}
