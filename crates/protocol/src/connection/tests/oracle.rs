//! Both roles against a state machine that is not ours: mqtt-protocol-core, which answers by itself.

use std::fmt::Debug;

use mqtt_protocol_core::mqtt::{
    Arc, Connection, Version as ForeignVersion,
    common::Cursor,
    connection::{Event, role},
    packet::{GenericPacketTrait, Packet as ForeignPacket, v3_1_1, v5_0},
};

use super::*;
use crate::{
    PacketId, QoS,
    codec::encode,
    connection::{AcceptConnect, ClientConnection, ClientOptions, ServerConnection, ServerOptions},
    fuzz::{
        ends::{Core, End as Driven, Persisting},
        pair::{START, connack, connect, number, outgoing, topic_name},
    },
    packet::Publish,
    session::SessionState,
};

/// The other state machine, and what it said.
struct Foreign<R: role::RoleType> {
    connection: Connection<R>,
    version: Version,
    to_send: Vec<u8>,
    came: Vec<u64>,
    /// Identifiers that were free again.
    finished: Vec<u16>,
    connected: usize,
    complaints: Vec<String>,
}

/// Makes a packet of theirs out of one of ours.
fn foreign(packet: &Packet, version: Version) -> ForeignPacket {
    fn parsed<T, E: Debug>(result: Result<(T, usize), E>) -> T {
        result.unwrap().0
    }
    let mut bytes = Vec::new();
    encode(packet, version, &mut bytes).unwrap();
    let flags = bytes[0] & 0x0F;
    let body = &bytes[2..];
    match (packet, version) {
        (Packet::Connect(_), Version::V5) => parsed(v5_0::Connect::parse(body)).into(),
        (Packet::Connect(_), _) => parsed(v3_1_1::Connect::parse(body)).into(),
        (Packet::ConnAck(_), Version::V5) => parsed(v5_0::Connack::parse(body)).into(),
        (Packet::ConnAck(_), _) => parsed(v3_1_1::Connack::parse(body)).into(),
        (Packet::Publish(_), Version::V5) => parsed(v5_0::Publish::parse(flags, Arc::from(body))).into(),
        (Packet::Publish(_), _) => parsed(v3_1_1::Publish::parse(flags, Arc::from(body))).into(),
        (other, _) => panic!("{other:?}"),
    }
}

impl<R: role::RoleType> Foreign<R> {
    fn new(version: Version) -> Self {
        let theirs = if version.is_v5() { ForeignVersion::V5_0 } else { ForeignVersion::V3_1_1 };
        let mut connection = Connection::new(theirs);
        connection.set_auto_pub_response(true);
        connection.set_auto_ping_response(true);
        Self {
            connection,
            version,
            to_send: Vec::new(),
            came: Vec::new(),
            finished: Vec::new(),
            connected: 0,
            complaints: Vec::new(),
        }
    }

    fn send(&mut self, packet: &Packet) {
        let events = self.connection.send(foreign(packet, self.version));
        self.handle(events);
    }

    fn publish(&mut self, qos: QoS, number: u64) {
        let id = self.connection.acquire_packet_id().unwrap();
        self.send(&Packet::Publish(Publish {
            topic: Some(topic_name("theirs")),
            payload: bytes::Bytes::copy_from_slice(&number.to_be_bytes()),
            properties: Default::default(),
            packet_id: PacketId::new(id),
            qos,
            dup: false,
            retain: false,
        }));
    }

    fn receive(&mut self, bytes: &[u8]) {
        let mut cursor = Cursor::new(bytes);
        while (cursor.position() as usize) < bytes.len() {
            let events = self.connection.recv(&mut cursor);
            self.handle(events);
        }
    }

    fn close(&mut self) {
        let events = self.connection.notify_closed();
        self.handle(events);
        self.to_send.clear();
    }

    fn handle(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::RequestSendPacket { packet, .. } => self.to_send.extend(packet.to_continuous_buffer()),
                Event::NotifyPacketReceived(ForeignPacket::V5_0Publish(publish)) => {
                    self.came.push(number(publish.payload().as_slice()));
                }
                Event::NotifyPacketReceived(ForeignPacket::V3_1_1Publish(publish)) => {
                    self.came.push(number(publish.payload().as_slice()));
                }
                Event::NotifyPacketReceived(
                    ForeignPacket::V5_0Connect(_)
                    | ForeignPacket::V3_1_1Connect(_)
                    | ForeignPacket::V5_0Connack(_)
                    | ForeignPacket::V3_1_1Connack(_),
                ) => self.connected += 1,
                Event::NotifyPacketIdReleased(id) => self.finished.push(id),
                Event::NotifyError(error) => self.complaints.push(format!("{error:?}")),
                Event::RequestClose => self.complaints.push("it wants to close".to_owned()),
                _ => {}
            }
        }
    }
}

/// What our end did with what came.
#[derive(Default)]
struct Ours {
    came: Vec<u64>,
    finished: Vec<u64>,
}

impl Ours {
    fn handle_client(&mut self, end: &mut Driven<ClientConnection>) {
        for event in std::mem::take(&mut end.events) {
            match event {
                ClientEvent::Publish(incoming) => {
                    self.came.push(number(&incoming.publish.payload));
                    end.core.accept(incoming.token.unwrap());
                }
                ClientEvent::Acknowledged { cookie, .. } => self.finished.push(cookie),
                ClientEvent::Connected { .. } => {}
                ClientEvent::Ended(end) if end.cause == crate::connection::EndCause::Transport => {}
                other => panic!("{other:?}"),
            }
        }
        end.drain(START);
    }

    fn handle_server(&mut self, end: &mut Driven<ServerConnection>) {
        for event in std::mem::take(&mut end.events) {
            match event {
                ServerEvent::Publish(incoming) => {
                    self.came.push(number(&incoming.publish.payload));
                    end.core.accept(incoming.token.unwrap());
                }
                ServerEvent::Acknowledged { cookie, .. } => self.finished.push(cookie),
                ServerEvent::Ended(end) if end.cause == crate::connection::EndCause::Transport => {}
                other => panic!("{other:?}"),
            }
        }
        end.drain(START);
    }
}

/// Moves bytes until there are none, or until a number of them has been moved: then the link is broken.
fn carry<C: Core, R: role::RoleType>(
    ours: &mut Driven<C>,
    theirs: &mut Foreign<R>,
    mut bytes_max: usize,
    mut handle: impl FnMut(&mut Driven<C>),
) {
    loop {
        let down = ours.sent_bytes(START);
        let down = &down[..down.len().min(bytes_max)];
        bytes_max -= down.len();
        theirs.receive(&down[..whole_packets(down)]);
        let up = std::mem::take(&mut theirs.to_send);
        let up = &up[..up.len().min(bytes_max)];
        bytes_max -= up.len();
        ours.receive(up, START);
        handle(ours);
        if down.is_empty() && up.is_empty() {
            return;
        }
    }
}

/// How many of the bytes are whole packets, of less than 128 bytes each: theirs keeps the beginning of a packet over
/// the end of a connection, so it is not given one.
fn whole_packets(bytes: &[u8]) -> usize {
    let mut end = 0;
    while let Some(length) = bytes.get(end + 1)
        && end + 2 + usize::from(*length) <= bytes.len()
    {
        end += 2 + usize::from(*length);
    }
    end
}

const MESSAGES: [(QoS, u64); 4] =
    [(QoS::ExactlyOnce, 1), (QoS::AtLeastOnce, 2), (QoS::ExactlyOnce, 3), (QoS::ExactlyOnce, 4)];

/// Counts what came: messages at QoS 2 once, those at QoS 1 at least once.
fn check(came: &[u64], who: &str, case: &str) {
    for (qos, number) in MESSAGES {
        let count = came.iter().filter(|other| **other == number).count();
        let is_right = if qos == QoS::ExactlyOnce { count == 1 } else { count >= 1 };
        assert!(is_right, "{case}: message {number} came {count} times to {who}: {came:?}");
    }
}

fn our_client(version: Version, session: SessionState) -> Driven<ClientConnection> {
    let options = ClientOptions::new(connect(version));
    let mut end = Driven::new(ClientConnection::new(options, session, START).unwrap(), Persisting::AtOnce);
    end.drain(START);
    end
}

fn our_server(
    version: Version,
    session: Option<SessionState>,
    theirs: &mut Foreign<role::Client>,
) -> Driven<ServerConnection> {
    // Where a Receive Maximum is announced, theirs counts acknowledgements of what it sent again below zero.
    let options = ServerOptions { receive_maximum: u16::MAX, ..ServerOptions::default() };
    let mut end = Driven::new(ServerConnection::new(options, START), Persisting::AtOnce);
    theirs.send(&Packet::Connect(Box::new(connect(version))));
    let hello = std::mem::take(&mut theirs.to_send);
    end.receive(&hello, START);
    let session_present = session.is_some();
    let session = session.unwrap_or_default();
    end.let_in(AcceptConnect { session, session_present, ..AcceptConnect::default() }, START);
    end
}

/// Lets their server answer the CONNECT of our client.
fn be_let_in(ours: &mut Driven<ClientConnection>, theirs: &mut Foreign<role::Server>, session_present: bool) {
    let hello = ours.sent_bytes(START);
    theirs.receive(&hello);
    theirs.send(&Packet::ConnAck(Box::new(connack(session_present))));
    let answer = std::mem::take(&mut theirs.to_send);
    ours.receive(&answer, START);
}

#[test]
fn our_client_and_their_server_finish_every_message_wherever_the_link_breaks() {
    for version in [Version::V3_1_1, Version::V5] {
        for bytes_max in 0..400 {
            let case = format!("{version}, broken after {bytes_max} bytes");
            let mut theirs = Foreign::<role::Server>::new(version);
            let mut ours = our_client(version, SessionState::default());
            let mut done = Ours::default();
            be_let_in(&mut ours, &mut theirs, false);
            for (qos, number) in MESSAGES {
                ours.core.publish(outgoing("ours", qos, number), START).unwrap();
                theirs.publish(qos, number);
            }
            ours.drain(START);
            carry(&mut ours, &mut theirs, bytes_max, |end| done.handle_client(end));
            ours.hang_up(START);
            done.handle_client(&mut ours);
            theirs.close();

            let mut ours = our_client(version, ours.core.into_session());
            be_let_in(&mut ours, &mut theirs, true);
            carry(&mut ours, &mut theirs, usize::MAX, |end| done.handle_client(end));
            assert_eq!(theirs.complaints, Vec::<String>::new(), "{case}");
            check(&done.came, "our client", &case);
            check(&theirs.came, "their server", &case);
            assert_eq!(done.finished.len(), MESSAGES.len(), "{case}");
            assert_eq!(theirs.finished.len(), MESSAGES.len(), "{case}");
            assert!(theirs.connection.get_qos2_publish_handled().is_empty(), "{case}");
            assert!(ours.core.into_session().is_empty(), "{case}");
        }
    }
}

#[test]
fn our_server_and_their_client_finish_every_message_wherever_the_link_breaks() {
    for version in [Version::V3_1_1, Version::V5] {
        for bytes_max in 0..400 {
            let case = format!("{version}, broken after {bytes_max} bytes");
            let mut theirs = Foreign::<role::Client>::new(version);
            let mut ours = our_server(version, None, &mut theirs);
            let hello = ours.sent_bytes(START);
            theirs.receive(&hello);
            let mut done = Ours::default();
            for (qos, number) in MESSAGES {
                ours.core.publish(outgoing("ours", qos, number), START).unwrap();
                theirs.publish(qos, number);
            }
            ours.drain(START);
            carry(&mut ours, &mut theirs, bytes_max, |end| done.handle_server(end));
            ours.hang_up(START);
            done.handle_server(&mut ours);
            theirs.close();

            let mut ours = our_server(version, Some(ours.core.into_session()), &mut theirs);
            carry(&mut ours, &mut theirs, usize::MAX, |end| done.handle_server(end));
            assert_eq!(theirs.complaints, Vec::<String>::new(), "{case}");
            check(&done.came, "our server", &case);
            check(&theirs.came, "their client", &case);
            assert_eq!(done.finished.len(), MESSAGES.len(), "{case}");
            assert_eq!(theirs.finished.len(), MESSAGES.len(), "{case}");
            assert!(theirs.connection.get_qos2_publish_handled().is_empty(), "{case}");
            assert!(ours.core.into_session().is_empty(), "{case}");
        }
    }
}

#[test]
fn both_agree_on_who_was_let_in() {
    for version in [Version::V3_1_1, Version::V5] {
        let mut theirs = Foreign::<role::Client>::new(version);
        let mut ours = our_server(version, None, &mut theirs);
        let answer = ours.sent_bytes(START);
        theirs.receive(&answer);
        assert_eq!((theirs.connected, theirs.complaints.len()), (1, 0), "{:?}", theirs.complaints);
        let mut theirs = Foreign::<role::Server>::new(version);
        let mut ours = our_client(version, SessionState::default());
        be_let_in(&mut ours, &mut theirs, false);
        assert_eq!((theirs.connected, theirs.complaints.len()), (1, 0), "{:?}", theirs.complaints);
        assert!(ours.core.is_open());
    }
}
