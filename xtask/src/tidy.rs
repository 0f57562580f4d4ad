//! What must hold of the source, checked by reading it.
//!
//! Each rule is one line of [`RULES`] and one function from the tree to findings, with a test on a sample that breaks it.

mod arrows;
mod decisions;
mod inner;
mod links;
mod seams;
mod source;
mod statements;
mod text;
mod tree;
mod vocabulary;
mod waiting;

use tree::Tree;

use crate::Outcome;
use crate::arguments::Arguments;
use crate::workspace::Workspace;

/// One thing that must hold.
struct Rule {
    /// The rule as a sentence.
    name: &'static str,
    find: fn(&Tree) -> Vec<Finding>,
}

/// Every rule there is.
const RULES: &[Rule] = &[
    Rule { name: "rooms depend on each other as ARCHITECTURE.md draws it", find: arrows::undrawn },
    Rule { name: "what is pure in the hub does not know what runs there", find: inner::undrawn },
    Rule {
        name: "protocol has no clock, runtime, lock, serde or unsafe code",
        find: vocabulary::impure_protocol,
    },
    Rule { name: "flows and diagnosis have no clock, runtime or lock either", find: vocabulary::impure_hub },
    Rule { name: "net and store have not heard of MQTT", find: vocabulary::mqtt_below },
    Rule { name: "only the binary speaks to a terminal", find: vocabulary::printing_below },
    Rule { name: "serialisable types stand only at the edge", find: vocabulary::serialisable_inside },
    Rule { name: "public traits are the seams that were decided", find: seams::undecided_traits },
    Rule {
        name: "only the client's engine and the broker's connection drive one",
        find: seams::other_drivers,
    },
    Rule { name: "a cited statement has a test that bears its number", find: statements::untested },
    Rule { name: "nothing is marked as unfinished", find: text::unfinished },
    Rule { name: "no test is ignored", find: text::ignored_tests },
    Rule { name: "no test sleeps to wait for something", find: waiting::sleeping_tests },
    Rule { name: "decisions are numbered without gaps", find: decisions::misnumbered },
    Rule { name: "documents link to what is there", find: links::broken },
    Rule { name: "no path of this machine is written down", find: text::machine_paths },
    Rule { name: "no binary knows the checkout that it was built in", find: text::checkouts_in_binaries },
];

/// A place that breaks a rule.
#[derive(Debug, PartialEq)]
struct Finding {
    path: String,
    /// Counted from 1; 0 when the whole file is meant.
    line: usize,
    what: String,
}

impl Finding {
    /// Returns a finding at a line counted from 0.
    fn at(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: line + 1, what: what.into() }
    }

    fn of_file(path: &str, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: 0, what: what.into() }
    }
}

/// Checks every rule.
pub(crate) fn run(workspace: &Workspace, arguments: Arguments) -> Outcome {
    arguments.finish()?;
    check(workspace)
}

pub(crate) fn check(workspace: &Workspace) -> Outcome {
    let tree = Tree::read(workspace)?;
    let mut broken = 0;
    for rule in RULES {
        let findings = (rule.find)(&tree);
        if !findings.is_empty() {
            broken += 1;
            println!("broken: {}", rule.name);
        }
        for Finding { path, line, what } in findings {
            let place = if line == 0 { path } else { format!("{path}:{line}") };
            println!("  {place}: {what}");
        }
    }
    match broken {
        0 => Ok(()),
        _ => Err(format!("{broken} of {} rules are broken", RULES.len()).into()),
    }
}
