use super::*;
use crate::kept::{KeptLimits, KeptSubscription};
use crosspoint_protocol::{Now, packet::PublishProperties};

fn kept_subscription() -> KeptSubscription {
    KeptSubscription {
        name: "night".to_owned(),
        connector: "pläñt".to_owned(),
        filters: vec![TopicFilter::parse("a/+/#").unwrap(), TopicFilter::parse("b").unwrap()],
        qos: QoS::ExactlyOnce,
        limits: KeptLimits { messages_max: Some(7), ..KeptLimits::default() },
    }
}

fn requests() -> Vec<Request> {
    let name = || "pläñt".to_owned();
    let topic = TopicName::parse("a/b").unwrap();
    let now = Now { monotonic_ms: 0, wall_ms: 0 };
    let none = PublishProperties::default();
    let message = Message::new(&topic, b"\0\xff", QoS::ExactlyOnce, true, &none, now);
    let edit = Edit {
        topic: Some("t".to_owned()),
        payload: Some(vec![0, 255]),
        qos: Some(QoS::AtLeastOnce),
        retain: Some(false),
    };
    let filter = SubscribedFilter {
        filter: TopicFilter::parse("a/+/#").unwrap(),
        options: SubscriptionOptions {
            qos: QoS::ExactlyOnce,
            no_local: true,
            retain_as_published: true,
            retain_handling: RetainHandling::DoNotSend,
        },
    };
    vec![
        Request::Status,
        Request::Overview,
        Request::List(Kept::Dead),
        Request::List(Kept::Archive),
        Request::Show { of: Kept::Outbox, name: name(), from: u64::MAX, count: 3, payload_bytes: 4 },
        Request::Retry { of: Kept::Outbox, name: name(), which: Which::All },
        Request::Drop { of: Kept::Dead, name: name(), which: Which::At(vec![1, u64::MAX]) },
        Request::Drop { of: Kept::Outbox, name: name(), which: Which::Oldest(7) },
        Request::Edit { name: name(), position: 9, edit },
        Request::Edit { name: name(), position: 9, edit: Edit::default() },
        Request::Publish { name: name(), message: message.clone() },
        Request::PublishNow {
            name: name(),
            messages: vec![message.clone(), message.clone()],
            within: Duration::from_millis(7),
        },
        Request::Subscribe {
            name: name(),
            filters: vec![filter],
            user_properties: vec![("wér".into(), "a\"b".into())],
            within: Duration::from_secs(1),
        },
        Request::Keep { subscription: kept_subscription(), within: Duration::from_millis(1) },
        Request::KeptSubscriptions,
        Request::RemoveKept { name: name(), what_waits: WhatWaits::IsDropped },
        Request::RemoveKept { name: name(), what_waits: WhatWaits::Stays },
        Request::Read { name: name() },
        Request::Ask { name: name(), message: message.clone(), response_topic: None, within: Duration::ZERO },
        Request::Ask { name: name(), message, response_topic: Some(topic), within: Duration::ZERO },
    ]
}

#[test]
fn requests_come_back_as_they_were_asked_and_are_one_line() {
    for request in requests() {
        let line = request.encode();
        assert!(!line.contains('\n'), "{line}");
        assert_eq!(Request::decode(line.as_bytes()).as_ref(), Ok(&request), "{line}");
    }
}

#[test]
fn what_was_read_comes_back_as_it_was_said() {
    for confirmed in
        [Confirmed { position: 0, is_last: false }, Confirmed { position: u64::MAX, is_last: true }]
    {
        let line = confirmed.encode();
        assert_eq!(line.find('\n'), Some(line.len() - 1), "{line}");
        assert_eq!(Confirmed::decode(line.as_bytes()), Some(confirmed));
        assert_eq!(Confirmed::decode(&line.as_bytes()[..line.len() - 2]), None);
    }
}

#[test]
fn answers_come_back_as_they_were_given() {
    let row = json!({"topic": "a\nb", "position": u64::MAX}).as_object().cloned().unwrap();
    for answer in [
        Answer::Row(row),
        Answer::Progress(1, u64::MAX),
        Answer::Done(0),
        Answer::NotThere { cause: "a\nb".to_owned(), mend: "c".to_owned() },
        Answer::Failed { cause: "a\nb".to_owned(), mend: String::new() },
    ] {
        let line = answer.encode();
        assert_eq!(line.find('\n'), Some(line.len() - 1), "{line}");
        assert_eq!(Answer::decode(line.as_bytes()), Some(answer));
    }
    for other in ["", "[]", "{}", "{\"progress\":[1]}", "{\"done\":-1}", "{\"failed\":1}"] {
        assert_eq!(Answer::decode(other.as_bytes()), None, "{other}");
    }
}

#[test]
fn what_is_no_request_is_refused_and_never_a_panic() {
    for request in requests() {
        let line = request.encode();
        for end in 0..line.len() {
            assert!(Request::decode(line.as_bytes().get(..end).unwrap()).is_err(), "{line} up to {end}");
        }
    }
    for wrong in [
        r#"{"do":"format the disk"}"#,
        r#"{"do":"list","of":"everything"}"#,
        r#"{"do":"drop","of":"dead","name":"a","which":"some"}"#,
        r#"{"do":"drop","of":"dead","name":"a","which":[-1]}"#,
        r#"{"do":"edit","name":"a","position":1,"edit":{"qos":3}}"#,
        r#"{"do":"publish","name":"a","message":"!"}"#,
        r#"{"do":"subscribe","name":"a","filters":[{"filter":"a/#/b","qos":0}],"within_ms":1}"#,
    ] {
        assert!(Request::decode(wrong.as_bytes()).is_err(), "{wrong}");
    }
}
