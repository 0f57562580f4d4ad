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

#[test]
fn a_plan_and_what_is_made_of_it_show_no_secret() {
    let text = format!(
        "[connector.a]\nurl = 'wss://h'\nusername = 'u'\npassword = '{NEEDLE}'\nwebsocket.headers.Cookie = '{NEEDLE}'\n\
         [broker.user.al]\npassword = '{NEEDLE}'\nroles = []\n"
    );
    let (plan, warnings) = parse(&text, "p.toml", None).unwrap();
    assert_silent(&format!("{plan:?} {plan:#?} {warnings:?}"));
    let ConnectorPlan::Mqtt(mqtt) = &plan.connectors["a"] else { panic!("{plan:?}") };
    assert_eq!(mqtt.password.as_ref().unwrap().expose(), NEEDLE.as_bytes(), "it was there to be shown");
    let options = client_options(mqtt, "id");
    assert_silent(&format!("{options:?} {options:#?}"));
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
