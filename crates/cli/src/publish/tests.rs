use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    flags: PublishFlags,
}

fn parse(words: &[&str]) -> Result<PublishFlags, clap::Error> {
    Line::try_parse_from([&["x"], words].concat()).map(|line| line.flags)
}

fn publish(words: &[&str]) -> Result<Publish, Failure> {
    parse(words).unwrap().publish()
}

#[test]
fn each_flag_says_what_is_published() {
    let cases: &[(&[&str], &str)] = &[
        (&["-t", "a", "-m", "x"], r#"topic: "a""#),
        (&["-L", "mqtt://h/a/b", "-m", "x"], r#"topic: "a/b""#),
        (&["-t", "a", "-m", "x"], "qos: AtMostOnce, retain: false, payload: One([120])"),
        (
            &["-t", "a", "-m", "-x", "-q", "1", "-r"],
            "qos: AtLeastOnce, retain: true, payload: One([45, 120])",
        ),
        (&["-t", "a", "-n", "-q", "2"], "qos: ExactlyOnce, retain: false, payload: One([])"),
        (&["-t", "a", "-t", "b", "-m", "x", "-q", "1", "-q", "2"], r#"topic: "b""#),
        (&["-t", "a", "-l"], "payload: Lines, repeat: 1"),
        (
            &["-t", "a", "-m", "x", "--repeat", "3", "--repeat-delay", "0.5"],
            "repeat: 3, repeat_delay: Some(500ms)",
        ),
        (&["-t", "a", "-m", "x", "-M", "7"], "in_flight_max: Some(7)"),
        (
            &["-t", "a", "-m", "x", "-D", "publish", "content-type", "text/plain"],
            r#"content_type: Some("text/plain")"#,
        ),
    ];
    for (words, expected) in cases {
        let shown = format!("{:?}", publish(words).unwrap());
        assert!(shown.contains(expected), "{words:?}: {expected} is not in {shown}");
    }
}

#[test]
fn what_cannot_be_published_is_a_usage_error_with_its_mend() {
    let cases: &[(&[&str], &str, &str)] = &[
        (&["-m", "x"], "no topic", "add -t TOPIC"),
        (&["-t", "a", "-L", "mqtt://h/b", "-m", "x"], "both", "one of them"),
        (&["-t", "a/#", "-m", "x"], "wildcard", "crosspoint sub"),
        (&["-t", "a/+/b", "-m", "x"], "MQTT-4.7.0-1", "crosspoint sub"),
        (&["-t", "", "-m", "x"], "cannot be published to", "one topic"),
        (&["-t", "a", "-m", "x", "-D", "publish", "response-topic", "a/#"], "-D publish", "property"),
    ];
    for (words, cause, next_step) in cases {
        let failure = publish(words).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage, "{words:?}");
        let shown = format!("{failure:?}");
        assert!(shown.contains(cause) && shown.contains(next_step), "{words:?}: {shown}");
    }
}

#[test]
fn what_cannot_be_typed_is_refused_by_the_parser() {
    let cases: &[(&[&str], &str)] = &[
        (&["-t", "a"], "--message"),
        (&["-t", "a", "-m", "x", "-n"], "cannot be used with"),
        (&["-t", "a", "-l", "-f", "x"], "cannot be used with"),
        (&["-t", "a", "-m", "x", "-q", "3"], "a QoS is 0 (at most once)"),
        (&["-t", "a", "-l", "--repeat", "2"], "cannot be used with"),
        (&["-t", "a", "-m", "x", "--repeat", "0"], "1.."),
        (&["-t", "a", "-m", "x", "--repeat-delay", "-1"], "seconds"),
        (&["-t", "a", "-m", "x", "-M", "0"], "1..=16000"),
    ];
    for (words, expected) in cases {
        let error = parse(words).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(expected), "{words:?}: {error}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let failure = publish(&["-t", "a", "-f", "/nowhere/at/all"]).unwrap_err();
    assert!(format!("{failure:?}").contains("/nowhere/at/all cannot be read"));
}
