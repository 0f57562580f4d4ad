//! Finds cycles: flows whose sinks write what, over other flows, comes back to their source.
//!
//! A flow leads to another when what its sinks may publish overlaps what the other subscribes to at the same broker.
//! Two connectors with the same address are the same broker.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crosspoint_protocol::TopicFilter;

use super::super::diagnostic::Findings;
use super::super::plan::{BrokerPlan, ConnectorPlan, FlowPlan, Loops, PortChoice};
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
    let steps = steps(flows, &places);
    let mut is_named = vec![false; flows.len()];
    for start in 0..flows.len() {
        let Some(cycle) = shortest_cycle(start, &steps) else { continue };
        // Each flow is named once, by the first cycle that it is found in.
        if cycle.iter().any(|step| is_named.get(step.to) == Some(&true)) {
            continue;
        }
        for step in &cycle {
            if let Some(named) = is_named.get_mut(step.to) {
                *named = true;
            }
        }
        report(start, &cycle, flows, findings);
    }
}

/// Returns the steps out of each flow; a flow that allows loops has none and is none.
fn steps(flows: &[Flow], places: &Places<'_>) -> Vec<Vec<Step>> {
    let mut readers: HashMap<Place, Vec<usize>> = HashMap::new();
    for (at, flow) in flows.iter().enumerate().filter(|(_, flow)| flow.plan.loops == Loops::Refused) {
        readers.entry(places.of(&flow.plan.source.connector)).or_default().push(at);
    }
    flows.iter().map(|flow| steps_from(&flow.plan, flows, &readers, places)).collect()
}

fn steps_from(
    flow: &FlowPlan,
    flows: &[Flow],
    readers: &HashMap<Place, Vec<usize>>,
    places: &Places<'_>,
) -> Vec<Step> {
    let mut steps = Vec::new();
    if flow.loops == Loops::Allowed {
        return steps;
    }
    for (sink_at, sink) in flow.sinks.iter().enumerate() {
        let written =
            flow.source.topics.iter().filter_map(|from| sink.topic.widen(from, &flow.source.connector));
        let written: Vec<_> = written.collect();
        for to in readers.get(&places.of(&sink.connector)).into_iter().flatten() {
            let Some(other) = flows.get(*to) else { continue };
            let read = &other.plan.source.topics;
            steps.extend(overlap(&written, read).map(|(written, read)| Step {
                to: *to,
                sink: sink_at,
                written,
                read,
            }));
        }
    }
    steps
}

fn overlap(written: &[TopicFilter], read: &[TopicFilter]) -> Option<(TopicFilter, TopicFilter)> {
    let pair = |written: &TopicFilter| {
        Some((written.clone(), read.iter().find(|read| read.overlaps(written))?.clone()))
    };
    written.iter().find_map(pair)
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

/// A broker, whatever the name of the connector that leads there.
#[derive(PartialEq, Eq, Hash)]
enum Place {
    Embedded,
    Remote(String, u16),
    /// A connector whose address has errors.
    Unknown(String),
}

/// Tells where connectors lead.
struct Places<'a> {
    connectors: &'a BTreeMap<String, ConnectorPlan>,
    broker: Option<&'a BrokerPlan>,
}

impl Places<'_> {
    fn of(&self, connector: &str) -> Place {
        let address = match self.connectors.get(connector) {
            Some(ConnectorPlan::Local) => return Place::Embedded,
            Some(ConnectorPlan::Mqtt(mqtt)) => mqtt.addresses.first(),
            None => None,
        };
        match address {
            Some(address) if self.is_embedded(&address.host, address.port) => Place::Embedded,
            Some(address) => Place::Remote(address.host.clone(), address.port),
            None => Place::Unknown(connector.to_owned()),
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
