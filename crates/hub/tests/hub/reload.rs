//! Changes of the project while it runs.

use crosspoint_client::{Client, ClientOptions, DialOptions, Publication, State};
use crosspoint_net::Transport;
use crosspoint_protocol::QoS;

use crate::proxy::Proxy;
use crate::support::*;

fn client(port: u16, name: &str) -> ClientOptions {
    ClientOptions::default().server(DialOptions::new(Transport::Tcp, "127.0.0.1", port)).client_id(name)
}

#[tokio::test]
async fn a_changed_connector_alone_reconnects_and_keeps_what_waits_for_it() {
    let (source, mut sink, other) = (Remote::start().await, Remote::start().await, Remote::start().await);
    let (to_source, to_other) = (Proxy::to(source.address).await, Proxy::to(other.address).await);
    let project = [
        NO_BROKER,
        &connector("a", to_source.port()),
        &connector("b", sink.port()),
        &connector("c", to_other.port()),
        &numbers("a", "b"),
    ]
    .concat();
    let mut running = Running::start(&project).await;
    source.subscribed(1).await;
    until(|| running.is_connected("c")).await;
    sink.stop().await;
    source.publish_numbers(0..1_000, QoS::AtLeastOnce);
    until(|| running.outbox("b").accepted == 1_000).await;

    sink.start_again().await;
    let changed = project.replace("[connector.b]\n", "[connector.b]\nkeep_alive_s = 30\n");
    assert_eq!(running.apply(&changed).await, "~ reconnect connector b\n");
    until(|| sink.count() >= 1_000 && running.outbox("b").waiting() == 0).await;
    assert_eq!(sink.numbers(), (0..1_000).collect::<Vec<_>>());
    assert_eq!((to_source.connections(), to_other.connections()), (1, 1));
    running.stop().await;
}

#[tokio::test]
async fn flows_and_topics_come_and_go_on_a_live_connection() {
    let (source, sink) = (Remote::start().await, Remote::start().await);
    let to_source = Proxy::to(source.address).await;
    let connectors = [NO_BROKER, &connector("a", to_source.port()), &connector("b", sink.port())].concat();
    let flow = |name: &str, topic: &str| {
        format!(
            "[flow.{name}]\nfrom = {{ connector = \"a\", topics = \"{topic}\" }}\n\
             to = {{ connector = \"b\", topic = \"out/{name}\" }}\n"
        )
    };
    let mut running = Running::start(&[&*connectors, &flow("one", "in/1")].concat()).await;
    source.subscribed(1).await;
    let both = [&*connectors, &flow("one", "in/1"), &flow("two", "in/2")].concat();
    assert_eq!(running.apply(&both).await, "+ start     flow two\n");
    source.subscribed(2).await;
    source.publish("in/2", "2", QoS::AtLeastOnce, false);
    until(|| sink.count() == 1).await;
    running.apply(&[&*connectors, &flow("two", "in/3")].concat()).await;
    until(|| {
        source.broker().statistics().subscriptions == 2 && !source.publish("in/1", "", QoS::AtMostOnce, false)
    })
    .await;
    until(|| source.publish("in/3", "3", QoS::AtLeastOnce, false)).await;
    until(|| sink.count() >= 2).await;
    assert!(!source.publish("in/2", "", QoS::AtMostOnce, false), "nobody wants it any more");
    let topics: Vec<String> = sink.came().into_iter().map(|(topic, ..)| topic).collect();
    assert!(topics.iter().all(|topic| topic == "out/two"), "{topics:?}");
    assert_eq!(to_source.connections(), 1);
    running.stop().await;
}

#[tokio::test]
async fn a_connector_that_leaves_the_project_or_is_disabled_keeps_what_waits_and_gets_it_back() {
    let (source, mut sink) = (Remote::start().await, Remote::start().await);
    let (a, b, flow) = (connector("a", source.port()), connector("b", sink.port()), numbers("a", "b"));
    let project = [NO_BROKER, &a, &b, &flow].concat();
    let mut running = Running::start(&project).await;
    source.subscribed(1).await;
    sink.stop().await;
    source.publish_numbers(0..500, QoS::AtLeastOnce);
    until(|| running.outbox("b").accepted == 500).await;

    running.apply(&[NO_BROKER, &a].concat()).await;
    assert_eq!(running.hub.left_behind(), [("b".to_owned(), 500)].into());
    assert!(logged().contains("Messages wait for a connector that is not in the project"), "{}", logged());
    let disabled = [NO_BROKER, &a, &b, "enabled = false\n"].concat();
    running.apply(&disabled).await;
    assert_eq!((running.outbox("b").waiting(), running.hub.left_behind().len()), (500, 0));
    let mut running = running.again(&disabled).await;
    assert_eq!(running.outbox("b").waiting(), 500);

    running.apply(&project).await;
    sink.start_again().await;
    until(|| sink.count() >= 500).await;
    assert_eq!(sink.numbers(), (0..500).collect::<Vec<_>>());
    running.stop().await;
}

#[tokio::test]
async fn the_first_user_ends_anonymous_access_and_a_user_that_is_gone_goes() {
    const OPEN: &str = "[broker.listener.main]\nbind = \"127.0.0.1:0\"\n";
    const USER: &str = "[broker.user.alice]\npassword = \"secret\"\nroles = [\"all\"]\n[broker.role.all]\nallow = [\"both #\"]\n";
    let mut running = Running::start(OPEN).await;
    let port = running.hub.listening()[0].address.port();
    let (before, _deliveries) = Client::start(client(port, "before")).unwrap();
    assert!(soon(before.connected()).await);
    assert_eq!(running.apply(&[OPEN, USER].concat()).await, "~ change    users of the broker\n");
    assert_eq!(running.hub.listening()[0].address.port(), port);
    let (anonymous, _deliveries) = Client::start(client(port, "anonymous")).unwrap();
    for locked_out in [&anonymous, &before] {
        let mut state = locked_out.state();
        soon(state.wait_for(|state| matches!(state, State::Refused { .. }))).await.unwrap();
    }
    let alice = client(port, "named").username("alice").password("secret");
    let (alice, _deliveries) = Client::start(alice).unwrap();
    assert!(soon(alice.connected()).await);
    running.apply(&[OPEN, &USER.replace("alice", "bob")].concat()).await;
    soon(alice.state().wait_for(|state| !state.is_connected())).await.unwrap();
    running.stop().await;
}

#[tokio::test]
async fn listeners_change_one_by_one_and_a_change_that_fails_is_refused_whole() {
    let one = "[broker.listener.one]\nbind = \"127.0.0.1:0\"\n";
    let two = "[broker.listener.two]\nbind = \"127.0.0.1:0\"\n";
    let mut running = Running::start(one).await;
    let port = running.hub.listening()[0].address.port();
    let (guest, _deliveries) = Client::start(client(port, "guest")).unwrap();
    assert!(soon(guest.connected()).await);

    assert_eq!(running.apply(&[one, two].concat()).await, "+ open      listener two\n");
    let second = running.hub.listening()[1].address.port();
    let (other, _deliveries) = Client::start(client(second, "other")).unwrap();
    assert!(soon(other.connected()).await);

    // Its port is the first listener's: nothing of this change may happen.
    let taken = format!("[broker.listener.three]\nbind = \"127.0.0.1:{port}\"\n");
    let remote = connector("new", port);
    let refused = soon(running.hub.apply(plan(&[one, two, &taken, &remote].concat()))).await.unwrap_err();
    assert!(
        refused.to_string().contains(&format!("[broker.listener.three] cannot listen on 127.0.0.1:{port}")),
        "{refused}"
    );
    assert_eq!(running.hub.listening().len(), 2);
    assert!(!running.hub.status().contains_key("new"));

    running.apply(one).await;
    until(|| !other.state().borrow().is_connected()).await;
    assert!(guest.state().borrow().is_connected());
    assert_eq!(guest.counters().connected, 1);
    running.stop().await;
}

#[tokio::test]
async fn the_embedded_broker_goes_and_comes_with_the_project() {
    let open = "[broker.listener.main]\nbind = \"127.0.0.1:0\"\n";
    let mut running = Running::start(NO_BROKER).await;
    assert!(running.hub.listening().is_empty());
    running.apply(open).await;
    assert_eq!(running.hub.listening().len(), 1);
    running
        .apply(
            &[open, "[broker.limits]\nconnections_max = 7\n"]
                .concat()
                .replace("[broker.limits]\n", "[broker]\n"),
        )
        .await;
    assert_eq!(running.hub.listening().len(), 1);
    running.apply(NO_BROKER).await;
    assert!(running.hub.listening().is_empty());
    running.stop().await;
}

#[tokio::test]
async fn new_limits_start_the_broker_anew_and_what_the_hub_has_taken_stays() {
    let open = "[broker.listener.main]\nbind = \"127.0.0.1:0\"\n";
    let mut sink = Remote::start().await;
    let project = [open, &connector("b", sink.port()), &numbers("broker", "b")].concat();
    let mut running = Running::start(&project).await;
    until(|| running.is_connected("b")).await;
    sink.stop().await;
    publish(&running, 0..100).await;
    until(|| running.outbox("b").accepted == 100).await;
    let changed = running.apply(&["[broker]\nconnections_max = 7\n", &project].concat()).await;
    assert_eq!(changed, "~ change    limits of the broker\n");
    publish(&running, 100..200).await;
    sink.start_again().await;
    until(|| running.outbox("b").confirmed == 200).await;
    assert_eq!(sink.numbers(), (0..200).collect::<Vec<_>>());
    running.stop().await;
}

/// Publishes numbers to the embedded broker, as a device would.
async fn publish(running: &Running, numbers: std::ops::Range<usize>) {
    let (device, _deliveries) =
        Client::start(client(running.hub.listening()[0].address.port(), "device")).unwrap();
    for number in numbers {
        let publication = Publication::new("in/n", number.to_string()).unwrap().qos(QoS::AtLeastOnce);
        soon(device.publish(publication)).await.unwrap();
    }
    soon(device.close(std::time::Duration::from_secs(5))).await;
}
