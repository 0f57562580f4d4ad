//! Connections, topics and waits for statements.

use std::time::Duration;

use bytes::Bytes;
use crosspoint_protocol::packet::{
    ConnAck, Connect, ConnectProperties, Publish, SubscribedFilter, SubscriptionOptions,
};
use crosspoint_protocol::{QoS, TopicFilter, TopicName};
use tokio::time::Instant;

use super::super::Visit;
use super::super::admit::own_client_id;
use super::super::line::{Line, Lost, NotOpened, Retain};
use super::restart::Restarted;

/// How long is waited for what should come.
const COMES_MAX: Duration = Duration::from_secs(3);

/// How long is waited for what should not come.
const QUIET: Duration = Duration::from_millis(700);

/// How long a broker keeps a session of the doctor's (MQTT 5).
const SESSION_EXPIRY_S: u32 = 120;

/// Where statements are asked.
pub(super) struct Ground<'a> {
    pub(super) visit: &'a Visit<'a>,
    /// The CONNECT that got in.
    pub(super) connect: Connect,
    /// What the broker said to it.
    pub(super) connack: ConnAck,
    /// What a restart of the broker has left, if there was to be one.
    pub(super) restarted: Option<Restarted>,
}

impl Ground<'_> {
    /// Opens a connection under a client identifier of its own.
    pub(super) async fn line(&self) -> Result<Line, NotOpened> {
        let connect = Connect { client_id: own_client_id().into(), ..self.connect.clone() };
        self.line_with(connect).await.map(|(line, _)| line)
    }

    pub(super) async fn line_with(&self, connect: Connect) -> Result<(Line, ConnAck), NotOpened> {
        let admitted = self.visit.connect_with(connect).await?;
        Ok((admitted.line, admitted.connack))
    }

    /// Returns a CONNECT that asks for a session to be kept.
    pub(super) fn durable(&self, client_id: &str) -> Connect {
        let properties =
            ConnectProperties { session_expiry_s: Some(SESSION_EXPIRY_S), ..self.connect.properties.clone() };
        Connect { client_id: client_id.into(), clean_start: false, properties, ..self.connect.clone() }
    }

    /// Removes a session. What becomes of the attempt shows in no statement.
    pub(super) async fn forget(&self, client_id: &str) {
        let clean = Connect { client_id: client_id.into(), ..self.connect.clone() };
        if let Ok((line, _)) = self.line_with(clean).await {
            line.close().await;
        }
    }

    /// Returns a topic of this visit.
    pub(super) fn topic(&self, rest: &str) -> TopicName {
        self.visit.own_topic(rest)
    }

    /// Returns a filter of this visit.
    #[expect(clippy::expect_used, reason = "what is passed is a filter, written in this room")]
    pub(super) fn filter(&self, rest: &str) -> TopicFilter {
        filter(&format!("crosspoint/doctor/{}/{rest}", self.visit.client_id))
            .expect("what is passed is a filter, written in this room")
    }

    /// Publishes a retained message at QoS 1, and waits until the broker has it.
    pub(super) async fn retain(&self, line: &mut Line, topic: &TopicName, payload: &str) -> Result<(), Lost> {
        line.publish(topic, payload.to_owned(), self.qos(QoS::AtLeastOnce), Retain::Yes).await?;
        line.ping().await.map(|_| ())
    }

    /// Returns a QoS, lowered to what the broker says that it takes.
    pub(super) fn qos(&self, qos: QoS) -> QoS {
        qos.min(self.connack.properties.maximum_qos.unwrap_or(QoS::ExactlyOnce))
    }

    /// Returns how many messages may be in flight: what the broker says, and few to one that cannot say it.
    pub(super) fn window(&self) -> u16 {
        let said = self.connack.properties.receive_maximum.unwrap_or(if self.connect.version.is_v5() {
            100
        } else {
            20
        });
        said.min(100)
    }

    /// Returns what the broker calls itself.
    pub(super) async fn calls_itself(&self) -> Option<String> {
        let mut line = self.line().await.ok()?;
        let filter = filter("$SYS/broker/version")?;
        let reason = subscribe(&mut line, &filter, QoS::AtMostOnce).await.ok()?;
        if !reason {
            return None;
        }
        let said = comes(&mut line).await.ok()??;
        line.close().await;
        let words =
            String::from_utf8_lossy(&said.payload).chars().filter(|c| !c.is_control()).take(100).collect();
        Some(words)
    }
}

/// Returns a filter; `None` where the text is none.
pub(super) fn filter(text: &str) -> Option<TopicFilter> {
    TopicFilter::parse(text.to_owned()).ok()
}

/// Subscribes, and tells whether the broker granted it.
pub(super) async fn subscribe(line: &mut Line, filter: &TopicFilter, qos: QoS) -> Result<bool, Lost> {
    let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
    subscribe_as(line, SubscribedFilter { filter: filter.clone(), options }, None).await
}

/// Subscribes with options, and tells whether the broker granted it.
pub(super) async fn subscribe_as(
    line: &mut Line,
    wanted: SubscribedFilter,
    id: Option<u32>,
) -> Result<bool, Lost> {
    Ok(!line.subscribe(&wanted.filter, wanted.options, id).await?.is_error())
}

/// Waits for the next message that should come.
pub(super) async fn comes(line: &mut Line) -> Result<Option<Publish>, Lost> {
    line.message(Instant::now() + COMES_MAX).await
}

/// Waits for a message with this payload that should come.
pub(super) async fn comes_with(line: &mut Line, payload: &str) -> Result<Option<Publish>, Lost> {
    line.message_that(Instant::now() + COMES_MAX, |message| message.payload == payload).await
}

/// Returns what comes although nothing should.
pub(super) async fn comes_all_the_same(line: &mut Line) -> Result<Option<Publish>, Lost> {
    line.ping().await?;
    line.message(Instant::now() + QUIET).await
}

/// Returns the payloads that come, as many as are expected, or fewer when no more come.
pub(super) async fn payloads(line: &mut Line, expected: usize) -> Result<Vec<Bytes>, Lost> {
    let mut all = Vec::new();
    while all.len() < expected {
        match comes(line).await? {
            Some(message) => all.push(message.payload),
            None => break,
        }
    }
    Ok(all)
}

/// Returns the payloads `0` to `count`, not included.
pub(super) fn numbered(count: usize) -> Vec<Bytes> {
    (0..count).map(|number| Bytes::from(number.to_string())).collect()
}
