use std::sync::Arc;

use crosspoint_store::{Options, SimulatedDisk};

use super::*;
use crate::outbox::Item;
use crate::testing::message;

const NUMBER: u64 = 3;

fn identity(client_id: &str, servers: &[&str]) -> Identity {
    let servers = servers.iter().map(|server| (*server).to_owned()).collect();
    Identity { client_id: client_id.to_owned(), servers }
}

fn ours() -> Identity {
    identity("hub", &["mqtt://a:1883", "mqtt://b:1883"])
}

fn item(payload: &str) -> Item {
    Item {
        message: message("a/b", payload.as_bytes(), QoS::ExactlyOnce),
        qos: QoS::ExactlyOnce,
        retain: true,
        flow: Arc::from("f"),
        accepted_wall_ms: 5,
    }
}

fn row(id: u16, stage: Stage, order: u64) -> Row {
    Row { id: OutgoingId::from_stored(PacketId::new(id).unwrap()), stage, order }
}

/// A store with ten messages in the outbox, of which three are consumed, and an open session.
async fn store() -> Store {
    let store = Store::open(SimulatedDisk::new(), Options::default()).unwrap();
    let mut batch = Batch::new();
    for number in 0..10 {
        let item = item(&number.to_string());
        batch.publish(item.encode(), [(outbox_queue(NUMBER), item.flags())]);
    }
    batch.consume(outbox_queue(NUMBER), 3);
    let rows = [
        (2, row(1, Stage::Received, 0)),
        (4, row(65_535, Stage::Received, 1)),
        (5, row(2, Stage::Done, 3)),
        (8, row(1, Stage::Published, 2)),
        (NO_POSITION + 4, row(3, Stage::Published, 4)),
    ];
    for (place, row) in rows {
        batch.put(OUTGOING, key(NUMBER, u64::to_be_bytes(place)), row.encode());
    }
    // Others have sessions too.
    for other in [NUMBER - 1, NUMBER + 1] {
        batch.put(OUTGOING, key(other, 4_u64.to_be_bytes()), row(9, Stage::Published, 0).encode());
        batch.put(INCOMING, key(other, 9_u16.to_be_bytes()), Bytes::from_static(&[FORM]));
    }
    batch.put(INCOMING, key(NUMBER, 700_u16.to_be_bytes()), Bytes::from_static(&[FORM]));
    batch.put(SUBSCRIPTIONS, key(NUMBER, []), ours().row(&subscribed()));
    store.commit(batch).await.unwrap();
    store
}

fn subscribed() -> Vec<StoredSubscription> {
    vec![StoredSubscription {
        filter: TopicFilter::parse("in/#").unwrap(),
        options: SubscriptionOptions {
            qos: QoS::ExactlyOnce,
            no_local: true,
            retain_as_published: true,
            retain_handling: RetainHandling::DoNotSend,
        },
        subscription_id: Some(300),
    }]
}

#[tokio::test]
async fn a_session_comes_back_in_the_order_of_its_identifiers() {
    let store = store().await;
    let Loaded { stored, restored, .. } = load(&store, NUMBER, &ours()).await.unwrap();
    let outgoing: Vec<_> = stored
        .outgoing
        .iter()
        .map(|(id, stage, outgoing)| (id.packet_id().value(), *stage, outgoing.cookie))
        .collect();
    assert_eq!(
        outgoing,
        [(65_535, Sent::Released, 4), (1, Sent::Published, 8), (3, Sent::Released, NO_COOKIE)]
    );
    let eight = &stored.outgoing[1].2;
    assert_eq!((eight.message.payload(), eight.qos, eight.retain), (&b"8"[..], QoS::ExactlyOnce, true));
    let restore = |position, is_done| Restored { position, is_done };
    assert_eq!(restored, [restore(4, false), restore(5, true), restore(8, false)]);
    let ids: Vec<u16> = stored.incoming.iter().map(|id| id.packet_id().value()).collect();
    assert_eq!((ids, stored.subscriptions), (vec![700], subscribed()));
    assert_eq!(store.value(OUTGOING, &key(NUMBER, 2_u64.to_be_bytes())), None, "its message has left");
}

#[tokio::test]
async fn another_client_id_or_other_servers_have_another_session() {
    for other in [identity("other", &["mqtt://a:1883"]), identity("hub", &["mqtt://c:1883"])] {
        let store = store().await;
        let Loaded { stored, restored, .. } = load(&store, NUMBER, &other).await.unwrap();
        assert!(stored.outgoing.is_empty() && stored.incoming.is_empty() && stored.subscriptions.is_empty());
        assert_eq!(restored, [Restored { position: 5, is_done: true }], "that it is done stays true");
        let Loaded { stored, .. } = load(&store, NUMBER, &ours()).await.unwrap();
        assert!(stored.outgoing.is_empty() && stored.subscriptions.is_empty(), "it does not come back");
        assert_eq!(store.scan(OUTGOING, None, 100).len(), 3, "others keep theirs");
    }
}

#[tokio::test]
async fn one_server_in_common_is_the_same_session() {
    let store = store().await;
    let moved = identity("hub", &["mqtt://c:1883", "mqtt://b:1883"]);
    assert_eq!(load(&store, NUMBER, &moved).await.unwrap().stored.outgoing.len(), 3);
    let further = identity("hub", &["mqtt://c:1883"]);
    assert_eq!(load(&store, NUMBER, &further).await.unwrap().stored.outgoing.len(), 3);
}

#[tokio::test]
async fn rows_of_a_newer_form_are_refused_and_not_lost() {
    let store = store().await;
    let mut batch = Batch::new();
    batch.put(OUTGOING, key(NUMBER, 6_u64.to_be_bytes()), Bytes::from_static(&[2, 0]));
    store.commit(batch).await.unwrap();
    assert!(load(&store, NUMBER, &ours()).await.unwrap_err().contains("newer"));
    assert!(store.value(OUTGOING, &key(NUMBER, 6_u64.to_be_bytes())).is_some());
}

#[tokio::test]
async fn what_was_given_up_is_not_sent_and_its_exchange_ends() {
    let store = store().await;
    let mut batch = Batch::new();
    // A mark of a dead letter, and one of a drop by command: `docs/formats/records.md`, table 21.
    batch.put(21, key(NUMBER, 4_u64.to_be_bytes()), Bytes::from_static(&[1, 1, 1]));
    batch.put(21, key(NUMBER, 8_u64.to_be_bytes()), Bytes::from_static(&[1, 0, 1]));
    store.commit(batch).await.unwrap();
    let Loaded { stored, restored, .. } = load(&store, NUMBER, &ours()).await.unwrap();
    assert!(restored.iter().all(|restored| restored.position != 4 && restored.position != 8), "{restored:?}");
    let ends = stored.outgoing.iter().filter(|(_, stage, outgoing)| {
        *stage == Sent::Released && outgoing.cookie == NO_COOKIE && outgoing.message.payload().is_empty()
    });
    assert_eq!(ends.count(), stored.outgoing.len(), "nothing is published: {:?}", stored.outgoing);
    assert_eq!(stored.outgoing.len(), 3);
}
