//! Words that a room must not know.

use super::Finding;
use super::source::{Source, identifiers, words};
use super::tree::Tree;

/// What the protocol core has none of: time, tasks, locks and serde come from outside or not at all.
const IMPURE: &[&str] = &["tokio", "Mutex", "RwLock", "serde", "unsafe"];

/// Reading a clock, as it stands in code.
const CLOCKS: &[&str] = &["Instant::now", "SystemTime::now"];

/// Words that only MQTT has.
const MQTT_WORDS: &[&str] = &[
    "connack",
    "puback",
    "pubrec",
    "pubrel",
    "pubcomp",
    "suback",
    "unsuback",
    "unsubscribe",
    "pingreq",
    "pingresp",
    "qos",
];

/// Finds a clock, a runtime, a lock, serde or unsafe code in `protocol`.
pub(super) fn impure_protocol(tree: &Tree) -> Vec<Finding> {
    impure(tree, &["crates/protocol/src/"])
}

/// What is pure in the hub.
const PURE: &[&str] = &[
    "crates/hub/src/flow.rs",
    "crates/hub/src/flow/",
    "crates/hub/src/diagnosis.rs",
    "crates/hub/src/diagnosis/",
];

/// Finds the same in the parts of the hub that are as pure: what a flow makes of a message, and what a failure means.
pub(super) fn impure_hub(tree: &Tree) -> Vec<Finding> {
    impure(tree, PURE)
}

fn impure(tree: &Tree, folders: &[&str]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in below(tree, folders) {
        for (line, code) in source.code_lines() {
            let named = identifiers(code).filter(|word| IMPURE.contains(word));
            let read = CLOCKS.iter().copied().filter(|clock| code.contains(clock));
            findings
                .extend(named.chain(read).map(|word| Finding::at(&source.path, line, format!("`{word}`"))));
        }
    }
    findings
}

/// Finds names of MQTT packets in the rooms below it. A subprotocol is a string to them, and tests may say anything.
pub(super) fn mqtt_below(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in below(tree, &["crates/net/src/", "crates/store/src/"]) {
        for (line, code) in source.code_lines().filter(|(line, _)| !source.is_test_line(*line)) {
            for identifier in identifiers(code).filter(|identifier| speaks_mqtt(identifier)) {
                findings.push(Finding::at(&source.path, line, format!("`{identifier}`")));
            }
        }
    }
    findings
}

fn speaks_mqtt(identifier: &str) -> bool {
    let words = words(identifier);
    let halves = words.iter().zip(words.iter().skip(1)).map(|(left, right)| format!("{left}{right}"));
    let mut all = words.iter().cloned().chain(halves);
    all.any(|word| MQTT_WORDS.contains(&word.as_str()))
}

/// Words of those who speak to a terminal.
const TERMINAL: &[&str] =
    &["print", "println", "eprint", "eprintln", "stdin", "stdout", "stderr", "IsTerminal", "is_terminal"];

/// Finds rooms below the binary that print or read what is typed: what they say is logged, or handed to their caller.
pub(super) fn printing_below(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in below(tree, ROOMS).filter(|source| !source.path.starts_with("crates/cli/")) {
        let in_room = source.path.contains("/src/");
        for (line, code) in source.code_lines().filter(|(line, _)| in_room && !source.is_test_line(*line)) {
            for word in identifiers(code).filter(|word| TERMINAL.contains(word)) {
                findings.push(Finding::at(&source.path, line, format!("`{word}`")));
            }
        }
    }
    findings
}

/// Where serialisable types may stand.
const EDGE: &[&str] = &[
    "crates/console/",
    "crates/hub/src/config/file.rs",
    "crates/hub/src/import/",
    "crates/cli/src/output.rs",
];

/// The rooms of the product.
const ROOMS: &[&str] = &[
    "crates/protocol/",
    "crates/net/",
    "crates/store/",
    "crates/client/",
    "crates/broker/",
    "crates/hub/",
    "crates/cli/",
];

/// Finds serialisable types away from the edge.
pub(super) fn serialisable_inside(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let inside = |source: &&Source| !EDGE.iter().any(|edge| source.path.starts_with(edge));
    for source in below(tree, ROOMS).filter(inside) {
        for (line, code) in source.code_lines().filter(|(line, _)| !source.is_test_line(*line)) {
            for word in identifiers(code).filter(|word| matches!(*word, "Serialize" | "Deserialize")) {
                findings.push(Finding::at(&source.path, line, format!("`{word}`")));
            }
        }
    }
    findings
}

fn below<'a>(tree: &'a Tree, folders: &'a [&str]) -> impl Iterator<Item = &'a Source> {
    tree.sources.iter().filter(|source| folders.iter().any(|folder| source.path.starts_with(folder)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rule: fn(&Tree) -> Vec<Finding>, path: &str, text: &str) -> Vec<String> {
        rule(&Tree::of_sources(&[(path, text)])).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn protocol_with_a_clock_a_lock_or_a_runtime_is_found() {
        let text = "use tokio::sync::Mutex;\nlet now = std::time::Instant::now();\n// serde, unsafe\n";
        let found = found(impure_protocol, "crates/protocol/src/lib.rs", text);
        assert_eq!(found, ["`tokio`", "`Mutex`", "`Instant::now`"]);
    }

    #[test]
    fn an_instant_that_is_handed_in_is_fine() {
        assert!(found(impure_protocol, "crates/protocol/src/lib.rs", "fn at(now: Instant) {}").is_empty());
        assert!(found(impure_protocol, "crates/net/src/lib.rs", "Instant::now()").is_empty());
    }

    #[test]
    fn a_flow_that_waits_is_found_and_one_that_does_not_passes() {
        let text = "use tokio::time::sleep;\n";
        assert_eq!(found(impure_hub, "crates/hub/src/flow.rs", text), ["`tokio`"]);
        assert_eq!(found(impure_hub, "crates/hub/src/diagnosis/dial.rs", text), ["`tokio`"]);
        assert!(found(impure_hub, "crates/hub/src/intake.rs", text).is_empty());
    }

    #[test]
    fn a_room_that_prints_is_found_and_the_binary_is_not() {
        let text = "fn a() { println!(\"stdout\"); }\n/// println!\n";
        assert_eq!(found(printing_below, "crates/hub/src/hub.rs", text), ["`println`"]);
        assert!(found(printing_below, "crates/cli/src/output.rs", text).is_empty());
        assert!(found(printing_below, "crates/store/examples/latency.rs", text).is_empty());
        assert!(found(printing_below, "crates/store/src/front/tests.rs", text).is_empty());
    }

    #[test]
    fn net_that_names_a_packet_is_found() {
        let text = "fn on_pub_ack() {}\nstruct ConnAck;\nlet subscriber = \"mqtt PUBACK\";\n";
        assert_eq!(found(mqtt_below, "crates/net/src/lib.rs", text), ["`on_pub_ack`", "`ConnAck`"]);
        assert!(found(mqtt_below, "crates/client/src/lib.rs", text).is_empty());
    }

    #[test]
    fn a_serialisable_type_inside_is_found() {
        let text =
            "#[derive(Serialize)]\nstruct A;\n#[cfg(test)]\nmod tests {\n    use serde::Deserialize;\n}\n";
        assert_eq!(found(serialisable_inside, "crates/hub/src/flow.rs", text), ["`Serialize`"]);
        assert!(found(serialisable_inside, "crates/hub/src/config/file.rs", text).is_empty());
        assert!(found(serialisable_inside, "crates/console/src/api.rs", text).is_empty());
        assert!(found(serialisable_inside, "xtask/src/main.rs", text).is_empty());
    }
}
