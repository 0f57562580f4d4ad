use clap::Parser;

use super::*;
use crate::failure::Exit;

#[derive(Debug, Parser)]
#[command(disable_help_flag = true)]
struct Line {
    #[command(flatten)]
    flags: RemoteFlags,
}

fn flags(words: &[&str]) -> RemoteFlags {
    Line::try_parse_from([&["x"], words].concat()).unwrap().flags
}

fn remote(words: &[&str]) -> Remote {
    flags(words).remote().unwrap()
}

/// What the options show of themselves.
fn shown(words: &[&str]) -> String {
    format!("{:?}", remote(words).options)
}

#[test]
fn each_flag_sets_its_option() {
    let cases: &[(&[&str], &str)] = &[
        (&[], r#"transport: Tcp, host: "localhost", port: 1883"#),
        (&["-h", "b.example"], r#"host: "b.example", port: 1883"#),
        (&["--host", "::1", "--port", "9"], r#"host: "::1", port: 9"#),
        (&["-p", "8883"], "transport: Tls"),
        (&["--cafile", "ca.pem"], r#"transport: Tls, host: "localhost", port: 8883"#),
        (&["--tls-use-os-certs"], "transport: Tls"),
        (&["--cert", "c", "--key", "k"], "transport: Tls"),
        (&["--cafile", "ca.pem", "--insecure"], "verify: Chain"),
        (&["--tls-use-os-certs", "--tls-alpn", "mqtt"], r#"alpn: ["mqtt"]"#),
        (&["--ws"], r#"transport: Ws, host: "localhost", port: 80"#),
        (&["--ws"], r#"ws_path: "/mqtt""#),
        (&["--ws", "/live", "--cafile", "ca.pem"], r#"transport: Wss, host: "localhost", port: 443"#),
        (&["--ws", "live"], r#"ws_path: "/live""#),
        (&["--unix", "/run/mqtt"], r#"unix_path: "/run/mqtt""#),
        (&["-L", "mqtts://h/t"], r#"transport: Tls, host: "h", port: 8883"#),
        (&["-L", "ws://h:8083/t"], r#"transport: Ws, host: "h", port: 8083"#),
        (&["-L", "mqtt://u:p@h/t"], r#"username: Some("u"), password: Some("#),
        (&["-L", "mqtt://u:p@h/t", "-u", "v"], r#"username: Some("v")"#),
        (&["-u", "-dash", "-P", "-dash"], r#"username: Some("-dash"), password: Some("#),
        (&["-i", "me"], r#"client_id: "me""#),
        (&["-k", "5"], "keep_alive_s: 5"),
        (&["-V", "mqttv5"], "protocol: V5"),
        (&["-V", "5"], "protocol: V5"),
        (&["-V", "mqttv311"], "protocol: V3_1_1"),
        (&["-V", "311"], "protocol: V3_1_1"),
        (&["-V", "mqttv31"], "protocol: V3_1,"),
        (&["-V", "31"], "protocol: V3_1,"),
        (&[], "protocol: Auto"),
        (&["-D", "connect", "user-property", "k", "v"], "protocol: V5"),
        (&[], "session: Clean"),
        (&["-x", "0"], "session: Clean"),
        (&["-c", "-i", "me"], "session: Durable, session_expiry_s: 4294967295"),
        (&["-c", "-i", "me", "-x", "60"], "session: Durable, session_expiry_s: 60"),
        (&["-c", "-i", "me", "-x", "-1"], "session_expiry_s: 4294967295"),
        (&["-c", "-i", "me", "-x", "∞"], "session_expiry_s: 4294967295"),
        (&["-c", "-i", "me", "-D", "connect", "session-expiry-interval", "9"], "session_expiry_s: 9"),
        (&["-D", "connect", "receive-maximum", "7"], "receive_maximum: 7"),
        (&["-D", "connect", "maximum-packet-size", "4096"], "packet_bytes_max: 4096"),
        (&["-D", "connect", "topic-alias-maximum", "3"], "topic_alias_max: 3"),
        (
            &["--will-topic", "w"],
            r#"will: Some(Will { topic: "w", payload: b"", qos: AtMostOnce, retain: false"#,
        ),
        (
            &["--will-topic", "w", "--will-payload", "gone", "--will-qos", "2", "--will-retain"],
            r#"will: Some(Will { topic: "w", payload: b"gone", qos: ExactlyOnce, retain: true"#,
        ),
        (&["--will-topic", "w", "-D", "will", "will-delay-interval", "5"], "delay_s: Some(5)"),
    ];
    for (words, expected) in cases {
        let shown = shown(words);
        assert!(shown.contains(expected), "{words:?}: {expected} is not in {shown}");
    }
}

#[test]
fn a_prefix_makes_a_client_id_with_the_process_id() {
    let expected = format!(r#"client_id: "pre-{}""#, std::process::id());
    assert!(shown(&["-I", "pre-"]).contains(&expected));
}

#[test]
fn the_topic_of_the_url_and_the_timeout_are_handed_on() {
    assert_eq!(remote(&["-L", "mqtt://h/a/b/#"]).topic.as_deref(), Some("a/b/#"));
    assert_eq!(remote(&["-W", "3"]).timeout, Some(Duration::from_secs(3)));
    assert_eq!(remote(&[]).timeout, None);
}

#[test]
fn what_does_not_fit_together_is_a_usage_error_with_its_mend() {
    let cases: &[(&[&str], &str, &str)] = &[
        (&["-L", "http://h"], "scheme", "-L mqtt://"),
        (&["-c"], "client id", "-i ID"),
        (&["-x", "60"], "-c", "-i ID"),
        (&["-P", "secret"], "user name", "-u NAME"),
        (&["-V", "31", "-i", "abcdefghijklmnopqrstuvwxyz"], "23", "shorter"),
        (&["-V", "311", "-D", "publish", "content-type", "x"], "3.1.1", "-V 5"),
        (&["--will-topic", "a/#"], "wildcard", "without + and #"),
        (&["-D", "will", "content-type", "x"], "will", "--will-topic"),
        (&["-D", "connect", "receive-maximum", "0"], "receive_maximum", "--help"),
    ];
    for (words, cause, next_step) in cases {
        let failure = flags(words).remote().unwrap_err();
        assert_eq!(failure.exit, Exit::Usage, "{words:?}");
        let shown = format!("{failure:?}");
        assert!(shown.contains(cause) && shown.contains(next_step), "{words:?}: {shown}");
        assert!(!shown.contains("secret"), "{shown}");
    }
}

#[test]
fn what_cannot_be_typed_is_refused_by_the_parser() {
    let cases: &[(&[&str], &str)] = &[
        (&["-L", "mqtt://h", "-h", "i"], "cannot be used with"),
        (&["-L", "mqtt://h", "-p", "1"], "cannot be used with"),
        (&["--unix", "/s", "-h", "i"], "cannot be used with"),
        (&["-i", "a", "-I", "b"], "cannot be used with"),
        (&["--cert", "c"], "--key"),
        (&["--key", "k"], "--cert"),
        (&["--will-payload", "x"], "--will-topic"),
        (&["--will-qos", "3", "--will-topic", "t"], "a QoS is 0"),
        (&["--cafile", "c", "--tls-use-os-certs"], "cannot be used with"),
        (&["-V", "4"], "mqttv311"),
        (&["-p", "0"], "1..=65535"),
        (&["-p", "70000"], "1..=65535"),
        (&["-k", "70000"], "0..=65535"),
        (&["-x", "-2"], "or -1 or ∞"),
        (&["-W", "0"], "1.."),
        (&["-d", "--quiet"], "cannot be used with"),
    ];
    for (words, expected) in cases {
        let error = Line::try_parse_from([&["x"], *words].concat()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(expected), "{words:?}: {error}");
    }
}
