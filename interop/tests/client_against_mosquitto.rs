//! Our client against Mosquitto, over each transport that it has.

use crosspoint_client::{
    ClientOptions, DialOptions, Pem, Protocol, Publication, QoS, ReasonCode, SessionKeeping,
    TlsClientOptions, Transport, Version,
};
use interop::{Authority, Identity, Mosquitto, OurClient, client_options, soon};

const LEVELS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// Sends a message at each QoS through a broker to ourselves.
async fn round_trip(options: ClientOptions, expected: Version) {
    let mut client = OurClient::connect(options).await;
    assert_eq!(client.agreed().version, expected);
    assert!(!client.subscribe("round/+", QoS::ExactlyOnce).await.is_error());
    for qos in LEVELS {
        client.publish("round/trip", "21.5", qos).await;
        assert_eq!(client.next().await, ("round/trip".to_owned(), b"21.5".to_vec(), qos));
    }
    assert_eq!(client.close().await, 0);
}

fn to(transport: Transport, host: &str, port: u16) -> DialOptions {
    DialOptions::new(transport, host, port)
}

fn tls(authority: &Authority, identity: &Identity) -> TlsClientOptions {
    let (certificate, key) = (Pem::file(&identity.certificate), Pem::file(&identity.key));
    TlsClientOptions::default().authority(Pem::file(authority.file())).identity(certificate, key)
}

#[tokio::test]
async fn every_version_goes_over_tcp_and_auto_is_the_highest() {
    let Some(mosquitto) = Mosquitto::start().await else { return };
    let versions = [
        (Protocol::Auto, Version::V5),
        (Protocol::V5, Version::V5),
        (Protocol::V3_1_1, Version::V3_1_1),
        (Protocol::V3_1, Version::V3_1),
    ];
    for (asked, expected) in versions {
        round_trip(client_options(mosquitto.port()).protocol(asked), expected).await;
    }
}

#[tokio::test]
async fn a_client_certificate_opens_tls_and_nothing_else_does() {
    let Some(mosquitto) = Mosquitto::start().await else { return };
    let authority = &mosquitto.authority;
    let server = to(Transport::Tls, "localhost", mosquitto.tls_port());
    let ours = tls(authority, &authority.sign("client"));
    round_trip(ClientOptions::default().server(server.clone().tls(ours)), Version::V5).await;

    // Signed by somebody else, and none at all.
    let strange = tls(authority, &Authority::new().sign("client"));
    let bare = TlsClientOptions::default().authority(Pem::file(authority.file()));
    for wrong in [strange, bare] {
        let options = ClientOptions::default().server(server.clone().tls(wrong)).protocol(Protocol::V5);
        let error = OurClient::refused(options).await;
        assert!(error.contains("certificate") || error.contains("TLS"), "{error}");
    }
}

#[tokio::test]
async fn websocket_works() {
    let Some(mosquitto) = Mosquitto::start().await else { return };
    for (asked, expected) in [(Protocol::Auto, Version::V5), (Protocol::V3_1_1, Version::V3_1_1)] {
        let server = to(Transport::Ws, "127.0.0.1", mosquitto.ws_port());
        round_trip(ClientOptions::default().server(server).protocol(asked), expected).await;
    }
}

#[tokio::test]
async fn a_durable_session_outlives_both_ends() {
    const MESSAGES: usize = 100;
    let Some(mut mosquitto) = Mosquitto::start().await else { return };
    let durable = || client_options(mosquitto.port()).client_id("durable").session(SessionKeeping::Durable);
    for protocol in [Protocol::V5, Protocol::V3_1_1] {
        let client = OurClient::connect(durable().protocol(protocol)).await;
        assert_eq!(client.subscribe("kept", QoS::ExactlyOnce).await, ReasonCode::GrantedQoS2);
        client.close().await;
    }
    let publisher = OurClient::connect(client_options(mosquitto.port())).await;
    for message in 0..MESSAGES {
        publisher.publish("kept", message.to_string(), QoS::ExactlyOnce).await;
    }
    let back = durable().protocol(Protocol::V3_1_1);
    mosquitto.terminate().await;
    mosquitto.run_again().await;
    let mut client = OurClient::connect(back).await;
    assert!(client.agreed().session_present);
    for message in 0..MESSAGES {
        assert_eq!(client.next().await.1, message.to_string().into_bytes());
    }
    // The publisher comes back by itself.
    publisher.publish("kept", "last", QoS::ExactlyOnce).await;
    assert_eq!(client.next().await.1, b"last");
}

#[tokio::test]
async fn no_message_is_lost_that_mosquitto_could_not_take_at_once() {
    const MESSAGES: u64 = 500;
    let Some(mosquitto) = Mosquitto::start_plain().await else { return };
    let mut reader = OurClient::connect(client_options(mosquitto.port())).await;
    reader.subscribe("many", QoS::ExactlyOnce).await;
    for protocol in [Protocol::V3_1, Protocol::V3_1_1, Protocol::V5] {
        let writer = OurClient::connect(client_options(mosquitto.port()).protocol(protocol)).await;
        let (publisher, mut confirmations) = writer.client.publisher();
        let sending = async move {
            for number in 0..MESSAGES {
                let publication = Publication::new("many", number.to_string()).unwrap().qos(QoS::ExactlyOnce);
                publisher.send(publication, number).await.unwrap();
            }
        };
        let confirming = async { while confirmations.next().await.is_some() {} };
        soon("all confirmations", async { tokio::join!(sending, confirming) }).await;
        for number in 0..MESSAGES {
            assert_eq!(reader.next().await.1, number.to_string().into_bytes(), "{protocol:?}");
        }
        writer.close().await;
    }
}
