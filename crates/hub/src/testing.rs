//! What the unit tests of this crate share: a broker that does as it is told, and short ways to messages and plans.

use std::sync::Arc;
use std::time::Duration;

use crosspoint_client::{Client, ClientOptions, DialOptions, Message, Protocol, QoS, TopicName, Transport};
use crosspoint_protocol::{Now, packet::PublishProperties};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::config::{self, Plan};

/// The longest that a test waits for anything.
pub(crate) const WITHIN: Duration = Duration::from_secs(20);

/// Waits for a future, but not for ever.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(WITHIN, future).await.expect("it takes too long")
}

pub(crate) fn message(topic: &str, payload: &[u8], qos: QoS) -> Message {
    let topic = TopicName::parse(topic).unwrap();
    Message::new(&topic, payload, qos, false, &PublishProperties::default(), Now::default())
}

#[track_caller]
pub(crate) fn plan(text: &str) -> Plan {
    config::parse(text, "crosspoint.toml", None).unwrap_or_else(|findings| panic!("{findings:?}")).0
}

/// An MQTT 5 broker that tells which messages came and answers each at QoS 1 as it is told: with a reason code, or not
/// at all.
pub(crate) struct Scripted {
    port: u16,
    pub(crate) came: mpsc::UnboundedReceiver<String>,
    /// Ends with the test.
    _connections: JoinSet<()>,
}

type Answer = Arc<dyn Fn(&str) -> Option<u8> + Send + Sync>;

impl Scripted {
    /// Starts it. `answer` gets the payload of each message.
    pub(crate) async fn start(answer: impl Fn(&str) -> Option<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, came) = mpsc::unbounded_channel();
        let answer: Answer = Arc::new(answer);
        let mut connections = JoinSet::new();
        connections.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.spawn(serve(stream, answer.clone(), sender.clone()));
            }
        });
        Self { port, came, _connections: connections }
    }

    /// Starts a client of it. Its deliveries end at once: it only publishes.
    pub(crate) fn client(&self) -> Client {
        let server = DialOptions::new(Transport::Tcp, "127.0.0.1", self.port);
        let options = ClientOptions::default().server(server).protocol(Protocol::V5).publish_queue_max(8_192);
        Client::start(options).unwrap().0
    }

    /// Waits for so many messages and returns their payloads.
    pub(crate) async fn payloads(&mut self, count: usize) -> Vec<String> {
        let mut payloads = Vec::new();
        while payloads.len() < count {
            payloads.push(soon(self.came.recv()).await.unwrap());
        }
        payloads
    }
}

async fn serve(mut stream: TcpStream, answer: Answer, came: mpsc::UnboundedSender<String>) -> Option<()> {
    loop {
        let first = stream.read_u8().await.ok()?;
        let mut packet = vec![0; read_length(&mut stream).await?];
        stream.read_exact(&mut packet).await.ok()?;
        let reply = match first >> 4 {
            1 => vec![0x20, 3, 0, 0, 0],
            3 => on_publish(first, &packet, &answer, &came),
            12 => vec![0xd0, 0],
            _ => return None,
        };
        stream.write_all(&reply).await.ok()?;
    }
}

async fn read_length(stream: &mut TcpStream) -> Option<usize> {
    let mut length = 0;
    for shift in [0, 7, 14, 21] {
        let byte = stream.read_u8().await.ok()?;
        length |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    Some(length)
}

/// Reads a PUBLISH with a topic and without properties or with few.
fn on_publish(first: u8, packet: &[u8], answer: &Answer, came: &mpsc::UnboundedSender<String>) -> Vec<u8> {
    let has_id = first & 0x06 != 0;
    let topic_end = 2 + usize::from(u16::from_be_bytes([packet[0], packet[1]]));
    let id_end = topic_end + if has_id { 2 } else { 0 };
    let payload = &packet[id_end + 1 + usize::from(packet[id_end])..];
    let payload = String::from_utf8_lossy(payload).into_owned();
    let reason = answer(&payload);
    came.send(payload).unwrap_or_default();
    match reason {
        Some(reason) if has_id => vec![0x40, 3, packet[topic_end], packet[topic_end + 1], reason],
        _ => Vec::new(),
    }
}
