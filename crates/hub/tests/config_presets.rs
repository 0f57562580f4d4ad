//! What a preset fills in, what wins over it, and what it asks for.
#![expect(clippy::unwrap_used, reason = "what goes wrong in a helper fails its test")]

use crosspoint_hub::config::plan::{ConnectorPlan, MqttPlan, Protocol};
use crosspoint_hub::config::{Diagnostic, Preset, Severity, parse};
use crosspoint_protocol::Version;

const FLOW: &str =
    "[flow.f]\nfrom = { connector = \"broker\", topics = \"a\", qos = 1 }\nto = { connector = \"a\" }\n";
const USER: &str = "username = \"u\"\npassword = \"env:CARGO_PKG_NAME\"\n";

fn text(preset: &str, lines: &str) -> String {
    format!("{FLOW}[connector.a]\npreset = \"{preset}\"\n{lines}")
}

#[track_caller]
fn plan(preset: &str, lines: &str) -> MqttPlan {
    let text = text(preset, lines);
    let (plan, findings) =
        parse(&text, "crosspoint.toml", None).unwrap_or_else(|findings| panic!("{findings:?}"));
    assert_eq!(findings, [], "{preset}");
    match plan.connectors.get("a").unwrap() {
        ConnectorPlan::Mqtt(mqtt) => (**mqtt).clone(),
        ConnectorPlan::Local => panic!(),
    }
}

#[track_caller]
fn finding(text: &str, severity: Severity) -> Diagnostic {
    let findings = match parse(text, "crosspoint.toml", None) {
        Ok((_, warnings)) => warnings,
        Err(findings) => findings,
    };
    let [finding] = findings.as_slice() else { panic!("{findings:?}") };
    assert_eq!(finding.severity, severity, "{finding}");
    finding.clone()
}

/// Returns lines that give the client a certificate of its own.
fn certificate(folder: &std::path::Path) -> String {
    let (certificate, key) = (folder.join("c.pem"), folder.join("c.key"));
    let made = rcgen::generate_simple_self_signed(["client".to_owned()]).unwrap();
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    format!("tls.certificate = {certificate:?}\ntls.key = {key:?}\n")
}

#[test]
fn each_preset_knows_where_its_broker_is() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = certificate(folder.path());
    for (preset, lines, expected) in [
        ("hivemq-cloud", format!("host = \"h\"\n{USER}"), "mqtts://h:8883"),
        ("hivemq-cloud", format!("host = \"h\"\ntransport = \"wss\"\n{USER}"), "wss://h:8884/mqtt"),
        ("cloudmqtt", format!("host = \"h\"\nport = 28883\n{USER}"), "mqtts://h:28883"),
        ("emqx-cloud", format!("host = \"h\"\n{USER}"), "mqtts://h:8883"),
        ("emqx-cloud", format!("host = \"h\"\ntransport = \"wss\"\n{USER}"), "wss://h:8084/mqtt"),
        ("aws-iot-core", format!("host = \"h\"\n{certificate}"), "mqtts://h:443"),
        ("azure-event-grid", format!("host = \"h\"\n{certificate}"), "mqtts://h:8883"),
        ("test.mosquitto.org", String::new(), "mqtts://test.mosquitto.org:8886"),
        ("test.mosquitto.org", "transport = \"tcp\"\n".to_owned(), "mqtt://test.mosquitto.org:1883"),
        ("broker.hivemq.com", String::new(), "mqtts://broker.hivemq.com:8883"),
        ("broker.hivemq.com", "transport = \"ws\"\n".to_owned(), "ws://broker.hivemq.com:8000/mqtt"),
        ("home-assistant", USER.to_owned(), "mqtt://homeassistant.local:1883"),
    ] {
        let shown: Vec<String> = plan(preset, &lines).addresses.iter().map(ToString::to_string).collect();
        assert_eq!(shown, [expected], "{preset}");
    }
    for name in Preset::NAMES {
        assert!(
            Preset::of_name(name).is_some_and(|preset| !preset.title.is_empty() && !preset.offers.is_empty()),
            "{name}"
        );
    }
}

#[test]
fn what_is_written_wins() {
    let mqtt = plan("hivemq-cloud", &format!("host = \"h\"\nport = 1\n{USER}"));
    assert_eq!(mqtt.addresses[0].to_string(), "mqtts://h:1");
    let mqtt = plan("test.mosquitto.org", "url = \"wss://elsewhere:9\"\n");
    assert_eq!(mqtt.addresses[0].to_string(), "wss://elsewhere:9/mqtt");
    let mqtt = plan("cloudmqtt", &format!("host = \"h\"\nport = 1\nprotocol = \"3.1\"\n{USER}"));
    assert_eq!(mqtt.protocol, Protocol::Only(Version::V3_1));
    let mqtt = plan("cloudmqtt", &format!("host = \"h\"\nport = 1\n{USER}"));
    assert_eq!(mqtt.protocol, Protocol::Only(Version::V3_1_1));
}

#[test]
fn an_environment_may_take_a_preset_away_or_bring_one() {
    let project = "[connector.a]\nurl = \"mqtt://h\"\n[environment.e.connector.a]\nunset = \"url\"\npreset = \"broker.hivemq.com\"\n";
    let (plan, _) = parse(project, "crosspoint.toml", Some("e")).unwrap();
    let ConnectorPlan::Mqtt(mqtt) = &plan.connectors["a"] else { panic!() };
    assert_eq!(mqtt.addresses[0].host, "broker.hivemq.com");
}

#[test]
fn aws_is_found_by_alpn_at_its_port_443_only() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = certificate(folder.path());
    assert_eq!(plan("aws-iot-core", &format!("host = \"h\"\n{certificate}")).tls.alpn, ["x-amzn-mqtt-ca"]);
    assert!(plan("aws-iot-core", &format!("host = \"h\"\nport = 8883\n{certificate}")).tls.alpn.is_empty());
    assert_eq!(plan("aws-iot-core", &format!("host = \"h\"\n{USER}")).tls.alpn, ["mqtt"]);
    let own = format!("host = \"h\"\ntls.alpn = \"x\"\n{certificate}");
    assert_eq!(plan("aws-iot-core", &own).tls.alpn, ["x"]);
}

#[test]
fn what_a_preset_needs_is_named() {
    let missing = finding(&text("hivemq-cloud", USER), Severity::Error);
    assert_eq!(missing.message, "`connector.a` does not say where to connect");
    assert_eq!(missing.label, "`host` is missing");
    assert!(missing.help.unwrap().contains("such as host = \"abc123.s1.eu.hivemq.cloud\""));

    let missing = finding(&text("emqx-cloud", "host = \"h\"\n"), Severity::Error);
    assert_eq!(missing.message, "`connector.a` has no credentials, and EMQX Cloud lets nobody in without");
    assert_eq!(missing.label, "`username` and `password` are missing");

    for preset in ["aws-iot-core", "azure-event-grid"] {
        let missing = finding(&text(preset, "host = \"h\"\n"), Severity::Error);
        assert_eq!(missing.label, "a client certificate is missing");
    }
    let missing = finding(&text("cloudmqtt", &format!("host = \"h\"\n{USER}")), Severity::Error);
    assert_eq!(missing.label, "`port` is missing");
}

#[test]
fn what_the_broker_of_a_preset_does_not_do_is_named() {
    let written = format!("host = \"h\"\ntransport = \"tcp\"\n{USER}");
    let refused = finding(&text("emqx-cloud", &written), Severity::Warning);
    assert_eq!(refused.message, "`connector.a.transport` asks for \"tcp\", which EMQX Cloud does not offer");
    assert_eq!(refused.help.as_deref(), Some("it offers \"tls\" or \"wss\""));

    let slow = finding(
        &text("aws-iot-core", &format!("host = \"h\"\nkeep_alive_s = 1201\n{USER}")),
        Severity::Warning,
    );
    assert_eq!(slow.message, "`connector.a.keep_alive_s` is more than AWS IoT Core takes");

    let aws = text("aws-iot-core", &format!("host = \"h\"\n{USER}"));
    let refused =
        finding(&aws.replace("{ connector = \"a\" }", "{ connector = \"a\", qos = 2 }"), Severity::Error);
    assert_eq!(refused.message, "`flow.f` writes at QoS 2 to AWS IoT Core, which has QoS 0 and 1 only");
    let refused = finding(&aws.replace("qos = 1", "qos = 2"), Severity::Error);
    assert_eq!(refused.help.as_deref(), Some("write qos = 1 here"));
    let reads =
        "[flow.g]\nfrom = { connector = \"a\", topics = \"b\", qos = 2 }\nto = { connector = \"broker\" }\n";
    let lowered = finding(&format!("{reads}{aws}"), Severity::Warning);
    assert_eq!(lowered.message, "`flow.g` reads at QoS 2 from AWS IoT Core, which has QoS 0 and 1 only");
}

#[test]
fn an_unknown_preset_is_answered_with_the_one_that_was_meant() {
    let wrong = finding(&text("hivemq-clud", "url = \"mqtt://h\"\n"), Severity::Error);
    assert_eq!(wrong.message, "`connector.a.preset` cannot be \"hivemq-clud\"");
    assert_eq!(wrong.help.as_deref(), Some("did you mean preset = \"hivemq-cloud\"?"));
}
