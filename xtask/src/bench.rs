//! Side by side: Crosspoint's embedded broker and every other broker there is, under one load generator, in one run.
//!
//! The generator is an independent program that verifies delivery. It is not part of this project; where its sources
//! are, it is built and used. Broker and generator get a core each where there are two.
//!
//! What counts is the ratio to a peer in the same run: absolute figures depend on the machine and on its other work.

mod forward;
mod lone;
mod outbox;
mod peer;
mod running;
mod scenario;
mod table;

use std::path::{Path, PathBuf};

use crate::arguments::Arguments;
use crate::workspace::Workspace;
use crate::{Outcome, process};
use forward::Forward;
use lone::Lone;
use outbox::Million;
use peer::Peer;
use running::Tools;
use scenario::{SCENARIOS, Scenario};
use table::Table;

/// Where the generator's sources are looked for, beside the checkout.
const GENERATOR: &str = "../shared/tools/mqttload";

/// Measures; `--rounds N` (3), `--scenario PART` of a name, `--peer NAME=COMMAND` with `{port}` in it,
/// `--generator DIR`, `--only-own` without peers.
pub(crate) fn run(workspace: &Workspace, mut arguments: Arguments) -> Outcome {
    let rounds = arguments.option("--rounds")?.unwrap_or(3_usize);
    let wanted: String = arguments.option("--scenario")?.unwrap_or_default();
    let extra: Option<String> = arguments.option("--peer")?;
    let sources: PathBuf = arguments.option("--generator")?.unwrap_or_else(|| workspace.root.join(GENERATOR));
    let own_only = arguments.has_flag("--only-own");
    arguments.finish()?;
    let generator = build_generator(workspace, &sources)?;
    let tools = Tools { generator, subscriber: peer::locate(workspace, "mosquitto_sub") };
    let mut peers = Vec::from(peer::crosspoint(workspace)?);
    if !own_only {
        peers.extend(peer::found(workspace)?);
        peers.extend(extra.as_deref().map(peer::given).transpose()?);
    }
    println!("brokers: {}", peers.iter().map(|peer| peer.name.as_str()).collect::<Vec<_>>().join(", "));
    let mut table = Table::default();
    for scenario in SCENARIOS.iter().filter(|scenario| scenario.name.contains(&wanted)) {
        measure(scenario, &peers, &tools, rounds, &mut table);
    }
    let mut lone = Lone::default();
    if Lone::is_wanted(&wanted) {
        for _ in 0..rounds {
            lone.measure(&peers, &tools)?;
        }
    }
    let mut forward = Forward::default();
    if Forward::is_wanted(&wanted) {
        for _ in 0..rounds {
            forward.measure(&peers, &tools)?;
        }
    }
    let mut million = Million::default();
    if Million::is_wanted(&wanted) {
        // Long and steady: one round says it.
        million.measure(&peers, &tools)?;
    }
    table.print();
    let lines = [lone.verdict(), forward.verdict()];
    let lines = lines.into_iter().flatten().chain(million.verdict());
    let missed: Vec<String> = table.missed().into_iter().chain(lines).collect();
    if missed.is_empty() {
        println!("\nevery demanded figure is met");
        return Ok(());
    }
    Err(format!("not met:\n  {}", missed.join("\n  ")).into())
}

/// Runs one scenario against every broker in turn, so that a change of the machine's speed hits all alike.
fn measure(scenario: &'static Scenario, peers: &[Peer], tools: &Tools, rounds: usize, table: &mut Table) {
    for round in 1..=rounds {
        for peer in peers.iter().filter(|peer| !peer.is_reference() || scenario.refers_to(&peer.name)) {
            if let Some(reason) = peer.leaves_out(scenario) {
                table.leave_out(scenario, peer, reason);
                continue;
            }
            match peer.serve(scenario, tools) {
                Ok(report) => table.add(scenario, peer, report),
                Err(error) => eprintln!("{} {} round {round}: {error}", scenario.name, peer.name),
            }
        }
    }
}

fn build_generator(workspace: &Workspace, sources: &Path) -> Outcome<PathBuf> {
    if !sources.join("Cargo.toml").is_file() {
        return Err(format!(
            "the load generator is not there: name its folder with --generator DIR ({} was looked at)",
            workspace.shown(sources)
        )
        .into());
    }
    let target = workspace.target.join("bench");
    let mut command = process::cargo(["build", "--release", "--quiet"]);
    process::run(command.current_dir(sources).arg("--target-dir").arg(&target))?;
    Ok(target.join("release/mqttload"))
}
