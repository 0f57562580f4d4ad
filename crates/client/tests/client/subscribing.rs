use crosspoint_client::{
    ClientOptions, MemoryStore, NO_COOKIE, Protocol, QoS, ReasonCode, SaveReceipt, SessionChange,
    SessionKeeping, SessionStore, StoredSession, StoredSubscription, SubscribeError, SubscriptionOptions,
    TopicFilter,
};
use crosspoint_protocol::{
    connection::Delta,
    packet::{Ack, Packet, Subscribe, SubscribeProperties, Unsubscribe},
};

use crate::harness::*;

fn filters(subscribes: &[Subscribe]) -> Vec<&str> {
    subscribes.iter().flat_map(|subscribe| &subscribe.filters).map(|wanted| wanted.filter.as_str()).collect()
}

fn ids(subscribes: &[Subscribe]) -> Vec<u32> {
    subscribes.iter().map(|subscribe| subscribe.properties.subscription_id.unwrap()).collect()
}

fn subscribed(filters: &[&str]) -> ClientOptions {
    filters.iter().fold(options(), |options, filter| {
        let wanted = wanted(filter, QoS::AtLeastOnce);
        options.subscribe(wanted.filter, wanted.options)
    })
}

async fn recv_unsubscribe(peer: &mut Peer) -> Box<Unsubscribe> {
    match peer.recv().await {
        Packet::Unsubscribe(unsubscribe) => unsubscribe,
        other => panic!("UNSUBSCRIBE comes, not {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn subscribe_tells_what_the_server_said_to_each_filter() {
    let mut world = start(options());
    let mut peer = world.network.let_in(false).await;
    let client = world.client.clone();
    let asked = tokio::spawn(async move {
        client.subscribe(vec![wanted("a", QoS::AtLeastOnce), wanted("b", QoS::AtMostOnce)]).await
    });
    peer.grant(1).await;
    let refused = peer.recv_subscribe().await;
    peer.suback(refused.packet_id, vec![ReasonCode::NotAuthorized]).await;
    assert_eq!(asked.await.unwrap(), Ok(vec![ReasonCode::GrantedQoS1, ReasonCode::NotAuthorized]));
    let remembered = world.client.subscriptions();
    assert_eq!(remembered.len(), 1, "the refused one is forgotten");
    assert_eq!(remembered[0].granted, Some(ReasonCode::GrantedQoS1));
    assert_eq!(world.client.subscribe(Vec::new()).await, Err(SubscribeError::NoFilter));
}

#[tokio::test(start_paused = true)]
async fn subscriptions_are_made_again_exactly_when_the_session_is_not_present() {
    let mut world = start(subscribed(&["a", "b/#"]).session(SessionKeeping::Durable));
    let mut peer = world.network.let_in(false).await;
    assert_eq!(filters(&peer.grant(2).await), ["a", "b/#"]);
    settle().await;
    peer.cut();
    let mut peer = world.network.let_in(true).await;
    world.client.publish(publication("x", "", QoS::AtMostOnce)).await.unwrap();
    peer.recv_publish().await;
    peer.cut();
    let mut peer = world.network.let_in(false).await;
    assert_eq!(filters(&peer.grant(2).await), ["a", "b/#"]);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_whose_answer_was_cut_off_is_asked_for_again() {
    let mut world = start(options().session(SessionKeeping::Durable));
    let mut peer = world.network.let_in(false).await;
    let client = world.client.clone();
    let asked = tokio::spawn(async move { client.subscribe(vec![wanted("a", QoS::AtLeastOnce)]).await });
    peer.recv_subscribe().await;
    peer.cut();
    let mut peer = world.network.let_in(true).await;
    peer.grant(1).await;
    assert_eq!(asked.await.unwrap(), Ok(vec![ReasonCode::GrantedQoS1]));
}

#[tokio::test(start_paused = true)]
async fn unsubscribe_waits_for_the_answer_and_is_not_restored() {
    let mut world = start(subscribed(&["a", "b"]));
    let mut peer = world.network.let_in(false).await;
    peer.grant(2).await;
    let client = world.client.clone();
    let asked = tokio::spawn(async move { client.unsubscribe(vec![TopicFilter::parse("a").unwrap()]).await });
    let unsubscribe = recv_unsubscribe(&mut peer).await;
    peer.unsuback(unsubscribe.packet_id, vec![ReasonCode::Success]).await;
    assert_eq!(asked.await.unwrap(), Ok(vec![ReasonCode::Success]));
    peer.cut();
    let mut peer = world.network.let_in(false).await;
    assert_eq!(filters(&peer.grant(1).await), ["b"]);
}

/// A store that knew another life of this client.
struct Remembering(Vec<StoredSubscription>, std::sync::mpsc::Sender<SessionChange>);

impl SessionStore for Remembering {
    fn load(&mut self) -> Result<StoredSession, String> {
        Ok(StoredSession { subscriptions: std::mem::take(&mut self.0), ..StoredSession::default() })
    }

    fn save(&mut self, changes: Vec<SessionChange>, receipt: SaveReceipt) -> Option<SaveReceipt> {
        changes.into_iter().for_each(|change| drop(self.1.send(change)));
        Some(receipt)
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_durable_session_still_holds_and_nobody_wants_is_unsubscribed() {
    let stored = |filter: &str, id| StoredSubscription {
        filter: TopicFilter::parse(filter).unwrap(),
        options: SubscriptionOptions { qos: QoS::AtLeastOnce, ..SubscriptionOptions::default() },
        subscription_id: Some(id),
    };
    let (changes, seen) = std::sync::mpsc::channel();
    let store = Remembering(vec![stored("old", 1), stored("kept", 2)], changes);
    let opts = subscribed(&["kept", "new"]).session(SessionKeeping::Durable);
    let mut world = start_with(opts, Box::new(store), 64 * 1024);
    let mut peer = world.network.let_in(true).await;
    let subscribes = peer.grant(1).await;
    assert_eq!(filters(&subscribes), ["new"]);
    assert_eq!(ids(&subscribes), [3], "identifiers of the old life are not given twice");
    let unsubscribe = recv_unsubscribe(&mut peer).await;
    assert_eq!(unsubscribe.filters, [TopicFilter::parse("old").unwrap()]);
    peer.unsuback(unsubscribe.packet_id, vec![ReasonCode::Success]).await;
    settle().await;
    let last = seen.try_iter().filter_map(|change| match change {
        SessionChange::Subscriptions(subscriptions) => Some(subscriptions),
        _ => None,
    });
    let names: Vec<String> = last.last().unwrap().iter().map(|kept| kept.filter.to_string()).collect();
    assert_eq!(names, ["kept", "new"]);
}

#[tokio::test(start_paused = true)]
async fn deltas_reach_the_store_with_the_cookie_of_the_publication() {
    let (changes, seen) = std::sync::mpsc::channel();
    let mut world = start_with(options(), Box::new(Remembering(Vec::new(), changes)), 64 * 1024);
    let mut peer = world.network.let_in(false).await;
    let (publisher, mut confirmations) = world.client.publisher();
    publisher.send(publication("a", "1", QoS::ExactlyOnce), 77).await.unwrap();
    let id = peer.recv_publish().await.packet_id.unwrap();
    peer.send(Packet::PubRec(Ack::new(id, ReasonCode::Success))).await;
    peer.recv().await;
    peer.send(Packet::PubComp(Ack::new(id, ReasonCode::Success))).await;
    assert_eq!(confirmations.next().await.unwrap().0, 77);
    let deltas: Vec<Delta> = seen
        .try_iter()
        .filter_map(|change| match change {
            SessionChange::Exchange(delta) => Some(delta),
            _ => None,
        })
        .collect();
    assert!(
        matches!(
            deltas[..],
            [Delta::Assigned { cookie: 77, .. }, Delta::Received { .. }, Delta::Finished { cookie: 77, .. }]
        ),
        "{deltas:?}"
    );
    assert_ne!(NO_COOKIE, 77);
}

#[tokio::test(start_paused = true)]
async fn overlapping_filters_deliver_the_copy_of_the_first_filter_only() {
    let mut world = start(subscribed(&["a/#", "a/+", "b"]));
    let mut peer = world.network.let_in(false).await;
    let ids = ids(&peer.grant(3).await);
    // One copy for each filter, in either order; and one copy for all.
    peer.deliver_with("a/x", "first", QoS::AtLeastOnce, 1, &[ids[0]], Flags::default()).await;
    peer.deliver_with("a/x", "second", QoS::ExactlyOnce, 2, &[ids[1]], Flags::default()).await;
    peer.deliver_with("a/y", "second", QoS::AtLeastOnce, 3, &[ids[1]], Flags::default()).await;
    peer.deliver_with("a/y", "first", QoS::AtLeastOnce, 4, &[ids[0]], Flags::default()).await;
    peer.deliver_with("a/z", "both", QoS::AtLeastOnce, 5, &[ids[1], ids[0]], Flags::default()).await;
    peer.deliver_with("b", "alone", QoS::AtLeastOnce, 6, &[ids[2]], Flags::default()).await;
    peer.deliver_with("a/u", "unknown", QoS::AtLeastOnce, 7, &[999], Flags::default()).await;
    for expected in ["first", "first", "both", "alone", "unknown"] {
        let delivery = next(&mut world.deliveries).await;
        assert_eq!(payload(&delivery), expected);
        delivery.ack.accept();
    }
    let mut acked = Vec::new();
    for _ in 0..7 {
        match peer.recv().await {
            Packet::PubAck(ack) | Packet::PubRec(ack) => acked.push((ack.packet_id.value(), ack.reason)),
            other => panic!("unexpected {other:?}"),
        }
    }
    let all: Vec<_> = (1..=7).map(|id| (id, ReasonCode::Success)).collect();
    assert_eq!(acked, all, "the other copies are accepted silently");
    assert_eq!(world.client.counters().duplicates, 2);
}

#[tokio::test(start_paused = true)]
async fn a_new_filter_gets_its_retained_messages_although_an_older_one_matches() {
    let mut world = start(subscribed(&["a/#"]));
    let mut peer = world.network.let_in(false).await;
    peer.grant(1).await;
    let client = world.client.clone();
    let asked = tokio::spawn(async move { client.subscribe(vec![wanted("a/+", QoS::AtLeastOnce)]).await });
    let id = ids(&peer.grant(1).await)[0];
    asked.await.unwrap().unwrap();
    let retained = Flags { retain: true, ..Flags::default() };
    peer.deliver_with("a/x", "retained", QoS::AtLeastOnce, 1, &[id], retained).await;
    peer.deliver_with("a/x", "live", QoS::AtLeastOnce, 2, &[id], Flags::default()).await;
    assert_eq!(payload(&next(&mut world.deliveries).await), "retained");
    settle().await;
    assert!(world.deliveries.try_next().is_none(), "the live copy belongs to the older filter");
}

#[tokio::test(start_paused = true)]
async fn before_mqtt_5_covered_filters_are_not_subscribed() {
    let opts =
        ["a/b", "a/#", "a/+/c", "x/+", "+/y"].iter().enumerate().fold(options(), |options, (i, filter)| {
            let qos = if i == 0 { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
            let wanted = wanted(filter, qos);
            options.subscribe(wanted.filter, wanted.options)
        });
    let mut world = start_with(opts.protocol(Protocol::V3_1_1), Box::new(MemoryStore), 64 * 1024);
    let mut peer = world.network.let_in(false).await;
    let subscribes = peer.grant(1).await;
    assert_eq!(filters(&subscribes), ["a/#", "x/+", "+/y"]);
    assert_eq!(subscribes[0].filters[0].options.qos, QoS::ExactlyOnce, "the higher of both");
    settle().await;
    assert!(world.client.subscriptions().iter().all(|status| status.granted.is_some()));

    let client = world.client.clone();
    let gone =
        tokio::spawn(async move { client.unsubscribe(vec![TopicFilter::parse("a/#").unwrap()]).await });
    assert_eq!(filters(&peer.grant(1).await), ["a/b", "a/+/c"], "what was covered is subscribed first");
    let unsubscribe = recv_unsubscribe(&mut peer).await;
    peer.unsuback(unsubscribe.packet_id, Vec::new()).await;
    assert_eq!(gone.await.unwrap(), Ok(vec![ReasonCode::Success]));
}

#[tokio::test(start_paused = true)]
async fn what_a_request_says_besides_its_filters_is_said_each_time() {
    let mut world = start(options().session(SessionKeeping::Durable));
    let mut peer = world.network.let_in(false).await;
    let pair = |name: &str, value: &str| vec![(name.into(), value.into())];
    let said = SubscribeProperties { subscription_id: Some(7), user_properties: pair("who", "me") };
    let wishes = ["a", "b"].map(|filter| (wanted(filter, QoS::AtLeastOnce), said.subscription_id)).to_vec();
    // It is asked at the call, whether anybody waits for the answer or not.
    drop(world.client.subscribe_with(wishes, said.user_properties.clone()));
    for is_last in [false, true] {
        for subscribe in peer.grant(2).await {
            assert_eq!(subscribe.properties, said);
        }
        if !is_last {
            peer.cut();
            peer = world.network.let_in(false).await;
        }
    }
    drop(world.client.unsubscribe_with(vec![TopicFilter::parse("a").unwrap()], pair("why", "done")));
    let unsubscribe = recv_unsubscribe(&mut peer).await;
    assert_eq!(unsubscribe.user_properties, pair("why", "done"));
}
