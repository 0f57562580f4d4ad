//! Two brokers mirrored both ways.

use crosspoint_protocol::QoS;

use crate::support::*;

/// Two brokers, and a hub that mirrors `x/#` both ways over connectors with these keys, with so many subscriptions each.
async fn mirrored(keys: &str, subscriptions: u64) -> (Remote, Remote, Running) {
    let (a, b) = (Remote::start().await, Remote::start().await);
    let flow = |from, to| {
        format!(
            "[flow.{from}-{to}]\nfrom = {{ connector = \"{from}\", topics = \"x/#\" }}\n\
             to = {{ connector = \"{to}\" }}\nallow_loop = true\n"
        )
    };
    let connector = |name, port| format!("{}{keys}\n", connector(name, port));
    let project =
        [NO_BROKER, &connector("a", a.port()), &connector("b", b.port()), &flow("a", "b"), &flow("b", "a")]
            .concat();
    let running = Running::start(&project).await;
    a.subscribed(subscriptions).await;
    b.subscribed(subscriptions).await;
    (a, b, running)
}

#[tokio::test]
async fn with_mqtt_5_or_as_a_bridge_what_we_publish_does_not_come_back() {
    for protocol in ["5.0", "3.1.1", "3.1"] {
        let (a, b, running) = mirrored(&format!("protocol = \"{protocol}\""), 1).await;
        a.publish("x/1", "round and round", QoS::AtLeastOnce, false);
        until(|| running.outbox("b").confirmed == 1).await;
        // Behind it comes the next one, the other way: by then the first would have come back.
        b.publish("x/2", "another", QoS::AtLeastOnce, false);
        until(|| running.outbox("a").confirmed == 1).await;
        assert_eq!((running.outbox("a").accepted, running.outbox("b").accepted), (1, 1), "{protocol}");
        running.stop().await;
    }
}

#[tokio::test]
async fn where_our_own_comes_back_a_loop_is_cut_after_a_hundred_rounds_and_its_flow_named() {
    // A canary must come back, so the connectors are no bridges.
    let (a, _b, running) = mirrored("protocol = \"3.1.1\"\ncanary = { interval_s = 300 }", 2).await;
    a.publish("x/1", "round and round", QoS::AtLeastOnce, false);
    until(|| logged().contains("A flow is stopped.")).await;
    until(|| running.outbox("a").waiting() + running.outbox("b").waiting() == 0).await;
    let rounds = running.outbox("a").accepted.max(running.outbox("b").accepted);
    assert!((99..=101).contains(&rounds), "{rounds}");
    let text = logged();
    let told: Vec<&str> = text.lines().filter(|line| line.contains("A flow is stopped.")).collect();
    assert_eq!(told.len(), 1, "{text}");
    assert!(told[0].contains("flow=a-b") || told[0].contains("flow=b-a"), "{}", told[0]);
    // The other way still works, and one thing is one line.
    let connected = text.lines().filter(|line| line.contains("Connected.")).count();
    assert_eq!(connected, 2, "{text}");
    running.stop().await;
}
