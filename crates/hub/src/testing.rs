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
    /// The same messages with the rest of them: topic and properties as on the wire.
    pub(crate) heard: mpsc::UnboundedReceiver<(String, Vec<u8>)>,
    /// Ends with the test.
    _connections: JoinSet<()>,
}

/// What the broker does about a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reaction {
    /// Answers with this reason code.
    Answer(u8),
    Silence,
    /// Closes the connection.
    Cut,
}

/// What a broker is told to do.
#[derive(Clone)]
struct Script {
    /// The properties of its CONNACK, without their length.
    properties: Arc<[u8]>,
    reaction: Arc<dyn Fn(&str) -> Reaction + Send + Sync>,
    came: mpsc::UnboundedSender<String>,
    heard: mpsc::UnboundedSender<(String, Vec<u8>)>,
}

impl Scripted {
    /// Starts it. `answer` gets the payload of each message.
    pub(crate) async fn start(answer: impl Fn(&str) -> Option<u8> + Send + Sync + 'static) -> Self {
        Self::start_with(&[], move |payload| answer(payload).map_or(Reaction::Silence, Reaction::Answer))
            .await
    }

    /// Starts one that announces something about itself, and that may do worse than not to answer.
    pub(crate) async fn start_with(
        properties: &[u8],
        reaction: impl Fn(&str) -> Reaction + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let ((came, came_here), (heard, heard_here)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let script = Script { properties: properties.into(), reaction: Arc::new(reaction), came, heard };
        let mut connections = JoinSet::new();
        connections.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.spawn(serve(stream, script.clone()));
            }
        });
        Self { port, came: came_here, heard: heard_here, _connections: connections }
    }

    /// Starts a client of it. Its deliveries end at once: it only publishes.
    pub(crate) fn client(&self) -> Client {
        let server = DialOptions::new(Transport::Tcp, "127.0.0.1", self.port);
        let options = ClientOptions::default().server(server).protocol(Protocol::V5).publish_queue_max(8_192);
        let options = options.reconnect_ms(100, 100);
        Client::start(options).unwrap().0
    }

    /// Starts a client that reaches no broker.
    pub(crate) fn nowhere() -> Client {
        // Nothing can listen on port 0.
        let server = DialOptions::new(Transport::Tcp, "127.0.0.1", 0);
        Client::start(ClientOptions::default().server(server).protocol(Protocol::V5)).unwrap().0
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

async fn serve(mut stream: TcpStream, script: Script) -> Option<()> {
    loop {
        let first = stream.read_u8().await.ok()?;
        let mut packet = vec![0; read_length(&mut stream).await?];
        stream.read_exact(&mut packet).await.ok()?;
        let reply = match first >> 4 {
            1 => {
                let length = u8::try_from(script.properties.len()).unwrap();
                [&[0x20, 3 + length, 0, 0, length], &*script.properties].concat()
            }
            3 => on_publish(first, &packet, &script)?,
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

/// Reads a PUBLISH with a topic and without properties or with few; `None` when the connection is to be closed.
fn on_publish(first: u8, packet: &[u8], script: &Script) -> Option<Vec<u8>> {
    let has_id = first & 0x06 != 0;
    let topic_end = 2 + usize::from(u16::from_be_bytes([packet[0], packet[1]]));
    let id_end = topic_end + if has_id { 2 } else { 0 };
    let payload_start = id_end + 1 + usize::from(packet[id_end]);
    let topic = String::from_utf8_lossy(&packet[2..topic_end]).into_owned();
    let payload = String::from_utf8_lossy(&packet[payload_start..]).into_owned();
    let reaction = (script.reaction)(&payload);
    script.came.send(payload).unwrap_or_default();
    script.heard.send((topic, packet[id_end + 1..payload_start].to_vec())).unwrap_or_default();
    match reaction {
        Reaction::Answer(reason) if has_id => {
            Some(vec![0x40, 3, packet[topic_end], packet[topic_end + 1], reason])
        }
        Reaction::Answer(_) | Reaction::Silence => Some(Vec::new()),
        Reaction::Cut => None,
    }
}
