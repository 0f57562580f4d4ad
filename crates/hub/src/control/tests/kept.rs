//! What waits and what died, asked of a hub that runs and of one that has stopped.

use std::sync::Arc;

use crosspoint_protocol::{Message, Now, QoS, TopicName, packet::PublishProperties};
use serde_json::json;

use super::*;
use crate::config::plan::{Durability, OutboxPlan, WhenFull};
use crate::intake::Sink;
use crate::outbox::{self, Added, OutboxOptions};

/// A hub with the connectors `plant` and `cloud`, which connect to nothing.
struct Kept {
    site: Site,
    desk: Desk,
    outboxes: BTreeMap<Arc<str>, Sink>,
    is_running: bool,
}

impl Kept {
    async fn new() -> Self {
        Self::with(OutboxPlan::default()).await
    }

    async fn with(policy: OutboxPlan) -> Self {
        let mut site = Site::running();
        let (mut batch, mut outboxes) = (Batch::new(), BTreeMap::new());
        for (name, number) in [("plant", 1_u64), ("cloud", 2)] {
            let row = [&[1][..], &number.to_le_bytes()].concat();
            batch.put(16, Bytes::copy_from_slice(name.as_bytes()), row.into());
            let options = OutboxOptions {
                number,
                connector: name.into(),
                policy: Arc::new(policy.clone()),
                clock: Arc::new(|| Now { monotonic_ms: 0, wall_ms: 1_700_000_000_000 }),
            };
            let (outbox, _) = outbox::open(site.store.clone(), options).await.unwrap();
            let sink = Sink { number, outbox, durability: Durability::Synced, memory: None };
            outboxes.insert(name.into(), sink);
        }
        site.store.commit(batch).await.unwrap();
        site.channel.take().unwrap().close().await;
        let desk = Desk::of_running(site.store.clone(), &site.data);
        desk.set_sinks(outboxes.clone());
        site.channel = Some(Channel::open(&site.data, desk.clone()).unwrap());
        Self { site, desk, outboxes, is_running: true }
    }

    async fn stop(&mut self) {
        if std::mem::take(&mut self.is_running) {
            self.site.stop().await;
        }
    }

    async fn ask(&self, request: Request) -> Result<(u64, Vec<Map<String, Value>>), ControlError> {
        let mut rows = Vec::new();
        let mut hub = Control::open(&self.site.data).await?;
        assert_eq!(hub.is_running(), self.is_running);
        let asked = hub.ask(request, |part| {
            if let Part::Row(row) = part {
                rows.push(row);
            }
            Ok(())
        });
        let count = tokio::time::timeout(WITHIN, asked).await.unwrap()?;
        Ok((count, rows))
    }

    async fn count(&self, request: Request) -> u64 {
        self.ask(request).await.unwrap().0
    }

    async fn publish(&self, name: &str, topic: &str, qos: QoS) -> Result<u64, ControlError> {
        let request = Request::Publish { name: name.to_owned(), message: message(topic, qos) };
        self.ask(request).await.map(|(count, _)| count)
    }

    async fn bury(&self, topic: &str, reason: &str) {
        let item = item(topic);
        let (mut batch, mut added) = (Batch::new(), Added::default());
        self.outboxes["plant"].outbox.bury(&mut batch, &mut added, &item, reason);
        let committed = self.site.store.commit(batch).await.unwrap();
        self.outboxes["plant"].outbox.settled(added, Some(&committed));
    }

    async fn topics(&self, of: super::Kept) -> Vec<String> {
        let rows = self.ask(show(of, 0, u64::MAX)).await.unwrap().1;
        rows.iter().map(|row| row["topic"].as_str().unwrap().to_owned()).collect()
    }

    /// Returns what a list says of `plant` under a key.
    async fn listed(&self, of: super::Kept, key: &str) -> Value {
        let rows = self.ask(Request::List(of)).await.unwrap().1;
        let names: Vec<_> = rows.iter().map(|row| row["connector"].clone()).collect();
        assert_eq!(names, ["cloud", "plant"]);
        rows[1][key].clone()
    }
}

fn message(topic: &str, qos: QoS) -> Message {
    let (topic, none) = (TopicName::parse(topic).unwrap(), PublishProperties::default());
    Message::new(&topic, b"payload", qos, false, &none, Now { monotonic_ms: 0, wall_ms: 0 })
}

fn item(topic: &str) -> outbox::Item {
    outbox::Item {
        message: message(topic, QoS::AtLeastOnce),
        qos: QoS::AtLeastOnce,
        retain: false,
        flow: "f".into(),
        accepted_wall_ms: 1_600_000_000_000,
    }
}

fn show(of: super::Kept, from: u64, count: u64) -> Request {
    Request::Show { of, name: "plant".to_owned(), from, count, payload_bytes: u64::MAX }
}

fn plant() -> String {
    "plant".to_owned()
}

const OUTBOX: super::Kept = super::Kept::Outbox;
const DEAD: super::Kept = super::Kept::Dead;

#[tokio::test]
async fn what_is_published_is_kept_and_shown_whether_the_hub_runs_or_not() {
    let mut kept = Kept::new().await;
    for (topic, qos) in [("a", QoS::AtMostOnce), ("b", QoS::AtLeastOnce)] {
        assert_eq!(kept.publish("plant", topic, qos).await.unwrap(), 1);
    }
    assert_eq!(kept.outboxes["plant"].outbox.figures().waiting(), 2, "what sends it knows of it");
    kept.stop().await;
    kept.publish("plant", "c", QoS::ExactlyOnce).await.unwrap();
    assert_eq!(kept.topics(OUTBOX).await, ["a", "b", "c"]);
    let rows = kept.ask(show(OUTBOX, 1, 1)).await.unwrap().1;
    for (key, value) in [
        ("position", json!(1)),
        ("topic", json!("b")),
        ("qos", json!(1)),
        ("retain", json!(false)),
        ("flow", json!("pub")),
        ("payload", json!("payload")),
        ("payload_bytes", json!(7)),
    ] {
        assert_eq!(rows[0].get(key), Some(&value), "{key}");
    }
    assert_eq!((rows.len(), kept.listed(OUTBOX, "waiting").await), (1, json!(3)));
    assert_eq!(kept.listed(OUTBOX, "accepted").await, 3);
}

#[tokio::test]
async fn a_full_outbox_says_whom_it_holds_up() {
    let mut kept = Kept::with(OutboxPlan { messages_max: 1, ..OutboxPlan::default() }).await;
    assert_eq!(kept.listed(OUTBOX, "holds_up_flow").await, Value::Null);
    kept.publish("plant", "a", QoS::AtLeastOnce).await.unwrap();
    let (outbox, waits) = (kept.outboxes["plant"].outbox.clone(), item("b"));
    let waiting = tokio::spawn(async move { outbox.admit(&waits).await });
    let begin = std::time::Instant::now();
    while kept.listed(OUTBOX, "holds_up_flow").await != json!("f") {
        assert!(begin.elapsed() < WITHIN, "it does not say so");
    }
    waiting.abort();
    kept.stop().await;
}

#[tokio::test]
async fn a_full_outbox_refuses_what_is_published_by_hand() {
    let policy = OutboxPlan { messages_max: 1, when_full: WhenFull::DropNewest, ..OutboxPlan::default() };
    let mut kept = Kept::with(policy).await;
    kept.publish("plant", "a", QoS::AtLeastOnce).await.unwrap();
    let refused = kept.publish("plant", "b", QoS::AtLeastOnce).await.unwrap_err();
    assert!(refused.to_string().contains("the outbox of plant is full"), "{refused}");
    assert_eq!(kept.topics(OUTBOX).await, ["a"]);
    kept.stop().await;
}

#[tokio::test]
async fn what_waits_is_dropped_oldest_first_and_counted() {
    for runs in [true, false] {
        let mut kept = Kept::new().await;
        for topic in ["a", "b", "c", "d"] {
            kept.publish("plant", topic, QoS::AtLeastOnce).await.unwrap();
        }
        kept.publish("cloud", "other", QoS::AtLeastOnce).await.unwrap();
        if !runs {
            kept.stop().await;
        }
        let drop = |which| Request::Drop { of: OUTBOX, name: plant(), which };
        assert_eq!(kept.count(drop(Which::Oldest(2))).await, 2);
        assert_eq!(kept.topics(OUTBOX).await, ["c", "d"], "runs: {runs}");
        assert_eq!(kept.listed(OUTBOX, "dropped_by_command").await, 2);
        assert_eq!(kept.listed(OUTBOX, "waiting").await, 2);
        assert_eq!(kept.count(drop(Which::At(vec![3, 99]))).await, 1);
        assert_eq!(kept.count(drop(Which::All)).await, 1);
        assert_eq!(kept.count(drop(Which::All)).await, 0);
        assert_eq!(kept.topics(OUTBOX).await, [""; 0]);
        kept.stop().await;
        let rows = kept.ask(Request::List(OUTBOX)).await.unwrap().1;
        assert_eq!((rows[0]["waiting"].clone(), rows[1]["dropped"].clone()), (json!(1), json!(4)));
    }
}

#[tokio::test]
async fn dead_letters_are_listed_and_shown_with_what_is_known_of_them() {
    let mut kept = Kept::new().await;
    kept.bury("a", "too large").await;
    kept.bury("b", "not authorized").await;
    for _ in 0..2 {
        assert_eq!(kept.listed(DEAD, "dead").await, 2);
        assert_eq!(kept.listed(DEAD, "reason").await, "not authorized");
        assert_eq!(kept.topics(DEAD).await, ["a", "b"]);
        let rows = kept.ask(show(DEAD, 1, 5)).await.unwrap().1;
        let row = &rows[0];
        assert_eq!((&row["position"], &row["reason"]), (&json!(1), &json!("not authorized")));
        assert_eq!((&row["attempts"], &row["may_be_delivered"]), (&json!(0), &json!(false)));
        kept.stop().await;
    }
}

#[tokio::test]
async fn a_dead_letter_is_changed_and_goes_into_the_outbox_again() {
    for runs in [true, false] {
        let mut kept = Kept::new().await;
        kept.bury("wrong", "topic denied").await;
        kept.bury("other", "topic denied").await;
        if !runs {
            kept.stop().await;
        }
        let edit =
            Edit { topic: Some("right".to_owned()), payload: Some(b"new".to_vec()), ..Edit::default() };
        let (_, rows) = kept.ask(Request::Edit { name: plant(), position: 0, edit }).await.unwrap();
        let position = rows[0]["position"].as_u64().unwrap();
        assert_eq!(kept.topics(DEAD).await, ["other", "right"], "what is changed goes behind the others");
        let which = Which::At(vec![position]);
        assert_eq!(kept.count(Request::Retry { of: DEAD, name: plant(), which }).await, 1);
        assert_eq!(kept.topics(DEAD).await, ["other"], "runs: {runs}");
        let waiting = kept.ask(show(OUTBOX, 0, 9)).await.unwrap().1;
        assert_eq!((&waiting[0]["topic"], &waiting[0]["payload"]), (&json!("right"), &json!("new")));
        assert_eq!((&waiting[0]["qos"], waiting.len()), (&json!(1), 1), "what is not changed stays");
        kept.stop().await;
        assert_eq!(kept.topics(DEAD).await, ["other"]);
    }
}

#[tokio::test]
async fn dead_letters_are_dropped_and_a_slip_drops_none() {
    let mut kept = Kept::new().await;
    for topic in ["a", "b", "c"] {
        kept.bury(topic, "why").await;
    }
    let drop = |which| Request::Drop { of: DEAD, name: plant(), which };
    let slip = kept.ask(drop(Which::At(vec![1, 7]))).await.unwrap_err();
    assert_eq!(slip.to_string(), "plant has no dead letter 7");
    assert_eq!(kept.topics(DEAD).await, ["a", "b", "c"]);
    assert_eq!(kept.count(drop(Which::At(vec![1, 1]))).await, 1);
    assert_eq!(kept.topics(DEAD).await, ["a", "c"]);
    kept.stop().await;
    assert_eq!(kept.count(drop(Which::All)).await, 2);
    assert_eq!(kept.topics(DEAD).await, [""; 0]);
}

#[tokio::test]
async fn what_is_not_there_is_named_with_what_is() {
    let mut kept = Kept::new().await;
    for _ in 0..2 {
        let request =
            Request::Show { of: OUTBOX, name: "plnt".to_owned(), from: 0, count: 1, payload_bytes: 1 };
        let missing = kept.ask(request).await.unwrap_err();
        assert!(matches!(missing, ControlError::NotThere { .. }), "{missing}");
        assert_eq!(missing.to_string(), "the hub knows no connector plnt");
        assert_eq!(missing.mend(), "name one that it knows: cloud, plant");
        for edit in [Edit { topic: Some("a/#".to_owned()), ..Edit::default() }, Edit::default()] {
            let missing = kept.ask(Request::Edit { name: plant(), position: 5, edit }).await.unwrap_err();
            assert_eq!(missing.to_string(), "plant has no dead letter 5");
        }
        kept.stop().await;
    }
    let retry = Request::Retry { of: OUTBOX, name: plant(), which: Which::All };
    let refused = kept.ask(retry).await.unwrap_err();
    assert!(refused.to_string().contains("does not run"), "{refused}");
}

#[tokio::test]
async fn a_topic_that_cannot_be_published_to_changes_nothing() {
    let mut kept = Kept::new().await;
    kept.bury("a", "why").await;
    let edit = Edit { topic: Some("a/#".to_owned()), ..Edit::default() };
    let refused = kept.ask(Request::Edit { name: plant(), position: 0, edit }).await.unwrap_err();
    assert!(refused.to_string().contains("cannot be published to"), "{refused}");
    assert_eq!(kept.topics(DEAD).await, ["a"]);
    kept.stop().await;
}

#[tokio::test]
async fn a_connector_that_the_project_has_no_more_is_still_there_to_be_asked() {
    let mut kept = Kept::new().await;
    kept.publish("plant", "a", QoS::AtLeastOnce).await.unwrap();
    let cloud = kept.outboxes["cloud"].clone();
    kept.desk.set_sinks([("cloud".into(), cloud)].into());
    assert_eq!(kept.topics(OUTBOX).await, ["a"]);
    assert_eq!(kept.count(Request::Drop { of: OUTBOX, name: plant(), which: Which::All }).await, 1);
    assert_eq!(kept.listed(OUTBOX, "dropped_by_command").await, 1);
    kept.stop().await;
}

#[tokio::test]
async fn an_outbox_in_memory_promises_nothing() {
    let mut kept = Kept::new().await;
    let memory = Store::in_memory(Options::default().reserve_bytes(0)).unwrap();
    let sink = Sink { memory: Some(memory), ..kept.outboxes["plant"].clone() };
    kept.desk.set_sinks([("plant".into(), sink)].into());
    let refused = kept.publish("plant", "a", QoS::AtLeastOnce).await.unwrap_err();
    assert!(refused.to_string().contains("in memory only"), "{refused}");
    kept.stop().await;
}

#[tokio::test]
async fn what_was_sent_is_shown_as_far_as_it_is_archived() {
    let mut kept = Kept::new().await;
    let (mut batch, sent) = (Batch::new(), item("sent"));
    batch.publish(sent.encode(), [(8 + 5, sent.flags())]);
    kept.site.store.commit(batch).await.unwrap();
    for _ in 0..2 {
        assert_eq!(kept.topics(super::Kept::Archive).await, ["sent"]);
        assert_eq!(kept.topics(OUTBOX).await, [""; 0]);
        let drop = Request::Drop { of: super::Kept::Archive, name: plant(), which: Which::All };
        assert!(matches!(kept.ask(drop).await, Err(ControlError::Refused { .. })));
        kept.stop().await;
    }
}
