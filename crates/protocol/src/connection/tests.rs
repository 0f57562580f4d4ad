mod authentication;
mod incoming;
mod keep_alive;
mod limits;
mod opening;
mod oracle;
mod outgoing;
mod pairs;
mod persistence;
mod states;

use super::{ClientEvent, End, ServerEvent};
use crate::{
    ReasonCode, Version,
    fuzz::{
        ends::End as Driver,
        pair::{Scripted, ack},
    },
    packet::Packet,
    session::Token,
};

const VERSIONS: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5];

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

/// PUBCOMP for an identifier that is not known, as this version says it.
fn pubcomp_not_found(id: u16, version: Version) -> Packet {
    let reason = if version.is_v5() { ReasonCode::PacketIdentifierNotFound } else { ReasonCode::Success };
    Packet::PubComp(ack(id, reason))
}

/// Takes the token of the next event, which must be a message.
fn take_token(server: &mut Scripted<super::ServerConnection>) -> Token {
    match server.end.events.pop_front() {
        Some(ServerEvent::Publish(incoming)) => incoming.token.unwrap(),
        other => panic!("a message is expected and not {other:?}"),
    }
}

/// The end of a server's connection, which must be its last event.
fn server_end(end: &Driver<super::ServerConnection>) -> &End {
    match end.events.back() {
        Some(ServerEvent::Ended(end)) => end,
        other => panic!("the end is expected and not {other:?}"),
    }
}

/// The end of a client's connection, which must be its last event.
fn client_end(end: &Driver<super::ClientConnection>) -> &End {
    match end.events.back() {
        Some(ClientEvent::Ended(end)) => end,
        other => panic!("the end is expected and not {other:?}"),
    }
}
