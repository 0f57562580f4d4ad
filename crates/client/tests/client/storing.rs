use std::sync::{Arc, Mutex};

use crosspoint_client::{
    Cause, Delta, Message, NO_COOKIE, PublishError, PublishResult, QoS, ReasonCode, SaveReceipt,
    SessionChange, SessionKeeping, SessionStore, State, StoredSession, TopicName,
};
use crosspoint_protocol::{
    Now, PacketId,
    packet::{Ack, Packet, PublishProperties},
    session::{IncomingId, Outgoing, OutgoingId, Stage},
};

use crate::harness::*;

type Saved = Vec<(Vec<SessionChange>, SaveReceipt)>;

/// A store that makes nothing durable until the test says so.
#[derive(Clone, Default)]
struct Slow(Arc<Mutex<Saved>>);

impl Slow {
    fn waiting(&self) -> Saved {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    fn durable(&self) {
        self.waiting().into_iter().for_each(|(_, receipt)| receipt.durable());
    }
}

impl SessionStore for Slow {
    fn load(&mut self) -> Result<StoredSession, String> {
        Ok(StoredSession::default())
    }

    fn save(&mut self, changes: Vec<SessionChange>, receipt: SaveReceipt) -> Option<SaveReceipt> {
        self.0.lock().unwrap().push((changes, receipt));
        None
    }
}

fn ack(id: PacketId) -> Ack {
    Ack::new(id, ReasonCode::Success)
}

#[tokio::test(start_paused = true)]
async fn packets_wait_until_what_they_promise_is_durable() {
    let store = Slow::default();
    let mut world = start_with(options(), Box::new(store.clone()), 64 * 1024);
    let mut peer = world.network.let_in(false).await;
    reach(&world.client, State::is_connected).await;
    store.durable();
    let sent = world.client.try_publish(publication("a", "1", QoS::ExactlyOnce)).unwrap();
    tokio::time::timeout(std::time::Duration::from_secs(9), peer.recv()).await.unwrap_err();
    store.durable();
    let id = peer.recv_publish().await.packet_id.unwrap();
    peer.send(Packet::PubRec(ack(id))).await;
    tokio::time::timeout(std::time::Duration::from_secs(9), peer.recv()).await.unwrap_err();
    store.durable();
    assert_eq!(peer.recv().await, Packet::PubRel(ack(id)));
    peer.send(Packet::PubComp(ack(id))).await;
    sent.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_failed_save_ends_the_connection_and_is_made_good_on_the_next() {
    let store = Slow::default();
    let opts = options().session(SessionKeeping::Durable);
    let mut world = start_with(opts, Box::new(store.clone()), 64 * 1024);
    let mut peer = world.network.let_in(false).await;
    reach(&world.client, State::is_connected).await;
    store.durable();
    let sent = world.client.try_publish(publication("a", "1", QoS::ExactlyOnce)).unwrap();
    settle().await;
    drop(store.waiting());
    reach(&world.client, |state| matches!(state, State::BackingOff { cause: Cause::Store, .. })).await;
    peer.recv_disconnect().await;
    let mut peer = world.network.let_in(true).await;
    settle().await;
    store.durable();
    let publish = peer.recv_publish().await;
    assert!(!publish.dup, "it never left before");
    let id = publish.packet_id.unwrap();
    peer.send(Packet::PubRec(ack(id))).await;
    settle().await;
    store.durable();
    assert_eq!(peer.recv().await, Packet::PubRel(ack(id)));
    peer.send(Packet::PubComp(ack(id))).await;
    assert!(!sent.await.unwrap().may_be_duplicate);
}

/// What another process left behind.
struct Left(std::sync::mpsc::Sender<SessionChange>, std::sync::mpsc::Sender<(u64, PublishResult)>);

impl SessionStore for Left {
    fn load(&mut self) -> Result<StoredSession, String> {
        let id = |value| PacketId::new(value).unwrap();
        let topic = TopicName::parse("a").unwrap();
        let properties = PublishProperties::default();
        let message = |text: &str| {
            Message::new(&topic, text.as_bytes(), QoS::ExactlyOnce, false, &properties, Now::default())
        };
        let outgoing = |text: &str, cookie| Outgoing {
            message: message(text),
            subscription_ids: Default::default(),
            cookie,
            qos: QoS::ExactlyOnce,
            retain: false,
        };
        Ok(StoredSession {
            outgoing: vec![
                (OutgoingId::from_stored(id(5)), Stage::Published, outgoing("five", 50)),
                (OutgoingId::from_stored(id(6)), Stage::Received, outgoing("six", 60)),
            ],
            incoming: vec![IncomingId::from_stored(id(9))],
            ..StoredSession::default()
        })
    }

    fn save(&mut self, changes: Vec<SessionChange>, receipt: SaveReceipt) -> Option<SaveReceipt> {
        changes.into_iter().for_each(|change| drop(self.0.send(change)));
        Some(receipt)
    }

    fn ended(&mut self, cookie: u64, outcome: PublishResult) {
        self.1.send((cookie, outcome)).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_stored_session_goes_on_and_its_end_is_told_to_the_store() {
    let (changes, seen) = std::sync::mpsc::channel();
    let (outcomes, ended) = std::sync::mpsc::channel();
    let opts = options().session(SessionKeeping::Durable);
    let mut world = start_with(opts, Box::new(Left(changes, outcomes)), 64 * 1024);
    let mut peer = world.network.let_in(true).await;
    let publish = peer.recv_publish().await;
    let (five, six) = (PacketId::new(5).unwrap(), PacketId::new(6).unwrap());
    assert_eq!((publish.packet_id, publish.dup), (Some(five), true));
    assert_eq!(peer.recv().await, Packet::PubRel(ack(six)));
    peer.send(Packet::PubComp(ack(six))).await;
    peer.deliver_with("b", "again", QoS::ExactlyOnce, 9, &[], Flags { dup: true, ..Flags::default() }).await;
    assert_eq!(peer.recv().await, Packet::PubRec(ack(PacketId::new(9).unwrap())));
    assert!(world.deliveries.try_next().is_none(), "it was accepted in another life");
    let finished = |change: &SessionChange| {
        matches!(change, SessionChange::Exchange(Delta::Finished { cookie: 60, .. }))
    };
    assert_eq!(seen.try_iter().filter(finished).count(), 1);
    let refused = Ack::new(five, ReasonCode::NotAuthorized);
    peer.send(Packet::PubRec(refused)).await;
    settle().await;
    let ended: Vec<(u64, PublishResult)> = ended.try_iter().collect();
    assert!(matches!(ended[0], (60, Ok(receipt)) if !receipt.may_be_duplicate), "{ended:?}");
    assert_eq!(ended[1..], [(50, Err(PublishError::Refused(ReasonCode::NotAuthorized)))]);
}

/// What is left of a publication whose message nobody has any more.
struct Nameless;

impl SessionStore for Nameless {
    fn load(&mut self) -> Result<StoredSession, String> {
        let topic = TopicName::parse("a").unwrap();
        let message = Message::new(
            &topic,
            b"gone",
            QoS::ExactlyOnce,
            false,
            &PublishProperties::default(),
            Now::default(),
        );
        let outgoing = Outgoing {
            message,
            subscription_ids: Default::default(),
            cookie: NO_COOKIE,
            qos: QoS::ExactlyOnce,
            retain: false,
        };
        let id = OutgoingId::from_stored(PacketId::new(5).unwrap());
        Ok(StoredSession { outgoing: vec![(id, Stage::Released, outgoing)], ..StoredSession::default() })
    }

    fn save(&mut self, _: Vec<SessionChange>, receipt: SaveReceipt) -> Option<SaveReceipt> {
        Some(receipt)
    }
}

#[tokio::test(start_paused = true)]
async fn a_publication_without_a_message_is_brought_to_its_end_and_never_published_anew() {
    let five = PacketId::new(5).unwrap();
    for session_present in [true, false] {
        let opts = options().session(SessionKeeping::Durable);
        let mut world = start_with(opts, Box::new(Nameless), 64 * 1024);
        let mut peer = world.network.let_in(session_present).await;
        if session_present {
            assert_eq!(peer.recv().await, Packet::PubRel(ack(five)));
        }
        let _sent = world.client.try_publish(publication("a", "new", QoS::AtLeastOnce)).unwrap();
        assert_eq!(&peer.recv_publish().await.payload[..], b"new");
    }
}
