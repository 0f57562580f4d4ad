//! Beginnings and ends.

use std::time::{Duration, Instant};

use crosspoint_client::State;
use crosspoint_protocol::QoS;

use crate::support::*;

#[tokio::test]
async fn a_stop_with_dead_remotes_and_full_outboxes_is_bounded() {
    let source = Remote::start().await;
    let mut sinks = Vec::new();
    let mut project = [NO_BROKER, &connector("a", source.port())].concat();
    for name in ["b", "c", "d", "e"] {
        let sink = Remote::start().await;
        project += &[connector(name, sink.port()), numbers("a", name)].concat();
        sinks.push(sink);
    }
    let running = Running::start(&project).await;
    source.subscribed(1).await;
    for sink in &mut sinks {
        sink.stop().await;
    }
    source.publish_numbers(0..2_000, QoS::ExactlyOnce);
    until(|| running.outbox("e").accepted >= 1_000).await;
    let begin = Instant::now();
    running.stop().await;
    assert!(begin.elapsed() < Duration::from_secs(7), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_clean_stop_leaves_nothing_to_come_twice() {
    let (source, sink) = (Remote::start().await, Remote::start().await);
    let project =
        [NO_BROKER, &connector("a", source.port()), &connector("b", sink.port()), &numbers("a", "b")]
            .concat();
    let running = Running::start(&project).await;
    source.subscribed(1).await;
    source.publish_numbers(0..10_000, QoS::ExactlyOnce);
    until(|| sink.count() >= 2_000).await;
    let running = running.again(&project).await;
    until(|| sink.count() >= 10_000 && running.outbox("b").waiting() == 0).await;
    assert_eq!(sink.numbers(), (0..10_000).collect::<Vec<_>>());
    running.stop().await;
}

#[tokio::test]
async fn birth_follows_each_connect_and_the_will_a_death() {
    let watched = Remote::start().await;
    let proxy = crate::proxy::Proxy::to(watched.address).await;
    let project = [
        NO_BROKER,
        &connector("a", proxy.port()),
        "birth = { topic = \"out/state\", payload = \"online\", qos = 1, retain = true }\n\
         will = { topic = \"out/state\", payload = \"offline\", qos = 1, retain = true }\n",
    ]
    .concat();
    let running = Running::start(&project).await;
    // A birth whose acknowledgement the cut took comes again: what it says counts, not how often.
    let said = || {
        let mut said = watched.came().into_iter().map(|(_, payload, ..)| payload).collect::<Vec<_>>();
        said.dedup();
        said
    };
    until(|| said() == ["online"]).await;
    proxy.cut();
    until(|| said() == ["online", "offline", "online"]).await;
    running.stop().await;
    assert_eq!(said(), ["online", "offline", "online"], "a clean stop is no death");
}

#[tokio::test]
async fn a_refused_password_disturbs_nobody_else() {
    let (source, sink) = (Remote::start().await, Remote::start().await);
    let guarded = Running::start(
        "[broker.listener.main]\nbind = \"127.0.0.1:0\"\n[broker.user.alice]\npassword = \"right\"\nroles = []\n",
    )
    .await;
    let port = guarded.hub.listening()[0].address.port();
    let project = [
        NO_BROKER,
        &connector("a", source.port()),
        &connector("b", sink.port()),
        &connector("refused", port),
        "username = \"alice\"\npassword = \"wrong\"\n",
        &numbers("a", "b"),
        &numbers("refused", "b"),
    ]
    .concat();
    let running = Running::start(&project).await;
    source.subscribed(1).await;
    until(|| matches!(running.hub.status()["refused"].state, Some(State::Refused { .. }))).await;
    source.publish_numbers(0..100, QoS::AtLeastOnce);
    until(|| sink.count() == 100).await;
    running.stop().await;
    guarded.stop().await;
}
