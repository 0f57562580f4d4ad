//! Connections that break and brokers that go: nothing is lost, and at QoS 2 nothing comes twice while both remember.

use std::collections::BTreeSet;

use crosspoint_protocol::QoS;

use crate::proxy::{Passage, Proxy};
use crate::support::*;

const MESSAGES: usize = 20_000;

#[tokio::test]
async fn a_sink_that_is_cut_again_and_again_gets_everything_once_and_in_order() {
    let (source, sink) = (Remote::start().await, Remote::start().await);
    let proxy = Proxy::to(sink.address).await;
    let project =
        [NO_BROKER, &connector("a", source.port()), &connector("b", proxy.port()), &numbers("a", "b")]
            .concat();
    let running = Running::start(&durable(&project)).await;
    source.subscribed(1).await;
    until(|| running.is_connected("b")).await;
    source.publish_numbers(0..MESSAGES, QoS::ExactlyOnce);
    for quarter in 1..4 {
        until(|| sink.count() >= quarter * MESSAGES / 4).await;
        proxy.cut();
    }
    until(|| sink.count() >= MESSAGES).await;
    until(|| running.outbox("b").waiting() == 0).await;
    assert_eq!(sink.numbers(), (0..MESSAGES).collect::<Vec<_>>());
    assert_eq!((proxy.connections(), running.outbox("b").maybe_twice), (4, 0));
    running.stop().await;
}

#[tokio::test]
async fn a_source_that_is_cut_again_and_again_gives_everything_once_and_in_order() {
    let (source, sink) = (Remote::start().await, Remote::start().await);
    let proxy = Proxy::to(source.address).await;
    let project =
        [NO_BROKER, &connector("a", proxy.port()), &connector("b", sink.port()), &numbers("a", "b")].concat();
    let running = Running::start(&project).await;
    source.subscribed(1).await;
    source.publish_numbers(0..MESSAGES, QoS::ExactlyOnce);
    for quarter in 1..4 {
        until(|| sink.count() >= quarter * MESSAGES / 4).await;
        proxy.cut();
    }
    until(|| sink.count() >= MESSAGES).await;
    until(|| running.outbox("b").waiting() == 0).await;
    assert_eq!(sink.numbers(), (0..MESSAGES).collect::<Vec<_>>());
    running.stop().await;
}

#[tokio::test]
async fn a_sink_that_forgets_everything_loses_nothing_and_what_may_be_twice_is_counted() {
    let (source, mut sink) = (Remote::start().await, Remote::start().await);
    let project =
        [NO_BROKER, &connector("a", source.port()), &connector("b", sink.port()), &numbers("a", "b")]
            .concat();
    let running = Running::start(&durable(&project)).await;
    source.subscribed(1).await;
    source.publish_numbers(0..MESSAGES, QoS::ExactlyOnce);
    until(|| sink.count() >= MESSAGES / 4).await;
    sink.stop().await;
    until(|| !running.is_connected("b")).await;
    sink.start_again().await;
    until(|| running.outbox("b").confirmed == MESSAGES as u64).await;
    until(|| sink.numbers().contains(&(MESSAGES - 1))).await;
    let came = sink.numbers();
    let different: BTreeSet<usize> = came.iter().copied().collect();
    assert_eq!(different, (0..MESSAGES).collect());
    let twice = (came.len() - different.len()) as u64;
    assert!(twice <= running.outbox("b").maybe_twice, "{twice} came twice, {:?}", running.outbox("b"));
    running.stop().await;
}

#[tokio::test]
async fn a_stretch_of_silence_only_delays() {
    let (source, sink) = (Remote::start().await, Remote::start().await);
    let proxy = Proxy::to(sink.address).await;
    let project =
        [NO_BROKER, &connector("a", source.port()), &connector("b", proxy.port()), &numbers("a", "b")]
            .concat();
    let running = Running::start(&durable(&project)).await;
    source.subscribed(1).await;
    until(|| running.is_connected("b")).await;
    proxy.set(Passage::Stalled);
    source.publish_numbers(0..500, QoS::ExactlyOnce);
    until(|| running.outbox("b").accepted == 500).await;
    assert_eq!((sink.count(), running.outbox("b").confirmed), (0, 0));
    // Now the messages arrive, and the broker's answers do not.
    proxy.set(Passage::HalfOpen);
    until(|| sink.count() == 500).await;
    assert_eq!(running.outbox("b").confirmed, 0);
    proxy.cut();
    proxy.set(Passage::Open);
    until(|| running.outbox("b").confirmed == 500).await;
    assert_eq!(sink.numbers(), (0..500).collect::<Vec<_>>());
    running.stop().await;
}

#[tokio::test]
async fn one_sink_of_three_that_is_away_holds_up_neither_the_source_nor_the_other_sinks() {
    let source = Remote::start().await;
    let (b, c, mut away) = (Remote::start().await, Remote::start().await, Remote::start().await);
    away.stop().await;
    let connectors: String = [("a", &source), ("b", &b), ("c", &c), ("d", &away)]
        .map(|(name, remote)| connector(name, remote.port()))
        .concat();
    let flow = "[flow.all]\nfrom = { connector = \"a\", topics = \"in/#\" }\nto = [{ connector = \"b\", topic = \"out/n\" }, \
                { connector = \"c\", topic = \"out/n\" }, { connector = \"d\", topic = \"out/n\" }]\n";
    let running = Running::start(&[NO_BROKER, &connectors, flow].concat()).await;
    source.subscribed(1).await;
    source.publish_numbers(0..3_000, QoS::AtLeastOnce);
    until(|| b.count() == 3_000 && c.count() == 3_000).await;
    assert_eq!(running.outbox("d").waiting(), 3_000);
    away.start_again().await;
    until(|| away.count() == 3_000).await;
    for sink in [&b, &c, &away] {
        assert_eq!(sink.numbers(), (0..3_000).collect::<Vec<_>>());
    }
    running.stop().await;
}

/// Lets the sink's broker keep the session, as it does for whoever publishes at QoS 2.
fn durable(project: &str) -> String {
    project.replace("[connector.b]\n", "[connector.b]\nsession = \"durable\"\n")
}
