//! What waits while mosquitto is away, and what arrives when it is back.

use std::time::Duration;

use crosspoint_client::{QoS, State};
use crosspoint_hub::Hub;
use interop::{Mosquitto, OurClient, Peer, client_options, find, start, text};
use tokio::process::Command;
use tokio::time::Instant;

use crate::support::{self, Relay, Running, mosquitto};

/// A hub whose way to mosquitto is closed, a device at its embedded broker, and who listens at mosquitto.
struct Away {
    hub: Running,
    relay: Relay,
    device: OurClient,
    listener: OurClient,
    mosquitto: Mosquitto,
}

impl Away {
    async fn start(mosquitto: Mosquitto, lines: &str) -> Self {
        let relay = Relay::start(mosquitto.port(), support::State::Closed).await;
        // Who is closed on without a CONNACK tries an older version, unless one is named.
        let hub = Running::writing_to(relay.port, &format!("protocol = \"5.0\"\n{lines}")).await;
        let device = hub.device().await;
        let listener = OurClient::connect(client_options(mosquitto.port())).await;
        listener.subscribe("#", QoS::AtLeastOnce).await;
        Self { hub, relay, device, listener, mosquitto }
    }

    async fn publish(&self, topic: &str, payload: impl Into<Vec<u8>>) {
        self.device.publish(topic, payload, QoS::AtLeastOnce).await;
    }

    /// Opens the way, and returns what arrives until nothing waits any more.
    async fn back(mut self) -> (Vec<(String, Vec<u8>)>, Self) {
        self.relay.set(support::State::Open);
        let is_through = |hub: &Hub| {
            let status = &hub.status()["a"];
            matches!(status.state, Some(State::Connected(_))) && status.outbox.waiting() == 0
        };
        self.hub.until("nothing to wait", is_through).await;
        self.publish("in/end", "end").await;
        let mut arrived = Vec::new();
        loop {
            let (topic, payload, _) = self.listener.next().await;
            if topic.ends_with("in/end") {
                return (arrived, self);
            }
            arrived.push((topic, payload));
        }
    }
}

/// Publishes numbers while mosquitto is away, and returns those that arrive.
async fn numbers(lines: &str, count: usize) -> Option<Vec<String>> {
    let away = Away::start(mosquitto().await?, lines).await;
    for number in 0..count {
        away.publish("in/n", number.to_string()).await;
    }
    let (arrived, away) = away.back().await;
    away.hub.stop().await;
    Some(arrived.into_iter().map(|(_, payload)| String::from_utf8(payload).unwrap()).collect())
}

#[tokio::test]
async fn of_what_is_too_much_the_oldest_or_the_newest_is_dropped_or_nothing() {
    let Some(all) = numbers("", 8).await else { return };
    assert_eq!(all, ["0", "1", "2", "3", "4", "5", "6", "7"]);
    let kept = numbers("outbox = { messages = 3, when_full = \"drop_oldest\" }", 8).await.unwrap();
    assert_eq!(kept, ["5", "6", "7"]);
    let kept = numbers("outbox = { messages = 3, when_full = \"drop_newest\" }", 8).await.unwrap();
    assert_eq!(kept, ["0", "1", "2"]);
}

#[tokio::test]
async fn a_full_outbox_that_blocks_holds_its_source_up() {
    let Some(mosquitto) = mosquitto().await else { return };
    let away = Away::start(mosquitto, "outbox = { messages = 3 }").await;
    for number in 0..3 {
        away.publish("in/n", number.to_string()).await;
    }
    let fourth = crosspoint_client::Publication::new("in/n", "3").unwrap().qos(QoS::AtLeastOnce);
    let device = away.device.client.clone();
    let held = tokio::spawn(async move { device.publish(fourth).await.map(drop) });
    away.hub
        .until("the flow to be blocked", |hub| hub.status()["a"].blocked_by.as_deref() == Some("f"))
        .await;
    let (arrived, away) = away.back().await;
    assert_eq!(arrived.len(), 4, "{arrived:?}");
    held.await.unwrap().unwrap();
    away.hub.stop().await;
}

#[tokio::test]
async fn an_outbox_is_full_by_its_bytes_too() {
    let Some(mosquitto) = mosquitto().await else { return };
    let away = Away::start(mosquitto, "outbox = { bytes = 65536, when_full = \"drop_oldest\" }").await;
    for number in 0..10_u8 {
        away.publish("in/n", vec![number; 20_000]).await;
    }
    let (arrived, away) = away.back().await;
    assert_eq!(arrived.iter().map(|(_, payload)| payload[0]).collect::<Vec<_>>(), [7, 8, 9]);
    away.hub.stop().await;
}

#[tokio::test]
async fn of_a_state_only_the_newest_arrives() {
    let Some(mosquitto) = mosquitto().await else { return };
    let away = Away::start(mosquitto, "outbox = { keep_latest = [\"in/state/#\"] }").await;
    for (topic, payload) in
        [("in/state/a", "1"), ("in/n", "1"), ("in/state/a", "2"), ("in/n", "2"), ("in/state/a", "3")]
    {
        away.publish(topic, payload).await;
    }
    let (arrived, away) = away.back().await;
    let of = |wanted: &str| {
        arrived
            .iter()
            .filter(|(topic, _)| topic == wanted)
            .map(|(_, payload)| payload.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!((of("in/state/a"), of("in/n")), (vec![b"3".to_vec()], vec![b"1".to_vec(), b"2".to_vec()]));
    away.hub.stop().await;
}

#[tokio::test]
async fn what_has_waited_too_long_does_not_arrive() {
    let Some(mosquitto) = mosquitto().await else { return };
    let away = Away::start(mosquitto, "outbox = { age_s = 1 }").await;
    away.publish("in/n", "old").await;
    tokio::time::sleep(Duration::from_millis(1_500)).await; // pace: a message grows old by nothing but time
    away.publish("in/n", "fresh").await;
    let (arrived, away) = away.back().await;
    assert_eq!(arrived, [("in/n".to_owned(), b"fresh".to_vec())]);
    assert_eq!(away.hub.figures().dropped_expired, 1);
    away.hub.stop().await;
}

#[tokio::test]
async fn what_has_waited_is_marked_by_its_topic_and_by_a_property() {
    let Some(mosquitto) = mosquitto().await else { return };
    let Some(program) = find(Peer::MosquittoSub) else { return };
    let away = Away::start(
        mosquitto,
        "outbox = { replay_mark = { topic_prefix = \"late/\", property = \"replay\" } }",
    )
    .await;
    let port = away.mosquitto.port().to_string();
    let mut command = Command::new("stdbuf");
    command.args(["-oL", text(&program), "-h", "127.0.0.1", "-p", &port, "-V", "5", "-q", "1", "-d"]);
    let mut shown = start(command.args(["-t", "#", "-F", "> %j"]));
    shown.line_with("Subscribed").await;
    away.publish("in/n", "waited").await;
    let (arrived, away) = away.back().await;
    assert_eq!(arrived, [("late/in/n".to_owned(), b"waited".to_vec())]);
    let line = shown.line_with("\"payload\":\"waited\"").await;
    assert!(line.contains("\"user-properties\":{\"replay\":\"true\"}"), "{line}");
    let line = shown.line_with("\"payload\":\"end\"").await;
    assert!(line.contains("\"topic\":\"in/end\"") && !line.contains("replay"), "{line}");
    away.hub.stop().await;
}

/// Without the key it would be marked: it waited for a connection.
#[tokio::test]
async fn what_has_waited_less_than_it_says_is_not_marked() {
    let Some(mosquitto) = mosquitto().await else { return };
    let away =
        Away::start(mosquitto, "outbox = { replay_mark = { topic_prefix = \"late/\", after_s = 30 } }").await;
    away.publish("in/n", "waited a little").await;
    let (arrived, away) = away.back().await;
    assert_eq!(arrived, [("in/n".to_owned(), b"waited a little".to_vec())]);
    away.hub.stop().await;
}

/// Without the key ten messages leave at once.
#[tokio::test]
async fn a_backlog_leaves_at_its_pace() {
    let Some(mosquitto) = mosquitto().await else { return };
    let away = Away::start(mosquitto, "outbox = { backlog_per_s = 5 }").await;
    for number in 0..10 {
        away.publish("in/n", number.to_string()).await;
    }
    let begin = Instant::now();
    let (arrived, away) = away.back().await;
    assert_eq!(arrived.len(), 10);
    assert!(begin.elapsed() >= Duration::from_millis(1_000), "{:?}", begin.elapsed());
    away.hub.stop().await;
}

#[tokio::test]
async fn no_more_dead_letters_are_kept_than_is_written() {
    let Some(mosquitto) = Mosquitto::start_talking("allow_anonymous true\nmax_packet_size 500", &[]).await
    else {
        return;
    };
    let away = Away::start(mosquitto, "outbox = { dead_letters = 2 }").await;
    for _ in 0..5 {
        away.publish("in/n", vec![b'x'; 1_000]).await;
    }
    let (arrived, away) = away.back().await;
    assert_eq!((arrived.len(), away.hub.figures().dead), (0, 5));
    away.hub.until("the oldest letters to go", |hub| hub.gauge().waiting().dead == 2).await;
    away.hub.stop().await;
}

#[tokio::test]
async fn what_was_sent_is_kept_where_there_is_an_archive() {
    for (lines, kept) in [("", 0), ("outbox = { archive = {} }", 4)] {
        let Some(mosquitto) = mosquitto().await else { return };
        let away = Away::start(mosquitto, lines).await;
        for number in 0..3 {
            away.publish("in/n", number.to_string()).await;
        }
        let (_, away) = away.back().await;
        away.hub.until("all to be confirmed", |hub| hub.status()["a"].outbox.confirmed == 4).await;
        away.hub.until("the archive", |hub| hub.gauge().waiting().archived == kept).await;
        away.hub.stop().await;
    }
}

#[tokio::test]
async fn an_archive_is_bounded_by_its_bytes_and_by_their_age() {
    let Some(mosquitto) = mosquitto().await else { return };
    let away = Away::start(mosquitto, "outbox = { archive = { bytes = 65536 } }").await;
    for number in 0..10_u8 {
        away.publish("in/n", vec![number; 20_000]).await;
    }
    let (_, away) = away.back().await;
    away.hub.until("all to be confirmed", |hub| hub.status()["a"].outbox.confirmed == 11).await;
    // The last is short.
    away.hub.until("the newest of it", |hub| hub.gauge().waiting().archived == 4).await;
    away.hub.stop().await;
    let Some(mosquitto) = support::mosquitto().await else { return };
    let away = Away::start(mosquitto, "outbox = { archive = { age_s = 1 } }").await;
    away.publish("in/n", "old").await;
    let (_, away) = away.back().await;
    away.hub.until("all to be confirmed", |hub| hub.status()["a"].outbox.confirmed == 2).await;
    away.hub.until("what is old to go", |hub| hub.gauge().waiting().archived == 0).await;
    away.hub.stop().await;
}

#[tokio::test]
async fn what_counts_as_kept_in_memory_is_not_on_disk() {
    for (lines, on_disk) in [("", 3), ("durability = \"written\"", 3), ("durability = \"memory\"", 0)] {
        let Some(mosquitto) = mosquitto().await else { return };
        let away = Away::start(mosquitto, lines).await;
        for number in 0..3 {
            away.publish("in/n", number.to_string()).await;
        }
        away.hub.until("all to wait", |hub| hub.status()["a"].outbox.waiting() == 3).await;
        assert_eq!(away.hub.hub.gauge().waiting().outboxes, on_disk, "{lines}");
        let (arrived, away) = away.back().await;
        assert_eq!(arrived.len(), 3, "{lines}");
        away.hub.stop().await;
    }
}
