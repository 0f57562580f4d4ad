//! Which test is that of which key: a key of a connector without one fails here.

use std::collections::BTreeSet;
use std::path::Path;

use crosspoint_hub::config::setting::{Setting, Shape};
use crosspoint_hub::config::settings;

/// This folder.
const HERE: &str = "interop/tests/settings";

/// Keys, and the test that fails without them: its file and its name. A table stands for all its keys.
const TESTS: &[(&[&str], &str, &str)] = &[
    (&["kind"], "crates/hub/tests/config_errors.rs", "names"),
    (&["enabled"], "connecting.rs", "a_connector_that_is_not_enabled_stays_away"),
    (&["preset"], "crates/hub/tests/config_presets.rs", "each_preset_knows_where_its_broker_is"),
    (&["preset"], "connecting.rs", "a_preset_says_what_is_not_written"),
    (&["url"], "connecting.rs", "the_next_url_of_a_list_is_tried"),
    (&["url"], "connecting.rs", "the_hub_returns_to_the_first_url_of_a_list"),
    (&["host", "port", "transport", "path"], "connecting.rs", "host_port_transport_and_path_are_a_place_too"),
    (&["protocol"], "connecting.rs", "each_protocol_is_spoken_and_auto_is_the_highest"),
    (&["client_id"], "connecting.rs", "each_protocol_is_spoken_and_auto_is_the_highest"),
    (
        &["client_id"],
        "connecting.rs",
        "a_made_up_client_id_is_short_enough_for_3_1_and_one_for_each_connector",
    ),
    (&["username", "password"], "connecting.rs", "user_name_and_password_open_the_door"),
    (&["auth"], "connecting.rs", "scram_opens_the_door_and_the_password_stays_here"),
    (
        &["tls.ca", "tls.certificate", "tls.key"],
        "tls.rs",
        "authority_certificate_and_key_open_the_door_and_others_do_not",
    ),
    (
        &["tls.verify", "tls.server_name"],
        "tls.rs",
        "the_name_is_checked_unless_only_the_chain_is_and_nothing_where_nothing_is_written",
    ),
    (&["tls.alpn"], "tls.rs", "application_protocols_are_offered"),
    (
        &["tls.key_password", "tls.pkcs12"],
        "interop/tests/tls_settings.rs",
        "a_client_certificate_opens_mosquitto_from_every_form",
    ),
    (&["tls.min_version"], "interop/tests/tls_settings.rs", "a_server_older_than_min_version_is_refused"),
    (&["websocket.headers"], "connecting.rs", "the_headers_of_the_upgrade_are_sent"),
    (&["proxy"], "proxies.rs", "a_connector_goes_through_an_http_proxy"),
    (&["proxy"], "proxies.rs", "a_connector_goes_through_a_socks_proxy_that_may_look_up_the_name"),
    (
        &["tcp_keepalive"],
        "interop/tests/hub_links.rs",
        "the_system_watches_a_connection_exactly_when_it_is_told_to",
    ),
    (
        &["user_properties", "request_response_information", "request_problem_information"],
        "connecting.rs",
        "what_connect_carries_with_mqtt_5_is_sent",
    ),
    (&["durability"], "outboxes.rs", "what_counts_as_kept_in_memory_is_not_on_disk"),
    (&["keep_alive_s"], "connecting.rs", "the_keep_alive_is_the_one_that_is_written"),
    (
        &["connect_timeout_ms"],
        "connecting.rs",
        "a_server_that_says_nothing_is_left_when_the_connect_timeout_is_over",
    ),
    (&["reconnect_min_ms", "reconnect_max_ms"], "connecting.rs", "equal_pauses_are_a_constant_period"),
    (&["session"], "sessions.rs", "a_session_is_kept_or_begun_anew_as_it_is_written"),
    (&["session_expiry_s"], "sessions.rs", "a_session_that_expires_is_given_up_by_the_broker"),
    (&["receive_maximum"], "sessions.rs", "no_more_than_receive_maximum_is_on_its_way"),
    (&["max_packet_bytes"], "sessions.rs", "a_packet_that_is_too_large_is_not_sent_to_us"),
    (&["topic_alias_max"], "sessions.rs", "topic_aliases_are_offered"),
    (&["canary"], "sessions.rs", "a_canary_flies_where_it_is_told"),
    (
        &["ack_deadline_ms"],
        "sessions.rs",
        "a_broker_that_acknowledges_nothing_is_left_when_the_ack_deadline_is_over",
    ),
    (
        &["will"],
        "interop/tests/hub_announcements.rs",
        "the_will_comes_when_the_hub_dies_and_a_delayed_one_later",
    ),
    (
        &["birth", "close"],
        "interop/tests/hub_announcements.rs",
        "birth_and_close_frame_a_clean_run_and_no_will_follows",
    ),
    (
        &["will.retain", "birth.retain", "close.retain"],
        "interop/tests/hub_announcements.rs",
        "what_is_retained_of_them_is_there_for_who_comes_later",
    ),
    (
        &["outbox.messages", "outbox.when_full"],
        "outboxes.rs",
        "of_what_is_too_much_the_oldest_or_the_newest_is_dropped_or_nothing",
    ),
    (&["outbox.when_full"], "outboxes.rs", "a_full_outbox_that_blocks_holds_its_source_up"),
    (&["outbox.bytes"], "outboxes.rs", "an_outbox_is_full_by_its_bytes_too"),
    (&["outbox.keep_latest"], "outboxes.rs", "of_a_state_only_the_newest_arrives"),
    (&["outbox.age_s"], "outboxes.rs", "what_has_waited_too_long_does_not_arrive"),
    (
        &["outbox.replay_mark.property", "outbox.replay_mark.topic_prefix"],
        "outboxes.rs",
        "what_has_waited_is_marked_by_its_topic_and_by_a_property",
    ),
    (&["outbox.replay_mark.after_s"], "outboxes.rs", "what_has_waited_less_than_it_says_is_not_marked"),
    (&["outbox.backlog_per_s"], "outboxes.rs", "a_backlog_leaves_at_its_pace"),
    (
        &["outbox.max_attempts"],
        "refusing.rs",
        "what_is_refused_for_the_moment_is_sent_again_as_often_as_it_says",
    ),
    (&["outbox.dead_letters"], "outboxes.rs", "no_more_dead_letters_are_kept_than_is_written"),
    (&["outbox.archive"], "outboxes.rs", "what_was_sent_is_kept_where_there_is_an_archive"),
    (
        &["outbox.archive.bytes", "outbox.archive.age_s"],
        "outboxes.rs",
        "an_archive_is_bounded_by_its_bytes_and_by_their_age",
    ),
    (&["ordering"], "refusing.rs", "a_refusal_holds_up_everything_or_its_topic_alone"),
];

fn keys(known: &[&Setting], path: &str, found: &mut Vec<String>) {
    for setting in known {
        let path = if path.is_empty() { setting.key.to_owned() } else { format!("{path}.{}", setting.key) };
        match setting.shape {
            Shape::NotYet => {}
            Shape::Table(inner) | Shape::Tables(inner) => keys(inner, &path, found),
            _ => found.push(path),
        }
    }
}

fn covers(row: &str, key: &str) -> bool {
    key == row || key.strip_prefix(row).is_some_and(|rest| rest.starts_with('.'))
}

#[test]
fn every_key_of_a_connector_has_a_test() {
    let mut all = Vec::new();
    keys(settings::connector::ALL, "", &mut all);
    let rows: Vec<&str> = TESTS.iter().flat_map(|(keys, ..)| keys.iter().copied()).collect();
    let without: Vec<&String> = all.iter().filter(|key| !rows.iter().any(|row| covers(row, key))).collect();
    assert!(without.is_empty(), "without a test in {HERE}/table.rs: {without:?}");
    let gone: Vec<&&str> = rows.iter().filter(|row| !all.iter().any(|key| covers(row, key))).collect();
    assert!(gone.is_empty(), "no keys any more: {gone:?}");
}

#[test]
fn every_test_of_the_table_is_there() {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap();
    let root = Path::new(&package).parent().unwrap();
    let missing: BTreeSet<&str> = TESTS
        .iter()
        .filter(|(_, file, name)| {
            let path = if file.contains('/') { root.join(file) } else { root.join(HERE).join(file) };
            let text = std::fs::read_to_string(path).unwrap_or_default();
            !text.contains(&format!("fn {name}("))
        })
        .map(|(_, _, name)| *name)
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
