//! Wills over restarts, a full disk, a store that fails, clients without a socket.

use std::time::Duration;

use crosspoint_broker::{LocalClient, LocalDelivery, LocalOptions, NotAccepted};
use crosspoint_protocol::{
    Message, Now, QoS, ReasonCode, Version,
    packet::{Connect, Packet, Publish, PublishProperties, PublishPropertyValues, SubscriptionOptions},
};
use crosspoint_store::{Batch, Options, SimulatedDisk, Store};

use crate::{rig::Rig, support::*};

fn mortal(client_id: &str, session_expiry_s: u32, delay_s: u32) -> Connect {
    let mut will = will("wills/a", b"died");
    will.properties.delay_s = Some(delay_s);
    will.retain = true;
    let mut connect = Connect { will: Some(will), ..durable(client_id) };
    connect.properties.session_expiry_s = Some(session_expiry_s);
    connect
}

fn grace(grace_ms: u64) -> crosspoint_broker::BrokerOptions {
    options().will_grace(Duration::from_millis(grace_ms))
}

async fn heir(rig: &Rig) {
    let mut heir = Device::connect(&rig.broker, durable("heir")).await;
    heir.subscribe("wills/#", QoS::AtLeastOnce).await;
    heir.leave().await;
}

#[tokio::test]
async fn who_does_not_come_back_after_a_restart_leaves_one_will() {
    for (session_expiry_s, is_cut) in [(3_600, true), (3_600, false), (0, true), (0, false)] {
        let rig = Rig::new().await;
        heir(&rig).await;
        let device = Device::connect(&rig.broker, mortal("m", session_expiry_s, 0)).await;
        // A stop is not its client's death either.
        let rig =
            if is_cut { rig.cut_power_with(grace(50)).await } else { rig.restart_with(grace(50)).await };
        drop(device);
        until("it is published", || rig.broker.statistics().stored_messages == 1).await;
        // Published and forgotten in one: not again after the next cut.
        let rig = rig.cut_power_with(grace(0)).await;
        let mut heir = Device::connect(&rig.broker, durable("heir")).await;
        assert_eq!(heir.payloads(1).await, ["died"]);
        heir.hears_nothing().await;
        assert_eq!(rig.broker.statistics().retained_messages, 1);
        assert!(rig.store.scan(5, None, 1).is_empty());
    }
}

#[tokio::test]
async fn a_delay_that_is_longer_than_the_grace_holds_after_a_cut() {
    let rig = Rig::new().await;
    heir(&rig).await;
    let patient = Device::connect(&rig.broker, mortal("patient", 3_600, 3_600)).await;
    let hasty = Device::connect(&rig.broker, mortal("hasty", 3_600, 1)).await;
    let rig = rig.cut_power_with(grace(0)).await;
    drop((patient, hasty));
    until("the short delay is over", || rig.broker.statistics().stored_messages == 1).await;
    let mut heir = Device::connect(&rig.broker, durable("heir")).await;
    assert_eq!(heir.payloads(1).await, ["died"]);
    let records = rig.store.scan(5, None, 9);
    assert_eq!(records.iter().map(|(client_id, _)| &client_id[..]).collect::<Vec<_>>(), [b"patient"]);
}

#[tokio::test]
async fn who_comes_back_in_time_leaves_none() {
    for (session_expiry_s, clean_start) in [(3_600, false), (3_600, true), (0, true)] {
        let rig = Rig::new().await;
        heir(&rig).await;
        let device = Device::connect(&rig.broker, mortal("m", session_expiry_s, 0)).await;
        let rig = rig.cut_power().await;
        drop(device);
        let back = Connect { clean_start, will: None, ..mortal("m", session_expiry_s, 0) };
        let mut device = Device::connect(&rig.broker, back).await;
        assert_eq!(device.session_present(), session_expiry_s != 0 && !clean_start);
        device.ping().await;
        assert!(rig.store.scan(5, None, 1).is_empty());
        let rig = rig.cut_power_with(grace(0)).await;
        let mut heir = Device::connect(&rig.broker, durable("heir")).await;
        heir.hears_nothing().await;
    }
}

#[tokio::test]
async fn who_has_said_goodbye_leaves_none_and_a_delay_goes_on() {
    let rig = Rig::new().await;
    heir(&rig).await;
    Device::connect(&rig.broker, mortal("polite", 3_600, 0)).await.leave().await;
    Device::connect(&rig.broker, mortal("late", 3_600, 3_600)).await.cut();
    until("it is gone", || rig.broker.statistics().connections == 0).await;
    let rig = rig.restart_with(grace(0)).await;
    let records = rig.store.scan(5, None, 9);
    assert_eq!(records.iter().map(|(client_id, _)| &client_id[..]).collect::<Vec<_>>(), [b"late"]);
    let mut heir = Device::connect(&rig.broker, durable("heir")).await;
    heir.hears_nothing().await;
    // When its session ends, the Will does not wait for the delay.
    let mut late = Device::connect(&rig.broker, mortal("late", 3_600, 3_600)).await;
    late.ping().await;
    late.cut();
    until("it is gone", || rig.broker.statistics().connections == 1).await;
    Device::connect(&rig.broker, hello("late")).await.leave().await;
    assert_eq!(heir.payloads(1).await, ["died"]);
}

#[tokio::test]
async fn a_full_disk_refuses_messages_and_has_room_again_when_some_are_taken() {
    let disk = SimulatedDisk::new();
    disk.set_bytes_max(Some(2 << 20));
    let store_options = Options::new().segment_bytes(64 << 10).reserve_bytes(512 << 10);
    let rig = Rig::with_store(disk, options(), store_options).await;
    let mut device = Device::connect(&rig.broker, durable("d")).await;
    device.subscribe("a", QoS::ExactlyOnce).await;
    device.leave().await;
    let mut writer = Device::v5(&rig.broker, "writer").await;
    let large = |qos| message("a", vec![b'x'; 4_096], qos);
    let mut accepted = 0;
    let refused = loop {
        let qos = if accepted % 2 == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
        match writer.publish(large(qos)).await {
            ReasonCode::Success => accepted += 1,
            refused => break refused,
        }
        assert!(accepted < 1_000);
    };
    assert_eq!(refused, ReasonCode::QuotaExceeded);
    let v3 = Connect { version: Version::V3_1_1, properties: Default::default(), ..hello("old") };
    let mut old = Device::connect(&rig.broker, v3).await;
    let packet_id = Some(old.new_id());
    old.send(&Packet::Publish(Publish { packet_id, ..large(QoS::AtLeastOnce) })).await;
    assert_eq!(old.end().await, None, "3.1.1 cannot say no");
    // QoS 0 goes on, and so does who takes what waits: at QoS 2 that has to be written.
    writer.publish(message("a", "qos 0", QoS::AtMostOnce)).await;
    let mut device = Device::connect(&rig.broker, durable("d")).await;
    for _ in 0..accepted {
        assert_eq!(device.message().await.payload.len(), 4_096);
    }
    within("room is found again", async {
        while writer.publish(message("a", "after", QoS::AtLeastOnce)).await.is_error() {
            tokio::time::sleep(Duration::from_millis(20)).await; // pace: asks again, not too often
        }
    })
    .await;
    assert_eq!(device.payloads(1).await, ["after"]);
    device.hears_nothing().await;
}

#[tokio::test]
async fn a_store_that_fails_closes_who_depends_on_it() {
    let rig = Rig::new().await;
    let mut device = Device::connect(&rig.broker, durable("d")).await;
    device.subscribe("a", QoS::AtLeastOnce).await;
    let mut writer = Device::v5(&rig.broker, "writer").await;
    let mut other = Device::v5(&rig.broker, "other").await;
    rig.hold().await;
    rig.release();
    rig.disk.fail_from(0);
    let packet_id = Some(writer.new_id());
    let publish = message("a", "x", QoS::AtLeastOnce);
    writer.send(&Packet::Publish(Publish { packet_id, ..publish })).await;
    assert_eq!(writer.end_reason().await, ReasonCode::UnspecifiedError);
    assert_eq!(device.end_reason().await, ReasonCode::UnspecifiedError);
    let refused = Device::try_connect(address(&rig.broker), durable("d")).await;
    assert_eq!(refused.connack.unwrap().reason, ReasonCode::ServerUnavailable);
    other.subscribe("b", QoS::AtLeastOnce).await;
    other.publish(message("b", "x", QoS::AtLeastOnce)).await;
    assert_eq!(other.payloads(1).await, ["x"]);
}

#[tokio::test]
async fn a_store_that_holds_what_nobody_knows_is_not_begun_with() {
    let store = Store::in_memory(Options::new().reserve_bytes(0)).unwrap();
    let mut batch = Batch::new();
    batch.put(1, b"d".to_vec().into(), vec![2, 0].into());
    store.commit(batch).await.unwrap();
    let refused = crosspoint_broker::Broker::builder().options(options()).store(store).start().await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        "the store: the record of \"d\" in table 1 was written by another program, perhaps a newer one"
    );
}

async fn local(rig: &Rig, client_id: &str) -> LocalClient {
    let options = LocalOptions::new(client_id.to_owned()).session_expiry_s(u32::MAX);
    rig.broker.connect_local(options).await.unwrap()
}

async fn next(client: &LocalClient) -> LocalDelivery {
    within("a delivery", client.next()).await.unwrap()
}

fn own(name: &str, payload: &str) -> Message {
    let properties = PublishProperties::default();
    Message::new(&topic(name), payload.as_bytes(), QoS::AtLeastOnce, false, &properties, Now::default())
}

#[tokio::test]
async fn a_local_client_finds_what_it_has_not_consumed() {
    let rig = Rig::new().await;
    let client = local(&rig, "flow").await;
    client.subscribe(&filter("a/#"), at(QoS::ExactlyOnce), 7);
    let queue = client.queue().unwrap();
    let mut writer = Device::v5(&rig.broker, "writer").await;
    writer.publish_numbers("a/b", 0..3_000).await;
    for n in 0..3_000 {
        let delivery = next(&client).await;
        assert_eq!((delivery.message.payload(), delivery.position), (n.to_string().as_bytes(), Some(n)));
        assert_eq!(delivery.subscription_ids, [7]);
    }
    let mut batch = Batch::new();
    batch.consume(queue, 1_000);
    rig.store.commit(batch).await.unwrap();
    drop(client);
    let client = local(&rig, "flow").await;
    assert!(client.session_present());
    assert_eq!(next(&client).await.position, Some(1_000), "what was not consumed comes again");
    let rig = rig.cut_power().await;
    let client = local(&rig, "flow").await;
    assert_eq!((client.session_present(), client.queue()), (true, Some(queue)));
    assert_eq!(client.filters(), [filter("a/#")]);
    for n in 1_000..3_000 {
        assert_eq!(next(&client).await.position, Some(n));
    }
}

#[tokio::test]
async fn a_publication_and_what_was_changed_with_it_are_kept_together_or_not_at_all() {
    let rig = Rig::new().await;
    let sink = local(&rig, "sink").await;
    let mut device = Device::connect(&rig.broker, durable("d")).await;
    device.subscribe("a", QoS::AtLeastOnce).await;
    let mut before = Batch::new();
    before.publish(b"in the outbox".to_vec().into(), [(9, 0)]);
    rig.store.commit(before).await.unwrap();
    let mut own_changes = Batch::new();
    own_changes.consume(9, 1);
    own_changes.publish(b"elsewhere".to_vec().into(), [(17, 0)]);
    rig.hold().await;
    let accepting = sink.publish_message_with(own_changes.clone(), &own("a", "x"), QoS::AtLeastOnce, false);
    let rig = rig.cut_power().await;
    drop(accepting);
    assert_eq!(rig.store.queue_status(9).unwrap().waiting, 1, "neither");
    let sink = local(&rig, "sink").await;
    let accepting = sink.publish_message_with(own_changes, &own("a", "x"), QoS::AtLeastOnce, false);
    assert_eq!(within("the answer", accepting).await, Ok(true));
    assert_eq!(rig.store.queue_status(9).unwrap().waiting, 0, "both");
    let rig = rig.cut_power().await;
    assert_eq!(rig.store.queue_status(17).unwrap().waiting, 1);
    let mut device = Device::connect(&rig.broker, durable("d")).await;
    assert_eq!(device.payloads(1).await, ["x"]);
    device.hears_nothing().await;
}

#[tokio::test]
async fn changes_without_a_store_are_refused() {
    let broker = broker().await;
    let client = broker.connect_local(LocalOptions::new("local")).await.unwrap();
    let mut batch = Batch::new();
    batch.consume(9, 1);
    let refused = client.publish_message_with(batch, &own("a", "x"), QoS::AtLeastOnce, false).await;
    assert_eq!(refused, Err(NotAccepted::NoStore));
    let unwanted = client.publish_message_with(Batch::new(), &own("a", "x"), QoS::AtLeastOnce, false).await;
    assert_eq!(unwanted, Ok(false));
    client.subscribe(&filter("a"), SubscriptionOptions::default(), 0);
    assert_eq!(client.queue(), None);
}

#[tokio::test]
async fn what_waits_for_an_absent_local_client_is_limited_on_disk_too() {
    let limits = crosspoint_broker::QueueLimits::default().messages(10);
    let rig = Rig::with(Default::default(), options().queue(limits)).await;
    let client = local(&rig, "flow").await;
    client.subscribe(&filter("a"), at(QoS::AtLeastOnce), 0);
    let queue = client.queue().unwrap();
    drop(client);
    let mut writer = Device::v5(&rig.broker, "writer").await;
    writer.publish_numbers("a", 0..30).await;
    until("the oldest are consumed", || rig.store.queue_status(queue).unwrap().waiting == 10).await;
    let client = local(&rig, "flow").await;
    assert_eq!(next(&client).await.message.payload(), b"20");
}

fn expiring(name: &str, seconds: u64, wall_ms: u64) -> Message {
    let now = Now { monotonic_ms: 0, wall_ms };
    let values = PublishPropertyValues {
        message_expiry_s: Some(u32::try_from(seconds).unwrap()),
        ..PublishPropertyValues::default()
    };
    let properties = PublishProperties::from_values(&values).unwrap();
    Message::new(&topic(name), b"expires", QoS::AtLeastOnce, false, &properties, now)
}

/// Everything is in simulated time: nobody has a socket.
#[tokio::test(start_paused = true)]
async fn what_expires_last_leaves_the_queue_of_a_local_client_when_what_is_before_it_is_consumed() {
    const WALL_MS: u64 = 1_800_000_000_000;
    let rig = Rig::with(SimulatedDisk::new(), options().wall_clock_ms(WALL_MS)).await;
    let client = local(&rig, "flow").await;
    client.subscribe(&filter("a/#"), at(QoS::AtLeastOnce), 0);
    let queue = client.queue().unwrap();
    let waiting = || rig.store.queue_status(queue).unwrap().waiting;
    let writer = local(&rig, "writer").await;
    for message in [own("a/b", "stays"), expiring("a/b", 60, WALL_MS), expiring("a/c", 60, WALL_MS)] {
        let accepting = writer.publish_message_with(Batch::new(), &message, QoS::AtLeastOnce, false);
        assert_eq!(accepting.await, Ok(true));
    }
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(next(&client).await.message.payload(), b"stays");
    assert!(tokio::time::timeout(Duration::from_secs(1), client.next()).await.is_err());
    assert_eq!((waiting(), rig.broker.statistics().dropped_expired), (3, 2), "the first is not consumed");
    let mut batch = Batch::new();
    batch.consume(queue, 1);
    rig.store.commit(batch).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_secs(1), client.next()).await.is_err());
    until("they go with it", || waiting() == 0).await;
    // One that stands alone goes at once.
    let alone = expiring("a/b", 60, WALL_MS);
    assert_eq!(writer.publish_message_with(Batch::new(), &alone, QoS::AtLeastOnce, false).await, Ok(true));
    assert!(tokio::time::timeout(Duration::from_secs(1), client.next()).await.is_err());
    until("it goes too", || waiting() == 0).await;
    let rig = rig.kill().await;
    assert_eq!(rig.store.queue_status(queue).unwrap().waiting, 0);
    let client = local(&rig, "flow").await;
    let writer = local(&rig, "writer").await;
    let accepting = writer.publish_message_with(Batch::new(), &own("a/b", "next"), QoS::AtLeastOnce, false);
    assert_eq!(accepting.await, Ok(true));
    assert_eq!(next(&client).await.position, Some(4));
}

#[tokio::test]
async fn who_waits_for_a_broker_that_has_gone_is_told_so() {
    for is_stopped in [true, false] {
        let rig = Rig::new().await;
        let client = rig.broker.connect_local(LocalOptions::new("local")).await.unwrap();
        let mut batch = Batch::new();
        batch.publish(b"x".to_vec().into(), [(9, 0)]);
        rig.hold().await;
        let before = client.publish_message_with(batch.clone(), &own("a", "x"), QoS::AtLeastOnce, false);
        if is_stopped {
            rig.release();
            rig.broker.stop().await;
            assert_eq!(within("the answer of a stop", before).await, Ok(false), "what was handed in is kept");
        } else {
            drop(rig.broker);
            assert_eq!(within("the answer of a drop", before).await, Err(NotAccepted::Broken));
        }
        let after = client.publish_message_with(batch, &own("a", "x"), QoS::AtLeastOnce, false);
        assert_eq!(within("the answer afterwards", after).await, Err(NotAccepted::Broken));
    }
}

#[tokio::test]
async fn a_will_that_finds_the_disk_full_comes_when_there_is_room() {
    let disk = SimulatedDisk::new();
    disk.set_bytes_max(Some(2 << 20));
    let store_options = Options::new().segment_bytes(64 << 10).reserve_bytes(512 << 10);
    let rig = Rig::with_store(disk, options(), store_options).await;
    heir(&rig).await;
    let mut device = Device::connect(&rig.broker, durable("d")).await;
    device.subscribe("a", QoS::AtLeastOnce).await;
    device.leave().await;
    let mut dying = Device::connect(&rig.broker, mortal("dying", 3_600, 0)).await;
    dying.ping().await;
    let mut writer = Device::v5(&rig.broker, "writer").await;
    let mut accepted = 0;
    while writer.publish(message("a", vec![b'x'; 4_096], QoS::AtLeastOnce)).await == ReasonCode::Success {
        accepted += 1;
        assert!(accepted < 1_000);
    }
    dying.cut();
    until("it is gone", || rig.broker.statistics().connections == 1).await;
    let mut device = Device::connect(&rig.broker, durable("d")).await;
    for _ in 0..accepted {
        device.message().await;
    }
    within("room is found again", async {
        while writer.publish(message("a", "after", QoS::AtLeastOnce)).await.is_error() {
            tokio::time::sleep(Duration::from_millis(20)).await; // pace: asks again, not too often
        }
    })
    .await;
    let mut heir = Device::connect(&rig.broker, durable("heir")).await;
    assert_eq!(heir.payloads(1).await, ["died"]);
    until("it is forgotten", || rig.store.scan(5, None, 1).is_empty()).await;
}

/// Leaves no room on the disk for anything more, though nothing has been refused yet.
fn fill(disk: &SimulatedDisk) {
    let mut disk_files = disk.clone();
    let names = crosspoint_store::Disk::list(&mut disk_files).unwrap();
    let used: u64 =
        names.into_iter().filter_map(|name| disk.contents(name)).map(|file| file.len() as u64).sum();
    disk.set_bytes_max(Some(used));
}

#[tokio::test]
async fn a_will_that_is_the_first_to_find_the_disk_full_comes_when_there_is_room() {
    for (session_expiry_s, comes_back) in [(3_600, false), (0, false), (3_600, true), (0, true)] {
        let rig = Rig::new().await;
        heir(&rig).await;
        let mut dying = Device::connect(&rig.broker, mortal("dying", session_expiry_s, 0)).await;
        dying.ping().await;
        rig.hold().await;
        rig.release();
        fill(&rig.disk);
        dying.cut();
        until("it is refused", || matches!(rig.store.state(), crosspoint_store::State::Full)).await;
        rig.disk.set_bytes_max(None);
        if comes_back {
            // With a Will of its own, which is another one.
            let again = within("room for its session", async {
                loop {
                    let back = mortal("dying", session_expiry_s, 0);
                    let tried = Device::try_connect(address(&rig.broker), back).await;
                    if tried.connack.as_ref().is_some_and(|connack| !connack.reason.is_error()) {
                        return tried;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await; // pace: asks again, not too often
                }
            })
            .await;
            let mut heir = Device::connect(&rig.broker, durable("heir")).await;
            assert_eq!(heir.payloads(1).await, ["died"]);
            heir.hears_nothing().await;
            assert_eq!(rig.store.scan(5, None, 9).len(), 1, "the Will of the connection that is there");
            drop(again);
            continue;
        }
        let mut heir = Device::connect(&rig.broker, durable("heir")).await;
        assert_eq!(heir.payloads(1).await, ["died"]);
        until("it is forgotten", || rig.store.scan(5, None, 1).is_empty()).await;
        until("it is retained on disk", || rig.store.scan(6, None, 9).len() == 1).await;
        heir.leave().await;
        let rig = rig.restart_with(grace(0)).await;
        let mut heir = Device::connect(&rig.broker, durable("heir")).await;
        heir.hears_nothing().await;
        assert_eq!(rig.broker.statistics().retained_messages, 1);
    }
}
