//! What mosquitto refuses for the moment: while it holds a message at QoS 2 that is not released, and has no room for
//! more, it answers with reason code 0x97, "quota exceeded".

use crosspoint_client::QoS;
use crosspoint_hub::OutboxFigures;
use interop::{Mosquitto, OurClient, client_options};

use crate::support::{Relay, Running, State};

/// What mosquitto logs of a refusal, 0x97.
const REFUSAL: &str = "(m2, rc151)";

/// A hub whose outbox holds a message at QoS 2 and one behind it, which mosquitto refuses at first.
struct Refusing {
    hub: Running,
    device: OurClient,
    listener: OurClient,
    mosquitto: Mosquitto,
    _relay: Relay,
}

impl Refusing {
    async fn start(lines: &str) -> Option<Self> {
        let quota = "allow_anonymous true\nmax_inflight_bytes 100\nmax_queued_bytes 1";
        let mosquitto = Mosquitto::start_talking(quota, &[]).await?;
        let relay = Relay::start(mosquitto.port(), State::Closed).await;
        let hub = Running::start(&format!(
            "[flow.f]\nfrom = {{ connector = \"broker\", topics = \"in/#\", qos = 2 }}\nto = {{ connector = \"a\" }}\n\
             [connector.a]\nurl = \"mqtt://127.0.0.1:{}\"\nprotocol = \"5.0\"\nreconnect_min_ms = 100\nreconnect_max_ms = 100\n{lines}\n",
            relay.port
        ))
        .await;
        let device = hub.device().await;
        let listener = OurClient::connect(client_options(mosquitto.port())).await;
        listener.subscribe("#", QoS::AtMostOnce).await;
        device.publish("in/a", vec![b'0'; 200], QoS::ExactlyOnce).await;
        device.publish("in/a", "1", QoS::AtLeastOnce).await;
        hub.until("both to wait", |hub| hub.status()["a"].outbox.waiting() == 2).await;
        relay.set(State::Open);
        mosquitto.logged(REFUSAL).await;
        Some(Self { hub, device, listener, mosquitto, _relay: relay })
    }

    /// Returns the first characters of the next messages, and what the outbox has counted when nothing waits.
    async fn end(mut self, count: usize) -> (String, OutboxFigures) {
        let mut arrived = String::new();
        for _ in 0..count {
            arrived.extend(self.listener.next().await.1.first().map(|byte| char::from(*byte)));
        }
        self.hub.until("nothing to wait", |hub| hub.status()["a"].outbox.waiting() == 0).await;
        let figures = self.hub.figures();
        self.hub.stop().await;
        drop(self.mosquitto);
        (arrived, figures)
    }
}

#[tokio::test]
async fn what_is_refused_for_the_moment_is_sent_again_as_often_as_it_says() {
    let Some(refusing) = Refusing::start("").await else { return };
    let (arrived, figures) = refusing.end(2).await;
    assert_eq!((arrived.as_str(), figures.confirmed, figures.dead), ("01", 2, 0));
    let refusing = Refusing::start("outbox = { max_attempts = 1 }").await.unwrap();
    let (arrived, figures) = refusing.end(1).await;
    assert_eq!((arrived.as_str(), figures.confirmed, figures.dead), ("0", 1, 1));
}

/// What is refused is sent again after a second or more.
#[tokio::test]
async fn a_refusal_holds_up_everything_or_its_topic_alone() {
    for (lines, expected) in [("", "012"), ("ordering = \"topic\"", "021")] {
        let Some(refusing) = Refusing::start(lines).await else { return };
        refusing.device.publish("in/b", "2", QoS::AtLeastOnce).await;
        let (arrived, figures) = refusing.end(3).await;
        assert_eq!((arrived.as_str(), figures.dead), (expected, 0), "{lines}");
    }
}
