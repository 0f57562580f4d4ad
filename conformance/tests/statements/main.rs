//! The statements of MQTT 5.0, and of 3.1.1 where they differ, against the cores of both roles.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by a panic")]

mod chapter_2;
mod chapter_3_connack;
mod chapter_3_connect;
mod chapter_3_disconnect;
mod chapter_3_publish;
mod chapter_4;
mod version_3_1_1;

use crosspoint_protocol::{
    PacketId, QoS, ReasonCode, Version,
    connection::{
        AcceptConnect, ClientConnection, ClientEvent, ClientOptions, EndCause, ServerConnection, ServerEvent,
        ServerOptions,
    },
    fuzz::{
        ends::{End, Persisting},
        pair::{START, Scripted, ack, publish},
    },
    packet::{Connect, Packet, Publish},
    session::{SessionState, Token},
};

type Server = Scripted<ServerConnection>;
type Client = Scripted<ClientConnection>;

fn server() -> Server {
    let mut server = Scripted::server(Version::V5, Persisting::AtOnce);
    server.sent();
    server
}

fn client() -> Client {
    let mut client = Scripted::client(Version::V5, Persisting::AtOnce);
    client.end.events.clear();
    client
}

/// A server that has been sent nothing yet.
fn fresh(version: Version) -> Server {
    let end = End::new(ServerConnection::new(ServerOptions::default(), START), Persisting::AtOnce);
    let mut server = Scripted { end, now: START, version };
    server.end.drain(START);
    server
}

/// A server that decides on this CONNECT.
fn deciding(connect: &Connect) -> Server {
    let mut server = fresh(connect.version);
    server.give(&[Packet::Connect(Box::new(connect.clone()))]);
    server
}

fn let_in(connect: &Connect, accept: AcceptConnect) -> Server {
    Scripted::server_with(ServerOptions::default(), connect, accept, Persisting::AtOnce)
}

fn answered(connect: Connect, connack: &crosspoint_protocol::packet::ConnAck) -> Client {
    Scripted::client_with(ClientOptions::new(connect), SessionState::default(), connack, Persisting::AtOnce)
}

fn qos1(id: u16) -> Packet {
    Packet::Publish(publish("t", QoS::AtLeastOnce, id))
}

fn qos2(id: u16) -> Packet {
    Packet::Publish(publish("t", QoS::ExactlyOnce, id))
}

fn puback(id: u16) -> Packet {
    Packet::PubAck(ack(id, ReasonCode::Success))
}

fn pubrec(id: u16) -> Packet {
    Packet::PubRec(ack(id, ReasonCode::Success))
}

fn pubrel(id: u16) -> Packet {
    Packet::PubRel(ack(id, ReasonCode::Success))
}

fn pubcomp(id: u16) -> Packet {
    Packet::PubComp(ack(id, ReasonCode::Success))
}

/// The tokens of the messages that wait, which are all that waits.
fn tokens(server: &mut Server) -> Vec<Token> {
    std::mem::take(&mut server.end.events)
        .into_iter()
        .map(|event| match event {
            ServerEvent::Publish(incoming) => incoming.token.unwrap(),
            other => panic!("a message is expected and not {other:?}"),
        })
        .collect()
}

/// The PUBLISH packets among others.
fn published(packets: &[Packet]) -> Vec<&Publish> {
    packets
        .iter()
        .filter_map(|packet| match packet {
            Packet::Publish(publish) => Some(publish),
            _ => None,
        })
        .collect()
}

fn ids(packets: &[Packet]) -> Vec<u16> {
    published(packets).iter().filter_map(|publish| publish.packet_id.map(PacketId::value)).collect()
}

fn cause_of_server(server: &Server) -> &EndCause {
    match server.end.events.back() {
        Some(ServerEvent::Ended(end)) => &end.cause,
        other => panic!("the end is expected and not {other:?}"),
    }
}

fn cause_of_client(client: &Client) -> &EndCause {
    match client.end.events.back() {
        Some(ClientEvent::Ended(end)) => &end.cause,
        other => panic!("the end is expected and not {other:?}"),
    }
}

/// Whether the connection ended because the other side broke a rule.
fn is_violation(cause: &EndCause) -> bool {
    matches!(cause, EndCause::Violation(_))
}

/// The reason of the DISCONNECT that must be all that was sent.
fn farewell(packets: &[Packet]) -> ReasonCode {
    match packets {
        [Packet::Disconnect(disconnect)] => disconnect.reason,
        other => panic!("DISCONNECT is expected and not {other:?}"),
    }
}

/// The CONNACK that must be all that was sent.
fn only_connack(packets: &[Packet]) -> crosspoint_protocol::packet::ConnAck {
    match packets {
        [Packet::ConnAck(connack)] => (**connack).clone(),
        other => panic!("CONNACK is expected and not {other:?}"),
    }
}
