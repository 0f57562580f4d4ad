//! What runs, shown to whoever asks: connectors, the broker, flows.

use std::collections::BTreeMap;
use std::sync::Arc;

use crosspoint_broker::BrokerHandle;
use serde_json::{Value, json};

use super::desk::{Asked, Desk, Ended, Teller, refused};
use crate::certificates::{self, UsedCertificate};
use crate::config::plan::{Address, FlowPlan, Plan};
use crate::connector::{Condition, ConnectorState, Line};
use crate::diagnosis::{Diagnosis, Fault};
use crate::embedded::ListeningAt;

/// What runs since the project was taken over last. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Board {
    pub(crate) plan: Arc<Plan>,
    /// Each connector as others see it.
    pub(crate) lines: BTreeMap<Arc<str>, Arc<Line>>,
    pub(crate) listening: Vec<ListeningAt>,
    pub(crate) broker: Option<BrokerHandle>,
}

impl Desk {
    pub(super) async fn overview(&self, teller: &Teller) -> Ended {
        if !self.is_running() {
            return Err(refused("the hub does not run", "start it with `crosspoint up`"));
        }
        let board = self.board();
        let mut states = BTreeMap::new();
        for (name, line) in &board.lines {
            let asked = self.named(name).await?;
            let state = board.state(name, line, &asked);
            teller.row(of_connector(name, &state, &asked)).await?;
            states.insert(&**name, (state, asked));
        }
        if let Some(broker) = &board.broker {
            teller.row(of_broker(broker, &board.listening)).await?;
        }
        for (name, flow) in &board.plan.flows {
            teller.row(board.of_flow(name, flow, &states)).await?;
        }
        for mut row in self.kept_rows().await? {
            row.insert("kind".to_owned(), json!("kept"));
            teller.row(Value::Object(row)).await?;
        }
        for used in certificates::of_plan(&board.plan, certificates::machine_now_s()) {
            teller.row(of_certificate(&used)).await?;
        }
        Ok(board.lines.len() as u64)
    }
}

impl Board {
    /// Returns what a connector is doing; one that is off says why.
    fn state(&self, name: &str, line: &Line, asked: &Asked) -> ConnectorState {
        let state = line.state(&asked.outbox);
        if state.condition == Condition::Connected
            && let Some(trouble) = self.lowered_sink(name, &state)
        {
            return ConnectorState { condition: Condition::Degraded, trouble: Some(trouble), ..state };
        }
        if state.condition != Condition::Off {
            return state;
        }
        let trouble = match self.plan.is_enabled(name) {
            true => Diagnosis::new(Fault::OurSide, "it has not started", "see the log of the hub"),
            false => {
                let next_step = format!("set enabled = true in [connector.{name}]");
                Diagnosis::new(Fault::OurSide, "it is disabled", next_step).setting("enabled")
            }
        };
        ConnectorState { trouble: Some(trouble), ..state }
    }

    /// Returns which flow sends at a higher QoS than the broker takes: what comes at that is a dead letter.
    fn lowered_sink(&self, name: &str, state: &ConnectorState) -> Option<Diagnosis> {
        let most = state.agreed.as_ref()?.limits.qos_max;
        let (flow, qos) = self.plan.flows.iter().find_map(|(flow, plan)| {
            let sinks = plan.sinks.iter().filter(|sink| sink.connector == name);
            let highest = sinks.map(|sink| sink.qos.unwrap_or(plan.source.qos)).max()?;
            (highest > most).then_some((flow, highest))
        })?;
        let (qos, most) = (qos.bits(), most.bits());
        let cause = format!(
            "the broker takes QoS {most} at most, and flow {flow} sends at up to {qos}: what is above becomes a dead letter"
        );
        let next_step = format!("write qos = {most} in `to` of flow.{flow}");
        Some(Diagnosis::new(Fault::QosLowered, cause, next_step))
    }

    fn of_flow(
        &self,
        name: &str,
        flow: &FlowPlan,
        states: &BTreeMap<&str, (ConnectorState, Asked)>,
    ) -> Value {
        let sinks: Vec<&str> = flow.sinks.iter().map(|sink| sink.connector.as_str()).collect();
        let topics: Vec<String> = flow.source.topics.iter().map(ToString::to_string).collect();
        json!({
            "kind": "flow",
            "flow": name,
            "from": flow.source.connector,
            "topics": topics,
            "to": sinks,
            "state": self.flow_state(name, flow, states),
        })
    }

    /// Returns what a flow is doing, and why it does not flow when it does not.
    fn flow_state(
        &self,
        name: &str,
        flow: &FlowPlan,
        states: &BTreeMap<&str, (ConnectorState, Asked)>,
    ) -> String {
        let source = flow.source.connector.as_str();
        let sinks = || flow.sinks.iter().map(|sink| sink.connector.as_str());
        if let Some(off) = std::iter::once(source).chain(sinks()).find(|name| !self.plan.is_enabled(name)) {
            return format!("off: connector {off} is disabled");
        }
        if self.lines.get(source).is_some_and(|line| line.is_flow_stopped(name)) {
            return "stopped: what it publishes comes back to it".to_owned();
        }
        let is_blocked =
            |sink: &&str| states.get(sink).is_some_and(|(_, asked)| asked.outbox.blocked_by().is_some());
        if let Some(full) = sinks().find(is_blocked) {
            return format!("waits: the outbox of {full} is full");
        }
        match states.get(source) {
            Some((state, _)) if !state.condition.is_connected() => {
                format!("waits: {source} is {}", state.condition.word())
            }
            _ => "runs".to_owned(),
        }
    }
}

fn of_connector(name: &str, state: &ConnectorState, asked: &Asked) -> Value {
    let figures = asked.outbox.figures();
    let (agreed, trouble) = (state.agreed.as_deref(), state.trouble.as_ref());
    json!({
        "kind": "connector",
        "connector": name,
        "state": state.condition.word(),
        "since_wall_ms": state.since_wall_ms,
        "fault": trouble.map(|trouble| trouble.fault.word()),
        "cause": trouble.map(|trouble| &trouble.cause),
        "next_step": trouble.map(|trouble| &trouble.next_step),
        "setting": trouble.and_then(|trouble| trouble.mend.as_ref()).map(ToString::to_string),
        "next_try_wall_ms": state.next_try_wall_ms,
        "server": agreed.map(|agreed| &agreed.server),
        "version": agreed.map(|agreed| agreed.version.to_string()),
        "client_id": agreed.map(|agreed| &agreed.client_id),
        "drops": state.drops,
        "lived_ms": state.lived_ms,
        "waiting": figures.waiting(),
        "waiting_bytes": figures.waiting_bytes,
        "dead": figures.dead,
    })
}

fn of_certificate(used: &UsedCertificate) -> Value {
    let (facts, standing) = (&used.facts, used.standing);
    json!({
        "kind": "certificate",
        "user": used.user,
        "purpose": used.purpose.word(),
        "origin": used.origin,
        "subject": facts.subject,
        "issuer": facts.issuer,
        "expires_wall_ms": facts.not_after_s.saturating_mul(1_000),
        "standing": standing.word(),
        "trouble": used.trouble(),
    })
}

fn of_broker(broker: &BrokerHandle, listening: &[ListeningAt]) -> Value {
    let statistics = broker.statistics();
    let addresses: Vec<String> = listening.iter().map(address).collect();
    json!({
        "kind": "broker",
        "listening": addresses,
        "connections": statistics.connections,
        "sessions": statistics.sessions,
        "subscriptions": statistics.subscriptions,
        "retained_messages": statistics.retained_messages,
        "waiting": statistics.stored_messages,
    })
}

fn address(at: &ListeningAt) -> String {
    let (host, path) = (at.address.ip().to_string(), at.path.clone());
    Address { transport: at.transport, host, port: at.address.port(), path }.to_string()
}
