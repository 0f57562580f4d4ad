//! What a correct project file means: defaults, written values, environments, secrets, the sample.

use std::time::Duration;

use crosspoint_hub::config::plan::{
    Access, Address, ArchivePlan, Auth, ConnectorPlan, Durability, Effect, Lane, MqttPlan, OutboxPlan,
    PortChoice, Protocol, ReplayMark, SessionKind, Transport, UserPassword, Verify, WhenFull,
};
use crosspoint_hub::config::{Plan, SAMPLE, Secret, Severity, load, parse};
use crosspoint_hub::{PasswordHash, hash_password};
use crosspoint_protocol::packet::PublishPropertyValues;
use crosspoint_protocol::{QoS, TopicFilter, Version};

#[track_caller]
fn plan(text: &str) -> Plan {
    plan_in(text, None)
}

#[track_caller]
fn plan_in(text: &str, environment: Option<&str>) -> Plan {
    match parse(text, "crosspoint.toml", environment) {
        Ok((plan, _)) => plan,
        Err(findings) => {
            panic!("{}", findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        }
    }
}

#[track_caller]
fn errors(text: &str, environment: Option<&str>) -> Vec<String> {
    let Err(findings) = parse(text, "crosspoint.toml", environment) else { panic!("no errors") };
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
    errors.map(|finding| finding.message.clone()).collect()
}

#[track_caller]
fn mqtt<'a>(plan: &'a Plan, name: &str) -> &'a MqttPlan {
    match plan.connectors.get(name) {
        Some(ConnectorPlan::Mqtt(mqtt)) => mqtt,
        other => panic!("{name} is {other:?}"),
    }
}

#[test]
fn the_sample_checks_without_a_finding_and_has_its_flow() {
    let (plan, findings) = parse(SAMPLE, "crosspoint.toml", None).expect("the sample is right");
    assert_eq!(findings, []);
    let flow = &plan.flows["demo"];
    assert_eq!(flow.source.connector, "broker");
    assert!(flow.source.topics[0].matches("demo/in/hello"));
    let sink = &flow.sinks[0];
    assert_eq!(sink.topic.render("demo/in/hello", "broker", b"").unwrap().as_str(), "demo/out/hello");
    assert!(plan.is_runnable(flow));
}

#[test]
fn what_the_sample_shows_in_comments_is_right_too() {
    let is_toml = |line: &&str| line.starts_with('[') || line.contains(" = ");
    let commented = SAMPLE.lines().filter_map(|line| line.strip_prefix("# ")).filter(is_toml);
    let text: String = SAMPLE
        .lines()
        .filter(|line| !line.starts_with('#'))
        .chain(commented)
        .map(|l| format!("{l}\n"))
        .collect();
    // The variables of its passwords are not set here; nothing else may be wrong.
    let messages = errors(&text, Some("production"));
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(messages.iter().all(|message| message.contains("environment variable")), "{messages:?}");
}

#[test]
fn everything_is_synced_unless_it_is_said_otherwise_and_a_listener_has_the_last_word() {
    let text = "[broker]\ndurability = \"written\"\n[broker.listener.a]\nbind = \"127.0.0.1:1\"\n\
        [broker.listener.b]\nbind = \"127.0.0.1:2\"\ndurability = \"memory\"\n\
        [connector.plant]\nhost = \"h\"\ndurability = \"written\"\n[connector.other]\nhost = \"h\"\n";
    let plan = plan(text);
    let listeners = &plan.broker.as_ref().unwrap().listeners;
    assert_eq!(listeners["a"].durability, Durability::Written);
    assert_eq!(listeners["b"].durability, Durability::Memory);
    assert_eq!(mqtt(&plan, "plant").durability, Durability::Written);
    assert_eq!(mqtt(&plan, "other").durability, Durability::Synced);
    let plan = plan_in("", None);
    assert!(plan.broker.unwrap().listeners.values().all(|l| l.durability == Durability::Synced));
}

#[test]
fn an_empty_file_runs_the_broker_and_the_console_on_loopback() {
    let plan = plan("");
    let broker = plan.broker.as_ref().expect("the broker runs");
    let binds: Vec<_> =
        broker.listeners.values().map(|l| (l.bind.to_string(), l.transport, l.port, l.anonymous)).collect();
    let expected = [
        ("127.0.0.1:1883".to_owned(), Transport::Tcp, PortChoice::Default, true),
        ("127.0.0.1:8083".to_owned(), Transport::Ws, PortChoice::Default, true),
    ];
    assert_eq!(binds, expected);
    assert_eq!(plan.connectors["broker"], ConnectorPlan::Local);
    assert_eq!(
        plan.console.as_ref().map(|console| console.bind.to_string()).as_deref(),
        Some("127.0.0.1:8080")
    );
}

#[test]
fn what_is_disabled_is_not_there() {
    let plan = plan("[broker]\nenabled = false\n[console]\nenabled = false\n");
    assert_eq!(plan, Plan::default());
}

#[test]
fn a_connector_has_the_documented_defaults() {
    let plan = plan("[connector.plant]\nurl = \"mqtt://h\"\n");
    let mqtt = mqtt(&plan, "plant");
    assert!(mqtt.enabled);
    assert_eq!(mqtt.protocol, Protocol::Auto);
    assert_eq!((&mqtt.client_id, &mqtt.username, &mqtt.password), (&None, &None, &None));
    assert_eq!(mqtt.keep_alive, Duration::from_secs(60));
    assert_eq!(mqtt.connect_timeout, Duration::from_secs(10));
    assert_eq!((mqtt.reconnect_min, mqtt.reconnect_max), (Duration::from_secs(1), Duration::from_secs(30)));
    assert_eq!(mqtt.session, SessionKind::Clean);
    assert_eq!(mqtt.session_expiry, Duration::from_secs(7 * 24 * 3600));
    assert_eq!((mqtt.receive_maximum, mqtt.packet_bytes_max, mqtt.topic_alias_max), (1024, 16 << 20, 16));
    assert_eq!(mqtt.tls.verify, Verify::Full);
    assert_eq!((&mqtt.will, &mqtt.birth, &mqtt.close), (&None, &None, &None));
    assert_eq!((mqtt.will_delay, &mqtt.proxy, mqtt.tcp_keepalive), (Duration::ZERO, &None, None));
    assert!(mqtt.properties.user_properties.is_empty());
    assert!(mqtt.properties.asks_problem_information && !mqtt.properties.asks_response_information);
    assert_eq!((mqtt.ack_deadline, &mqtt.canary), (Duration::from_secs(30), &None));
}

#[test]
fn written_values_arrive() {
    let plan = plan(
        r#"
[connector.plant]
host = "[2001:db8::1]"
port = 9001
transport = "wss"
path = "/ws"
protocol = "3.1.1"
client_id = "me"
username = "u"
password = "env:CARGO_PKG_NAME"
keep_alive_s = 5
connect_timeout_ms = 1500
ack_deadline_ms = 0
canary = { topic = "a/canary", interval_s = 5 }
reconnect_min_ms = 200
reconnect_max_ms = 200
session = "durable"
session_expiry_s = 60
receive_maximum = 7
max_packet_bytes = 2048
topic_alias_max = 0
tls = { verify = "chain", server_name = "Name.example", alpn = ["mqtt", "x"] }
will = { topic = "a/will", payload = "gone", qos = 1, retain = true }
birth.topic = "a/birth"
websocket.headers = { X-B = "2", X-A = "env:CARGO_PKG_NAME" }
"#,
    );
    let mqtt = mqtt(&plan, "plant");
    let path = "/ws".to_owned();
    assert_eq!(
        mqtt.addresses,
        [Address { transport: Transport::Wss, host: "2001:db8::1".into(), port: 9001, path }]
    );
    assert_eq!(mqtt.addresses[0].to_string(), "wss://[2001:db8::1]:9001/ws");
    assert_eq!(mqtt.protocol, Protocol::Only(Version::V3_1_1));
    assert_eq!(mqtt.client_id.as_deref(), Some("me"));
    assert_eq!(mqtt.username.as_deref(), Some("u"));
    assert_eq!(mqtt.password.as_ref().and_then(|secret| secret.expose_text()), Some("crosspoint-hub"));
    assert_eq!(mqtt.keep_alive, Duration::from_secs(5));
    assert_eq!((mqtt.connect_timeout, mqtt.ack_deadline), (Duration::from_millis(1500), Duration::ZERO));
    let canary = mqtt.canary.as_ref().unwrap();
    assert_eq!((canary.topic.as_str(), canary.interval), ("a/canary", Duration::from_secs(5)));
    assert_eq!(
        (mqtt.reconnect_min, mqtt.reconnect_max),
        (Duration::from_millis(200), Duration::from_millis(200))
    );
    assert_eq!((mqtt.session, mqtt.session_expiry), (SessionKind::Durable, Duration::from_secs(60)));
    assert_eq!((mqtt.receive_maximum, mqtt.packet_bytes_max, mqtt.topic_alias_max), (7, 2048, 0));
    assert_eq!((mqtt.tls.verify, mqtt.tls.server_name.as_deref()), (Verify::Chain, Some("name.example")));
    assert_eq!(mqtt.tls.alpn, ["mqtt", "x"]);
    let will = mqtt.will.as_ref().unwrap();
    assert_eq!(
        (will.topic.as_str(), will.payload.as_slice(), will.qos, will.retain),
        ("a/will", &b"gone"[..], QoS::AtLeastOnce, true)
    );
    assert_eq!(mqtt.birth.as_ref().map(|birth| birth.topic.as_str()), Some("a/birth"));
    let headers: Vec<_> =
        mqtt.websocket_headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    assert_eq!(headers, [("X-A", &b"crosspoint-hub"[..]), ("X-B", b"2")]);
}

#[test]
fn a_proxy_is_a_text_or_a_table() {
    let of = |line: &str| {
        let plan = plan(&format!("[connector.plant]\nurl = \"mqtt://h\"\n{line}\n"));
        let mqtt = mqtt(&plan, "plant").clone();
        let proxy = mqtt.proxy.map(|proxy| {
            let login = proxy.login.as_ref();
            let login = login.map(|(name, secret)| (name.clone(), secret.expose_text().unwrap().to_owned()));
            (proxy.to_string(), login)
        });
        (proxy, mqtt.tcp_keepalive)
    };
    assert_eq!(of(""), (None, None));
    let login = |name: &str, password: &str| Some((name.to_owned(), password.to_owned()));
    assert_eq!(of("proxy = \"socks5h://P:1080\"").0, Some(("socks5h://p:1080".to_owned(), None)));
    assert_eq!(of("proxy = \"http://u:p%40@p:1\"").0, Some(("http://p:1".to_owned(), login("u", "p@"))));
    let table = "proxy = { url = \"socks5://[::1]:1\", username = \"u\", password = \"env:CARGO_PKG_NAME\" }";
    assert_eq!(of(table).0, Some(("socks5://[::1]:1".to_owned(), login("u", "crosspoint-hub"))));
    assert_eq!(of("tcp_keepalive = 30").1, Some(Duration::from_secs(30)));
}

#[test]
fn announcements_carry_their_properties() {
    let plan = plan(
        r#"
[connector.plant]
url = "mqtt://h"
session = "durable"
user_properties = { site = "north", tag = ["b", "a"] }
request_response_information = true
request_problem_information = false
[connector.plant.will]
topic = "a/will"
delay_s = 30
content_type = "text/plain"
payload_format = "utf8"
message_expiry_s = 60
response_topic = "a/answers"
correlation_data = "7"
user_properties = { line = "2" }
[connector.plant.close]
topic = "a/close"
qos = 2
"#,
    );
    let mqtt = mqtt(&plan, "plant");
    let pair = |name: &str, value: &str| (name.into(), value.into());
    let values = &mqtt.properties;
    assert_eq!(values.user_properties, [pair("site", "north"), pair("tag", "b"), pair("tag", "a")]);
    assert!(values.asks_response_information && !values.asks_problem_information);
    assert_eq!(mqtt.will_delay, Duration::from_secs(30));
    assert_eq!(
        mqtt.will.as_ref().unwrap().properties,
        PublishPropertyValues {
            payload_is_utf8: Some(true),
            message_expiry_s: Some(60),
            response_topic: Some("a/answers".into()),
            correlation_data: Some("7".into()),
            content_type: Some("text/plain".into()),
            user_properties: vec![pair("line", "2")],
        }
    );
    let close = mqtt.close.as_ref().unwrap();
    assert_eq!((close.topic.as_str(), close.qos), ("a/close", QoS::ExactlyOnce));
    assert_eq!(close.properties, PublishPropertyValues::default());
}

#[test]
fn a_canary_needs_no_more_than_to_be_wanted() {
    let plan = plan("[connector.plant]\nurl = \"mqtt://h\"\ncanary = {}\n");
    let canary = mqtt(&plan, "plant").canary.as_ref().unwrap();
    assert_eq!(
        (canary.topic.as_str(), canary.interval),
        ("crosspoint/canary/plant", Duration::from_secs(30))
    );
}

#[test]
fn a_list_of_urls_is_the_order_of_failover() {
    let plan = plan("[connector.plant]\nurl = [\"mqtts://a\", \"mqtt://b:1884\"]\n");
    let shown: Vec<_> = mqtt(&plan, "plant").addresses.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["mqtts://a:8883", "mqtt://b:1884"]);
}

#[test]
fn a_session_is_durable_when_the_connector_listens_or_publishes_exactly_once() {
    let session = |from: &str, to: &str| {
        let text = format!(
            "[connector.a]\nurl = \"mqtt://h\"\n[connector.b]\nurl = \"mqtt://i\"\n[flow.f]\nfrom = {{ connector = \"a\", topics = \"x\"{from} }}\nto = {{ connector = \"b\"{to} }}\n"
        );
        let plan = plan(&text);
        (mqtt(&plan, "a").session, mqtt(&plan, "b").session)
    };
    use SessionKind::{Clean, Durable};
    assert_eq!(session("", ""), (Durable, Clean));
    assert_eq!(session("", ", qos = 2"), (Durable, Durable));
    assert_eq!(session(", qos = 2", ""), (Durable, Durable));
    assert_eq!(session(", qos = 2", ", qos = 1"), (Durable, Clean));
}

#[test]
fn a_flow_keeps_qos_retain_and_topic_unless_it_says_otherwise() {
    let plan = plan(
        r#"
[connector.a]
url = "mqtt://h"
[flow.f]
from = { connector = "a", topics = ["x/#", "y"] }
to = [{ connector = "broker" }, { connector = "broker", topic = "z/{topic}", qos = 0, retain = false }]
"#,
    );
    let flow = &plan.flows["f"];
    assert_eq!(flow.source.qos, QoS::AtLeastOnce);
    assert_eq!(flow.source.topics.len(), 2);
    assert!(flow.sinks[0].topic.is_unchanged());
    assert_eq!((flow.sinks[0].qos, flow.sinks[0].retain), (None, None));
    assert_eq!((flow.sinks[1].qos, flow.sinks[1].retain), (Some(QoS::AtMostOnce), Some(false)));
    assert_eq!(plan.flows_from("a").map(|(name, _)| name).collect::<Vec<_>>(), ["f"]);
}

#[test]
fn the_broker_knows_its_listeners_users_and_rules() {
    let plan = plan(
        r#"
[broker]
connections_max = 5
session_expiry_max_s = 60
will_grace_s = 7
keep_alive_max_s = 30
[broker.listener.open]
bind = "[::]:0"
[broker.listener.web]
bind = "localhost"
transport = "ws"
allowed_origins = ["https://App.example:8443"]
anonymous = true
[broker.user.alice]
password = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$aGFzaGhhc2hoYXNo"
roles = ["plant", "chat"]
[broker.role.plant]
allow = ["publish sensors/%u/#"]
deny = ["subscribe secret/%c"]
[broker.role.chat]
allow = "both chat/#"
"#,
    );
    let broker = plan.broker.unwrap();
    assert_eq!(
        (broker.limits.connections_max, broker.limits.session_expiry_max),
        (5, Duration::from_secs(60))
    );
    assert_eq!(broker.limits.keep_alive_max, Duration::from_secs(30));
    assert_eq!(broker.limits.will_grace, Duration::from_secs(7));
    let (open, web) = (&broker.listeners["open"], &broker.listeners["web"]);
    assert_eq!(
        (open.bind.to_string().as_str(), open.port, open.anonymous),
        ("[::]:0", PortChoice::Written, false)
    );
    assert_eq!(
        (web.bind.to_string().as_str(), web.port, web.anonymous),
        ("127.0.0.1:8083", PortChoice::Default, true)
    );
    assert_eq!(
        (web.path.as_str(), web.allowed_origins.as_slice()),
        ("/mqtt", &["https://app.example:8443".to_owned()][..])
    );
    let alice = &broker.users["alice"];
    assert!(matches!(alice.password, UserPassword::Argon2id(_)));
    let rules: Vec<_> =
        alice.rules.iter().map(|rule| (rule.effect, rule.access, rule.filter.as_str())).collect();
    let expected = [
        (Effect::Allow, Access::Publish, "sensors/%u/#"),
        (Effect::Deny, Access::Subscribe, "secret/%c"),
        (Effect::Allow, Access::Both, "chat/#"),
    ];
    assert_eq!(rules, expected);
}

#[test]
fn what_a_mosquitto_brings_along_is_in_the_plan() {
    let hash = "$7$101$AAECAwQFBgcICQoL$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==";
    let role = "[broker.role.r]\nallow = \"subscribe a\"\ndeny = \"both b\"\n";
    let user = format!("[broker.user.al]\npassword = \"{hash}\"\nroles = \"r\"\n");
    let anonymous = "[broker]\nin_flight_max = 20\nanonymous_roles = \"r\"\n";
    let broker = plan(&format!("{anonymous}{user}{role}")).broker.unwrap();
    assert!(
        matches!(&broker.users["al"].password, UserPassword::Crypted(text) if text.expose() == hash.as_bytes())
    );
    assert_eq!(broker.limits.in_flight_max, 20);
    assert_eq!(broker.anonymous_rules.as_ref(), Some(&broker.users["al"].rules));
    assert_eq!(broker.anonymous_rules.unwrap().len(), 2);
    assert_eq!(plan("[broker]\nanonymous_roles = []\n").broker.unwrap().anonymous_rules, Some(vec![]));
    assert_eq!(plan(role).broker.unwrap().anonymous_rules, None);
}

#[test]
fn the_first_user_ends_anonymous_access() {
    let user = "[broker.user.al]\npassword = \"x\"\nroles = \"r\"\n[broker.role.r]\nallow = \"both #\"\n";
    let broker = plan(user).broker.unwrap();
    assert!(broker.listeners.values().all(|listener| !listener.anonymous));
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("crosspoint.toml");
    let missing = load(&path, None).unwrap_err();
    assert!(
        missing[0].to_string().contains("crosspoint.toml cannot be read: No such file"),
        "{}",
        missing[0]
    );
    std::fs::write(&path, b"a = 1\n\xff\n").unwrap();
    let binary = load(&path, None).unwrap_err();
    assert!(binary[0].to_string().contains("cannot be read: line 2 is not UTF-8"), "{}", binary[0]);
}

const OVERLAID: &str = r#"
[connector.plant]
url = "mqtt://test"
username = "u"
tls = { verify = "full" }
[environment.production.connector.plant]
url = ["mqtts://a", "mqtts://b"]
unset = ["username"]
tls.server_name = "plant"
[environment.production.connector.extra]
host = "x"
[environment.wrong.connector.plant]
host = "x"
[environment.bad.connector.plant]
unset = ["user"]
"#;

#[test]
fn an_environment_merges_tables_replaces_values_and_unsets_keys() {
    let base = plan(OVERLAID.split("[environment.wrong").next().unwrap());
    assert_eq!(mqtt(&base, "plant").addresses.len(), 1);
    assert_eq!(base.environment, None);
    let production = plan_in(OVERLAID, Some("production"));
    assert_eq!(production.environment.as_deref(), Some("production"));
    let plant = mqtt(&production, "plant");
    assert_eq!(plant.addresses.len(), 2);
    assert_eq!(plant.username, None);
    assert_eq!(plant.tls.server_name.as_deref(), Some("plant"));
    assert!(production.connectors.contains_key("extra"));
}

#[test]
fn someone_may_be_named_unset() {
    let user = "broker.user.unset]\npassword = \"x\"\nroles = \"r\"\n";
    let role = "[broker.role.r]\nallow = \"both #\"\n";
    let plan = plan_in(&format!("{role}[environment.e.{user}"), Some("e"));
    assert!(plan.broker.is_some_and(|broker| broker.users.contains_key("unset")));
}

#[test]
fn a_whole_section_can_be_unset() {
    let text = "[console]\nbind = \"127.0.0.1:1\"\n[environment.e]\nunset = [\"console\"]\n";
    let (plan, findings) = parse(text, "crosspoint.toml", Some("e")).unwrap();
    assert_eq!(findings, []);
    assert_eq!(plan.console.map(|console| console.bind.port()), Some(8080));
}

#[test]
fn an_error_that_an_environment_brings_points_into_it() {
    let findings = parse(OVERLAID, "crosspoint.toml", Some("wrong")).unwrap_err();
    let both = findings
        .iter()
        .find(|finding| finding.message == "`connector.plant` has both `url` and `host`")
        .unwrap();
    assert_eq!(both.position(), Some((13, 1)));
    assert!(both.to_string().contains("unset = [\"url\"] takes it away"), "{both}");
    let findings = parse(OVERLAID, "crosspoint.toml", Some("bad")).unwrap_err();
    let unset = findings.iter().find(|finding| finding.severity == Severity::Error).unwrap();
    assert_eq!(
        unset.message,
        "`connector.plant.user` cannot be unset: it is not written in the rest of the file"
    );
    assert_eq!(unset.help.as_deref(), Some("did you mean \"username\"?"));
}

#[test]
fn a_fault_in_an_environment_that_is_not_used_is_found_too() {
    let text = "[environment.x.connector.a]\nkeep_alive_s = 70000\n";
    assert_eq!(errors(text, None), ["`connector.a.keep_alive_s` is out of bounds"]);
    let text = "[environment.x.environment.y]\n";
    assert_eq!(errors(text, None), ["an environment cannot hold another environment"]);
}

#[test]
fn an_environment_that_does_not_exist_is_refused() {
    let findings = parse(OVERLAID, "crosspoint.toml", Some("prodution")).unwrap_err();
    let finding = findings.iter().find(|finding| finding.severity == Severity::Error).unwrap();
    assert_eq!(
        finding.to_string(),
        "error: there is no environment \"prodution\"\n |\n = help: did you mean --env production?"
    );
    let findings = parse("", "crosspoint.toml", Some("x")).unwrap_err();
    assert_eq!(findings[0].help.as_deref(), Some("the file has none; add a section [environment.x]"));
}

const SECRET: &str = "hunter2-7c1d";

#[test]
fn no_finding_and_no_plan_shows_a_secret() {
    let pem = format!("'''\n-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----'''");
    let places = [
        format!("[connector.a]\nurl = \"mqtt://h\"\nusername = \"u\"\npassword = \"{SECRET}\"\nx = 1\n"),
        format!("[connector.a]\nurl = \"mqtt://h\"\npasword = \"{SECRET}\"\n"),
        format!("[connector.a]\nurl = \"mqtt://u:{SECRET}@h\"\n"),
        format!("[connector.a]\nurl = \"u:{SECRET}@h\"\n"),
        format!("[connector.a]\nhost = \"u:{SECRET}@h\"\n"),
        format!(
            "[connector.a]\nurl = \"ws://h\"\nwebsocket.headers = {{ Authorization = \"{SECRET}\\n\" }}\n"
        ),
        format!("[connector.a]\nurl = \"mqtts://h\"\ntls.key = {pem}\ntls.certificate = 1\n"),
        format!("[connector.a]\nurl = \"mqtts://h\"\ntls.key = {pem}\ntls.certificate = {pem}\n"),
        format!("[broker.user.a]\npassword = \"$6${SECRET}\"\n"),
        format!("[broker.user.a]\npassword = \"{SECRET}\"\n"),
        format!("[environment.e.connector.a]\npassword = [\"{SECRET}\"]\n"),
        format!("[connector.a]\npassword = \"{SECRET}\n"),
        format!("connector.a = {{ password = \"{SECRET}\", url = }}\n"),
    ];
    for text in places {
        let shown = match parse(&text, "crosspoint.toml", None) {
            Ok((plan, findings)) => format!(
                "{plan:?}{findings:?}{}",
                findings.iter().map(ToString::to_string).collect::<String>()
            ),
            Err(findings) => {
                format!("{findings:?}{}", findings.iter().map(ToString::to_string).collect::<String>())
            }
        };
        assert!(!shown.contains(SECRET), "{text}\n{shown}");
        assert!(shown.contains("crosspoint.toml:"), "{text}\nhas no finding: {shown}");
    }
}

#[test]
fn an_outbox_holds_a_gibibyte_and_holds_its_sources_up_unless_it_says_otherwise() {
    let plan = plan("[connector.plant]\nurl = \"mqtt://h\"\n");
    assert_eq!(mqtt(&plan, "plant").outbox, OutboxPlan::default());
    assert_eq!(OutboxPlan::default().bytes_max, 1 << 30);

    let plan = self::plan(
        r#"
[connector.plant]
url = "mqtt://h"
ordering = "topic"
[connector.plant.outbox]
bytes = 100_000
messages = 50
age_s = 60
when_full = "drop_oldest"
keep_latest = ["state/#"]
replay_mark = { property = "replay", topic_prefix = "late/", after_s = 5 }
backlog_per_s = 200
max_attempts = 0
dead_letters = 10
archive = { bytes = 65536, age_s = 3600 }
"#,
    );
    let expected = OutboxPlan {
        bytes_max: 100_000,
        messages_max: 50,
        age_max: Some(Duration::from_secs(60)),
        when_full: WhenFull::DropOldest,
        keep_latest: vec![TopicFilter::parse("state/#").unwrap()],
        replay_mark: Some(ReplayMark {
            property: Some("replay".to_owned()),
            topic_prefix: Some("late/".to_owned()),
            after: Duration::from_secs(5),
        }),
        backlog_per_s: Some(200),
        attempts_max: None,
        lane: Lane::Topic,
        dead_letters_max: 10,
        archive: Some(ArchivePlan { bytes_max: 65_536, age_max: Some(Duration::from_secs(3_600)) }),
    };
    assert_eq!(mqtt(&plan, "plant").outbox, expected);
}

#[test]
fn scram_speaks_mqtt_5_and_nothing_else() {
    let text =
        "[connector.a]\nurl = \"mqtt://h\"\nusername = \"u\"\npassword = \"p\"\nauth = \"scram-sha-256\"\n";
    let plan = plan(text);
    let ConnectorPlan::Mqtt(mqtt) = &plan.connectors["a"] else { panic!("{plan:?}") };
    assert_eq!((mqtt.auth, mqtt.protocol), (Auth::ScramSha256, Protocol::Only(Version::V5)));
}

#[test]
fn what_is_kept_for_scram_is_in_the_plan() {
    let hash = hash_password(&Secret::new(b"p".to_vec()), PasswordHash::ScramSha256).unwrap();
    let user = format!("[broker.user.al]\npassword = \"{hash}\"\nroles = []\n");
    let broker = plan(&user).broker.unwrap();
    assert!(
        matches!(&broker.users["al"].password, UserPassword::Scram(text) if text.expose() == hash.as_bytes())
    );
}
