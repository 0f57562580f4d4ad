//! Finds cycles: flows whose sinks write what, over other flows, comes back to their source.
//!
//! A flow leads to another when what its sinks may publish overlaps what the other subscribes to at the same broker.
//! Two connectors with the same address are the same broker.

use std::collections::{BTreeMap, VecDeque};

use crosspoint_protocol::TopicFilter;

use super::super::diagnostic::Findings;
use super::super::plan::{BROKER_CONNECTOR, BrokerPlan, ConnectorPlan, FlowPlan, Loops, PortChoice};
use super::flow::Flow;

/// One step of a cycle: a sink of a flow and the topics that overlap.
#[derive(Clone)]
struct Step {
    to: usize,
    sink: usize,
    written: TopicFilter,
    read: TopicFilter,
}

/// Refuses every cycle that no flow of it allows.
pub(super) fn check(
    flows: &[Flow],
    connectors: &BTreeMap<String, ConnectorPlan>,
    broker: Option<&BrokerPlan>,
    findings: &mut Findings,
) {
    let places = Places { connectors, broker };
    let steps: Vec<Vec<Step>> = flows.iter().map(|flow| steps(flow, flows, &places)).collect();
    let mut reported = vec![false; flows.len()];
    for start in 0..flows.len() {
        let Some(cycle) = shortest_cycle(start, &steps) else { continue };
        // Each flow is named once, by the first cycle that it is found in.
        if cycle.iter().any(|step| reported.get(step.to).copied().unwrap_or(true)) {
            continue;
        }
        cycle.iter().filter_map(|step| reported.get_mut(step.to).map(|done| *done = true)).for_each(drop);
        report(start, &cycle, flows, findings);
    }
}

fn steps(flow: &Flow, flows: &[Flow], places: &Places<'_>) -> Vec<Step> {
    if flow.plan.loops == Loops::Allowed {
        return Vec::new();
    }
    let mut steps = Vec::new();
    for (to, other) in flows.iter().enumerate().filter(|(_, other)| other.plan.loops == Loops::Refused) {
        let found =
            (0..flow.plan.sinks.len()).find_map(|sink| step(&flow.plan, sink, to, &other.plan, places));
        steps.extend(found);
    }
    steps
}

fn step(flow: &FlowPlan, sink_at: usize, to: usize, other: &FlowPlan, places: &Places<'_>) -> Option<Step> {
    let sink = flow.sinks.get(sink_at)?;
    if !places.are_same(&sink.connector, &other.source.connector) {
        return None;
    }
    for source in &flow.source.topics {
        let Some(written) = sink.topic.widen(source, &flow.source.connector) else { continue };
        if let Some(read) = other.source.topics.iter().find(|read| read.overlaps(&written)) {
            return Some(Step { to, sink: sink_at, written, read: read.clone() });
        }
    }
    None
}

/// Returns the steps of a shortest cycle through a flow, beginning with the step out of it.
fn shortest_cycle(start: usize, steps: &[Vec<Step>]) -> Option<Vec<Step>> {
    let mut came_by: Vec<Option<(usize, Step)>> = vec![None; steps.len()];
    let mut waiting = VecDeque::from([start]);
    while let Some(at) = waiting.pop_front() {
        for step in steps.get(at)? {
            let seen = came_by.get_mut(step.to)?;
            if seen.is_some() {
                continue;
            }
            *seen = Some((at, step.clone()));
            if step.to == start {
                return Some(walk_back(start, &mut came_by));
            }
            waiting.push_back(step.to);
        }
    }
    None
}

fn walk_back(start: usize, came_by: &mut [Option<(usize, Step)>]) -> Vec<Step> {
    let mut path = Vec::new();
    let mut at = start;
    while let Some((from, step)) = came_by.get_mut(at).and_then(Option::take) {
        path.push(step);
        at = from;
    }
    path.reverse();
    path
}

fn report(start: usize, cycle: &[Step], flows: &[Flow], findings: &mut Findings) {
    let Some(flow) = flows.get(start) else { return };
    let mut path = flow.name.clone();
    let mut steps = String::new();
    let mut from = flow;
    for step in cycle {
        let (Some(to), Some(sink)) = (flows.get(step.to), from.plan.sinks.get(step.sink)) else { return };
        path.push_str(&format!(" -> {}", to.name));
        steps.push_str(&format!(
            "flow \"{}\" writes `{}` to \"{}\", flow \"{}\" reads `{}` from \"{}\"\n",
            from.name, step.written, sink.connector, to.name, step.read, to.plan.source.connector
        ));
        from = to;
    }
    let span = cycle.first().and_then(|step| flow.sink_spans.get(step.sink)).unwrap_or(&flow.span);
    let message =
        format!("`flow.{}` is part of a loop, in which messages go round for ever: {path}", flow.name);
    let finding = findings.error(span, message).label("what is written here comes back");
    finding.help(format!(
        "{steps}change a topic so that they do not overlap, or write allow_loop = true in one of the flows"
    ));
}

/// Tells which connectors lead to the same broker.
struct Places<'a> {
    connectors: &'a BTreeMap<String, ConnectorPlan>,
    broker: Option<&'a BrokerPlan>,
}

impl Places<'_> {
    fn are_same(&self, a: &str, b: &str) -> bool {
        a == b || self.place(a).is_some_and(|place| Some(place) == self.place(b))
    }

    fn place(&self, name: &str) -> Option<(String, u16)> {
        match self.connectors.get(name)? {
            ConnectorPlan::Local => Some((BROKER_CONNECTOR.to_owned(), 0)),
            ConnectorPlan::Mqtt(mqtt) => {
                let first = mqtt.addresses.first()?;
                if self.is_embedded(&first.host, first.port) {
                    return Some((BROKER_CONNECTOR.to_owned(), 0));
                }
                Some((first.host.clone(), first.port))
            }
        }
    }

    /// A default port may move away when another broker has it, so only a written one says that it is ours.
    fn is_embedded(&self, host: &str, port: u16) -> bool {
        let is_local = matches!(host, "localhost" | "127.0.0.1" | "::1");
        let mut listeners = self.broker.into_iter().flat_map(|broker| broker.listeners.values());
        is_local
            && listeners.any(|listener| listener.port == PortChoice::Written && listener.bind.port() == port)
    }
}
