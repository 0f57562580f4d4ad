//! What a change of the file touches, and what it leaves alone.

use crosspoint_hub::config::{Plan, diff, parse};

const BASE: &str = r#"
[connector.plant]
url = "mqtt://plant"
[connector.cloud]
url = "mqtt://cloud"
[flow.up]
from = { connector = "plant", topics = "sensors/#" }
to = { connector = "cloud" }
[flow.here]
from = { connector = "plant", topics = "alarms/#" }
to = { connector = "broker" }
[broker.listener.main]
bind = "127.0.0.1:1883"
"#;

#[track_caller]
fn plan(text: &str) -> Plan {
    let (plan, _) = parse(text, "crosspoint.toml", None).unwrap_or_else(|findings| panic!("{findings:?}"));
    plan
}

/// Checks what is printed for a change from `BASE`.
#[track_caller]
fn check(new: &str, expected: &str) {
    assert_eq!(diff(&plan(BASE), &plan(new)).to_string(), expected);
}

#[test]
fn nothing_changes_with_comments_order_and_written_defaults() {
    let moved = BASE.replace("[connector.cloud]", "# a comment\n[connector.cloud]\nkeep_alive_s = 60");
    check(&moved, "");
    assert!(diff(&plan(BASE), &plan(&moved)).is_empty());
}

#[test]
fn the_start_is_a_change_from_nothing() {
    let changes = diff(&Plan::default(), &plan(BASE));
    let expected = "+ start     connector broker\n+ start     connector cloud\n+ start     connector plant\n+ start     flow here\n+ start     flow up\n+ open      listener main\n";
    assert_eq!(changes.to_string(), expected);
}

#[test]
fn only_the_connector_that_changed_reconnects() {
    check(&BASE.replace("mqtt://cloud", "mqtt://other"), "~ reconnect connector cloud\n");
}

#[test]
fn a_change_of_a_flow_reconnects_nothing() {
    check(&BASE.replace("sensors/#", "sensors/+"), "~ change    flow up\n");
}

#[test]
fn a_flow_that_needs_another_session_reconnects_its_connector() {
    let new = BASE.replace("to = { connector = \"cloud\" }", "to = { connector = \"cloud\", qos = 2 }");
    check(&new, "~ reconnect connector cloud\n~ change    flow up\n");
}

#[test]
fn what_is_new_starts_and_what_is_gone_stops() {
    let new = BASE.replace("flow.here", "flow.there");
    check(&new, "- stop      flow here\n+ start     flow there\n");
}

#[test]
fn a_disabled_connector_stops_with_its_flows() {
    let new = BASE.replace("\"mqtt://cloud\"", "\"mqtt://cloud\"\nenabled = false");
    check(&new, "- stop      connector cloud\n- stop      flow up\n");
}

#[test]
fn listeners_users_and_limits_of_the_broker() {
    check(&BASE.replace("127.0.0.1:1883", "127.0.0.1:1884"), "~ reopen    listener main\n");
    check(&format!("[broker]\nconnections_max = 1\n{BASE}"), "~ change    limits of the broker\n");
    let user = "[broker.user.a]\npassword = \"x\"\nroles = \"r\"\n[broker.role.r]\nallow = \"both #\"\n";
    check(&format!("{BASE}{user}"), "~ change    users of the broker\n");
}

#[test]
fn a_changed_password_file_reconnects_though_the_project_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().join("crosspoint.toml").display().to_string();
    let text = "[connector.a]\nurl = \"mqtt://h\"\nusername = \"u\"\npassword = \"file:password\"\n";
    let read = |password: &str| {
        std::fs::write(folder.path().join("password"), password).unwrap();
        parse(text, &name, None).unwrap().0
    };
    let (old, same, new) = (read("one"), read("one\n"), read("two"));
    assert!(diff(&old, &same).is_empty());
    assert_eq!(diff(&old, &new).to_string(), "~ reconnect connector a\n");
}
