//! Imports of sample files: what comes out passes the check, says what the file says, and names the rest.
#![expect(clippy::unwrap_used, reason = "what goes wrong in a helper fails its test")]

use std::path::PathBuf;

use crosspoint_hub::config::plan::{
    Access, BrokerPlan, ConnectorPlan, Durability, Effect, FlowPlan, MqttPlan, Plan, SessionKind, Transport,
    UserPassword, Verify,
};
use crosspoint_hub::config::{Diagnostic, load_with, parse};
use crosspoint_hub::import::{Format, ImportError, Imported, NoteKind, Sealing, import};
use crosspoint_hub::secret::{KeyRing, KeySource, SealingKey, make_key_file};
use crosspoint_protocol::QoS;

fn sample(name: &str) -> PathBuf {
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("tests/import").join(name)
}

#[track_caller]
fn imported(format: Format, name: &str) -> Imported {
    import(format, &sample(name), None).unwrap_or_else(|error| panic!("{error}"))
}

/// Checks what came out as `crosspoint check` does.
#[track_caller]
fn plan(imported: &Imported) -> Plan {
    match parse(&imported.text, "crosspoint.toml", None) {
        Ok((plan, _)) => plan,
        Err(findings) => {
            let findings: Vec<_> = findings.iter().map(Diagnostic::to_string).collect();
            panic!("{}\n{}", findings.join("\n"), imported.text)
        }
    }
}

#[track_caller]
fn mqtt<'a>(plan: &'a Plan, name: &str) -> &'a MqttPlan {
    match plan.connectors.get(name) {
        Some(ConnectorPlan::Mqtt(mqtt)) => mqtt,
        other => panic!("{name} is {other:?}; there are {:?}", plan.connectors.keys()),
    }
}

/// Returns what a note says about a thing, whose kind must be the expected one.
#[track_caller]
fn note<'a>(imported: &'a Imported, kind: NoteKind, what: &str) -> &'a str {
    let mut notes = imported.notes.iter().filter(|note| note.what.contains(what));
    let note = notes.next().unwrap_or_else(|| panic!("no note of {what}: {:#?}", imported.notes));
    assert_eq!(note.kind, kind, "{note:?}");
    &note.why
}

/// One flow in a line: from, topics and QoS, to, topic and retain.
fn shown(flow: &FlowPlan) -> String {
    let topics: Vec<_> = flow.source.topics.iter().map(|topic| topic.as_str()).collect();
    let sinks: Vec<_> = flow
        .sinks
        .iter()
        .map(|sink| format!("{} {} {:?} {:?}", sink.connector, sink.topic, sink.qos, sink.retain))
        .collect();
    let (source, qos) = (&flow.source.connector, flow.source.qos as u8);
    format!("{source} {} {qos} -> {} {:?}", topics.join(","), sinks.join("; "), flow.loops)
}

const SAMPLES: &[(Format, &str)] = &[
    (Format::Mosquitto, "mosquitto/mosquitto.conf"),
    (Format::HomeAssistant, "home-assistant/configuration.yaml"),
    (Format::HomeAssistant, "home-assistant/core.config_entries"),
    (Format::NodeRed, "node-red/flows.json"),
    (Format::Oibus, "oibus/export.json"),
    (Format::AvStudio, "forms/avstudio.json"),
    (Format::Mendix, "forms/mendix.json"),
    (Format::Boomi, "forms/boomi.json"),
];

#[test]
fn every_sample_passes_the_check_and_no_note_holds_a_secret() {
    for (format, name) in SAMPLES {
        let imported = imported(*format, name);
        let plan = plan(&imported);
        assert!(plan.connectors.len() > 1, "{name}");
        let notes = format!("{:?}", imported.notes);
        assert!(!notes.contains("the secret of"), "{name}: {notes}");
        assert!(
            !notes.contains("$7$") && !notes.contains("$6$") && !notes.contains("c2VjcmV0"),
            "{name}: {notes}"
        );
    }
}

#[test]
fn with_a_key_every_password_is_sealed_and_opens_where_it_stands() {
    for (format, name) in SAMPLES {
        let folder = tempfile::tempdir().unwrap();
        let project = folder.path().join("crosspoint.toml");
        let key = folder.path().join("key");
        make_key_file(&key, &KeyRing::of(SealingKey::generate().unwrap())).unwrap();
        let source = KeySource::of_file(&key);
        let sealing = Sealing::with(&source).unwrap();
        let sealed = import(*format, &sample(name), Some(&sealing)).unwrap();
        assert!(!sealed.text.contains("the secret of"), "{name}: {}", sealed.text);
        assert!(sealed.notes.iter().all(|note| note.kind != NoteKind::Plain), "{name}");
        assert_eq!(sealed.text.contains("\nid = \""), sealed.text.contains("sealed:v1:"), "{name}");
        std::fs::write(&project, &sealed.text).unwrap();
        let (opened, _) =
            load_with(&project, None, &source).unwrap_or_else(|findings| panic!("{findings:?}"));
        let plain = plan(&imported(*format, name));
        for (connector, of_plain) in &plain.connectors {
            let (ConnectorPlan::Mqtt(plain), Some(ConnectorPlan::Mqtt(opened))) =
                (of_plain, opened.connectors.get(connector))
            else {
                continue;
            };
            assert_eq!(plain.password, opened.password, "{name}: {connector}");
            assert_eq!(plain.websocket_headers, opened.websocket_headers, "{name}: {connector}");
        }
    }
}

mod mosquitto {
    use super::*;

    fn sample_plan() -> (Imported, Plan) {
        let imported = imported(Format::Mosquitto, "mosquitto/mosquitto.conf");
        let plan = plan(&imported);
        (imported, plan)
    }

    fn broker(plan: &Plan) -> &BrokerPlan {
        plan.broker.as_ref().unwrap()
    }

    #[test]
    fn listeners_and_limits() {
        let (imported, plan) = sample_plan();
        let broker = broker(&plan);
        let listeners: Vec<_> = broker
            .listeners
            .iter()
            .map(|(name, listener)| {
                (name.as_str(), listener.bind.to_string(), listener.transport, listener.anonymous)
            })
            .collect();
        let expected = [
            ("tcp-1883", "127.0.0.1:1883".to_owned(), Transport::Tcp, true),
            ("ws-9001", "[::]:9001".to_owned(), Transport::Ws, true),
        ];
        assert_eq!(listeners, expected);
        assert!(note(&imported, NoteKind::LeftOut, "/run/mosquitto/mosquitto.sock").contains("Unix socket"));
        let limits = &broker.limits;
        assert_eq!((limits.packet_bytes_max, limits.session_queue_messages), (1_048_576, 5_000));
        assert_eq!((limits.in_flight_max, limits.keep_alive_max.as_secs()), (20, 3_600));
        assert_eq!(limits.session_expiry_max.as_secs(), 14 * 86_400);
        assert_eq!(limits.connections_max, 100_000, "one listener has no limit, so all together have none");
        assert!(broker.listeners.values().all(|listener| listener.durability == Durability::Synced));
        for key in [
            "`pid_file`",
            "`log_dest`",
            "`log_type`",
            "`sys_interval`",
            "`http_dir`",
            "`persistence_location`",
        ] {
            note(&imported, NoteKind::LeftOut, key);
        }
    }

    #[test]
    fn users_keep_their_hashes_and_get_the_rules_of_the_acl_file() {
        let (imported, plan) = sample_plan();
        let broker = broker(&plan);
        let names: Vec<_> = broker.users.keys().map(String::as_str).collect();
        assert_eq!(names, ["alice", "gateway", "new one"]);
        assert!(broker.users.values().all(|user| matches!(user.password, UserPassword::Crypted(_))));
        let rules = |name: &str| -> Vec<_> {
            let rules = broker.users[name].rules.iter();
            rules.map(|rule| (rule.effect, rule.access, rule.filter.as_str())).collect()
        };
        use {Access::*, Effect::*};
        let patterns = [(Allow, Both, "devices/%u/#"), (Allow, Publish, "clients/%c/status")];
        let gateway =
            [(Allow, Both, "plant/#"), (Allow, Subscribe, "$SYS/#"), (Deny, Both, "plant/secret/#")];
        assert_eq!(rules("gateway"), [&gateway[..], &patterns].concat());
        assert_eq!(rules("alice"), [&[(Allow, Subscribe, "plant/+/temperature")][..], &patterns].concat());
        assert_eq!(rules("new one"), patterns);
        let anonymous: Vec<_> =
            broker.anonymous_rules.iter().flatten().map(|rule| rule.filter.as_str()).collect();
        assert_eq!(
            anonymous,
            ["weather/#", "clients/%c/status"],
            "a pattern with %u is not for those without a name"
        );
        assert!(note(&imported, NoteKind::LeftOut, "commands/100%").contains("no topic filter"));
        assert!(note(&imported, NoteKind::LeftOut, "\"nobody\"").contains("no such user"));
        assert!(note(&imported, NoteKind::LeftOut, "the user \"plain\"").contains("no hash"));
    }

    #[test]
    fn bridges_become_connectors_and_flows() {
        let (imported, plan) = sample_plan();
        let cloud = mqtt(&plan, "cloud");
        let addresses: Vec<_> = cloud.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["mqtts://cloud.example.com:8883", "mqtts://backup.example.com:8883"]);
        assert_eq!(cloud.username.as_deref(), Some("plant"));
        assert_eq!(
            cloud.password.as_ref().and_then(|secret| secret.expose_text()),
            Some("the secret of the bridge")
        );
        assert_eq!((cloud.client_id.as_deref(), cloud.session), (Some("plant-1"), SessionKind::Durable));
        assert_eq!(
            (cloud.keep_alive.as_secs(), cloud.reconnect_min.as_secs(), cloud.reconnect_max.as_secs()),
            (30, 5, 60)
        );
        assert_eq!((cloud.tls.ca.len(), cloud.tls.verify), (1, Verify::Full));
        let (birth, will) = (cloud.birth.as_ref().unwrap(), cloud.will.as_ref().unwrap());
        assert_eq!(
            (birth.topic.as_str(), &birth.payload[..], &will.payload[..]),
            ("site1/bridge/state", &b"1"[..], &b"0"[..])
        );
        let office = mqtt(&plan, "office");
        assert_eq!(office.addresses[0].to_string(), "mqtt://10.0.0.7:1883");
        let flows: Vec<_> =
            plan.flows.iter().map(|(name, flow)| format!("{name}: {}", shown(flow))).collect();
        let expected = [
            "cloud-in: cloud site1/commands/# 1 -> broker {topic[1..]} None None Refused",
            "cloud-in-2: cloud alarms/# 2 -> broker {topic} None None Allowed",
            "cloud-out: broker plant/# 1 -> cloud site1/{topic} None None Refused",
            "cloud-out-2: broker alarms/# 2 -> cloud {topic} None None Allowed",
            "office-in: office town/weather/# 0 -> broker {topic[1..]} None None Refused",
        ];
        assert_eq!(flows, expected);
        note(&imported, NoteKind::LeftOut, "topic +/x out 0 room-");
        note(&imported, NoteKind::Changed, "`start_type lazy`");
        note(&imported, NoteKind::LeftOut, "`bridge_attempt_unsubscribe`");
        note(&imported, NoteKind::Plain, "connector.cloud.password");
    }

    /// Imports a configuration that stands in a folder with a password file.
    #[track_caller]
    fn of(conf: &str) -> Imported {
        let folder = tempfile::tempdir().unwrap();
        for file in ["passwd", "acl", "ca.pem"] {
            std::fs::copy(sample("mosquitto").join(file), folder.path().join(file)).unwrap();
        }
        let path = folder.path().join("mosquitto.conf");
        std::fs::write(&path, conf).unwrap();
        let imported =
            import(Format::Mosquitto, &path, None).unwrap_or_else(|error| panic!("{error}\n{conf}"));
        // The folder has a name of its own each time.
        let folder = folder.path().display().to_string();
        Imported { text: imported.text.replace(&folder, "FOLDER"), notes: imported.notes }
    }

    #[test]
    fn without_a_listener_it_is_for_this_machine_and_without_a_password() {
        let plan = plan(&of(""));
        let listener = &broker(&plan).listeners["tcp-1883"];
        assert_eq!((listener.bind.to_string().as_str(), listener.anonymous), ("127.0.0.1:1883", true));
    }

    #[test]
    fn a_listener_that_nobody_could_use_is_left_out() {
        let imported = of("listener 1883\n");
        assert!(note(&imported, NoteKind::LeftOut, "the listener `1883`").contains("nobody could come in"));
        assert_eq!(plan(&imported).broker, None);
    }

    /// Whatever lets fewer in than can be said here must not open the listener.
    #[test]
    fn a_listener_that_would_let_more_in_is_left_out() {
        for line in [
            "mount_point site/",
            "crlfile revoked.pem",
            "use_identity_as_username true",
            "use_subject_as_username true",
            "psk_hint hint",
            "enable_proxy_protocol 2",
            "protocol http_api",
            "require_certificate true",
        ] {
            let imported = of(&format!("password_file passwd\nlistener 1884\nlistener 1883\n{line}\n"));
            let plan = plan(&imported);
            let names: Vec<_> = broker(&plan).listeners.keys().collect();
            assert_eq!(names, ["tcp-1884"], "{line}");
            note(&imported, NoteKind::LeftOut, "the listener `1883`");
        }
        for line in ["psk_file psk", "plugin /usr/lib/dynamic_security.so", "auth_plugin /usr/lib/auth.so"] {
            let imported = of(&format!("{line}\nallow_anonymous true\nlistener 1883\n"));
            assert_eq!(plan(&imported).broker, None, "{line}");
        }
    }

    #[test]
    fn settings_of_each_listener_are_merged_only_where_nobody_gets_more() {
        let imported = of("per_listener_settings true\nlistener 1883 127.0.0.1\nallow_anonymous true\n\
                           listener 8883\npassword_file passwd\nacl_file acl\n");
        let merged = plan(&imported);
        let anonymous: Vec<_> =
            broker(&merged).listeners.values().map(|listener| listener.anonymous).collect();
        assert_eq!(anonymous, [true, false]);
        assert_eq!((broker(&merged).users.len(), broker(&merged).anonymous_rules.as_ref()), (3, None));

        let imported = of("per_listener_settings true\nlistener 1883\npassword_file passwd\nacl_file acl\n\
                           listener 1884\npassword_file passwd\n");
        let names: Vec<_> = broker(&plan(&imported)).listeners.keys().cloned().collect();
        assert_eq!(names, ["tcp-1883"], "its users have no rules");
        note(&imported, NoteKind::LeftOut, "the listener `1884`");
    }

    #[test]
    fn a_listener_that_alone_allows_anonymous_clients_restricts_them_as_the_acl_file_does() {
        let imported = of(
            "password_file passwd\nacl_file acl\nlistener 1883\nlistener_allow_anonymous true\nlistener 1884\n",
        );
        let plan = plan(&imported);
        let anonymous: Vec<_> = broker(&plan).listeners.values().map(|listener| listener.anonymous).collect();
        assert_eq!(anonymous, [true, false]);
        assert_eq!(broker(&plan).anonymous_rules.as_ref().map(Vec::len), Some(2));
    }

    #[test]
    fn a_deny_that_cannot_be_said_denies_more_and_never_less() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(sample("mosquitto/passwd"), folder.path().join("passwd")).unwrap();
        let acl = "user alice\ntopic readwrite #\ntopic deny a/50%/b\npattern deny hidden/%u\n";
        std::fs::write(folder.path().join("acl"), acl).unwrap();
        let path = folder.path().join("mosquitto.conf");
        std::fs::write(&path, "password_file passwd\nacl_file acl\nlistener 1883\n").unwrap();
        let imported = import(Format::Mosquitto, &path, None).unwrap();
        let plan = plan(&imported);
        let denied: Vec<_> = broker(&plan).users["alice"]
            .rules
            .iter()
            .filter(|rule| rule.effect == Effect::Deny)
            .map(|rule| rule.filter.as_str())
            .collect();
        assert_eq!(denied, ["a/+/b", "hidden/%u"]);
        note(&imported, NoteKind::Changed, "a/50%/b");
        assert!(note(&imported, NoteKind::Changed, "`#` of acl:2").contains("every deny wins"));
    }

    /// Every key that Mosquitto has changes the project or is named.
    #[test]
    fn no_key_is_ignored() {
        let general = "persistence true|autosave_interval 9|autosave_on_changes true|persistence_file x|persistence_location /x/|\
            retained_persistence true|log_dest stdout|log_facility 5|log_timestamp false|log_timestamp_format x|log_type all|\
            connection_messages false|websockets_log_level 3|websockets_headers_size 9|pid_file /x|user x|memory_limit 9|\
            set_tcp_nodelay true|retry_interval 9|max_inflight_bytes 9|upgrade_outgoing_qos true|queue_qos0_messages true|\
            allow_duplicate_messages true|check_retain_source false|packet_buffer_size 9|global_max_clients 9|retain_available false|\
            retain_expiry_interval 9|sys_interval 9|clientid_prefixes x|auto_id_prefix x|allow_zero_length_clientid false|\
            enable_control_api true|plugin_load x y|plugin_use x|global_plugin x|auth_plugin_deny_special_chars false|auth_opt_x y|\
            plugin_opt_x y|max_inflight_messages 9|max_keepalive 9|max_packet_size 9999|max_queued_bytes 9999|max_queued_messages 9|\
            message_size_limit 9999|persistent_client_expiration 9d|global_max_connections 9|zzz 1";
        let listener = "accept_protocol_versions 5|bind_interface lo|capath /x|cafile ca.pem|ciphers x|ciphers_tls1.3 x|dhparamfile x|\
            disable_client_cert_date_checks true|http_dir /x|max_connections 9|max_qos 1|maximum_qos 1|max_topic_alias 9|\
            max_topic_alias_broker 9|protocol websockets|proxy_protocol_v2_require_tls true|socket_domain ipv4|tls_engine x|\
            tls_engine_kpass_sha1 x|tls_keyform x|use_username_as_clientid true|websockets_origin http://x|listener_auto_id_prefix x|\
            bind_address 127.0.0.1|listener_allow_anonymous false|zzz 1";
        let bridge = "bridge_alpn x|bridge_attempt_unsubscribe false|bridge_bind_address 127.0.0.1|bridge_cafile ca.pem|bridge_capath /x|\
            bridge_ciphers x|bridge_insecure true|bridge_max_packet_size 9999|bridge_max_topic_alias 9|bridge_outgoing_retain false|\
            bridge_protocol_version mqttv31|bridge_receive_maximum 9|bridge_reload_type lazy|bridge_require_ocsp true|\
            bridge_session_expiry_interval 9|bridge_tcp_keepalive 9 9 9|bridge_tcp_user_timeout 9|bridge_tls_use_os_certs true|\
            bridge_tls_version tlsv1.3|cleansession true|clientid x|remote_clientid x|idle_timeout 9|keepalive_interval 9|\
            local_cleansession true|local_clientid x|local_password x|local_username x|notifications false|notification_topic x|\
            notifications_local_only true|remote_username x|username x|restart_timeout 9|round_robin true|start_type lazy|threshold 9|\
            try_private false|topic a in|bridge_psk 00|bridge_zzz 1";
        let base = "allow_anonymous true\npassword_file passwd\n";
        let bridged = format!("{base}listener 1883\nconnection c\naddress h\ntopic x out\n");
        for (before, after, lines) in [
            (base.to_owned(), "listener 1883\n", general),
            (format!("{base}listener 1883\n"), "", listener),
            (bridged, "", bridge),
        ] {
            let without = of(&format!("{before}{after}"));
            for line in lines.split('|').map(str::trim) {
                let with = of(&format!("{before}{line}\n{after}"));
                let key = line.split(' ').next().unwrap();
                let is_named =
                    with.notes.iter().any(|note| note.what.contains(key) || note.why.contains(key));
                let text = with.text.replace(|c: char| c.is_ascii_digit(), "");
                let is_carried = text != without.text.replace(|c: char| c.is_ascii_digit(), "")
                    || with.notes.len() != without.notes.len();
                assert!(is_named || is_carried, "`{line}` is ignored: {:#?}\n{}", with.notes, with.text);
                plan(&Imported {
                    text: with.text.replace("FOLDER", &sample("mosquitto").display().to_string()),
                    ..with
                });
            }
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_error_with_its_file() {
        let missing = import(Format::Mosquitto, &sample("mosquitto/none.conf"), None).unwrap_err();
        assert!(
            matches!(&missing, ImportError::Unreadable { path, .. } if path.ends_with("none.conf")),
            "{missing}"
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.conf");
        std::fs::write(&path, "password_file /does/not/exist\nlistener 1883\n").unwrap();
        let missing = import(Format::Mosquitto, &path, None).unwrap_err();
        assert_eq!(
            missing.to_string(),
            "/does/not/exist cannot be read: No such file or directory (os error 2)"
        );
    }
}

#[test]
fn home_assistant_yaml() {
    let imported = imported(Format::HomeAssistant, "home-assistant/configuration.yaml");
    let plan = plan(&imported);
    let house = mqtt(&plan, "home-assistant");
    assert_eq!(house.addresses[0].to_string(), "mqtts://192.168.1.100:8883");
    assert_eq!((house.client_id.as_deref(), house.keep_alive.as_secs()), (Some("home-assistant-1"), 45));
    assert_eq!(house.username.as_deref(), Some("hass"), "it comes from secrets.yaml");
    assert_eq!(
        house.password.as_ref().and_then(|secret| secret.expose_text()),
        Some("the secret of the house")
    );
    assert_eq!((house.tls.ca.len(), house.tls.verify), (1, Verify::Chain));
    let (birth, will) = (house.birth.as_ref().unwrap(), house.will.as_ref().unwrap());
    assert_eq!(
        (birth.qos, birth.retain, will.qos, will.retain),
        (QoS::AtMostOnce, true, QoS::AtLeastOnce, true)
    );
    assert_eq!(
        (birth.topic.as_str(), &birth.payload[..], &will.payload[..]),
        ("hass/status", &b"online"[..], &b"offline"[..])
    );
    for key in ["`discovery`", "`discovery_prefix`", "`sensor`", "`tls_version`", "`default_config`, `http`"]
    {
        note(&imported, NoteKind::LeftOut, key);
    }
}

#[test]
fn home_assistant_store() {
    let imported = imported(Format::HomeAssistant, "home-assistant/core.config_entries");
    let plan = plan(&imported);
    let house = mqtt(&plan, "Mosquitto-MQTT-Broker");
    assert_eq!(house.addresses[0].to_string(), "ws://core-mosquitto:1884/mqtt");
    assert_eq!(house.websocket_headers.len(), 1);
    assert!(house.birth.is_some() && house.will.is_none());
    note(&imported, NoteKind::LeftOut, "`discovery`");
}

#[test]
fn home_assistant_secrets_and_variables() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("configuration.yaml");
    std::fs::write(&path, "mqtt: !include mqtt.yaml\n").unwrap();
    let mqtt_yaml = "broker: h\nusername: u\npassword: !env_var PATH\nclient_id: !secret none\n";
    std::fs::write(folder.path().join("mqtt.yaml"), mqtt_yaml).unwrap();
    std::fs::write(folder.path().join("secrets.yaml"), "other: x\n").unwrap();
    let imported = import(Format::HomeAssistant, &path, None).unwrap();
    assert!(imported.text.contains("password = \"env:PATH\""), "{}", imported.text);
    note(&imported, NoteKind::LeftOut, "`!secret none`");
}

#[test]
fn node_red_brokers_and_straight_wires() {
    let imported = imported(Format::NodeRed, "node-red/flows.json");
    let plan = plan(&imported);
    let plant = mqtt(&plan, "Plant-broker");
    assert_eq!(plant.addresses[0].to_string(), "mqtts://plant.example.com:8883");
    assert_eq!(
        (plant.username.as_deref(), plant.client_id.as_deref()),
        (Some("nodered"), Some("node-red-1"))
    );
    assert_eq!(
        plant.password.as_ref().and_then(|secret| secret.expose_text()),
        Some("the secret of the flows")
    );
    assert_eq!((plant.session, plant.session_expiry.as_secs()), (SessionKind::Durable, 3_600));
    assert_eq!((plant.tls.ca.len(), plant.tls.server_name.as_deref()), (1, Some("plant.internal")));
    assert_eq!(plant.tls.alpn, ["mqtt"]);
    assert!(plant.birth.is_some() && plant.will.is_some());
    let other = mqtt(&plan, "127-0-0-1");
    assert!(!other.enabled, "it does not connect by itself there");
    let flows: Vec<_> = plan.flows.values().map(shown).collect();
    assert_eq!(
        flows,
        ["Plant-broker sensors/+/temperature 1 -> 127-0-0-1 {topic} Some(ExactlyOnce) Some(true) Refused"]
    );
    for (which, why) in [
        ("of raw", "it is not wired straight to an `mqtt out`"),
        ("of levels/#", "it is not wired straight to an `mqtt out`"),
        ("of asked", "what it subscribes to is told to it while Node-RED runs"),
    ] {
        let said = note(&imported, NoteKind::LeftOut, &format!("an `mqtt in` {which}"));
        assert!(said.contains(why), "{which}: {said}");
    }
    note(&imported, NoteKind::LeftOut, "wires to other nodes");
    note(&imported, NoteKind::LeftOut, "1 of `function`");
    assert_eq!(plant.will.as_ref().unwrap().topic.as_str(), "nodered/status");
    assert!(
        imported.text.contains("delay_s = 5") && imported.text.contains("close = {"),
        "{}",
        imported.text
    );
}

#[test]
fn node_red_names_credentials_that_are_encrypted() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["flows.json", "ca.pem"] {
        std::fs::copy(sample("node-red").join(file), folder.path().join(file)).unwrap();
    }
    std::fs::write(folder.path().join("flows_cred.json"), "{\"$\":\"0123abcd\"}").unwrap();
    let imported = import(Format::NodeRed, &folder.path().join("flows.json"), None).unwrap();
    assert!(note(&imported, NoteKind::LeftOut, "user names, passwords and keys").contains("encrypted"));
}

#[test]
fn oibus_connectors_of_both_sides() {
    let imported = imported(Format::Oibus, "oibus/export.json");
    let plan = plan(&imported);
    let cloud = mqtt(&plan, "Cloud");
    assert_eq!(cloud.addresses[0].to_string(), "mqtts://broker.example.com:8883");
    assert_eq!((cloud.reconnect_min.as_millis(), cloud.reconnect_max.as_millis()), (10_000, 10_000));
    assert_eq!((cloud.session, cloud.tls.verify), (SessionKind::Durable, Verify::None));
    assert_eq!((cloud.username.as_deref(), cloud.password.is_none()), (Some("oibus"), true));
    let flows: Vec<_> = plan.flows.values().map(shown).collect();
    assert_eq!(flows, ["Machines machines/+/temperature 1 -> broker {topic} None None Refused"]);
    note(&imported, NoteKind::LeftOut, "the password");
    note(&imported, NoteKind::LeftOut, "a connector of type `file-writer`");
    note(&imported, NoteKind::LeftOut, "the item `old`");
    note(&imported, NoteKind::LeftOut, "`users`");
    note(&imported, NoteKind::Changed, "`caching`");
}

#[test]
fn forms_of_avstudio_mendix_and_boomi() {
    let imported_av = imported(Format::AvStudio, "forms/avstudio.json");
    let av = plan(&imported_av);
    let first = mqtt(&av, "New-mqtt-connector");
    assert_eq!(first.addresses[0].to_string(), "mqtts://mqtt.example.com:8883");
    assert_eq!((first.reconnect_min.as_millis(), first.reconnect_max.as_millis()), (4_000, 4_000));
    assert_eq!(mqtt(&av, "Browser").addresses[0].to_string(), "ws://10.0.0.8:9001/mqtt");
    assert!(note(&imported_av, NoteKind::Changed, "the number 50").contains("100"));

    let imported_mendix = imported(Format::Mendix, "forms/mendix.json");
    let mendix = plan(&imported_mendix);
    let warehouse = mqtt(&mendix, "Warehouse");
    assert_eq!((warehouse.tls.ca.len(), warehouse.username.as_deref()), (1, Some("mendix")));
    assert_eq!(mqtt(&mendix, "Sealed").addresses[0].to_string(), "wss://b:443/mqtt");
    assert!(mqtt(&mendix, "Sealed").password.is_none());
    assert!(note(&imported_mendix, NoteKind::LeftOut, "the password").contains("EncryptionKey"));

    let imported_boomi = imported(Format::Boomi, "forms/boomi.json");
    let boomi = plan(&imported_boomi);
    let orders = mqtt(&boomi, "Orders");
    assert_eq!((orders.client_id.as_deref(), orders.session), (Some("orders-1"), SessionKind::Durable));
    assert_eq!(
        orders.password.as_ref().and_then(|secret| secret.expose_text()),
        Some("the secret of the atom")
    );
    note(&imported_boomi, NoteKind::LeftOut, "the client certificate");
}

/// A member that nobody knows is named, wherever it stands.
#[test]
fn no_member_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    for (format, name) in SAMPLES.iter().filter(|(format, _)| *format != Format::Mosquitto) {
        let source = sample(name);
        for file in std::fs::read_dir(source.parent().unwrap()).unwrap() {
            let file = file.unwrap().path();
            std::fs::copy(&file, folder.path().join(file.file_name().unwrap())).unwrap();
        }
        let path = folder.path().join(source.file_name().unwrap());
        let text = std::fs::read_to_string(&source).unwrap();
        // Beside an address, which every connection has.
        let with = match name.ends_with(".yaml") {
            true => text.replacen("  broker:", "  zzz: 1\n  broker:", 1),
            false => {
                let host = ["\"broker\":", "\"url\":", "\"Host\":", "\"BrokerHost\":"];
                let host = host.iter().find(|host| text.contains(**host)).unwrap();
                text.replacen(host, &format!("\"zzz\": 1, {host}"), 1)
            }
        };
        assert_ne!(with, text, "{name}");
        std::fs::write(&path, with).unwrap();
        let imported = import(*format, &path, None).unwrap();
        note(&imported, NoteKind::LeftOut, "`zzz`");
    }
}

#[test]
fn ports_that_are_not_written_are_those_of_the_other_system() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let broker = |usetls: bool| {
        format!("[{{\"id\":\"a\",\"type\":\"mqtt-broker\",\"broker\":\"h\",\"usetls\":{usetls}}}]")
    };
    for (format, text, expected) in [
        (Format::HomeAssistant, "mqtt:\n  broker: h\n  certificate: auto\n".to_owned(), "mqtts://h:1883"),
        (Format::NodeRed, broker(true), "mqtts://h:1883"),
        (Format::NodeRed, broker(false), "mqtt://h:1883"),
        (Format::NodeRed, broker(false).replace("\"h\"", "\"wss://me:secret@h/x\""), "wss://h:443/x"),
        (Format::Boomi, "{\"Host\":\"h\",\"Use SSL Certifications\":true}".to_owned(), "mqtts://h:1883"),
        (Format::Mendix, "{\"Broker host\":\"h\",\"Enable SSL\":true}".to_owned(), "mqtts://h:8883"),
    ] {
        std::fs::write(&path, &text).unwrap();
        let imported = import(format, &path, None).unwrap();
        let plan = plan(&imported);
        let found = plan.connectors.keys().find(|name| *name != "broker").unwrap();
        assert_eq!(mqtt(&plan, found).addresses[0].to_string(), expected, "{text}");
        assert!(!format!("{imported:?}").contains("secret"), "{text}");
        if text.contains("secret@") {
            note(&imported, NoteKind::LeftOut, "the user name and the password in the address");
        }
    }
}

#[test]
fn a_password_that_looks_like_a_reference_is_never_written_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.json");
    for password in ["env:HOME", "file:/etc/passwd", "sealed:v1:x"] {
        let json = serde_json::json!({ "host": "h", "username": "u", "password": password });
        std::fs::write(&path, json.to_string()).unwrap();
        let imported = import(Format::AvStudio, &path, None).unwrap();
        assert!(!imported.text.contains(password), "{}", imported.text);
        note(&imported, NoteKind::LeftOut, "a password");
    }
}

#[test]
fn a_file_without_mqtt_says_so() {
    let folder = tempfile::tempdir().unwrap();
    for (format, text) in [
        (Format::HomeAssistant, "http:\n"),
        (Format::HomeAssistant, "{}"),
        (Format::NodeRed, "[]"),
        (Format::Oibus, "{}"),
        (Format::AvStudio, "[]"),
        (Format::Mendix, "{\"a\": 1}"),
    ] {
        let path = folder.path().join("file");
        std::fs::write(&path, text).unwrap();
        let error = import(format, &path, None).unwrap_err();
        assert!(matches!(error, ImportError::Nothing { .. }), "{format:?}: {error}");
        std::fs::write(&path, "[ {").unwrap();
        let error = import(format, &path, None).unwrap_err();
        assert!(matches!(error, ImportError::Unexpected { .. }), "{format:?}: {error}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn no_text_makes_an_import_panic(
        text in "(listener|connection|address|topic|port|bind_address|allow_anonymous|[a-z_]{1,8}|mqtt:|  broker:|[\\[\\]{}\",: ]|\\PC| |\n){0,40}",
        format in 0_usize..7,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, &text).unwrap();
        let formats = [Format::Mosquitto, Format::HomeAssistant, Format::NodeRed, Format::Oibus, Format::AvStudio, Format::Mendix, Format::Boomi];
        if let Ok(imported) = import(formats[format], &path, None) {
            // What comes out is TOML, whatever the names and values in it are.
            let findings = parse(&imported.text, "crosspoint.toml", None).err().unwrap_or_default();
            proptest::prop_assert!(!findings.iter().any(|finding| finding.message.starts_with("this is not TOML")), "{}", imported.text);
        }
    }
}
