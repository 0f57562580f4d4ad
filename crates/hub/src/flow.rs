//! What a flow does with one message: pure, so that it can be tested by itself.

use std::sync::Arc;

use crosspoint_client::{BridgeBit, Message, QoS, TopicFilter};
use crosspoint_protocol::message::MessageParts;

use crate::config::Template;
use crate::config::plan::{BridgeWish, ConnectorPlan, FlowPlan, Loops, Plan};
use crate::loop_guard::{LoopGuard, Verdict};

/// Every flow that reads from one connector.
#[derive(Debug, Default)]
pub(crate) struct Flows {
    pub(crate) connector: Arc<str>,
    /// Whether its connection tries the bridge bit.
    pub(crate) bridge_bit: BridgeBit,
    flows: Vec<Flow>,
}

#[derive(Debug)]
struct Flow {
    name: Arc<str>,
    topics: Vec<TopicFilter>,
    qos: QoS,
    sinks: Vec<Sink>,
    guard: Option<LoopGuard>,
}

#[derive(Debug)]
struct Sink {
    connector: Arc<str>,
    topic: Template,
    qos: Option<QoS>,
    retain: Option<bool>,
}

/// What one message has become for one sink.
#[derive(Debug, PartialEq)]
pub(crate) struct Output {
    pub(crate) flow: Arc<str>,
    pub(crate) connector: Arc<str>,
    pub(crate) message: Message,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
}

/// Why a flow made nothing of a message for one of its sinks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) flow: Arc<str>,
    /// The connector that gets nothing.
    pub(crate) connector: Arc<str>,
    pub(crate) reason: String,
    /// The flow has just been stopped: worth a line of its own.
    pub(crate) stops_flow: bool,
}

impl Flows {
    /// Takes the flows of a plan that read from a connector and can run.
    pub(crate) fn of_plan(plan: &Plan, connector: &str) -> Self {
        let runnable = plan.flows_from(connector).filter(|(_, flow)| plan.is_runnable(flow));
        Self {
            connector: connector.into(),
            bridge_bit: bridge_bit(plan, connector),
            flows: runnable.map(|(name, flow)| Flow::of_plan(name, flow)).collect(),
        }
    }

    /// Returns every filter with the highest QoS at which a flow wants it, and whether our own messages are left out.
    pub(crate) fn subscriptions(&self) -> Vec<(TopicFilter, QoS, bool)> {
        let mut wanted: Vec<(TopicFilter, QoS, bool)> = Vec::new();
        for flow in &self.flows {
            for topic in &flow.topics {
                match wanted.iter_mut().find(|(filter, ..)| filter == topic) {
                    Some((_, qos, no_local)) => {
                        *qos = (*qos).max(flow.qos);
                        *no_local &= flow.is_guarded(topic);
                    }
                    None => wanted.push((topic.clone(), flow.qos, flow.is_guarded(topic))),
                }
            }
        }
        wanted
    }

    /// Tells whether a flow has been stopped because what it publishes comes back to it.
    pub(crate) fn is_stopped(&self, name: &str) -> bool {
        let mut guards =
            self.flows.iter().filter(|flow| *flow.name == *name).filter_map(|flow| flow.guard.as_ref());
        guards.any(LoopGuard::is_tripped)
    }

    /// Runs every flow that matches, in the order of their names.
    pub(crate) fn run(&self, message: &Message, qos: QoS, now_ms: u64) -> (Vec<Output>, Vec<Failure>) {
        let (mut outputs, mut failures) = (Vec::new(), Vec::new());
        let topic = message.topic();
        for flow in self.flows.iter().filter(|flow| flow.matches(topic)) {
            let guard = flow.guard.as_ref();
            let verdict = guard.map_or(Verdict::Pass, |guard| guard.judge(topic, message.payload(), now_ms));
            if verdict != Verdict::Pass {
                for (index, sink) in flow.sinks.iter().enumerate() {
                    let stops_flow = verdict == Verdict::Trip && index == 0;
                    failures.push(flow.failure(sink, LoopGuard::reason().to_owned(), stops_flow));
                }
                continue;
            }
            for sink in &flow.sinks {
                match flow.output(sink, message, qos, &self.connector) {
                    Ok(output) => outputs.push(output),
                    Err(reason) => failures.push(flow.failure(sink, reason, false)),
                }
            }
        }
        (outputs, failures)
    }
}

fn bridge_bit(plan: &Plan, connector: &str) -> BridgeBit {
    let Some(ConnectorPlan::Mqtt(mqtt)) = plan.connectors.get(connector) else { return BridgeBit::Never };
    let runnable = plan.flows.iter().filter(|(_, flow)| plan.is_runnable(flow));
    match BridgeWish::of(connector, mqtt, runnable.map(|(name, flow)| (name.as_str(), flow))) {
        BridgeWish::Tried => BridgeBit::Try,
        BridgeWish::Useless | BridgeWish::Harmful(_) => BridgeBit::Never,
    }
}

impl Flow {
    fn of_plan(name: &str, plan: &FlowPlan) -> Self {
        let sinks = plan.sinks.iter().map(|sink| Sink {
            connector: sink.connector.as_str().into(),
            topic: sink.topic.clone(),
            qos: sink.qos,
            retain: sink.retain,
        });
        Self {
            name: name.into(),
            topics: plan.source.topics.clone(),
            qos: plan.source.qos,
            sinks: sinks.collect(),
            guard: (plan.loops == Loops::Allowed).then(LoopGuard::default),
        }
    }

    fn failure(&self, sink: &Sink, reason: String, stops_flow: bool) -> Failure {
        Failure { flow: self.name.clone(), connector: sink.connector.clone(), reason, stops_flow }
    }

    fn matches(&self, topic: &str) -> bool {
        self.topics.iter().any(|filter| filter.matches(topic))
    }

    /// A flow that may be part of a cycle does not hear what this hub itself publishes, where the broker can tell:
    /// not so for Shared Subscriptions, which may not have that option [MQTT-3.8.3-4].
    fn is_guarded(&self, topic: &TopicFilter) -> bool {
        self.guard.is_some() && !topic.is_shared()
    }

    fn output(&self, sink: &Sink, message: &Message, qos: QoS, source: &str) -> Result<Output, String> {
        let sent = if sink.topic.is_unchanged() {
            message.clone()
        } else {
            let topic = sink.topic.render(message.topic(), source, message.payload());
            let topic = topic.map_err(|error| error.to_string())?;
            let parts = MessageParts { topic: topic.as_bytes(), ..message.parts() };
            Message::from_parts(&parts, message.qos(), message.retain())
        };
        Ok(Output {
            flow: self.name.clone(),
            connector: sink.connector.clone(),
            message: sent,
            qos: sink.qos.unwrap_or_else(|| qos.min(self.qos)),
            retain: sink.retain.unwrap_or_else(|| message.retain()),
        })
    }
}

#[cfg(test)]
mod tests;
