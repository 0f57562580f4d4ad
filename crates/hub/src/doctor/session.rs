//! Sessions: does the broker keep a subscription, and what comes for it, while its client is away?

use std::time::Duration;

use crosspoint_protocol::packet::{Connect, ConnectProperties, SubscriptionOptions};
use crosspoint_protocol::{QoS, TopicName, Version};
use tokio::time::Instant;

use super::admit::{connect_as, own_client_id};
use super::exchange::filter_of;
use super::line::{Lost, NotOpened, Retain};
use super::report::{Chart, Stage};
use super::{Found, Visit};
use crate::diagnosis::{Diagnosis, Fault};

/// How long a broker keeps what the doctor left when it was killed in between (MQTT 5).
const EXPIRY_S: u32 = 60;

/// How many messages come while the client is away.
const KEPT_MESSAGES: usize = 5;

/// How long what was kept may take to come.
const KEPT_MAX: Duration = Duration::from_secs(3);

/// What ended the examination of sessions before its time.
enum Broken {
    Line(Lost),
    NotOpened,
}

impl From<Lost> for Broken {
    fn from(lost: Lost) -> Self {
        Self::Line(lost)
    }
}

impl From<NotOpened> for Broken {
    fn from(_: NotOpened) -> Self {
        Self::NotOpened
    }
}

impl Visit<'_> {
    /// Leaves a session, lets a message come, returns to it, and removes it. Only for a connector that is durable.
    pub(super) async fn session(&self, chart: &mut Chart<'_>, version: Version) {
        if !self.is_durable() {
            return;
        }
        let client_id = own_client_id();
        let found = self.try_session(version, &client_id).await;
        // A clean start removes the session, whatever was found.
        if let Ok(last) = self.connect_with(connect_as(&self.patient.mqtt, &client_id, version)).await {
            last.line.close().await;
        }
        let found = found.unwrap_or_else(|broken| {
            Err(match broken {
                Broken::Line(lost) => lost.into_diagnosis(&self.patient.mqtt),
                Broken::NotOpened => {
                    not_kept("the broker does not take a connection that asks for a session")
                }
            })
        });
        match found {
            Ok(seen) => {
                chart.found(Stage::Session, Ok(seen));
            }
            Err(diagnosis) => chart.warned(Stage::Session, diagnosis.cause.clone(), vec![diagnosis]),
        }
    }

    async fn try_session(&self, version: Version, client_id: &str) -> Result<Found, Broken> {
        let topic = self.own_topic("session");
        let mut first = self.connect_with(self.durable(client_id, version)).await?;
        let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..SubscriptionOptions::default() };
        first.line.subscribe(&filter_of(&topic), options, None).await?;
        first.line.close().await;
        let payloads: Vec<String> = (1..=KEPT_MESSAGES).map(|number| format!("message {number}")).collect();
        let nobody = own_client_id();
        let mut other = self.connect_with(connect_as(&self.patient.mqtt, &nobody, version)).await?;
        for payload in &payloads {
            other.line.publish(&topic, payload.clone(), QoS::AtLeastOnce, Retain::No).await?;
        }
        other.line.close().await;
        self.return_to(&topic, client_id, version, &payloads).await
    }

    async fn return_to(
        &self,
        topic: &TopicName,
        client_id: &str,
        version: Version,
        payloads: &[String],
    ) -> Result<Found, Broken> {
        let mut back = self.connect_with(self.durable(client_id, version)).await?;
        let until = Instant::now() + self.patience.min(KEPT_MAX);
        let mut came = 0;
        for payload in payloads {
            came += usize::from(
                back.line.message_that(until, |message| message.payload == payload).await?.is_some(),
            );
        }
        let is_present = back.connack.session_present || version == Version::V3_1;
        back.line.close().await;
        Ok(match (is_present, came == payloads.len()) {
            (true, true) => Ok("kept, with what came meanwhile".to_owned()),
            (false, true) => Err(not_told()),
            (false, false) => Err(not_kept("the broker forgot the session of a client that came right back")),
            (true, false) => Err(not_kept(&format!(
                "the broker kept the session; of {KEPT_MESSAGES} QoS 1 messages that came for it to {topic} it lost {}, or changed their order",
                payloads.len() - came
            ))),
        })
    }

    fn durable(&self, client_id: &str, version: Version) -> Connect {
        let asked = connect_as(&self.patient.mqtt, client_id, version);
        let properties = ConnectProperties { session_expiry_s: Some(EXPIRY_S), ..asked.properties };
        Connect { clean_start: false, properties, ..asked }
    }
}

/// The connector begins its exchanges anew where the broker says that there is no session.
fn not_told() -> Diagnosis {
    Diagnosis::new(
        Fault::SessionNotTold,
        "the broker keeps the session of a client that comes back, and says that it has none (session present is 0)",
        "be ready for messages that come twice after a lost connection, at QoS 2 as well; nothing is lost",
    )
}

fn not_kept(cause: &str) -> Diagnosis {
    Diagnosis::new(
        Fault::SessionNotKept,
        cause,
        "turn persistent sessions on at the broker; until then what is published while the connector is away is lost",
    )
}
