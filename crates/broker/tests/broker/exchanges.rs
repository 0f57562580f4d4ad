//! QoS 2 over power cuts: what each packet promises is on disk before it leaves.

use crosspoint_protocol::{
    PacketId, QoS, ReasonCode,
    packet::{Ack, Packet, Publish},
};

use crate::{rig::Rig, support::*};

fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

fn ack(value: u16) -> Ack {
    Ack::new(id(value), ReasonCode::Success)
}

fn exactly_once(name: &str, payload: &str, packet_id: u16, dup: bool) -> Packet {
    let publish = message(name, payload.to_owned(), QoS::ExactlyOnce);
    Packet::Publish(Publish { packet_id: Some(id(packet_id)), dup, ..publish })
}

/// Asserts that nothing that was asked before is answered.
async fn is_owed(device: &mut Device) {
    device.send(&Packet::PingReq).await;
    assert_eq!(device.receive().await, Packet::PingResp);
}

async fn subscriber(rig: &Rig) -> Device {
    let mut device = Device::connect(&rig.broker, durable("subscriber")).await;
    device.subscribe("a", QoS::ExactlyOnce).await;
    device
}

#[tokio::test]
async fn pubrec_and_pubcomp_wait_for_the_disk() {
    let rig = Rig::new().await;
    let mut writer = Device::connect(&rig.broker, durable("writer")).await;
    rig.hold().await;
    // Nobody wants it: its identifier is what has to be kept.
    writer.send(&exactly_once("b", "x", 1, false)).await;
    is_owed(&mut writer).await;
    rig.let_one();
    assert!(matches!(writer.receive().await, Packet::PubRec(ack) if !ack.reason.is_error()));
    writer.send(&Packet::PubRel(ack(1))).await;
    is_owed(&mut writer).await;
    rig.let_one();
    assert_eq!(writer.receive().await, Packet::PubComp(ack(1)));
}

#[tokio::test]
async fn a_message_that_is_repeated_after_a_power_cut_is_delivered_once() {
    let rig = Rig::new().await;
    subscriber(&rig).await.leave().await;
    let mut writer = Device::connect(&rig.broker, durable("writer")).await;
    writer.send(&exactly_once("a", "once", 1, false)).await;
    assert!(matches!(writer.receive().await, Packet::PubRec(_)));
    let rig = rig.cut_power().await;
    let mut writer = Device::connect(&rig.broker, durable("writer")).await;
    assert!(writer.session_present());
    writer.send(&exactly_once("a", "once", 1, true)).await;
    assert!(matches!(writer.receive().await, Packet::PubRec(_)));
    let rig = rig.cut_power().await;
    let mut writer = Device::connect(&rig.broker, durable("writer")).await;
    writer.send(&Packet::PubRel(ack(1))).await;
    assert_eq!(writer.receive().await, Packet::PubComp(ack(1)));
    // The identifier is free, on disk too: the next message under it is another one.
    let rig = rig.cut_power().await;
    let mut writer = Device::connect(&rig.broker, durable("writer")).await;
    writer.send(&exactly_once("a", "another", 1, false)).await;
    assert!(matches!(writer.receive().await, Packet::PubRec(_)));
    let mut subscriber = Device::connect(&rig.broker, durable("subscriber")).await;
    assert_eq!(subscriber.payloads(2).await, ["once", "another"]);
    subscriber.hears_nothing().await;
}

#[tokio::test]
async fn a_release_that_was_not_synced_leaves_the_identifier_taken() {
    let rig = Rig::new().await;
    subscriber(&rig).await.leave().await;
    let mut writer = Device::connect(&rig.broker, durable("writer")).await;
    writer.send(&exactly_once("a", "once", 1, false)).await;
    assert!(matches!(writer.receive().await, Packet::PubRec(_)));
    rig.hold().await;
    writer.send(&Packet::PubRel(ack(1))).await;
    is_owed(&mut writer).await;
    let rig = rig.cut_power().await;
    let mut writer = Device::connect(&rig.broker, durable("writer")).await;
    // It has not seen PUBCOMP, so it goes on with PUBREL; a repeated message would not be a new one.
    writer.send(&exactly_once("a", "once", 1, true)).await;
    assert!(matches!(writer.receive().await, Packet::PubRec(_)));
    writer.send(&Packet::PubRel(ack(1))).await;
    assert_eq!(writer.receive().await, Packet::PubComp(ack(1)));
    let mut subscriber = Device::connect(&rig.broker, durable("subscriber")).await;
    assert_eq!(subscriber.payloads(1).await, ["once"]);
    subscriber.hears_nothing().await;
}

#[tokio::test]
async fn a_publish_waits_for_its_identifier_and_pubrel_for_what_it_knows() {
    let rig = Rig::new().await;
    let mut subscriber = subscriber(&rig).await;
    let mut writer = Device::v5(&rig.broker, "writer").await;
    rig.hold().await;
    writer.send(&exactly_once("a", "x", 1, false)).await;
    is_owed(&mut writer).await;
    is_owed(&mut subscriber).await;
    rig.let_one();
    // The message is on disk, the identifier under which it goes to the subscriber is not.
    assert!(matches!(writer.receive().await, Packet::PubRec(_)));
    is_owed(&mut subscriber).await;
    rig.let_one();
    let Packet::Publish(got) = subscriber.receive().await else { panic!("no message") };
    assert!(!got.dup);
    let pubrec = Ack::new(got.packet_id.unwrap(), ReasonCode::Success);
    subscriber.send(&Packet::PubRec(pubrec.clone())).await;
    is_owed(&mut subscriber).await;
    rig.let_one();
    assert_eq!(subscriber.receive().await, Packet::PubRel(pubrec));
}

#[tokio::test]
async fn a_message_in_flight_goes_on_under_its_identifier_after_a_power_cut() {
    let rig = Rig::new().await;
    let mut device = subscriber(&rig).await;
    let mut writer = Device::v5(&rig.broker, "writer").await;
    for payload in ["one", "two", "three"] {
        writer.publish(message("a", payload, QoS::ExactlyOnce)).await;
    }
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(device.unanswered().await.packet_id.unwrap());
    }
    // The second is known to have arrived; of the third even the end is known, but it is not recorded.
    for id in &ids[1..] {
        device.send(&Packet::PubRec(Ack::new(*id, ReasonCode::Success))).await;
        assert!(matches!(device.receive().await, Packet::PubRel(_)));
    }
    device.send(&Packet::PubComp(Ack::new(ids[2], ReasonCode::Success))).await;
    device.ping().await;
    let rig = rig.cut_power().await;
    let mut device = Device::connect(&rig.broker, durable("subscriber")).await;
    let Packet::Publish(first) = device.receive().await else { panic!("no message") };
    assert_eq!((first.packet_id, first.dup, text(&first)), (Some(ids[0]), true, "one"));
    for id in &ids[1..] {
        assert_eq!(device.receive().await, Packet::PubRel(Ack::new(*id, ReasonCode::Success)));
        device.send(&Packet::PubComp(Ack::new(*id, ReasonCode::Success))).await;
    }
    device.acknowledge(&first).await;
    let mut writer = Device::v5(&rig.broker, "writer").await;
    writer.publish(message("a", "four", QoS::ExactlyOnce)).await;
    assert_eq!(device.payloads(1).await, ["four"]);
    device.hears_nothing().await;
    device.leave().await;
    until("nothing is recorded", || rig.store.scan(4, None, 1).is_empty()).await;
}

#[tokio::test]
async fn what_is_finished_before_its_predecessor_is_not_sent_again() {
    let rig = Rig::new().await;
    let mut device = subscriber(&rig).await;
    let mut writer = Device::v5(&rig.broker, "writer").await;
    for payload in ["one", "two"] {
        writer.publish(message("a", payload, QoS::ExactlyOnce)).await;
    }
    let first = device.unanswered().await;
    let second = device.unanswered().await;
    device.acknowledge(&second).await;
    device.leave().await;
    until("its end is recorded", || rig.store.scan(4, None, 9).iter().any(|(_, record)| record[1] == 3))
        .await;
    let rig = rig.cut_power().await;
    let mut device = Device::connect(&rig.broker, durable("subscriber")).await;
    let again = device.message().await;
    assert_eq!((text(&again), again.packet_id), ("one", first.packet_id));
    device.hears_nothing().await;
    assert_eq!(rig.broker.statistics().stored_messages, 0);
}

/// A writer and a subscriber at QoS 2 that go on after every power cut as MQTT says: nothing is lost, nothing comes
/// twice, wherever the power goes.
#[tokio::test]
async fn mqtt_4_3_3_exactly_once_over_a_power_cut_at_every_sync() {
    const MESSAGES: usize = 12;
    for sync in 0..40 {
        let mut rig = Rig::new().await;
        subscriber(&rig).await.cut();
        drop(Device::connect(&rig.broker, durable("writer")).await);
        until("they are gone", || rig.broker.statistics().connections == 0).await;
        rig.disk.cut_power_at_sync(sync);
        let (mut writer, mut reader) = (Writer::default(), Reader::default());
        for _ in 0..3 {
            let went = tokio::join!(writer.go(&rig, MESSAGES), reader.go(&rig, MESSAGES));
            if went == (Some(()), Some(())) {
                break;
            }
            rig = rig.cut_power().await;
        }
        let expected: Vec<_> = (0..MESSAGES).map(|n| n.to_string()).collect();
        assert_eq!(reader.taken, expected, "power cut at sync {sync}");
    }
}

/// Publishes message after message, and remembers what it has not finished.
#[derive(Default)]
struct Writer {
    next: usize,
    is_released: bool,
    is_repeated: bool,
}

impl Writer {
    async fn go(&mut self, rig: &Rig, messages: usize) -> Option<()> {
        let mut device = Device::try_connect(address(&rig.broker), durable("writer")).await;
        device.connack.take().filter(|connack| !connack.reason.is_error())?;
        while self.next < messages {
            // Always the same identifier: it is free as soon as PUBCOMP has come.
            if !self.is_released {
                device.send(&exactly_once("a", &self.next.to_string(), 1, self.is_repeated)).await;
                self.is_repeated = true;
                let Packet::PubRec(pubrec) = device.receive_or_end().await? else { return None };
                if pubrec.reason.is_error() {
                    return None;
                }
                self.is_released = true;
            }
            device.send(&Packet::PubRel(ack(1))).await;
            let Packet::PubComp(_) = device.receive_or_end().await? else { return None };
            self.next += 1;
            self.is_released = false;
            self.is_repeated = false;
        }
        Some(())
    }
}

/// Takes messages by the first of the two methods of the specification: when PUBLISH comes, once an identifier.
#[derive(Default)]
struct Reader {
    taken: Vec<String>,
    open: Vec<PacketId>,
}

impl Reader {
    async fn go(&mut self, rig: &Rig, messages: usize) -> Option<()> {
        let mut device = Device::try_connect(address(&rig.broker), durable("subscriber")).await;
        device.connack.take().filter(|connack| !connack.reason.is_error())?;
        while self.taken.len() < messages || !self.open.is_empty() {
            match device.receive_or_end().await? {
                Packet::Publish(publish) => {
                    let id = publish.packet_id.unwrap();
                    if !self.open.contains(&id) {
                        self.open.push(id);
                        self.taken.push(text(&publish).to_owned());
                    }
                    device.send(&Packet::PubRec(Ack::new(id, ReasonCode::Success))).await;
                }
                Packet::PubRel(pubrel) => {
                    self.open.retain(|id| *id != pubrel.packet_id);
                    device.send(&Packet::PubComp(Ack::new(pubrel.packet_id, ReasonCode::Success))).await;
                }
                _ => return None,
            }
        }
        Some(())
    }
}

#[tokio::test]
async fn a_message_whose_batch_is_on_its_way_when_its_connection_ends_is_taken_once() {
    let rig = Rig::new().await;
    subscriber(&rig).await.leave().await;
    let mut writer = Device::connect(&rig.broker, durable("writer")).await;
    rig.hold().await;
    writer.send(&exactly_once("a", "once", 1, false)).await;
    is_owed(&mut writer).await;
    // Its successor takes the session over, and is let in when the disk has what was before.
    let to = address(&rig.broker);
    let successor = tokio::spawn(async move { Device::try_connect(to, durable("writer")).await });
    assert_eq!(writer.end_reason().await, ReasonCode::SessionTakenOver);
    assert!(!successor.is_finished());
    rig.release();
    let mut writer = within("CONNACK", successor).await.unwrap();
    assert!(writer.session_present());
    writer.send(&exactly_once("a", "once", 1, true)).await;
    assert!(matches!(writer.receive().await, Packet::PubRec(ack) if !ack.reason.is_error()));
    writer.send(&Packet::PubRel(ack(1))).await;
    assert_eq!(writer.receive().await, Packet::PubComp(ack(1)));
    let mut subscriber = Device::connect(&rig.broker, durable("subscriber")).await;
    assert_eq!(subscriber.payloads(1).await, ["once"]);
    subscriber.hears_nothing().await;
}
