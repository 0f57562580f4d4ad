//! One publisher that waits for each acknowledgement before it sends the next message: what durability costs when
//! nobody shares the sync.
//!
//! All figures are medians: of a disk, one sync in a hundred takes ten times as long as the others, and says nothing of us.

mod publisher;

use std::process::Command;

use serde_json::Value;

use super::peer::Peer;
use super::running::{Core, Running, Tools};
use super::scenario::{OWN, OWN_IN_MEMORY};
use crate::{Outcome, process};

/// The name of the line.
const NAME: &str = "durable-lone";

/// How many times the disk's own sync a durable acknowledgement may take longer than one from memory.
const SYNCS_MAX: f64 = 1.5;

/// How many acknowledgements are awaited in a round, one after the other.
const MESSAGES: usize = 10_000;

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
        NAME.contains(part)
    }

    /// Measures one round: the disk itself, then both ways of keeping.
    pub(crate) fn measure(&mut self, peers: &[Peer], tools: &Tools) -> Outcome {
        let own =
            |name: &str| peers.iter().find(|peer| peer.name == name).ok_or("our own broker is not measured");
        self.in_memory.push(wait(own(OWN_IN_MEMORY)?, tools)?);
        // The disk's mood changes within seconds: it is asked before and after.
        self.sync.push(sync(own(OWN)?, tools)?);
        self.durable.push(wait(own(OWN)?, tools)?);
        self.sync.push(sync(own(OWN)?, tools)?);
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
            NAME
        );
        (durable > max).then(|| format!("{}: {durable:.0} us, at most {max:.0} us is demanded", NAME))
    }
}

/// Returns the median wait for an acknowledgement of a message for a session that is away.
fn wait(peer: &Peer, tools: &Tools) -> Outcome<f64> {
    peer.clear()?;
    let broker = Running::start(peer, "", Core::Measured)?;
    tools.leave_session(broker.port)?;
    let waits = publisher::waits_us(broker.port, MESSAGES)?;
    Ok(super::table::median(waits.into_iter()).ok_or("nothing was published")?)
}

/// Returns the disk's median time for an append and a sync.
fn sync(peer: &Peer, tools: &Tools) -> Outcome<f64> {
    let mut disk = Command::new(&tools.generator);
    disk.args(["disk", "--batch", "1", "--seconds", "2", "--dir"]).arg(peer.folder());
    let text = process::read(&mut disk)?;
    number(&serde_json::from_str(text.trim())?, "commit_p50_us")
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
