//! The connection is cut after every number of bytes, in either direction: at QoS 2 the server still has every message
//! exactly once, and so has the program.

use std::{collections::VecDeque, sync::Arc};

use bytes::BytesMut;
use crosspoint_client::{MemoryStore, Protocol, QoS, ReasonCode, SessionKeeping};
use crosspoint_protocol::{
    Message, Now, TopicName,
    connection::{AcceptConnect, Output, ServerConnection, ServerEvent, ServerOptions},
    packet::PublishProperties,
    session::{Outgoing, SessionState},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::{Mutex, mpsc},
};

use crate::harness::*;

/// How many messages go each way.
const MESSAGES: usize = 3;

/// What a server keeps between connections.
#[derive(Default)]
struct Broker {
    session: SessionState,
    has_session: bool,
    to_send: VecDeque<Outgoing>,
    got: Vec<String>,
    confirmed: usize,
}

/// Serves one connection until `bytes_in` bytes were read or `bytes_out` written.
async fn serve(mut stream: DuplexStream, broker: &mut Broker, mut bytes_in: usize, mut bytes_out: usize) {
    let now = Now::default();
    let mut core = ServerConnection::new(ServerOptions::default(), now);
    loop {
        let is_open = drain(&mut core, broker);
        let bytes = core.transmit().to_vec();
        core.transmit().clear();
        let count = bytes.len().min(bytes_out);
        if stream.write_all(bytes.get(..count).unwrap()).await.is_err() || count < bytes.len() || !is_open {
            break;
        }
        bytes_out -= count;
        if bytes_in == 0 {
            break;
        }
        let mut chunk = BytesMut::with_capacity(bytes_in.min(64 * 1024));
        let count = stream.read_buf(&mut (&mut chunk).limit_to(bytes_in)).await.unwrap_or(0);
        if count == 0 {
            break;
        }
        bytes_in -= count;
        core.handle_input(chunk.freeze(), now);
    }
    broker.session = core.into_session();
}

/// `BufMut::limit` under a name that does not hide it.
trait LimitTo: bytes::BufMut + Sized {
    fn limit_to(self, bytes: usize) -> bytes::buf::Limit<Self> {
        self.limit(bytes)
    }
}

impl<T: bytes::BufMut> LimitTo for T {}

fn drain(core: &mut ServerConnection, broker: &mut Broker) -> bool {
    let now = Now::default();
    loop {
        match core.poll_output(now) {
            Output::Persist(sequence, _) => core.handle_persisted(sequence, now),
            Output::Event(ServerEvent::Connect(connect)) => {
                let has_session = broker.has_session && !connect.clean_start;
                broker.has_session = true;
                let session = std::mem::take(&mut broker.session);
                let accept =
                    AcceptConnect { session, session_present: has_session, ..AcceptConnect::default() };
                core.accept_connect(accept, now);
            }
            Output::Event(ServerEvent::Publish(incoming)) => {
                broker.got.push(String::from_utf8(incoming.publish.payload.to_vec()).unwrap());
                core.accept(incoming.token.unwrap());
            }
            Output::Event(ServerEvent::Acknowledged { reason, .. }) => {
                assert_eq!(reason, ReasonCode::Success);
                broker.confirmed += 1;
            }
            Output::Event(_) => {}
            Output::Wait(_) => {
                let mut has_sent = false;
                while core.send_quota() > 0
                    && let Some(outgoing) = broker.to_send.pop_front()
                {
                    core.publish(outgoing, now).unwrap();
                    has_sent = true;
                }
                if !has_sent {
                    return true;
                }
            }
            Output::Closed => return false,
        }
    }
}

fn outgoing(text: &str) -> Outgoing {
    let topic = TopicName::parse("down").unwrap();
    let qos = QoS::ExactlyOnce;
    Outgoing {
        message: Message::new(
            &topic,
            text.as_bytes(),
            qos,
            false,
            &PublishProperties::default(),
            Now::default(),
        ),
        subscription_ids: Default::default(),
        cookie: 0,
        qos,
        retain: false,
    }
}

/// Exchanges messages both ways while the first connections are cut; returns how many connections it took.
async fn exchange(protocol: Protocol, cut_in: usize, cut_out: usize) -> usize {
    let opts = options().protocol(protocol).session(SessionKeeping::Durable).reconnect_ms(10, 10);
    let mut world = start_with(opts, Box::new(MemoryStore), 64 * 1024);
    let texts: Vec<String> = (0..MESSAGES).map(|i| format!("message {i}")).collect();
    let broker = Broker { to_send: texts.iter().map(|text| outgoing(text)).collect(), ..Broker::default() };
    let broker = Arc::new(Mutex::new(broker));
    let serving = Arc::clone(&broker);
    let (finished, mut is_finished) = mpsc::channel::<()>(1);
    let server = tokio::spawn(async move {
        // Twice cut at the same place, then left alone.
        let mut connections = 0;
        for (bytes_in, bytes_out) in [(cut_in, cut_out), (cut_in, cut_out), (usize::MAX, usize::MAX)] {
            let dialled = world.network.dialled().await;
            connections += 1;
            tokio::select! {
                () = async { serve(dialled.stream, &mut *serving.lock().await, bytes_in, bytes_out).await } => {}
                _ = is_finished.recv() => break,
            }
        }
        connections
    });
    let sent: Vec<_> = texts
        .iter()
        .map(|text| world.client.try_publish(publication("up", text.clone(), QoS::ExactlyOnce)).unwrap())
        .collect();
    let mut delivered = Vec::new();
    for _ in 0..MESSAGES {
        let delivery = next(&mut world.deliveries).await;
        delivered.push(payload(&delivery));
        delivery.ack.accept();
    }
    for sent in sent {
        let receipt =
            tokio::time::timeout(std::time::Duration::from_secs(1_000), sent).await.unwrap().unwrap();
        assert!(!receipt.may_be_duplicate, "cut after {cut_in} in, {cut_out} out");
    }
    // A copy that should not be would come by now.
    tokio::time::sleep(std::time::Duration::from_secs(10)).await; // pace: the clock is the test's own
    assert!(world.deliveries.try_next().is_none(), "delivered twice: cut after {cut_in} in, {cut_out} out");
    assert_eq!(delivered, texts, "cut after {cut_in} in, {cut_out} out");
    drop(finished);
    let connections = server.await.unwrap();
    let broker = broker.lock().await;
    assert_eq!(broker.got, texts, "cut after {cut_in} in, {cut_out} out");
    assert_eq!(broker.confirmed, MESSAGES);
    connections
}

async fn cut_everywhere(protocol: Protocol) {
    for bytes in 0.. {
        let connections = exchange(protocol, bytes, usize::MAX).await;
        if connections == 1 {
            assert!(bytes > 100, "all bytes of the exchange were cut at");
            break;
        }
    }
    for bytes in 0.. {
        if exchange(protocol, usize::MAX, bytes).await == 1 {
            assert!(bytes > 80, "all bytes of the exchange were cut at");
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn exactly_once_with_a_cut_after_every_byte_in_5_0() {
    cut_everywhere(Protocol::V5).await;
}

#[tokio::test(start_paused = true)]
async fn exactly_once_with_a_cut_after_every_byte_in_3_1_1() {
    cut_everywhere(Protocol::V3_1_1).await;
}
