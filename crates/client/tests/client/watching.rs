//! Links on which pings are answered and nothing else happens.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use crosspoint_client::{
    Cause, ClientOptions, MemoryStore, QoS, ReasonCode, SaveReceipt, SessionChange, SessionKeeping,
    SessionStore, State, StoredSession, TopicName,
};
use crosspoint_protocol::packet::{Ack, Packet, Publish};
use tokio::time::{Instant, timeout};

use crate::harness::*;

/// The deadline of these tests.
const DEADLINE: Duration = Duration::from_secs(20);

/// Timers count whole milliseconds and fire in the next one.
const SLACK: Duration = Duration::from_millis(10);

/// A client that pings every few seconds, never just when a deadline is over, and whose session the server keeps.
fn watched() -> ClientOptions {
    options().keep_alive_s(7).ack_deadline_ms(20_000).session(SessionKeeping::Durable)
}

fn with_canary() -> ClientOptions {
    watched().canary(TopicName::parse("canary/1").unwrap(), 10_000)
}

fn why(state: &State) -> Option<Cause> {
    match state {
        State::BackingOff { cause, .. } => Some(cause.clone()),
        _ => None,
    }
}

/// Waits until the connection has ended, and tells why.
async fn ended(world: &World) -> Cause {
    why(&reach(&world.client, |state| why(state).is_some()).await).unwrap()
}

/// Answers pings, and returns what else comes until there is nothing for a while or the client has gone.
async fn answer_pings(peer: &mut Peer, within: Duration) -> Vec<Packet> {
    let mut others = Vec::new();
    let all = async {
        while let Some(packet) = peer.next().await {
            match packet {
                Packet::PingReq => peer.send(Packet::PingResp).await,
                other => others.push(other),
            }
        }
    };
    // No end within the time is what most of these tests are about.
    timeout(within, all).await.unwrap_or_default();
    others
}

fn sent_again(packet: &Packet) -> bool {
    matches!(packet, Packet::Publish(Publish { dup: true, .. }) | Packet::PubRel(_))
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_pings_and_acknowledges_nothing_is_left() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut world = start(watched());
        let mut peer = world.network.let_in(false).await;
        let sent = world.client.try_publish(publication("a", "1", qos)).unwrap();
        let id = peer.recv_publish().await.packet_id.unwrap();
        let begin = Instant::now();
        let last = answer_pings(&mut peer, 2 * DEADLINE).await;
        assert!(matches!(last.as_slice(), [Packet::Disconnect(_)]), "{last:?}");
        assert!((DEADLINE..DEADLINE + SLACK).contains(&begin.elapsed()), "{:?}", begin.elapsed());
        let cause = ended(&world).await;
        assert_eq!(cause, Cause::AckDeadline { after_ms: 20_000 });
        assert_eq!(cause.to_string(), "the server has acknowledged nothing for 20000 ms");
        assert!(cause.next_step().contains("longer ack deadline"), "{}", cause.next_step());

        let mut peer = world.network.let_in(true).await;
        let publish = peer.recv_publish().await;
        assert_eq!((publish.packet_id, publish.dup), (Some(id), true));
        if qos == QoS::ExactlyOnce {
            peer.send(Packet::PubRec(Ack::new(id, ReasonCode::Success))).await;
            assert_eq!(peer.recv().await, Packet::PubRel(Ack::new(id, ReasonCode::Success)));
            peer.send(Packet::PubComp(Ack::new(id, ReasonCode::Success))).await;
        } else {
            peer.puback(id).await;
        }
        assert!(!sent.await.unwrap().may_be_duplicate);
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_pubcomp_counts_from_pubrel() {
    let mut world = start(watched());
    let mut peer = world.network.let_in(false).await;
    let _sent = world.client.try_publish(publication("a", "1", QoS::ExactlyOnce)).unwrap();
    let id = peer.recv_publish().await.packet_id.unwrap();
    assert_eq!(answer_pings(&mut peer, DEADLINE - SLACK).await, []);
    peer.send(Packet::PubRec(Ack::new(id, ReasonCode::Success))).await;
    let begin = Instant::now();
    let last = answer_pings(&mut peer, 2 * DEADLINE).await;
    assert!(matches!(last.as_slice(), [Packet::PubRel(_), Packet::Disconnect(_)]), "{last:?}");
    assert!((DEADLINE..DEADLINE + SLACK).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    assert!(sent_again(&world.network.let_in(true).await.recv().await));
}

#[tokio::test(start_paused = true)]
async fn while_acknowledgements_come_the_server_is_not_left() {
    let mut world = start(watched());
    let mut peer = world.network.let_in(false).await;
    let sent: Vec<_> = (0..5)
        .map(|i| world.client.try_publish(publication("a", i.to_string(), QoS::AtLeastOnce)).unwrap())
        .collect();
    let mut ids = Vec::new();
    while ids.len() < 5 {
        ids.push(peer.recv_publish().await.packet_id.unwrap());
    }
    // The last ones wait for five times the deadline, and there is progress before each deadline.
    for id in ids {
        assert_eq!(answer_pings(&mut peer, DEADLINE - SLACK).await, []);
        peer.puback(id).await;
    }
    for receipt in sent {
        receipt.await.unwrap();
    }
    // With nothing left to acknowledge there is no deadline.
    assert_eq!(answer_pings(&mut peer, 5 * DEADLINE).await, []);
    assert!(world.client.state().borrow().is_connected());
}

#[tokio::test(start_paused = true)]
async fn what_the_server_has_not_read_has_no_deadline_yet() {
    let silent = watched().keep_alive_s(0);
    let mut world = start_with(silent, Box::new(MemoryStore), 256);
    let mut peer = world.network.let_in(false).await;
    let sent = world.client.try_publish(publication("a", "x".repeat(4_096), QoS::AtLeastOnce)).unwrap();
    tokio::time::sleep(5 * DEADLINE).await; // pace: the clock is the test's own
    assert!(world.client.state().borrow().is_connected());
    let id = peer.recv_publish().await.packet_id.unwrap();
    assert_eq!(answer_pings(&mut peer, DEADLINE - SLACK).await, []);
    peer.puback(id).await;
    sent.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_request_that_nobody_answers_is_asked_again_on_a_new_connection() {
    let mut world = start(watched());
    let mut peer = world.network.let_in(false).await;
    let client = world.client.clone();
    let subscribed = tokio::spawn(async move { client.subscribe(vec![wanted("a", QoS::AtLeastOnce)]).await });
    peer.recv_subscribe().await;
    answer_pings(&mut peer, 2 * DEADLINE).await;
    assert_eq!(ended(&world).await, Cause::AckDeadline { after_ms: 20_000 });
    world.network.let_in(true).await.grant(1).await;
    assert_eq!(subscribed.await.unwrap().unwrap(), [ReasonCode::GrantedQoS1]);
}

#[tokio::test(start_paused = true)]
async fn while_requests_are_answered_the_server_is_not_left() {
    let mut world = start(watched());
    let mut peer = world.network.let_in(false).await;
    let mut subscribed = Vec::new();
    let mut ids = Vec::new();
    for filter in ["a", "b"] {
        let client = world.client.clone();
        let wanted = vec![wanted(filter, QoS::AtLeastOnce)];
        subscribed.push(tokio::spawn(async move { client.subscribe(wanted).await }));
        ids.push(peer.recv_subscribe().await.packet_id);
    }
    for id in ids {
        assert_eq!(answer_pings(&mut peer, DEADLINE - SLACK).await, []);
        peer.suback(id, vec![ReasonCode::GrantedQoS1]).await;
    }
    for answer in subscribed {
        assert_eq!(answer.await.unwrap().unwrap(), [ReasonCode::GrantedQoS1]);
    }
}

#[tokio::test(start_paused = true)]
async fn without_an_ack_deadline_it_waits() {
    let mut world = start(watched().ack_deadline_ms(0));
    let mut peer = world.network.let_in(false).await;
    let sent = world.client.try_publish(publication("a", "1", QoS::AtLeastOnce)).unwrap();
    let id = peer.recv_publish().await.packet_id.unwrap();
    assert_eq!(answer_pings(&mut peer, 200 * DEADLINE).await, []);
    peer.puback(id).await;
    sent.await.unwrap();
}

/// A store that makes nothing durable until the test says so.
#[derive(Clone, Default)]
struct Slow(Arc<Mutex<Vec<SaveReceipt>>>);

impl Slow {
    fn durable(&self) {
        std::mem::take(&mut *self.0.lock().unwrap()).into_iter().for_each(SaveReceipt::durable);
    }
}

impl SessionStore for Slow {
    fn load(&mut self) -> Result<StoredSession, String> {
        Ok(StoredSession::default())
    }

    fn save(&mut self, _changes: Vec<SessionChange>, receipt: SaveReceipt) -> Option<SaveReceipt> {
        self.0.lock().unwrap().push(receipt);
        None
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_disk_of_ours_is_not_the_fault_of_the_server() {
    let store = Slow::default();
    let mut world = start_with(watched(), Box::new(store.clone()), 64 * 1_024);
    let mut peer = world.network.let_in(false).await;
    reach(&world.client, State::is_connected).await;
    store.durable();
    let sent = world.client.try_publish(publication("a", "1", QoS::ExactlyOnce)).unwrap();
    assert_eq!(answer_pings(&mut peer, 3 * DEADLINE).await, []);
    store.durable();
    let id = peer.recv_publish().await.packet_id.unwrap();
    peer.send(Packet::PubRec(Ack::new(id, ReasonCode::Success))).await;
    assert_eq!(answer_pings(&mut peer, 3 * DEADLINE + DEADLINE / 2).await, []);
    store.durable();
    // The deadline of PUBREL counts from here.
    let pubrel = Packet::PubRel(Ack::new(id, ReasonCode::Success));
    assert_eq!(answer_pings(&mut peer, DEADLINE - SLACK).await, [pubrel]);
    peer.send(Packet::PubComp(Ack::new(id, ReasonCode::Success))).await;
    sent.await.unwrap();
}

/// Answers pings, and sends back what is published for `within` but the first `lost` of it; returns when it came.
async fn echo(peer: &mut Peer, within: Duration, lost: usize) -> Vec<Instant> {
    let mut came = Vec::new();
    let all = async {
        while let Some(packet) = peer.next().await {
            match packet {
                Packet::PingReq => peer.send(Packet::PingResp).await,
                Packet::Publish(publish) => {
                    came.push(Instant::now());
                    assert_eq!((publish.qos, publish.retain), (QoS::AtMostOnce, false));
                    let topic = publish.topic.unwrap();
                    let payload = String::from_utf8(publish.payload.to_vec()).unwrap();
                    if came.len() > lost {
                        peer.deliver(topic.as_str(), &payload, QoS::AtMostOnce, 0).await;
                    }
                }
                other => panic!("unexpected {other:?}"),
            }
        }
    };
    timeout(within, all).await.unwrap_err();
    came
}

#[tokio::test(start_paused = true)]
async fn a_canary_comes_and_goes_and_nobody_sees_it() {
    let all = wanted("#", QoS::ExactlyOnce);
    let mut world = start(with_canary().subscribe(all.filter.clone(), all.options));
    let mut peer = world.network.let_in(false).await;
    let filters: Vec<_> = peer.grant(2).await.into_iter().flat_map(|asked| asked.filters).collect();
    assert_eq!(filters, [all, wanted("canary/1", QoS::AtMostOnce)]);
    let came = echo(&mut peer, Duration::from_secs(65), 1).await;
    assert_eq!(came.len(), 7, "the first is lost, and that is not two in a row");
    let pause = Duration::from_secs(10)..Duration::from_secs(10) + SLACK;
    assert!(came.windows(2).all(|pair| pause.contains(&(pair[1] - pair[0]))), "{came:?}");

    // Whoever publishes to its topic is not heard, whatever the QoS.
    peer.deliver("canary/1", "somebody else", QoS::ExactlyOnce, 1).await;
    let answers = answer_pings(&mut peer, Duration::from_secs(1)).await;
    assert!(matches!(answers.as_slice(), [Packet::PubRec(_)]), "{answers:?}");
    assert!(world.deliveries.try_next().is_none());
    assert_eq!(world.client.counters().received, 0);
    let shown: Vec<_> = world.client.subscriptions().into_iter().map(|status| status.filter).collect();
    assert_eq!(shown, [wanted("#", QoS::ExactlyOnce).filter]);
}

#[tokio::test(start_paused = true)]
async fn a_link_on_which_nothing_flows_is_left_after_two_canaries() {
    let mut world = start(with_canary());
    let mut peer = world.network.let_in(false).await;
    peer.grant(1).await;
    // For a while all is well.
    echo(&mut peer, Duration::from_secs(31), 0).await;
    let begin = Instant::now();
    let last = answer_pings(&mut peer, Duration::from_secs(60)).await;
    assert!(
        matches!(last.as_slice(), [Packet::Publish(_), Packet::Publish(_), Packet::Disconnect(_)]),
        "{last:?}"
    );
    assert!((28..30).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());
    let cause = ended(&world).await;
    assert_eq!(cause, Cause::CanaryLost { topic: "canary/1".to_owned() });
    assert_eq!(cause.to_string(), "no messages flow: two in a row to canary/1 did not come back");
    assert!(cause.next_step().contains("publish and subscribe to canary/1"), "{}", cause.next_step());

    // A session that was resumed needs no SUBSCRIBE, and the canary goes at once.
    let mut peer = world.network.let_in(true).await;
    assert_eq!(echo(&mut peer, Duration::from_secs(35), 0).await.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn without_its_subscription_there_is_no_canary() {
    let mut world = start(with_canary());
    let mut peer = world.network.let_in(false).await;
    let subscribe = peer.recv_subscribe().await;
    peer.suback(subscribe.packet_id, vec![ReasonCode::NotAuthorized]).await;
    assert_eq!(answer_pings(&mut peer, Duration::from_secs(100)).await, []);
    assert!(world.client.state().borrow().is_connected());
}

#[tokio::test(start_paused = true)]
async fn a_canary_is_not_missed_while_the_program_takes_nothing() {
    let mut world = start(with_canary().keep_alive_s(0).delivery_queue_max(1, 1 << 20));
    let mut peer = world.network.let_in(false).await;
    peer.grant(1).await;
    peer.deliver("a", "1", QoS::AtMostOnce, 0).await;
    // The client does not read, so it cannot know what comes back.
    let sent = answer_pings(&mut peer, Duration::from_secs(300)).await;
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!(payload(&next(&mut world.deliveries).await), "1");
    // As soon as it reads it watches again.
    let sent = answer_pings(&mut peer, Duration::from_secs(60)).await;
    assert!(
        matches!(sent.as_slice(), [Packet::Publish(_), Packet::Publish(_), Packet::Disconnect(_)]),
        "{sent:?}"
    );
}
