//! rumqttc, with MQTT 3.1.1 and 5, against our broker.
#![expect(clippy::unwrap_used, reason = "what goes wrong in a helper fails its test")]

use crosspoint_net::Transport;
use interop::{OurBroker, soon};

/// How many messages go at each QoS.
const MESSAGES: usize = 100;

mod v3_1_1 {
    use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, Publish, QoS};

    use super::*;

    /// Polls until a packet comes that `wanted` takes something from.
    async fn poll<T>(events: &mut EventLoop, wanted: impl Fn(Packet) -> Option<T>) -> T {
        soon("a packet for rumqttc", async {
            loop {
                if let Event::Incoming(packet) = events.poll().await.unwrap()
                    && let Some(found) = wanted(packet)
                {
                    return found;
                }
            }
        })
        .await
    }

    fn message(packet: Packet) -> Option<Publish> {
        if let Packet::Publish(publish) = packet { Some(publish) } else { None }
    }

    #[tokio::test]
    async fn messages_arrive_in_order_at_each_qos() {
        let broker = OurBroker::start().await;
        let options = MqttOptions::new("rumqttc", "127.0.0.1", broker.port(Transport::Tcp));
        let (client, mut events) = AsyncClient::new(options, MESSAGES);
        client.subscribe("order/+", QoS::ExactlyOnce).await.unwrap();
        poll(&mut events, |packet| matches!(packet, Packet::SubAck(_)).then_some(())).await;
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            for count in 0..MESSAGES {
                client.publish("order/it", qos, false, count.to_string()).await.unwrap();
            }
            for count in 0..MESSAGES {
                let publish = poll(&mut events, message).await;
                assert_eq!((publish.qos, &publish.payload[..]), (qos, count.to_string().as_bytes()));
            }
        }
        broker.stop().await;
    }

    fn session_present(packet: Packet) -> Option<bool> {
        if let Packet::ConnAck(connack) = packet { Some(connack.session_present) } else { None }
    }

    #[tokio::test]
    async fn a_session_is_kept_with_what_came_meanwhile() {
        let broker = OurBroker::start().await;
        let mut options = MqttOptions::new("durable", "127.0.0.1", broker.port(Transport::Tcp));
        options.set_clean_session(false);
        let (client, mut events) = AsyncClient::new(options.clone(), MESSAGES);
        assert!(!poll(&mut events, session_present).await);
        client.subscribe("kept", QoS::ExactlyOnce).await.unwrap();
        poll(&mut events, |packet| matches!(packet, Packet::SubAck(_)).then_some(())).await;
        client.disconnect().await.unwrap();
        soon("the end of the connection", async { while events.poll().await.is_ok() {} }).await;

        let writer = MqttOptions::new("writer", "127.0.0.1", broker.port(Transport::Tcp));
        let (writer, mut writing) = AsyncClient::new(writer, MESSAGES);
        for count in 0..MESSAGES {
            writer.publish("kept", QoS::ExactlyOnce, false, count.to_string()).await.unwrap();
            poll(&mut writing, |packet| matches!(packet, Packet::PubComp(_)).then_some(())).await;
        }
        let (_client, mut events) = AsyncClient::new(options, MESSAGES);
        assert!(poll(&mut events, session_present).await);
        for count in 0..MESSAGES {
            assert_eq!(&poll(&mut events, message).await.payload[..], count.to_string().as_bytes());
        }
        broker.stop().await;
    }
}

mod v5 {
    use rumqttc::v5::mqttbytes::QoS;
    use rumqttc::v5::mqttbytes::v5::{Packet, Publish, PublishProperties};
    use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};

    use super::*;

    async fn poll<T>(events: &mut EventLoop, wanted: impl Fn(Packet) -> Option<T>) -> T {
        soon("a packet for rumqttc", async {
            loop {
                if let Event::Incoming(packet) = events.poll().await.unwrap()
                    && let Some(found) = wanted(packet)
                {
                    return found;
                }
            }
        })
        .await
    }

    fn message(packet: Packet) -> Option<Publish> {
        if let Packet::Publish(publish) = packet { Some(publish) } else { None }
    }

    #[tokio::test]
    async fn messages_arrive_in_order_at_each_qos_with_their_properties() {
        let broker = OurBroker::start().await;
        let options = MqttOptions::new("rumqttc", "127.0.0.1", broker.port(Transport::Tcp));
        let (client, mut events) = AsyncClient::new(options, MESSAGES);
        client.subscribe("order/+", QoS::ExactlyOnce).await.unwrap();
        poll(&mut events, |packet| matches!(packet, Packet::SubAck(_)).then_some(())).await;
        let properties = PublishProperties {
            content_type: Some("text/plain".to_owned()),
            user_properties: vec![("a".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())],
            ..PublishProperties::default()
        };
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            for count in 0..MESSAGES {
                let properties = properties.clone();
                let publishing =
                    client.publish_with_properties("order/it", qos, false, count.to_string(), properties);
                publishing.await.unwrap();
            }
            for count in 0..MESSAGES {
                let publish = poll(&mut events, message).await;
                assert_eq!((publish.qos, &publish.payload[..]), (qos, count.to_string().as_bytes()));
                let got = publish.properties.unwrap();
                assert_eq!(got.content_type, properties.content_type);
                assert_eq!(got.user_properties, properties.user_properties);
            }
        }
        broker.stop().await;
    }
}
