//! The project of the hub in a scenario, as it would be written, and the folder in which it is at home.

use crosspoint_hub::config::{self, Plan};
use tempfile::TempDir;

use super::WILL_GRACE;
use crate::sim::bounds::OutboxBound;
use crate::sim::ledger::Place;
use crate::sim::scenario::{FlowPlan, HUB, REMOTES, Scenario};

/// Returns the plan of the hub.
pub(super) fn plan(scenario: &Scenario) -> Plan {
    let mut text = format!("[broker]\nwill_grace_s = {}\n", WILL_GRACE.as_secs());
    if let Some(messages) = scenario.bounds.queues.get(HUB) {
        text += &format!("session_queue_messages = {messages}\n");
    }
    for remote in REMOTES {
        text += &format!(
            "[connector.{remote}]\nurl = \"mqtt://{remote}:1883\"\nkeep_alive_s = {}\nsession = \"durable\"\n\
             connect_timeout_ms = 3000\nreconnect_min_ms = 100\nreconnect_max_ms = 2000\n",
            scenario.keep_alive_s
        );
        text += &outbox(scenario, remote);
    }
    for FlowPlan { name, from, to, qos } in &scenario.flows {
        let connector = |place: Place| if place == HUB { "broker" } else { place };
        text += &format!(
            "[flow.{name}]\nfrom = {{ connector = \"{}\", topics = [\"{name}/#\"], qos = {qos} }}\n\
             to = {{ connector = \"{}\" }}\n",
            connector(from),
            connector(to)
        );
    }
    let (mut plan, _) =
        config::parse(&text, "crosspoint.toml", None).unwrap_or_else(|found| panic!("{text}\n{found:?}"));
    // Devices come over the simulated network.
    plan.broker.iter_mut().for_each(|broker| broker.listeners.clear());
    plan
}

/// Returns what the project says of an outbox, and of the order in which it sends.
fn outbox(scenario: &Scenario, remote: Place) -> String {
    let bound = scenario.bounds.outboxes.get(remote);
    let bound = bound.map(|OutboxBound { messages, when_full }| {
        format!("messages = {messages}, when_full = \"{when_full}\"")
    });
    let trick = scenario.tricks.of(remote);
    let filters: Vec<String> = scenario.flows.iter().map(|flow| format!("{}/#", flow.name)).collect();
    let settings: Vec<String> = bound.into_iter().chain(trick.settings(&filters)).collect();
    let ordering = if trick.by_topic { "ordering = \"topic\"\n" } else { "" };
    match settings.is_empty() {
        true => ordering.to_owned(),
        false => format!("{ordering}outbox = {{ {} }}\n", settings.join(", ")),
    }
}

/// Makes a folder in which a hub has a name that does not change from run to run.
pub(super) fn data_folder() -> TempDir {
    let made = tempfile::tempdir().and_then(|folder| {
        std::fs::write(folder.path().join("hub-id"), "5eed\n")?;
        Ok(folder)
    });
    made.unwrap_or_else(|error| panic!("a folder for the hub: {error}"))
}
