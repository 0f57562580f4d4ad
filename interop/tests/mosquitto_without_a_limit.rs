//! Why no test restarts mosquitto with `max_inflight_messages 0`: packet by packet, without a line of ours between.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what goes wrong in a helper fails its test"
)]

use interop::{Mosquitto, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// CONNECT of 3.1.1 with a session that is kept, keep alive 60 s, and a client identifier of one letter.
const fn connect(client_id: u8) -> [u8; 15] {
    [0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 4, 0, 0, 60, 0, 1, client_id]
}

/// SUBSCRIBE to `t` at QoS 2.
const SUBSCRIBE: [u8; 8] = [0x82, 6, 0, 1, 0, 1, b't', 2];

/// PUBLISH to `t` at QoS 2, packet identifier 7, with the payload `!`.
const PUBLISH: [u8; 8] = [0x34, 6, 0, 1, b't', 0, 7, b'!'];

async fn send(stream: &mut TcpStream, packet: &[u8]) {
    stream.write_all(packet).await.unwrap();
}

/// Reads a packet of fewer than 128 bytes.
async fn receive(stream: &mut TcpStream) -> Vec<u8> {
    soon("a packet", async {
        let mut packet = vec![0; 2];
        stream.read_exact(&mut packet).await.unwrap();
        packet.resize(2 + usize::from(packet[1]), 0);
        stream.read_exact(&mut packet[2..]).await.unwrap();
        packet
    })
    .await
}

async fn open(mosquitto: &Mosquitto, client_id: u8) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", mosquitto.port())).await.unwrap();
    send(&mut stream, &connect(client_id)).await;
    assert_eq!(receive(&mut stream).await[0], 0x20, "CONNACK");
    stream
}

/// Brings an exchange at QoS 2 to where mosquitto has sent PUBREL, restarts it, and returns the packet with which it
/// resumes the session.
async fn resumed_with(mut mosquitto: Mosquitto) -> Vec<u8> {
    let mut subscriber = open(&mosquitto, b's').await;
    send(&mut subscriber, &SUBSCRIBE).await;
    receive(&mut subscriber).await;
    let mut publisher = open(&mosquitto, b'p').await;
    send(&mut publisher, &PUBLISH).await;
    assert_eq!(receive(&mut publisher).await, [0x50, 2, 0, 7], "PUBREC");
    send(&mut publisher, &[0x62, 2, 0, 7]).await;
    assert_eq!(receive(&mut publisher).await, [0x70, 2, 0, 7], "PUBCOMP");

    assert_eq!(receive(&mut subscriber).await, [0x34, 6, 0, 1, b't', 0, 1, b'!'], "PUBLISH");
    send(&mut subscriber, &[0x50, 2, 0, 1]).await;
    assert_eq!(receive(&mut subscriber).await, [0x62, 2, 0, 1], "PUBREL");
    mosquitto.terminate().await;
    mosquitto.run_again().await;
    receive(&mut open(&mosquitto, b's').await).await
}

#[tokio::test]
async fn with_a_limit_mosquitto_sends_pubrel_again() {
    let Some(mosquitto) = Mosquitto::start().await else { return };
    assert_eq!(resumed_with(mosquitto).await, [0x62, 2, 0, 1], "PUBREL");
}

/// [MQTT-4.3.3-6] forbids it, and 3.1.1 in the same words. When this fails, mosquitto has been mended, and the flow
/// between two brokers can be tested without a limit.
#[tokio::test]
async fn without_a_limit_mosquitto_publishes_again_after_its_pubrel() {
    let Some(mosquitto) = Mosquitto::start_unlimited().await else { return };
    let publish_again = [0x3c, 6, 0, 1, b't', 0, 1, b'!'];
    assert_eq!(
        resumed_with(mosquitto).await,
        publish_again,
        "PUBLISH with DUP, the same identifier and payload"
    );
}
