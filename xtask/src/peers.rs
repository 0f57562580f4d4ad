//! The brokers and clients of others that the tests talk to, brought without touching the user's system.
//!
//! Everything lands in `peers` under cargo's target directory: Debian packages are downloaded and unpacked there, Python
//! and JavaScript libraries get a folder of their own, Rust programs are built there. Nothing is installed, no service
//! starts, no root is needed. What the tests start stands in `bin`, and runs as it is.
//!
//! What is there already, in the wanted version and able to start, is kept. What cannot be had is named with its
//! reason; with `CI` set that is a failure.

pub(crate) mod crates;
mod debian;
mod node;
mod python;
mod shelf;

use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use shelf::Shelf;

use crate::Outcome;
use crate::arguments::Arguments;
use crate::deny;
use crate::workspace::{self, Workspace};

/// One program of others, and how it is brought.
struct Peer {
    name: &'static str,
    bring: fn(&Shelf) -> Outcome,
}

/// Every peer, the quick ones first.
const PEERS: &[Peer] = &[
    Peer { name: "mosquitto", bring: debian::mosquitto },
    Peer { name: "mosquitto-dev", bring: debian::mosquitto_dev },
    Peer { name: "openssl", bring: debian::openssl },
    Peer { name: "tinyproxy", bring: debian::tinyproxy },
    Peer { name: "microsocks", bring: debian::microsocks },
    Peer { name: "nats-server", bring: debian::nats_server },
    Peer { name: "rabbitmq", bring: debian::rabbitmq },
    Peer { name: "activemq", bring: debian::activemq },
    Peer { name: "paho-mqtt", bring: python::paho_mqtt },
    Peer { name: "mqtt.js", bring: node::mqtt_js },
    Peer { name: "rumqttd", bring: crates::rumqttd },
    Peer { name: "cargo-deny", bring: |shelf| deny::install(shelf.folder()).map(|_| ()) },
];

/// What the errand brought home.
pub(crate) struct Peers {
    folder: PathBuf,
    /// Names of what could not be had.
    left_out: Vec<&'static str>,
    /// A sentence for each of them.
    reasons: Vec<String>,
}

/// Brings the peers in the foreground.
pub(crate) fn run(workspace: &Workspace, arguments: Arguments) -> Outcome {
    arguments.finish()?;
    let peers = Errand::start(workspace).finish()?;
    println!("peers are in {}", workspace.shown(&peers.folder));
    Ok(())
}

/// Brings the peers on a thread of its own, so that slow ones are built while other parts run.
pub(crate) struct Errand {
    thread: JoinHandle<Outcome<Peers>>,
}

impl Errand {
    pub(crate) fn start(workspace: &Workspace) -> Self {
        let folder = workspace.peers();
        Self { thread: thread::spawn(move || bring_all(folder)) }
    }

    /// Waits for everything and says what was left out.
    ///
    /// # Errors
    /// When the folder cannot be used at all, or something was left out where nothing may be.
    pub(crate) fn finish(self) -> Outcome<Peers> {
        let peers = self.thread.join().map_err(|_| "bringing the peers panicked")??;
        for reason in &peers.reasons {
            println!("{reason}");
        }
        if workspace::is_ci() {
            peers.refuse_gaps()?;
        }
        Ok(peers)
    }
}

impl Peers {
    /// Returns a sentence for each peer that could not be had.
    pub(crate) fn left_out(&self) -> &[String] {
        &self.reasons
    }

    /// Returns the path of a peer's program, unless the peer was left out.
    pub(crate) fn program(&self, peer: &str, program: &str) -> Option<PathBuf> {
        let path = self.folder.join("bin").join(program);
        (!self.left_out.contains(&peer) && path.is_file()).then_some(path)
    }

    fn refuse_gaps(&self) -> Outcome {
        if self.left_out.is_empty() {
            return Ok(());
        }
        Err(format!("in CI nothing may be left out, and {} is", self.left_out.join(", ")).into())
    }

    /// Returns what tells the interoperability tests where the peers are, and which of them they must do without.
    pub(crate) fn environment(&self) -> [(&'static str, String); 2] {
        let folder = self.folder.to_string_lossy().into_owned();
        [("CROSSPOINT_PEERS", folder), ("CROSSPOINT_PEERS_LEFT_OUT", self.left_out.join(","))]
    }
}

fn bring_all(folder: PathBuf) -> Outcome<Peers> {
    let shelf = Shelf::open(folder.clone())?;
    let mut left_out = Vec::new();
    let mut reasons = Vec::new();
    for Peer { name, bring } in PEERS {
        if let Err(error) = bring(&shelf) {
            left_out.push(*name);
            reasons.push(format!("left out: {name}: {error}"));
        }
    }
    Ok(Peers { folder, left_out, reasons })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_told_to_the_tests_and_refused_where_none_may_be() {
        let mut peers = Peers { folder: "here".into(), left_out: Vec::new(), reasons: Vec::new() };
        assert!(peers.refuse_gaps().is_ok());
        peers.left_out = vec!["rumqttd", "mqtt.js"];
        assert_eq!(
            peers.refuse_gaps().unwrap_err().to_string(),
            "in CI nothing may be left out, and rumqttd, mqtt.js is"
        );
        let [(_, folder), (_, left_out)] = peers.environment();
        assert_eq!((folder.as_str(), left_out.as_str()), ("here", "rumqttd,mqtt.js"));
    }
}
