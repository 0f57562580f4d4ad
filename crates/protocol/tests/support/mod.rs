//! Strategies that make any valid packet of any version and direction.

#![allow(dead_code, reason = "every test binary uses a part of it")]

use bytes::Bytes;
use bytestring::ByteString;
use crosspoint_protocol::{
    PacketId, QoS, ReasonCode, TopicFilter, TopicName, Version,
    codec::{Direction, encode, varint},
    packet::{
        Ack, Auth, AuthProperties, ConnAck, ConnAckProperties, Connect, ConnectProperties, Disconnect, Login,
        Packet, PacketType, Publish, PublishProperties, ReasonProperties, RetainHandling, SubAck, Subscribe,
        SubscribeProperties, SubscribedFilter, SubscriptionOptions, Unsubscribe, UserProperties, Will,
        WillProperties,
    },
};
use proptest::{collection::vec, option, prelude::*, sample::select};

/// A packet with the version under which, and the direction in which it travels.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) packet: Packet,
    pub(crate) version: Version,
    pub(crate) direction: Direction,
}

impl Sent {
    /// Returns the version that the receiver knows: none before a CONNECT.
    pub(crate) fn known_version(&self) -> Option<Version> {
        (self.packet.packet_type() != PacketType::Connect).then_some(self.version)
    }

    /// Returns the packet as it travels.
    pub(crate) fn bytes(&self) -> Bytes {
        let mut out = Vec::new();
        encode(&self.packet, self.version, &mut out).unwrap();
        Bytes::from(out)
    }
}

/// Any packet of any version, in a direction in which it may travel.
pub(crate) fn sent() -> impl Strategy<Value = Sent> {
    (version(), direction()).prop_flat_map(|(version, direction)| {
        packet(version, direction).prop_map(move |packet| Sent { packet, version, direction })
    })
}

pub(crate) fn version() -> impl Strategy<Value = Version> {
    select(vec![Version::V3_1, Version::V3_1_1, Version::V5])
}

pub(crate) fn direction() -> impl Strategy<Value = Direction> {
    select(vec![Direction::FromClient, Direction::FromServer])
}

/// Any packet that may travel in this version and direction.
pub(crate) fn packet(version: Version, direction: Direction) -> BoxedStrategy<Packet> {
    let mut choices = vec![
        publish(version, direction).prop_map(Packet::Publish).boxed(),
        ack(PacketType::PubAck, version).prop_map(Packet::PubAck).boxed(),
        ack(PacketType::PubRec, version).prop_map(Packet::PubRec).boxed(),
        ack(PacketType::PubRel, version).prop_map(Packet::PubRel).boxed(),
        ack(PacketType::PubComp, version).prop_map(Packet::PubComp).boxed(),
    ];
    match direction {
        Direction::FromClient => choices.extend(of_client(version)),
        Direction::FromServer => choices.extend(of_server(version)),
    }
    if version.is_v5() {
        choices.push(auth(direction).prop_map(|auth| Packet::Auth(Box::new(auth))).boxed());
        choices.push(disconnect(direction).prop_map(|packet| Packet::Disconnect(Box::new(packet))).boxed());
    }
    proptest::strategy::Union::new(choices).boxed()
}

fn of_client(version: Version) -> Vec<BoxedStrategy<Packet>> {
    let disconnect = Packet::Disconnect(Box::new(Disconnect::new(ReasonCode::Success)));
    vec![
        connect(version).prop_map(|packet| Packet::Connect(Box::new(packet))).boxed(),
        subscribe(version).prop_map(|packet| Packet::Subscribe(Box::new(packet))).boxed(),
        unsubscribe(version).prop_map(|packet| Packet::Unsubscribe(Box::new(packet))).boxed(),
        Just(Packet::PingReq).boxed(),
        Just(disconnect).boxed(),
    ]
}

fn of_server(version: Version) -> Vec<BoxedStrategy<Packet>> {
    vec![
        connack(version).prop_map(|packet| Packet::ConnAck(Box::new(packet))).boxed(),
        suback(version).prop_map(|packet| Packet::SubAck(Box::new(packet))).boxed(),
        unsuback(version).prop_map(|packet| Packet::UnsubAck(Box::new(packet))).boxed(),
        Just(Packet::PingResp).boxed(),
    ]
}

pub(crate) fn publish(version: Version, direction: Direction) -> BoxedStrategy<Publish> {
    let parts =
        (topic_name(), payload(), publish_properties(version, direction), packet_id(), any::<(u8, bool)>());
    (parts, any::<(bool, bool)>())
        .prop_map(|((topic, payload, properties, packet_id, (qos, dup)), (retain, omit))| {
            let qos = QoS::from_bits(qos % 3).unwrap();
            let acknowledged = qos != QoS::AtMostOnce;
            let topic = if omit && properties.topic_alias().is_some() { None } else { Some(topic) };
            let packet_id = acknowledged.then_some(packet_id);
            Publish { topic, payload, properties, packet_id, qos, dup: dup && acknowledged, retain }
        })
        .boxed()
}

/// Properties as they may stand on the wire, in an order of their own.
fn publish_properties(version: Version, direction: Direction) -> BoxedStrategy<PublishProperties> {
    if !version.is_v5() {
        return Just(PublishProperties::default()).boxed();
    }
    let ids = if direction == Direction::FromServer { 3 } else { 0 };
    let numbers = (option::of(any::<bool>()), option::of(any::<u32>()), option::of(1..=u16::MAX));
    let texts = (option::of(text()), option::of(topic_name()), option::of(payload()));
    (numbers, texts, vec(1..=varint::MAX, 0..=ids), user_properties())
        .prop_flat_map(|(numbers, texts, ids, user)| {
            Just(property_entries(numbers, texts, ids, user)).prop_shuffle()
        })
        .prop_map(move |entries| PublishProperties::from_wire(entries.concat().into(), direction).unwrap())
        .boxed()
}

fn property_entries(
    (utf8, expiry, alias): (Option<bool>, Option<u32>, Option<u16>),
    (content_type, response_topic, correlation): (Option<ByteString>, Option<TopicName>, Option<Bytes>),
    ids: Vec<u32>,
    user: UserProperties,
) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    entries.extend(utf8.map(|utf8| vec![0x01, u8::from(utf8)]));
    entries.extend(expiry.map(|expiry| [&[0x02][..], &expiry.to_be_bytes()].concat()));
    entries.extend(alias.map(|alias| [&[0x23][..], &alias.to_be_bytes()].concat()));
    entries.extend(content_type.map(|text| [&[0x03][..], &counted(text.as_bytes())].concat()));
    entries.extend(response_topic.map(|topic| [&[0x08][..], &counted(topic.as_bytes())].concat()));
    entries.extend(correlation.map(|data| [&[0x09][..], &counted(&data)].concat()));
    for id in ids {
        let mut entry = vec![0x0B];
        varint::put(id, &mut entry);
        entries.push(entry);
    }
    for (name, value) in user {
        entries.push([&[0x26][..], &counted(name.as_bytes()), &counted(value.as_bytes())].concat());
    }
    entries
}

/// Returns the bytes with their length of two bytes in front.
pub(crate) fn counted(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

pub(crate) fn ack(packet: PacketType, version: Version) -> BoxedStrategy<Ack> {
    if !version.is_v5() {
        return packet_id().prop_map(|id| Ack::new(id, ReasonCode::Success)).boxed();
    }
    (packet_id(), reason(packet), reason_properties(version))
        .prop_map(|(packet_id, reason, properties)| {
            let properties = (properties != ReasonProperties::default()).then(|| Box::new(properties));
            Ack { packet_id, reason, properties }
        })
        .boxed()
}

/// Any reason code that may stand in this packet.
pub(crate) fn reason(packet: PacketType) -> impl Strategy<Value = ReasonCode> {
    let allowed = ReasonCode::ALL.iter().copied().filter(|code| code.is_allowed_in(packet));
    select(allowed.collect::<Vec<_>>())
}

fn reason_properties(version: Version) -> BoxedStrategy<ReasonProperties> {
    if !version.is_v5() {
        return Just(ReasonProperties::default()).boxed();
    }
    (option::of(text()), user_properties())
        .prop_map(|(reason_string, user_properties)| ReasonProperties { reason_string, user_properties })
        .boxed()
}

pub(crate) fn connect(version: Version) -> BoxedStrategy<Connect> {
    let head = (any::<bool>(), any::<bool>(), any::<u16>(), text());
    (head, option::of(will(version)), login(version), connect_properties(version))
        .prop_map(move |((clean_start, is_bridge, keep_alive_s, client_id), will, login, properties)| {
            Connect {
                version,
                clean_start,
                is_bridge: is_bridge && !version.is_v5(),
                keep_alive_s,
                client_id: if version == Version::V3_1 { format!("{client_id}-").into() } else { client_id },
                will,
                login,
                properties,
            }
        })
        .boxed()
}

fn login(version: Version) -> impl Strategy<Value = Login> {
    (option::of(text()), option::of(payload())).prop_map(move |(username, password)| {
        let password = password.filter(|_| version.is_v5() || username.is_some());
        Login { username, password }
    })
}

fn connect_properties(version: Version) -> BoxedStrategy<ConnectProperties> {
    if !version.is_v5() {
        return Just(ConnectProperties::default()).boxed();
    }
    let numbers = (
        option::of(any::<u32>()),
        option::of(1..=u16::MAX),
        option::of(1..=u32::MAX),
        option::of(any::<u16>()),
    );
    let flags = any::<(Option<bool>, Option<bool>)>();
    (numbers, flags, authentication(), user_properties())
        .prop_map(|(numbers, flags, (authentication_method, authentication_data), user_properties)| {
            ConnectProperties {
                session_expiry_s: numbers.0,
                receive_maximum: numbers.1,
                maximum_packet_bytes: numbers.2,
                topic_alias_maximum: numbers.3,
                request_response_information: flags.0,
                request_problem_information: flags.1,
                authentication_method,
                authentication_data,
                user_properties,
            }
        })
        .boxed()
}

/// A method, with or without data; no data without a method.
fn authentication() -> impl Strategy<Value = (Option<ByteString>, Option<Bytes>)> {
    option::of((text(), option::of(payload()))).prop_map(|both| match both {
        Some((method, data)) => (Some(method), data),
        None => (None, None),
    })
}

fn will(version: Version) -> impl Strategy<Value = Will> {
    (topic_name(), payload(), qos(), any::<bool>(), will_properties(version)).prop_map(
        |(topic, payload, qos, retain, properties)| Will { topic, payload, qos, retain, properties },
    )
}

fn will_properties(version: Version) -> BoxedStrategy<WillProperties> {
    if !version.is_v5() {
        return Just(WillProperties::default()).boxed();
    }
    let numbers = any::<(Option<u32>, Option<bool>, Option<u32>)>();
    let texts = (option::of(text()), option::of(topic_name()), option::of(payload()));
    (numbers, texts, user_properties())
        .prop_map(|((delay_s, payload_is_utf8, message_expiry_s), texts, user_properties)| WillProperties {
            delay_s,
            payload_is_utf8,
            message_expiry_s,
            content_type: texts.0,
            response_topic: texts.1.map(TopicName::into_inner),
            correlation_data: texts.2,
            user_properties,
        })
        .boxed()
}

pub(crate) fn connack(version: Version) -> BoxedStrategy<ConnAck> {
    let return_codes = (0..=5).map(|code| ReasonCode::from_connect_return_code_v3(code).unwrap());
    let reason = if version.is_v5() {
        reason(PacketType::ConnAck).boxed()
    } else {
        select(return_codes.collect::<Vec<_>>()).boxed()
    };
    (any::<bool>(), reason, connack_properties(version))
        .prop_map(move |(session_present, reason, properties)| ConnAck {
            session_present: session_present && reason == ReasonCode::Success && version != Version::V3_1,
            reason,
            properties,
        })
        .boxed()
}

fn connack_properties(version: Version) -> BoxedStrategy<ConnAckProperties> {
    if !version.is_v5() {
        return Just(ConnAckProperties::default()).boxed();
    }
    let numbers = (option::of(any::<u32>()), option::of(1..=u16::MAX), option::of(1..=u32::MAX));
    let more = any::<(Option<u16>, Option<u16>, Option<bool>)>();
    let flags = any::<(Option<bool>, Option<bool>, Option<bool>, Option<bool>)>();
    let texts = (option::of(text()), option::of(text()), option::of(text()), option::of(text()));
    (numbers, more, flags, texts, authentication(), user_properties())
        .prop_map(|(numbers, more, flags, texts, authentication, user_properties)| ConnAckProperties {
            session_expiry_s: numbers.0,
            receive_maximum: numbers.1,
            maximum_packet_bytes: numbers.2,
            topic_alias_maximum: more.0,
            server_keep_alive_s: more.1,
            maximum_qos: more.2.map(|one| if one { QoS::AtLeastOnce } else { QoS::AtMostOnce }),
            retain_available: flags.0,
            wildcard_subscription_available: flags.1,
            subscription_identifiers_available: flags.2,
            shared_subscription_available: flags.3,
            assigned_client_id: texts.0,
            reason_string: texts.1,
            response_information: texts.2,
            server_reference: texts.3,
            authentication_method: authentication.0,
            authentication_data: authentication.1,
            user_properties,
        })
        .boxed()
}

pub(crate) fn subscribe(version: Version) -> BoxedStrategy<Subscribe> {
    let filters = (topic_filter(), options(version)).prop_map(|(filter, options)| {
        let no_local = options.no_local && !filter.is_shared();
        SubscribedFilter { filter, options: SubscriptionOptions { no_local, ..options } }
    });
    let properties = if version.is_v5() {
        (option::of(1..=varint::MAX), user_properties())
            .prop_map(|(subscription_id, user_properties)| SubscribeProperties {
                subscription_id,
                user_properties,
            })
            .boxed()
    } else {
        Just(SubscribeProperties::default()).boxed()
    };
    (packet_id(), vec(filters, 1..5), properties)
        .prop_map(|(packet_id, filters, properties)| Subscribe { packet_id, filters, properties })
        .boxed()
}

fn options(version: Version) -> BoxedStrategy<SubscriptionOptions> {
    if !version.is_v5() {
        return qos().prop_map(|qos| SubscriptionOptions { qos, ..SubscriptionOptions::default() }).boxed();
    }
    let handling = select(vec![RetainHandling::Send, RetainHandling::SendIfNew, RetainHandling::DoNotSend]);
    (qos(), any::<bool>(), any::<bool>(), handling)
        .prop_map(|(qos, no_local, retain_as_published, retain_handling)| SubscriptionOptions {
            qos,
            no_local,
            retain_as_published,
            retain_handling,
        })
        .boxed()
}

pub(crate) fn unsubscribe(version: Version) -> impl Strategy<Value = Unsubscribe> {
    let user_properties =
        if version.is_v5() { user_properties().boxed() } else { Just(UserProperties::new()).boxed() };
    (packet_id(), vec(topic_filter(), 1..5), user_properties)
        .prop_map(|(packet_id, filters, user_properties)| Unsubscribe { packet_id, filters, user_properties })
}

pub(crate) fn suback(version: Version) -> impl Strategy<Value = SubAck> {
    let of_3_1_1 = [0x00, 0x01, 0x02, 0x80].map(|byte| ReasonCode::from_byte(byte).unwrap());
    let reasons =
        if version.is_v5() { reason(PacketType::SubAck).boxed() } else { select(of_3_1_1.to_vec()).boxed() };
    (packet_id(), vec(reasons, 1..5), reason_properties(version))
        .prop_map(|(packet_id, reasons, properties)| SubAck { packet_id, reasons, properties })
}

pub(crate) fn unsuback(version: Version) -> impl Strategy<Value = SubAck> {
    let count = if version.is_v5() { 1..5 } else { 0..1 };
    (packet_id(), vec(reason(PacketType::UnsubAck), count), reason_properties(version))
        .prop_map(|(packet_id, reasons, properties)| SubAck { packet_id, reasons, properties })
}

pub(crate) fn disconnect(direction: Direction) -> impl Strategy<Value = Disconnect> {
    let rest = (option::of(any::<u32>()), option::of(text()), option::of(text()), user_properties());
    (reason(PacketType::Disconnect), rest).prop_map(
        move |(reason, (expiry, reason_string, reference, user))| Disconnect {
            reason,
            session_expiry_s: expiry.filter(|_| direction == Direction::FromClient),
            reason_string,
            server_reference: reference.filter(|_| direction == Direction::FromServer),
            user_properties: user,
        },
    )
}

pub(crate) fn auth(direction: Direction) -> impl Strategy<Value = Auth> {
    let last = match direction {
        Direction::FromClient => ReasonCode::ReAuthenticate,
        Direction::FromServer => ReasonCode::Success,
    };
    let reasons = select(vec![ReasonCode::ContinueAuthentication, last]);
    (reasons, text(), option::of(payload()), option::of(text()), user_properties()).prop_map(
        |(reason, method, data, reason_string, user_properties)| {
            let properties = AuthProperties { method: Some(method), data, reason_string, user_properties };
            Auth { reason, properties }
        },
    )
}

pub(crate) fn packet_id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(|value| PacketId::new(value).unwrap())
}

pub(crate) fn qos() -> impl Strategy<Value = QoS> {
    select(vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])
}

pub(crate) fn topic_name() -> impl Strategy<Value = TopicName> {
    "[a-zé$/ 漢]{1,12}".prop_map(|text| TopicName::parse(text).unwrap())
}

pub(crate) fn topic_filter() -> impl Strategy<Value = TopicFilter> {
    let level = || select(vec!["+", "a", "", "é", "long level"]);
    let share = select(vec!["", "", "$share/group/"]);
    (share, vec(level(), 1..4), select(vec!["", "/#"])).prop_map(|(share, levels, end)| {
        let levels = levels.join("/");
        let topic = if levels.is_empty() && end.is_empty() { "#".to_owned() } else { levels + end };
        TopicFilter::parse(format!("{share}{topic}")).unwrap()
    })
}

pub(crate) fn text() -> impl Strategy<Value = ByteString> {
    "[a-z\u{1}é漢\u{10FFFF} ]{0,8}".prop_map(ByteString::from)
}

/// Mostly short, now and then long enough for a remaining length of two or three bytes.
pub(crate) fn payload() -> impl Strategy<Value = Bytes> {
    let sizes = prop_oneof![20 => 0..16_usize, 2 => 100..300_usize, 1 => 16_000..17_000_usize];
    (sizes, any::<u8>()).prop_map(|(len, byte)| Bytes::from(vec![byte; len]))
}

fn user_properties() -> impl Strategy<Value = UserProperties> {
    vec((text(), text()), 0..3)
}
