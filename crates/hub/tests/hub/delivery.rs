//! What a flow carries, from where to where.

use crosspoint_client::{Client, ClientOptions, DialOptions, Publication};
use crosspoint_net::Transport;
use crosspoint_protocol::QoS;

use crate::support::*;

const PORT_OF_CHOICE: &str = "[broker.listener.main]\nbind = \"127.0.0.1:0\"\n";

#[tokio::test]
async fn from_broker_to_broker_at_each_qos() {
    let (source, sink) = (Remote::start().await, Remote::start().await);
    let project =
        [NO_BROKER, &connector("a", source.port()), &connector("b", sink.port()), &numbers("a", "b")]
            .concat();
    let running = Running::start(&project).await;
    source.subscribed(1).await;
    until(|| running.is_connected("b")).await;
    let all = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
    for (number, qos) in all.into_iter().enumerate() {
        source.publish("in/n", &number.to_string(), qos, number == 1);
    }
    until(|| sink.count() == 3).await;
    let expected = all
        .into_iter()
        .enumerate()
        .map(|(number, qos)| ("out/n".to_owned(), number.to_string(), qos, number == 1));
    assert_eq!(sink.came(), expected.collect::<Vec<_>>());
    running.stop().await;
}

#[tokio::test]
async fn the_sample_carries_a_message_from_one_topic_of_the_embedded_broker_to_another() {
    let text = format!("{}\n{PORT_OF_CHOICE}", crosspoint_hub::config::SAMPLE);
    let running = Running::start(&text).await;
    let port = running.hub.listening()[0].address.port();
    let server = DialOptions::new(Transport::Tcp, "127.0.0.1", port);
    let (client, mut deliveries) = Client::start(ClientOptions::default().server(server)).unwrap();
    let filter = crosspoint_client::SubscribedFilter {
        filter: crosspoint_client::TopicFilter::parse("demo/out/#").unwrap(),
        options: Default::default(),
    };
    soon(client.subscribe(vec![filter])).await.unwrap();
    soon(client.publish(Publication::new("demo/in/hello", "Hello!").unwrap().qos(QoS::AtLeastOnce)))
        .await
        .unwrap();
    let delivery = soon(deliveries.next()).await.unwrap();
    assert_eq!((delivery.message.topic(), delivery.message.payload()), ("demo/out/hello", &b"Hello!"[..]));
    delivery.ack.accept();
    client.close(std::time::Duration::from_secs(5)).await;
    running.stop().await;
}

#[tokio::test]
async fn through_the_embedded_broker_and_on() {
    let (source, sink) = (Remote::start().await, Remote::start().await);
    let project = [
        PORT_OF_CHOICE,
        &connector("a", source.port()),
        &connector("b", sink.port()),
        "[flow.in]\nfrom = { connector = \"a\", topics = \"in/#\", qos = 2 }\nto = { connector = \"broker\" }\n",
        &numbers("broker", "b"),
    ]
    .concat();
    let running = Running::start(&project).await;
    source.subscribed(1).await;
    source.publish_numbers(0..5_000, QoS::ExactlyOnce);
    until(|| sink.count() == 5_000).await;
    assert_eq!(sink.numbers(), (0..5_000).collect::<Vec<_>>());
    until(|| running.outbox("broker").confirmed == 5_000 && running.outbox("b").waiting() == 0).await;
    running.stop().await;
}
