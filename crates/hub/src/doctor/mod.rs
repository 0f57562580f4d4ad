//! The doctor: goes the way of a connector step by step, and says where it ends, why, and what mends it.
//!
//! ```text
//!   reach: name ─► TCP (─► proxy) ─► TLS ─► WebSocket      admit: CONNECT, version, keep alive, limits
//!   exchange: SUBSCRIBE ─► PUBLISH ─► round trip      behaviour: topics, retained messages, sessions
//!        └────────────── each a Step, with a Diagnosis where something is wrong ──────────────┘
//! ```
//!
//! At the end it asks the hub that runs the connector, if one does, what that has seen.
//!
//! It has a client identifier of its own, so that it never ends the connector's connection; it publishes only below
//! `crosspoint/doctor/` or to the topic that it was given; user name and password travel only as the connector would
//! send them, never over a weaker transport. It removes what it has left at the broker.
//!
//! What it does *not* do: it prints nothing, and changes no file but by [`fix`]. What a fault means is known by
//! [`diagnosis`](crate::diagnosis) alone.

mod admit;
mod exchange;
mod fix;
mod line;
mod login;
mod near_miss;
mod port;
mod probe;
mod proxy;
mod reach;
mod report;
mod retained;
mod running;
mod second_look;
mod session;
mod topics;

pub use fix::{Fixed, NotFixed, fix};
pub use probe::{Judgement, Probed, Progress, Section, Verdict, probe};
pub use report::{Examination, Outcome, Stage, Step};
pub(crate) use second_look::{is_worth_it, second_look};

use std::path::PathBuf;
use std::time::Duration;

use crosspoint_protocol::{TopicFilter, TopicName};

use crate::config::plan::{Address, ConnectorPlan, MqttPlan, Plan, SessionKind};
use crate::connect;
use crate::diagnosis::Diagnosis;
use exchange::OwnTopics;
use report::Chart;

/// What is to be examined: a connector as it is planned, and what its flows ask of it.
#[derive(Debug, Clone)]
pub struct Patient {
    /// The name of the connector.
    pub name: String,
    /// How it connects.
    pub mqtt: MqttPlan,
    /// What its flows subscribe to.
    pub listened: Vec<Listened>,
}

/// A filter on which something should be live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listened {
    /// The filter; nothing is taken from a group that shares it.
    pub filter: TopicFilter,
    /// The flow in whose source it stands.
    pub flow: Option<String>,
}

impl Patient {
    /// Returns a connector of a plan; `None` where there is none of that name, or it is the embedded broker.
    pub fn of_plan(plan: &Plan, name: &str) -> Option<Self> {
        let ConnectorPlan::Mqtt(mqtt) = plan.connectors.get(name)? else { return None };
        let mut listened = Vec::new();
        for (flow, planned) in plan.flows_from(name) {
            let flow = Some(flow.to_owned());
            let topics = planned.source.topics.iter().cloned();
            listened.extend(topics.map(|filter| Listened { filter, flow: flow.clone() }));
        }
        Some(Self { name: name.to_owned(), mqtt: (**mqtt).clone(), listened })
    }
}

/// How an examination goes.
#[derive(Debug, Clone)]
pub struct Order {
    /// How long each stage may take. Default: 5 s, or the connector's own deadline where that is shorter.
    pub patience: Duration,
    /// Where the round trip goes, instead of a topic below `crosspoint/doctor/`.
    pub topic: Option<TopicName>,
    /// What else is listened to, besides the filters of the flows.
    pub listen: Vec<TopicFilter>,
    /// For how long is listened to what should be live. Default: 2 s.
    pub listen_for: Duration,
    /// How many bytes the payload of the round trip has. Default: 64.
    pub payload_bytes: usize,
    /// Another node of the broker's cluster, which a probe compares. Default: none.
    pub second_node: Option<Address>,
    /// For how long a probe waits until somebody has restarted the broker. Default: it does not.
    pub restart_within: Option<Duration>,
    /// The data folder of the hub that may run the connector, which is asked too. Default: none.
    pub hub: Option<PathBuf>,
}

impl Default for Order {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(5),
            topic: None,
            listen: Vec::new(),
            listen_for: Duration::from_secs(2),
            payload_bytes: 64,
            second_node: None,
            restart_within: None,
            hub: None,
        }
    }
}

/// Examines a connector at each of its addresses.
///
/// `told` is called after each step with the address, for whoever wants to show them as they come.
///
/// # Cancel safety
/// Dropping the future ends the connections; a retained message or a session of the doctor's own may stay behind.
pub async fn examine(
    patient: &Patient,
    order: &Order,
    mut told: impl FnMut(&str, &Step),
) -> Vec<Examination> {
    let mut all = Vec::new();
    for address in &patient.mqtt.addresses {
        let visit = Visit::new(patient, address, order);
        let name = address.to_string();
        let mut told = |step: &Step| told(&name, step);
        let mut chart = Chart::new(&mut told);
        visit.run(&mut chart).await;
        visit.ask_hub(&mut chart).await;
        all.push(chart.finish(patient, address));
    }
    all
}

/// One examination, at one address.
struct Visit<'a> {
    patient: &'a Patient,
    address: &'a Address,
    order: &'a Order,
    patience: Duration,
    /// The client identifier of this visit.
    client_id: String,
}

impl<'a> Visit<'a> {
    fn new(patient: &'a Patient, address: &'a Address, order: &'a Order) -> Self {
        let patience = order.patience.min(patient.mqtt.connect_timeout);
        Self { patient, address, order, patience, client_id: admit::own_client_id() }
    }

    async fn run(&self, chart: &mut Chart<'_>) {
        if !self.reach(chart).await {
            return;
        }
        let Some(mut admitted) = self.admit(chart).await else { return };
        self.limits(chart, &admitted);
        // What flows wait for is listened to first, so that nothing of the doctor's is among it.
        self.topics(chart, &mut admitted).await;
        if let OwnTopics::Usable = self.exchange(chart, &mut admitted).await {
            self.retained(chart, &mut admitted).await;
            self.session(chart, admitted.asked.version).await;
        }
        admitted.line.close().await;
    }

    /// Asks the hub what it has seen of the same connector at this address.
    async fn ask_hub(&self, chart: &mut Chart<'_>) {
        let target = connect::dial_options(&self.patient.mqtt, self.address).target();
        if let Some(said) = running::ask(self.patient, self.order).await.filter(|said| said.is_about(&target))
        {
            said.chart(chart);
        }
    }

    /// Tells whether the connector asks the broker to remember it.
    fn is_durable(&self) -> bool {
        self.patient.mqtt.session == SessionKind::Durable
    }
}

/// What became of a stage: what was seen, or what is wrong.
type Found = Result<String, Diagnosis>;
