use crosspoint_client::{PublishPropertyValues, TopicName};
use crosspoint_protocol::{Now, packet::PublishProperties};

use super::*;
use crate::testing::{message, plan};

const CONNECTORS: &str = r#"
[connector.plant]
url = "mqtt://plant"
[connector.cloud]
url = "mqtt://cloud"
"#;

fn flows(text: &str) -> Flows {
    Flows::of_plan(&plan(&format!("{CONNECTORS}{text}")), "plant")
}

fn run(flows: &Flows, message: &Message) -> (Vec<Output>, Vec<Failure>) {
    flows.run(message, message.qos(), 0)
}

/// Runs the only sink of a flow with these keys on a message.
fn sent(from: &str, to: &str, message: &Message) -> Output {
    let flows = flows(&format!(
        "[flow.f]\nfrom = {{ connector = \"plant\", topics = \"#\"{from} }}\nto = {{ connector = \"cloud\"{to} }}"
    ));
    let (mut outputs, failures) = run(&flows, message);
    assert_eq!(failures, []);
    outputs.pop().unwrap()
}

#[test]
fn qos_is_as_the_message_came_but_at_most_as_the_source_wants_it() {
    for (from, came, expected) in [
        ("", QoS::AtMostOnce, QoS::AtMostOnce),
        ("", QoS::ExactlyOnce, QoS::AtLeastOnce),
        (", qos = 2", QoS::ExactlyOnce, QoS::ExactlyOnce),
        (", qos = 0", QoS::ExactlyOnce, QoS::AtMostOnce),
    ] {
        assert_eq!(sent(from, "", &message("t", b"", came)).qos, expected, "{from} {came:?}");
    }
    assert_eq!(sent("", ", qos = 2", &message("t", b"", QoS::AtMostOnce)).qos, QoS::ExactlyOnce);
}

#[test]
fn retain_is_as_the_message_came_or_as_written() {
    let retained = |is_retained| {
        let topic = TopicName::parse("t").unwrap();
        Message::new(&topic, b"", QoS::AtMostOnce, is_retained, &PublishProperties::default(), Now::default())
    };
    assert!(sent("", "", &retained(true)).retain);
    assert!(!sent("", "", &retained(false)).retain);
    assert!(!sent("", ", retain = false", &retained(true)).retain);
    assert!(sent("", ", retain = true", &retained(false)).retain);
}

#[test]
fn an_unchanged_topic_shares_the_message_and_a_new_one_keeps_all_but_the_topic() {
    let properties = PublishProperties::from_values(&PublishPropertyValues {
        message_expiry_s: Some(60),
        content_type: Some("text/plain".into()),
        ..PublishPropertyValues::default()
    })
    .unwrap();
    let topic = TopicName::parse("sensors/a").unwrap();
    let now = Now { monotonic_ms: 0, wall_ms: 5_000 };
    let came = Message::new(&topic, b"21", QoS::AtLeastOnce, true, &properties, now);
    assert_eq!(sent("", "", &came).message, came);
    let sent = sent("", r#", topic = "site1/{connector}/{topic[1..]}""#, &came).message;
    assert_eq!((sent.topic(), sent.payload(), sent.retain()), ("site1/plant/a", &b"21"[..], true));
    assert_eq!(sent.parts().expires_wall_ms, 65_000);
    assert_eq!(sent.parts().properties, came.parts().properties);
}

#[test]
fn a_field_of_the_payload_makes_the_topic_and_a_missing_one_is_a_failure_of_that_sink_only() {
    let flows = flows(
        r#"
[flow.f]
from = { connector = "plant", topics = "sensors/#" }
to = [{ connector = "cloud", topic = "by/{payload.site}" }, { connector = "broker" }]
"#,
    );
    let (outputs, failures) = run(&flows, &message("sensors/a", br#"{"site":"north"}"#, QoS::AtLeastOnce));
    let topics: Vec<&str> = outputs.iter().map(|output| output.message.topic()).collect();
    assert_eq!((topics, failures.len()), (vec!["by/north", "sensors/a"], 0));

    let (outputs, failures) = run(&flows, &message("sensors/a", b"{}", QoS::AtLeastOnce));
    assert_eq!((outputs.len(), &*outputs[0].connector), (1, "broker"));
    assert_eq!((&*failures[0].flow, &*failures[0].reason), ("f", "the payload has no field `site`"));
}

#[test]
fn every_flow_that_matches_runs_once_in_the_order_of_names() {
    let flows = flows(
        r#"
[flow.b]
from = { connector = "plant", topics = ["a/#", "a/+", "+/x"] }
to = { connector = "cloud" }
[flow.a]
from = { connector = "plant", topics = ["a/x"] }
to = { connector = "broker" }
[flow.c]
from = { connector = "plant", topics = ["b/#"] }
to = { connector = "broker" }
"#,
    );
    let (outputs, _) = run(&flows, &message("a/x", b"", QoS::AtMostOnce));
    let names: Vec<&str> = outputs.iter().map(|output| &*output.flow).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(run(&flows, &message("$SYS/x", b"", QoS::AtMostOnce)).0, [], "a wildcard does not match it");
}

#[test]
fn a_filter_is_wanted_once_at_the_highest_qos() {
    let flows = flows(
        r#"
[flow.a]
from = { connector = "plant", topics = ["x/#", "y"], qos = 0 }
to = { connector = "cloud" }
[flow.b]
from = { connector = "plant", topics = ["x/#"], qos = 2 }
to = { connector = "cloud" }
"#,
    );
    let wanted: Vec<_> =
        flows.subscriptions().into_iter().map(|(filter, qos, _)| (filter.as_str().to_owned(), qos)).collect();
    assert_eq!(wanted, [("x/#".to_owned(), QoS::ExactlyOnce), ("y".to_owned(), QoS::AtMostOnce)]);
}

#[test]
fn our_own_messages_are_left_out_where_every_flow_of_the_filter_may_loop() {
    let flows = flows(
        r#"
[flow.a]
from = { connector = "plant", topics = ["x/#", "$share/g/s", "y"] }
to = { connector = "cloud" }
allow_loop = true
[flow.b]
from = { connector = "plant", topics = ["y"] }
to = { connector = "cloud" }
"#,
    );
    let left_out: Vec<(String, bool)> = flows
        .subscriptions()
        .into_iter()
        .map(|(filter, _, no_local)| (filter.as_str().to_owned(), no_local))
        .collect();
    let expected = [("x/#", true), ("$share/g/s", false), ("y", false)];
    assert_eq!(left_out, expected.map(|(filter, no_local)| (filter.to_owned(), no_local)));
}

#[test]
fn a_loop_stops_its_flow_is_told_once_and_leaves_the_others() {
    let flows = flows(
        r#"
[flow.round]
from = { connector = "plant", topics = ["x/#"] }
to = { connector = "cloud" }
allow_loop = true
[flow.straight]
from = { connector = "plant", topics = ["x/#"] }
to = { connector = "broker" }
"#,
    );
    let came = message("x/1", b"again", QoS::AtMostOnce);
    let runs: Vec<_> = (0..200).map(|_| run(&flows, &came)).collect();
    let round =
        runs.iter().flat_map(|(outputs, _)| outputs).filter(|output| &*output.flow == "round").count();
    let straight =
        runs.iter().flat_map(|(outputs, _)| outputs).filter(|output| &*output.flow == "straight").count();
    let told = runs.iter().flat_map(|(_, failures)| failures).filter(|failure| failure.stops_flow).count();
    assert_eq!((round, straight, told), (100, 200, 1));
}
