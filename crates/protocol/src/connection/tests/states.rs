//! Every packet in every state of both roles: what it does there is a table.

use super::*;
use crate::{
    Now, PacketId, QoS,
    codec::encode,
    connection::{AcceptConnect, ClientConnection, ClientOptions, EndCause, ServerConnection, ServerOptions},
    fuzz::{
        ends::{End as Driven, Persisting},
        pair::{START, connack, connect, publish},
    },
    packet::{
        Auth, AuthProperties, ConnAckProperties, Connect, Disconnect, ReasonProperties, SubAck, Subscribe,
        SubscribeProperties, SubscribedFilter, SubscriptionOptions, Unsubscribe,
    },
    session::SessionState,
};

/// One packet of each type that this version can write.
fn every_packet(version: Version) -> Vec<Packet> {
    let id = PacketId::MIN;
    let filter = crate::TopicFilter::parse("a").unwrap();
    let subscribed = SubscribedFilter { filter: filter.clone(), options: SubscriptionOptions::default() };
    let suback =
        SubAck { packet_id: id, reasons: vec![ReasonCode::Success], properties: ReasonProperties::default() };
    let mut packets = vec![
        Packet::Connect(Box::new(connect_with_method(version))),
        Packet::ConnAck(Box::new(connack(false))),
        Packet::Publish(publish("t", QoS::AtMostOnce, 0)),
        Packet::Publish(publish("t", QoS::AtLeastOnce, 1)),
        Packet::Publish(publish("t", QoS::ExactlyOnce, 2)),
        puback(1),
        pubrec(1),
        pubrel(1),
        pubcomp(1),
        Packet::Subscribe(Box::new(Subscribe {
            packet_id: id,
            filters: vec![subscribed],
            properties: SubscribeProperties::default(),
        })),
        Packet::SubAck(Box::new(suback.clone())),
        Packet::Unsubscribe(Box::new(Unsubscribe {
            packet_id: id,
            filters: vec![filter],
            user_properties: Vec::new(),
        })),
        Packet::UnsubAck(Box::new(suback)),
        Packet::PingReq,
        Packet::PingResp,
        Packet::Disconnect(Box::new(Disconnect::new(ReasonCode::Success))),
    ];
    if version.is_v5() {
        let properties = AuthProperties { method: Some("M".into()), ..AuthProperties::default() };
        for reason in [ReasonCode::ContinueAuthentication, ReasonCode::ReAuthenticate, ReasonCode::Success] {
            packets.push(Packet::Auth(Box::new(Auth { reason, properties: properties.clone() })));
        }
    }
    packets
}

fn connect_with_method(version: Version) -> Connect {
    let mut connect = connect(version);
    if version.is_v5() {
        connect.properties.authentication_method = Some("M".into());
    }
    connect
}

/// A short name: the type, and what tells packets of one type apart.
fn name(packet: &Packet) -> String {
    match packet {
        Packet::Publish(publish) => format!("PUBLISH {}", publish.qos),
        Packet::Auth(auth) => format!("AUTH {:02x}", auth.reason.byte()),
        other => other.packet_type().to_string(),
    }
}

/// What a packet did: ended the connection by a violation, ended it as asked, or left it as it is.
fn outcome<C: crate::fuzz::ends::Core>(
    end: &mut Driven<C>,
    packet: &Packet,
    version: Version,
    cause: impl Fn(&Driven<C>) -> Option<EndCause>,
) -> &'static str {
    let mut bytes = Vec::new();
    encode(packet, version, &mut bytes).unwrap();
    end.receive(&bytes, START);
    match cause(end) {
        None => "goes on",
        Some(EndCause::Peer(_)) => "left",
        Some(EndCause::Violation(_)) => "violation",
        Some(EndCause::Refused(_) | EndCause::Local(_) | EndCause::Transport) => "ended",
    }
}

fn server_cause(end: &Driven<ServerConnection>) -> Option<EndCause> {
    end.events.iter().find_map(|event| match event {
        ServerEvent::Ended(end) => Some(end.cause.clone()),
        _ => None,
    })
}

fn client_cause(end: &Driven<ClientConnection>) -> Option<EndCause> {
    end.events.iter().find_map(|event| match event {
        ClientEvent::Ended(end) => Some(end.cause.clone()),
        _ => None,
    })
}

fn server_in(state: &str, version: Version) -> Driven<ServerConnection> {
    let mut end = Driven::new(ServerConnection::new(ServerOptions::default(), START), Persisting::AtOnce);
    end.drain(START);
    if state == "awaiting connect" {
        return end;
    }
    let mut bytes = Vec::new();
    encode(&Packet::Connect(Box::new(connect_with_method(version))), version, &mut bytes).unwrap();
    end.receive(&bytes, START);
    match state {
        "deciding" => {}
        "challenged" => end.core.challenge(AuthProperties::default()),
        "open" => end.core.accept_connect(AcceptConnect::default(), START),
        "ended" => end.core.reject_connect(ReasonCode::NotAuthorized, ConnAckProperties::default()),
        other => panic!("{other}"),
    }
    end.drain(START);
    if state == "ended" {
        end.events.clear();
    }
    end
}

fn client_in(state: &str, version: Version) -> Driven<ClientConnection> {
    let options = ClientOptions::new(connect_with_method(version));
    let core = ClientConnection::new(options, SessionState::default(), START).unwrap();
    let mut end = Driven::new(core, Persisting::AtOnce);
    end.drain(START);
    if state == "awaiting connack" {
        return end;
    }
    let mut bytes = Vec::new();
    encode(&Packet::ConnAck(Box::new(connack(false))), version, &mut bytes).unwrap();
    end.receive(&bytes, START);
    if state == "ended" {
        end.core.disconnect(Disconnect::new(ReasonCode::Success));
        end.drain(START);
        end.events.clear();
    }
    end
}

fn expected_of_server(state: &str, packet: &str) -> &'static str {
    match (state, packet) {
        // Nothing is read while CONNECT is decided, and nothing after the end.
        ("deciding" | "ended", _) => "goes on",
        ("awaiting connect", "CONNECT") => "goes on",
        ("awaiting connect", _) => "violation",
        ("challenged", "AUTH 18") => "goes on",
        ("challenged" | "open", "DISCONNECT") => "left",
        ("challenged", _) => "violation",
        ("open", "PUBLISH 0" | "PUBLISH 1" | "PUBLISH 2" | "PUBACK" | "PUBREC" | "PUBREL" | "PUBCOMP") => {
            "goes on"
        }
        ("open", "SUBSCRIBE" | "UNSUBSCRIBE" | "PINGREQ" | "AUTH 19") => "goes on",
        _ => "violation",
    }
}

fn expected_of_client(state: &str, packet: &str, version: Version) -> &'static str {
    match (state, packet) {
        ("ended", _) => "goes on",
        ("awaiting connack", "CONNACK" | "AUTH 18") => "goes on",
        ("awaiting connack", _) => "violation",
        ("open", "PUBLISH 0" | "PUBLISH 1" | "PUBLISH 2" | "PUBACK" | "PUBREC" | "PUBREL" | "PUBCOMP") => {
            "goes on"
        }
        ("open", "PINGRESP") => "goes on",
        ("open", "DISCONNECT") if version.is_v5() => "left",
        _ => "violation",
    }
}

#[test]
fn a_server_treats_every_packet_in_every_state_as_the_table_says() {
    for version in VERSIONS {
        for state in ["awaiting connect", "deciding", "challenged", "open", "ended"] {
            if state == "challenged" && !version.is_v5() {
                continue;
            }
            for packet in every_packet(version) {
                let mut end = server_in(state, version);
                let outcome = outcome(&mut end, &packet, version, server_cause);
                let name = name(&packet);
                assert_eq!(outcome, expected_of_server(state, &name), "{version}: {name} while {state}");
            }
        }
    }
}

#[test]
fn a_client_treats_every_packet_in_every_state_as_the_table_says() {
    for version in VERSIONS {
        for state in ["awaiting connack", "open", "ended"] {
            for packet in every_packet(version) {
                let mut end = client_in(state, version);
                let outcome = outcome(&mut end, &packet, version, client_cause);
                let name = name(&packet);
                assert_eq!(
                    outcome,
                    expected_of_client(state, &name, version),
                    "{version}: {name} while {state}"
                );
            }
        }
    }
}

#[test]
fn every_state_bears_every_command_and_input() {
    let now = Now { monotonic_ms: u64::MAX, wall_ms: u64::MAX };
    for version in VERSIONS {
        for state in ["awaiting connect", "deciding", "challenged", "open", "ended"] {
            let commands: [fn(&mut ServerConnection); 11] = [
                |core| core.handle_eof(),
                |core| core.handle_timeout(Now { monotonic_ms: u64::MAX, wall_ms: u64::MAX }),
                |core| core.handle_persisted(u64::MAX, START),
                |core| core.accept_connect(AcceptConnect::default(), START),
                |core| core.reject_connect(ReasonCode::NotAuthorized, ConnAckProperties::default()),
                |core| core.challenge(AuthProperties::default()),
                |core| core.reauthenticated(AuthProperties::default()),
                |core| core.disconnect(ReasonCode::ServerBusy),
                |core| core.suback(PacketId::MIN, vec![ReasonCode::Success]),
                |core| core.unsuback(PacketId::MIN, vec![ReasonCode::Success]),
                |core| core.handle_input(bytes::Bytes::from_static(&[0xC0, 0]), START),
            ];
            for first in commands {
                for second in commands {
                    let mut end = server_in(state, version);
                    first(&mut end.core);
                    end.drain(START);
                    second(&mut end.core);
                    end.drain(now);
                    if state == "ended" {
                        assert!(end.events.is_empty(), "{version}: {:?}", end.events);
                    }
                }
            }
        }
    }
}
