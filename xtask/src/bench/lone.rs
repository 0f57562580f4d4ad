//! One publisher that waits for each acknowledgement before it sends the next message: what durability costs when
//! nobody shares the sync.
//!
//! All waits are means over a run, the disk's too: the generator tells how many were acknowledged, or committed, in a second,
//! and one was in flight at a time. A disk of which one sync in a hundred takes ten times as long has a mean far above its median.

use std::process::Command;

use serde_json::Value;

use super::peer::Peer;
use super::running::Tools;
use super::scenario::{OWN_IN_MEMORY, Scenario, Step};
use crate::{Outcome, process};

/// How many times the disk's own sync a durable acknowledgement may take longer than one from memory.
const SYNCS_MAX: f64 = 1.5;

/// The load: messages for a session that is away.
const LONE: Scenario = Scenario {
    name: "durable-lone",
    before: &[Step::Load("durable --qos 1 -n 1 --phase prepare")],
    load: "durable --qos 1 -n 1 --phase fill --count 20000 --window 1",
    qos: 1,
    keeps: true,
    demands: &[],
};

/// What the rounds found, in microseconds.
#[derive(Debug, Default)]
pub(crate) struct Lone {
    durable: Vec<f64>,
    in_memory: Vec<f64>,
    sync: Vec<f64>,
}

impl Lone {
    /// Tells whether a part of a scenario's name asks for this line too.
    pub(crate) fn is_wanted(part: &str) -> bool {
        LONE.name.contains(part)
    }

    /// Measures one round: the disk itself, then both ways of keeping.
    pub(crate) fn measure(&mut self, peers: &[Peer], tools: &Tools) -> Outcome {
        let wait = |name: &str| -> Outcome<f64> {
            let own = peers.iter().find(|peer| peer.name == name).ok_or("our own broker is not measured")?;
            Ok(1e6 / number(&own.serve(&LONE, tools)?, "acked_per_s")?)
        };
        self.in_memory.push(wait(OWN_IN_MEMORY)?);
        self.durable.push(wait("crosspoint")?);
        let folder = peers.first().map(Peer::folder).ok_or("no broker is measured")?;
        let mut disk = Command::new(&tools.generator);
        disk.args(["disk", "--batch", "1", "--seconds", "2", "--dir"]).arg(folder);
        let text = process::read(&mut disk)?;
        let report: Value = serde_json::from_str(text.trim())?;
        self.sync.push(1e6 / number(&report, "commits_per_s")?);
        Ok(())
    }

    /// Prints the line, and says what is demanded and not met.
    pub(crate) fn verdict(&self) -> Option<String> {
        let middle = |values: &[f64]| super::table::median(values.iter().copied());
        let (durable, in_memory, sync) =
            (middle(&self.durable)?, middle(&self.in_memory)?, middle(&self.sync)?);
        let max = in_memory + SYNCS_MAX * sync;
        println!(
            "\n{}: {durable:.0} us until a message is acknowledged, in memory {in_memory:.0} us, append and sync {sync:.0} us: \
             at most {max:.0} us",
            LONE.name
        );
        (durable > max).then(|| format!("{}: {durable:.0} us, at most {max:.0} us is demanded", LONE.name))
    }
}

fn number(report: &Value, key: &str) -> Outcome<f64> {
    report.get(key).and_then(Value::as_f64).ok_or_else(|| format!("the generator reports no {key}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_and_a_half_syncs_on_top_are_the_most() {
        let lone = |durable| Lone { durable: vec![durable], in_memory: vec![30.0], sync: vec![100.0] };
        assert_eq!(lone(180.0).verdict(), None);
        assert!(lone(181.0).verdict().is_some());
        assert_eq!(Lone::default().verdict(), None);
    }
}
