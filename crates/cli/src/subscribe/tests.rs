use clap::Parser;
use crosspoint_client::{Message, TopicName};

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    flags: SubscribeFlags,
}

fn parse(words: &[&str]) -> Result<SubscribeFlags, clap::Error> {
    Line::try_parse_from([&["x"], words].concat()).map(|line| line.flags)
}

fn subscription(words: &[&str]) -> Result<Subscribe, Failure> {
    parse(words).unwrap().subscribe()
}

#[test]
fn each_flag_says_what_comes_and_how_it_is_printed() {
    let cases: &[(&[&str], &str)] = &[
        (&["-t", "a", "-t", "b/#"], r#"filter: "b/#""#),
        (&["-L", "mqtt://h/c/+", "-t", "b"], r#"[SubscribedFilter { filter: "c/+""#),
        (&["-t", "a", "-q", "2"], "qos: ExactlyOnce, no_local: false, retain_as_published: false"),
        (&["-t", "a", "--retain-as-published"], "retain_as_published: true"),
        (&["-t", "a", "--retain-as-published"], "protocol: V5"),
        (&["-t", "a", "-U", "b"], r#"unsubscribe: ["b"]"#),
        (&["-t", "a", "-D", "subscribe", "user-property", "k", "v"], r#"user_properties: [("k", "v")]"#),
        (&["-t", "a", "-D", "unsubscribe", "user-property", "k", "v"], r#"unsubscribe: [("k", "v")]"#),
        (&["-U", "b"], r#"filters: [], unsubscribe: ["b"]"#),
        (&["-t", "a", "-E"], "exit_after_subscribe: true"),
        (&["-t", "a"], "look: Payload { end: [10] }"),
        (&["-t", "a", "-N"], "look: Payload { end: [] }"),
        (&["-t", "a", "-v"], "look: WithTopic { end: [10] }"),
        (&["-t", "a", "-v", "-F", "%t"], "look: Formatted"),
        (&["-t", "a", "-F", "- %t"], r#"Text("- ")"#),
        (&["-t", "a", "-C", "3"], "left: Some(3)"),
        (&["-t", "a", "-R"], "skips_retained: true"),
        (&["-t", "a", "--retained-only"], "ends_after_retained: true"),
        (&["-t", "a", "-T", "b", "-T", "c/#"], r#"filters_out: ["b", "c/#"]"#),
    ];
    for (words, expected) in cases {
        let shown = format!("{:?}", subscription(words).unwrap());
        assert!(shown.contains(expected), "{words:?}: {expected} is not in {shown}");
    }
}

#[test]
fn what_does_not_fit_is_a_usage_error_with_its_mend() {
    let cases: &[(&[&str], &str, &str)] = &[
        (&[], "nothing to subscribe", "add -t FILTER"),
        (&["-t", "a/#/b"], "MQTT-4.7.1-1", "sensors/#"),
        (&["-t", "a", "-T", "b+"], "-T", "sensors/+/temperature"),
        (&["-t", "a", "-U", ""], "-U", "sensors"),
        (&["-t", "a", "-F", "%z"], "%z", "format"),
        (&["-t", "a", "-V", "311", "--retain-as-published"], "3.1.1", "-V 5"),
        (&["-t", "a", "-D", "publish", "content-type", "x"], "publishes nothing", "leave it away"),
    ];
    for (words, cause, next_step) in cases {
        let failure = subscription(words).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage, "{words:?}");
        let shown = format!("{failure:?}");
        assert!(shown.contains(cause) && shown.contains(next_step), "{words:?}: {shown}");
    }
}

#[test]
fn what_cannot_be_typed_is_refused_by_the_parser() {
    let cases: &[(&[&str], &str)] = &[
        (&["-t", "a", "-R", "--retained-only"], "cannot be used with"),
        (&["-t", "a", "-C", "0"], "1.."),
        (&["-t", "a", "-q", "x"], "a QoS is 0"),
        (&["-t"], "a value is required"),
    ];
    for (words, expected) in cases {
        let error = parse(words).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(expected), "{words:?}: {error}");
    }
}

fn message(topic: &str, retain: bool) -> Message {
    let topic = TopicName::parse(topic).unwrap();
    Message::new(&topic, b"x", QoS::AtMostOnce, retain, &Default::default(), Default::default())
}

#[test]
fn what_is_left_out_does_not_count() {
    let words = ["-t", "#", "-C", "2", "-R", "-T", "noise/#"];
    let mut selection = subscription(&words).unwrap().selection;
    let verdicts = [("a", true), ("noise/a", false), ("a", false), ("b", false)]
        .map(|(topic, retain)| selection.judge(&message(topic, retain)));
    assert_eq!(verdicts, [Verdict::Skip, Verdict::Skip, Verdict::Print, Verdict::PrintLast]);
}

#[test]
fn retained_only_ends_at_the_first_live_message() {
    let mut selection = subscription(&["-t", "#", "--retained-only"]).unwrap().selection;
    assert_eq!(selection.judge(&message("a", true)), Verdict::Print);
    assert_eq!(selection.judge(&message("a", false)), Verdict::End);
}
