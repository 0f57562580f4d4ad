//! Subscriptions that are made at run time and kept: what comes waits on disk until somebody reads it.

use std::time::Duration;

use crosspoint_client::ReasonCode;
use crosspoint_hub::actions::{
    ActionError, Actions, KeptLimits, KeptReading, KeptStatus, KeptSubscription, Made, Place, WhatWaits,
};
use crosspoint_hub::config::plan::WhenFull;
use crosspoint_protocol::packet::{SubscribedFilter, SubscriptionOptions};
use crosspoint_protocol::{QoS, TopicFilter};

use crate::support::*;

fn wish(name: &str, connector: &str, filters: &[&str], limits: KeptLimits) -> KeptSubscription {
    KeptSubscription {
        name: name.to_owned(),
        connector: connector.to_owned(),
        filters: filters.iter().map(|text| TopicFilter::parse(*text).unwrap()).collect(),
        qos: QoS::ExactlyOnce,
        limits,
    }
}

fn plain(name: &str) -> KeptSubscription {
    wish(name, "plant", &["in/#"], KeptLimits::default())
}

async fn keep(running: &Running, wanted: KeptSubscription) -> Made {
    running.hub.actions().keep(wanted, WITHIN).await.unwrap()
}

async fn status(actions: &Actions, name: &str) -> KeptStatus {
    let all = soon(actions.kept()).await;
    all.into_iter().find(|kept| kept.subscription.name == name).unwrap_or_else(|| panic!("no {name}"))
}

async fn waiting(running: &Running, name: &str) -> u64 {
    status(&running.hub.actions(), name).await.figures.waiting()
}

async fn until_waiting(running: &Running, name: &str, count: u64) {
    soon(async {
        while waiting(running, name).await != count {
            tokio::time::sleep(Duration::from_millis(1)).await; // pace: between two looks
        }
    })
    .await;
}

async fn read(running: &Running, name: &str) -> KeptReading {
    // One who has left is gone when the hub has noticed.
    soon(async {
        loop {
            match running.hub.actions().read_kept(name).await {
                Ok(reading) => return reading,
                Err(ActionError::KeptIsRead(_)) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    })
    .await
}

/// Returns the payload of the next message, and confirms it.
async fn next(reading: &mut KeptReading) -> String {
    let kept = soon(reading.next()).await.unwrap();
    soon(reading.confirm(kept.position)).await;
    String::from_utf8_lossy(kept.message.payload()).into_owned()
}

async fn nexts(reading: &mut KeptReading, count: usize) -> Vec<usize> {
    let mut numbers = Vec::new();
    for _ in 0..count {
        numbers.push(next(reading).await.parse().unwrap());
    }
    numbers
}

async fn started(remote: &Remote, more: &str) -> Running {
    let running = Running::start(&(connector("plant", remote.port()) + more)).await;
    until(|| running.is_connected("plant")).await;
    running
}

#[tokio::test]
async fn what_comes_waits_for_a_reader_also_over_a_restart_and_a_lost_connection() {
    let mut remote = Remote::start().await;
    let project = connector("plant", remote.port()) + "session = \"durable\"\n";
    let running = started(&remote, "session = \"durable\"\n").await;
    let made = keep(&running, plain("night")).await;
    assert!(made.is_new && !made.is_session_clean);
    assert_eq!(made.granted[0].reason, Some(ReasonCode::GrantedQoS2));
    assert!(!keep(&running, plain("night")).await.is_new, "the same again changes nothing");
    remote.publish_numbers(0..3, QoS::ExactlyOnce);
    until_waiting(&running, "night", 3).await;
    // At QoS 0 a broker need not wait for its disk: it may overtake.
    remote.publish_numbers(3..5, QoS::AtMostOnce);
    until_waiting(&running, "night", 5).await;

    let running = running.again(&project).await;
    assert_eq!(waiting(&running, "night").await, 5, "over a restart");
    until(|| running.is_connected("plant")).await;
    remote.subscribed(1).await;
    remote.publish_numbers(5..7, QoS::AtLeastOnce);
    until_waiting(&running, "night", 7).await;
    remote.stop().await;
    until(|| !running.is_connected("plant")).await;
    let off = status(&running.hub.actions(), "night").await;
    assert!(off.trouble.unwrap().contains("not connected"));
    remote.start_again().await;
    remote.subscribed(1).await;
    remote.publish_numbers(7..9, QoS::ExactlyOnce);
    let mut reading = read(&running, "night").await;
    assert_eq!(nexts(&mut reading, 9).await, (0..9).collect::<Vec<_>>(), "in order, once");
    remote.publish_numbers(9..10, QoS::AtLeastOnce);
    assert_eq!(nexts(&mut reading, 1).await, [9], "and what comes then");
    let now = status(&running.hub.actions(), "night").await;
    assert_eq!((now.figures.confirmed, now.figures.waiting(), now.is_read), (10, 0, true));
    assert!(running.hub.audit().is_empty(), "{:?}", running.hub.audit());
    running.stop().await;
}

#[tokio::test]
async fn what_is_not_confirmed_comes_again_and_a_second_reader_is_refused() {
    let remote = Remote::start().await;
    let running = started(&remote, "").await;
    keep(&running, plain("night")).await;
    remote.publish_numbers(0..600, QoS::AtLeastOnce);
    until_waiting(&running, "night", 600).await;
    let mut first = read(&running, "night").await;
    assert_eq!(nexts(&mut first, 2).await, [0, 1]);
    let third = soon(first.next()).await.unwrap();
    assert_eq!(third.message.payload(), b"2", "taken and not confirmed");
    let second = running.hub.actions().read_kept("night").await.unwrap_err();
    assert_eq!(second, ActionError::KeptIsRead("night".to_owned()));
    assert!(second.mend().contains("one at a time"), "{}", second.mend());
    drop(first);
    let mut again = read(&running, "night").await;
    assert_eq!(nexts(&mut again, 598).await, (2..600).collect::<Vec<_>>());
    let figures = status(&running.hub.actions(), "night").await.figures;
    assert_eq!((figures.confirmed, figures.waiting()), (600, 0));
    assert!(running.hub.audit().is_empty(), "{:?}", running.hub.audit());
    drop(again);
    // What was confirmed is gone for good.
    let running = running.again(&connector("plant", remote.port())).await;
    assert_eq!(waiting(&running, "night").await, 0);
    running.stop().await;
}

#[tokio::test]
async fn limits_hold_whether_somebody_reads_or_not() {
    let remote = Remote::start().await;
    let running = started(&remote, "").await;
    let limited = |messages: u64, when_full| KeptLimits {
        messages_max: Some(messages),
        when_full,
        ..KeptLimits::default()
    };
    keep(&running, wish("oldest", "plant", &["in/n"], limited(3, WhenFull::DropOldest))).await;
    keep(&running, wish("newest", "plant", &["in/+"], limited(3, WhenFull::DropNewest))).await;
    remote.publish_numbers(0..10, QoS::AtLeastOnce);
    soon(async {
        while status(&running.hub.actions(), "oldest").await.figures.accepted < 10 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    until_waiting(&running, "oldest", 3).await;
    until_waiting(&running, "newest", 3).await;
    let mut slow = read(&running, "oldest").await;
    let has = soon(slow.next()).await.unwrap();
    assert_eq!(has.message.payload(), b"7");
    // He has all three and confirms none, and yet holds nobody up.
    remote.publish_numbers(10..20, QoS::AtLeastOnce);
    soon(async {
        while status(&running.hub.actions(), "oldest").await.figures.accepted < 20 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    until_waiting(&running, "oldest", 3).await;
    drop(slow);
    let mut reading = read(&running, "oldest").await;
    let left = nexts(&mut reading, 3).await;
    // What somebody reads goes last.
    assert!(left.is_sorted() && left[2] == 19, "{left:?}");
    let mut reading = read(&running, "newest").await;
    assert_eq!(nexts(&mut reading, 3).await, [0, 1, 2]);
    let figures = status(&running.hub.actions(), "newest").await.figures;
    assert_eq!((figures.accepted, figures.dropped_full), (20, 17));
    assert!(running.hub.audit().is_empty(), "{:?}", running.hub.audit());
    running.stop().await;
}

#[tokio::test]
async fn a_full_one_that_blocks_holds_its_source_up_until_it_is_read() {
    let remote = Remote::start().await;
    let running = started(&remote, "").await;
    let limits = KeptLimits { messages_max: Some(2), when_full: WhenFull::Block, ..KeptLimits::default() };
    keep(&running, wish("all", "plant", &["in/n"], limits)).await;
    remote.publish_numbers(0..10, QoS::AtLeastOnce);
    until_waiting(&running, "all", 2).await;
    soon(async {
        while !status(&running.hub.actions(), "all").await.holds_up {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut reading = read(&running, "all").await;
    assert_eq!(nexts(&mut reading, 10).await, (0..10).collect::<Vec<_>>());
    assert!(running.hub.audit().is_empty(), "{:?}", running.hub.audit());
    running.stop().await;
}

#[tokio::test]
async fn what_is_too_old_goes_while_nobody_reads() {
    let remote = Remote::start().await;
    let running = started(&remote, "").await;
    let limits = KeptLimits { age_max: Some(Duration::from_secs(1)), ..KeptLimits::default() };
    keep(&running, wish("fresh", "plant", &["in/n"], limits)).await;
    remote.publish_numbers(0..3, QoS::AtLeastOnce);
    soon(async {
        while status(&running.hub.actions(), "fresh").await.figures.dropped_expired < 3 {
            tokio::time::sleep(Duration::from_millis(10)).await; // pace: between two looks
        }
    })
    .await;
    assert_eq!(waiting(&running, "fresh").await, 0);
    assert!(running.hub.audit().is_empty(), "{:?}", running.hub.audit());
    running.stop().await;
}

#[tokio::test]
async fn another_wish_under_a_name_is_refused_and_removing_names_what_would_be_lost() {
    let remote = Remote::start().await;
    let mut running = started(&remote, "").await;
    let actions = running.hub.actions();
    keep(&running, plain("night")).await;
    let other = wish("night", "plant", &["state"], KeptLimits::default());
    let refused = actions.keep(other.clone(), WITHIN).await.unwrap_err();
    assert!(matches!(refused, ActionError::KeptDiffers(_)), "{refused}");
    assert!(refused.to_string().contains("in/# on plant"), "{refused}");
    let unknown = actions.keep(wish("a", "plent", &["x"], KeptLimits::default()), WITHIN).await.unwrap_err();
    assert!(matches!(unknown, ActionError::NoSuchConnector { .. }), "{unknown}");
    let blind = connector("blind", 1) + "keep_alive_s = 0\n";
    assert!(running.apply(&(connector("plant", remote.port()) + &blind)).await.contains("blind"));
    let unwatched =
        actions.keep(wish("a", "blind", &["x"], KeptLimits::default()), WITHIN).await.unwrap_err();
    assert!(unwatched.to_string().contains("keep_alive_s = 0"), "{unwatched}");
    let wrong = actions.keep(wish("a b", "plant", &["x"], KeptLimits::default()), WITHIN).await.unwrap_err();
    assert!(matches!(wrong, ActionError::NotKeepable(_)), "{wrong}");

    remote.publish_numbers(0..3, QoS::AtLeastOnce);
    until_waiting(&running, "night", 3).await;
    let refused = actions.remove_kept("night", WhatWaits::Stays).await.unwrap_err();
    assert_eq!(refused, ActionError::KeptWaits { name: "night".to_owned(), messages: 3 });
    let reading = read(&running, "night").await;
    let refused = actions.remove_kept("night", WhatWaits::IsDropped).await.unwrap_err();
    assert_eq!(refused, ActionError::KeptIsRead("night".to_owned()));
    drop(reading);
    let removed = soon(async {
        loop {
            match actions.remove_kept("night", WhatWaits::IsDropped).await {
                Err(ActionError::KeptIsRead(_)) => tokio::task::yield_now().await,
                removed => return removed,
            }
        }
    });
    assert_eq!(removed.await, Ok(3));
    remote.subscribed(0).await;
    let gone = actions.read_kept("night").await.unwrap_err();
    assert!(matches!(gone, ActionError::NoSuchKept { .. }), "{gone}");
    // The next one begins with nothing, and so does one of another life.
    assert!(keep(&running, other.clone()).await.is_new);
    assert_eq!(waiting(&running, "night").await, 0);
    remote.publish("state", "1", QoS::AtLeastOnce, false);
    until_waiting(&running, "night", 1).await;
    assert!(running.hub.audit().is_empty(), "{:?}", running.hub.audit());
    assert_eq!(actions.remove_kept("night", WhatWaits::IsDropped).await, Ok(1));
    let running = running.again(&connector("plant", remote.port())).await;
    assert!(running.hub.actions().kept().await.is_empty());
    keep(&running, plain("later")).await;
    assert_eq!(waiting(&running, "later").await, 0);
    remote.subscribed(1).await;
    remote.publish_numbers(7..8, QoS::AtLeastOnce);
    assert_eq!(nexts(&mut read(&running, "later").await, 1).await, [7]);
    assert!(running.hub.audit().is_empty(), "{:?}", running.hub.audit());
    running.stop().await;
}

#[tokio::test]
async fn it_stays_while_its_connector_is_disabled_or_gone() {
    let remote = Remote::start().await;
    let mut running = started(&remote, "").await;
    keep(&running, plain("night")).await;
    remote.publish_numbers(0..2, QoS::AtLeastOnce);
    until_waiting(&running, "night", 2).await;
    let enabled = connector("plant", remote.port());
    running.apply(&(enabled.clone() + "enabled = false\n")).await;
    let off = status(&running.hub.actions(), "night").await;
    assert_eq!((off.figures.waiting(), off.trouble.as_deref()), (2, Some("connector plant is off")));
    running.apply("").await;
    let gone = status(&running.hub.actions(), "night").await;
    assert!(gone.trouble.unwrap().contains("not in the project"));
    let mut running = running.again("").await;
    assert_eq!(nexts(&mut read(&running, "night").await, 1).await, [0], "it can be read meanwhile");
    assert!(running.hub.left_behind().is_empty(), "{:?}", running.hub.left_behind());
    running.apply(&enabled).await;
    remote.subscribed(1).await;
    remote.publish_numbers(2..3, QoS::AtLeastOnce);
    assert_eq!(nexts(&mut read(&running, "night").await, 2).await, [1, 2]);
    running.stop().await;
}

#[tokio::test]
async fn flows_and_those_who_listen_get_everything_once_beside_it() {
    let (plant, cloud) = (Remote::start().await, Remote::start().await);
    plant.publish("state", "kept", QoS::AtLeastOnce, true);
    let flows = [connector("cloud", cloud.port()), numbers("plant", "cloud")].concat();
    let running = started(&plant, &flows).await;
    plant.subscribed(1).await;
    keep(&running, wish("wide", "plant", &["#"], KeptLimits::default())).await;
    keep(&running, wish("same", "plant", &["in/#"], KeptLimits::default())).await;
    let mut wide = read(&running, "wide").await;
    let retained = soon(wide.next()).await.unwrap();
    assert_eq!((retained.message.payload(), retained.message.retain()), (&b"kept"[..], true));
    wide.confirm(retained.position).await;
    let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..SubscriptionOptions::default() };
    let filters = vec![SubscribedFilter { filter: TopicFilter::parse("in/n").unwrap(), options }];
    let place = Place::Connector("plant".to_owned());
    let mut listening = running.hub.actions().subscribe(&place, filters, Vec::new(), WITHIN).await.unwrap();
    assert_eq!(listening.apart(), None);
    plant.publish_numbers(0..50, QoS::AtLeastOnce);
    until(|| cloud.count() >= 50).await;
    assert_eq!(cloud.numbers(), (0..50).collect::<Vec<_>>());
    assert_eq!(nexts(&mut wide, 50).await, (0..50).collect::<Vec<_>>());
    assert_eq!(nexts(&mut read(&running, "same").await, 50).await, (0..50).collect::<Vec<_>>());
    for number in 0..50 {
        let heard = soon(listening.next()).await.unwrap();
        assert_eq!(heard.message.payload(), number.to_string().as_bytes());
    }
    for name in ["wide", "same"] {
        assert_eq!(waiting(&running, name).await, 0, "{name}: nothing came twice");
    }
    running.stop().await;
}

#[tokio::test]
async fn before_mqtt_5_flows_get_everything_once_beside_it_too() {
    let (plant, cloud) = (Remote::start().await, Remote::start().await);
    let flows = [connector("cloud", cloud.port()), numbers("plant", "cloud")].concat();
    let running = started(&plant, &("protocol = \"3.1.1\"\n".to_owned() + &flows)).await;
    plant.subscribed(1).await;
    keep(&running, wish("narrow", "plant", &["in/n"], KeptLimits::default())).await;
    plant.publish_numbers(0..20, QoS::AtLeastOnce);
    until_waiting(&running, "narrow", 20).await;
    keep(&running, wish("wide", "plant", &["#"], KeptLimits::default())).await;
    // One subscription stands for all of them.
    plant.subscribed(1).await;
    plant.publish_numbers(20..40, QoS::AtLeastOnce);
    assert_eq!(nexts(&mut read(&running, "wide").await, 20).await, (20..40).collect::<Vec<_>>());
    assert_eq!(nexts(&mut read(&running, "narrow").await, 40).await, (0..40).collect::<Vec<_>>());
    until(|| cloud.count() >= 40).await;
    assert_eq!(cloud.numbers(), (0..40).collect::<Vec<_>>());
    assert_eq!((waiting(&running, "wide").await, waiting(&running, "narrow").await), (0, 0));
    running.stop().await;
}

#[tokio::test]
async fn on_the_embedded_broker_it_goes_without_a_socket_and_over_restarts() {
    let running = Running::start("").await;
    keep(&running, wish("own", "broker", &["in/#"], KeptLimits::default())).await;
    let broker = running.hub.broker().unwrap();
    let device = broker.connect_local(crosspoint_broker::LocalOptions::new("device")).await.unwrap();
    let publish = |device: &crosspoint_broker::LocalClient, number: usize| {
        let topic = crosspoint_protocol::TopicName::parse("in/n").unwrap();
        let payload = number.to_string().into_bytes().into();
        let none = crosspoint_protocol::packet::PublishProperties::default();
        assert!(device.publish(topic, payload, QoS::ExactlyOnce, false, none).unwrap());
    };
    (0..3).for_each(|number| publish(&device, number));
    until_waiting(&running, "own", 3).await;
    drop(device);
    let running = running.again("").await;
    let broker = running.hub.broker().unwrap();
    let device = broker.connect_local(crosspoint_broker::LocalOptions::new("device")).await.unwrap();
    publish(&device, 3);
    assert_eq!(nexts(&mut read(&running, "own").await, 4).await, [0, 1, 2, 3]);
    assert_eq!(running.hub.actions().remove_kept("own", WhatWaits::Stays).await, Ok(0));
    until(|| running.hub.broker().unwrap().statistics().subscriptions == 0).await;
    running.stop().await;
}
