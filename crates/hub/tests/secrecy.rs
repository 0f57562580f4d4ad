//! No secret of a project is in what its plan, its findings or the options of its clients show of themselves.

use crosspoint_hub::config::parse;
use crosspoint_hub::config::plan::ConnectorPlan;
use crosspoint_hub::connect::client_options;

const NEEDLE: &str = "kQ7vZw3XjN";

#[track_caller]
fn assert_silent(shown: &str) {
    assert!(!shown.contains(NEEDLE), "{shown}");
    // Also as numbers, as bytes show themselves.
    let numbers: Vec<String> = NEEDLE.bytes().map(|byte| byte.to_string()).collect();
    let packed: String = shown.chars().filter(|letter| !letter.is_whitespace()).collect();
    assert!(!packed.contains(&numbers.join(",")), "{shown}");
}

/// Keys of `[connector.a]` with the needle.
const PLACES: &[&str] = &[
    "url = 'mqtt://h'\nusername = 'u'\npassword = 'NEEDLE'",
    "url = 'wss://h'\nwebsocket.headers.Cookie = 'NEEDLE'",
    "url = 'mqtt://h'\nproxy = 'http://u:NEEDLE@p:1'",
    "url = 'mqtt://h'\nproxy = 'socks5h://u:NEEDLE@p:1'",
    "url = 'mqtt://h'\nproxy = { url = 'socks5://p:1', username = 'u', password = 'NEEDLE' }",
    "url = 'mqtts://h'\ntls.key_password = 'NEEDLE'",
];

#[test]
fn a_plan_and_what_is_made_of_it_show_no_secret() {
    for keys in PLACES {
        let text = format!("[connector.a]\n{keys}\n[broker.user.al]\npassword = 'NEEDLE'\nroles = []\n")
            .replace("NEEDLE", NEEDLE);
        let (plan, warnings) = parse(&text, "p.toml", None).unwrap();
        assert_silent(&format!("{plan:?} {plan:#?} {warnings:?}"));
        let ConnectorPlan::Mqtt(mqtt) = &plan.connectors["a"] else { panic!("{plan:?}") };
        let options = client_options(mqtt, "id");
        assert_silent(&format!("{options:?} {options:#?}"));
    }
}

#[test]
fn the_secrets_of_a_plan_are_there_to_be_shown() {
    let plan = |keys: &str| {
        let text = format!("[connector.a]\n{keys}\n").replace("NEEDLE", NEEDLE);
        match parse(&text, "p.toml", None).unwrap().0.connectors.remove("a") {
            Some(ConnectorPlan::Mqtt(mqtt)) => mqtt,
            other => panic!("{other:?}"),
        }
    };
    let [password, header, proxies @ .., _] = PLACES else { panic!() };
    assert_eq!(plan(password).password.unwrap().expose(), NEEDLE.as_bytes());
    assert_eq!(plan(header).websocket_headers[0].1.expose(), NEEDLE.as_bytes());
    for proxy in proxies {
        assert_eq!(plan(proxy).proxy.unwrap().login.unwrap().1.expose(), NEEDLE.as_bytes(), "{proxy}");
    }
}

#[test]
fn findings_show_no_secret_whatever_is_wrong() {
    for keys in [
        format!("url = 'mqtt://u:{NEEDLE}@h'"),
        format!("url = 'u:{NEEDLE}@h'"),
        format!("url = 'mqtt://h'\npassword = '{NEEDLE}'"),
        format!("url = 'mqtt://h'\npasword = '{NEEDLE}'"),
        format!("url = 'mqtt://h'\npassword = ['{NEEDLE}']"),
        format!("url = 'mqtt://h'\nwebsocket.headers = '{NEEDLE}'"),
        format!("url = 'ws://h'\nwebsocket.headers.Host = '{NEEDLE}'"),
        format!("url = 'mqtts://h'\ntls.certificate = 'x'\ntls.key = '-----BEGIN PRIVATE KEY-----{NEEDLE}'"),
        format!("url = 'mqtt://h'\npassword = '{NEEDLE}"),
        format!("url = 'mqtt://h'\nproxy = 'http://{NEEDLE}@p:1'"),
        format!("url = 'mqtt://h'\nproxy = 'u:{NEEDLE}@p:1'"),
        format!("url = 'mqtt://h'\nproxy = 'https://u:{NEEDLE}@p:1'"),
        format!("url = 'mqtt://h'\nproxy = {{ url = 'http://u:{NEEDLE}@p:1' }}"),
        format!("url = 'mqtt://h'\nproxy = {{ url = 'http://p:1', password = '{NEEDLE}' }}"),
        format!("url = 'mqtts://h'\ntls.key_password = ['{NEEDLE}']"),
        format!("url = 'mqtts://h'\ntls.key_pasword = '{NEEDLE}'"),
        format!(
            "url = 'mqtts://h'\ntls.pkcs12 = '-----BEGIN X PRIVATE KEY-----{NEEDLE}'\ntls.key_password = '{NEEDLE}'"
        ),
        format!(
            "url = 'mqtts://h'\ntls.certificate = 'x'\ntls.key = '-----BEGIN ENCRYPTED PRIVATE KEY-----{NEEDLE}'\ntls.key_password = '{NEEDLE}'"
        ),
    ] {
        let found = match parse(&format!("[connector.a]\n{keys}\n"), "p.toml", None) {
            Ok((_, warnings)) => warnings,
            Err(errors) => errors,
        };
        assert!(!found.is_empty(), "{keys}");
        for finding in found {
            assert_silent(&format!("{finding} {finding:?}"));
        }
    }
}
