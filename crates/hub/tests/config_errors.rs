//! What is said about a wrong project file: one line of a table for each kind of fault.

use crosspoint_hub::config::{Colour, Diagnostic, Severity, parse};

/// What a working project needs besides the fault.
const PLANT: &str = "[connector.plant]\nurl = \"mqtt://h\"\n";
const FLOW: &str = "[flow.zz]\nto = [{ connector = \"broker\" }]\n";

fn findings(text: &str) -> Vec<Diagnostic> {
    match parse(text, "crosspoint.toml", None) {
        Ok((_, warnings)) => warnings,
        Err(findings) => findings,
    }
}

/// Checks that exactly one finding comes out, and that it reads as expected: message, place, label, help.
#[track_caller]
fn check(text: &str, severity: Severity, message: &str, marked: &str, label: &str, help: &str) {
    let found = findings(text);
    let shown: Vec<_> = found.iter().map(ToString::to_string).collect();
    let [finding] = found.as_slice() else { panic!("not one finding:\n{}", shown.join("\n")) };
    let word = if severity == Severity::Error { "error" } else { "warning" };
    let Some(at) = text.rfind(marked) else { panic!("{marked} is not in the source") };
    let rendered = finding.render(Colour::Never);
    assert!(rendered.starts_with(&format!("{word}: {message}\n")), "{rendered}");
    assert_eq!(finding.span, Some(at..at + marked.len()), "{rendered}");
    // Every secret is shown alike: eight stars between its quotes.
    let source = finding.source.text.get(at..).unwrap_or_default();
    let is_hidden = source.starts_with("\"*") && !source.starts_with(marked);
    let width = if is_hidden { 10 } else { marked.chars().count() };
    let carets = format!("{} {label}", "^".repeat(width));
    assert!(rendered.contains(&carets), "{rendered}");
    assert!(rendered.contains(&format!("= help: {help}")), "{rendered}");
}

#[track_caller]
fn error(text: &str, message: &str, marked: &str, label: &str, help: &str) {
    check(text, Severity::Error, message, marked, label, help);
}

#[track_caller]
fn warning(text: &str, message: &str, marked: &str, label: &str, help: &str) {
    check(text, Severity::Warning, message, marked, label, help);
}

/// Puts one line into the connector.
fn plant(line: &str) -> String {
    format!("{PLANT}{line}\n")
}

/// Puts one line into the flow.
fn flow(line: &str) -> String {
    format!("{PLANT}[flow.zz]\n{line}\n")
}

#[test]
fn a_finding_is_rendered_with_file_line_caret_and_mend() {
    let found = findings("[connector.plant]\nurl = \"mqtt://h\"\nkeep_alive_s = 70000\n");
    let expected = "\
error: `connector.plant.keep_alive_s` is out of bounds
 --> crosspoint.toml:3:16
  |
3 | keep_alive_s = 70000
  |                ^^^^^ 70,000 is more than 65,535
  |
  = help: write a number from 0 to 65,535, without quotes (default: 60)";
    assert_eq!(found[0].to_string(), expected);
    assert_eq!(found[0].position(), Some((3, 16)));
    let coloured = found[0].render(Colour::Always);
    assert!(coloured.contains('\u{1b}'));
    assert!(!expected.contains('\u{1b}'));
}

#[test]
fn all_errors_come_at_once_in_the_order_of_the_file() {
    let text = "[connector.a]\nurl = \"host\"\nkeep_alive_s = -1\nx = 1\n[flow.zz]\nfrom = 1\n[nothing]\n";
    let lines: Vec<_> = findings(text).iter().map(|finding| finding.position().unwrap().0).collect();
    assert_eq!(lines, [2, 3, 4, 5, 6, 7]);
}

#[test]
fn toml_itself() {
    let found = findings("[connector.a\nurl = 1\n");
    assert!(found[0].message.starts_with("this is not TOML: unclosed table, expected `]`"), "{}", found[0]);
    assert_eq!(found[0].position(), Some((1, 13)));
    let found = findings("a = 1\na = 2\n");
    assert!(found[0].message.starts_with("this is not TOML: duplicate key"), "{}", found[0]);
    let deep = format!("a = {}1{}\n", "[".repeat(60), "]".repeat(60));
    assert!(findings(&deep)[0].message.contains("nest deeper than 32 levels"));
}

#[test]
fn keys_that_are_not_known() {
    let known = "the keys here are id, connector, flow, broker, console, environment";
    error("[nothing]\n", "`nothing` is not a known key", "nothing", "unknown key", known);
    error(
        "[conector]\n",
        "`conector` is not a known key",
        "conector",
        "unknown key",
        "did you mean `connector`?",
    );
    let message = "`connector.plant.usrname` is not a known key";
    error(&plant("usrname = \"x\""), message, "usrname", "unknown key", "did you mean `username`?");
    let message = "`connector.plant.tls.certifcate` is not a known key";
    error(
        &plant("tls.certifcate = \"x\"").replace("mqtt:", "mqtts:"),
        message,
        "certifcate",
        "unknown key",
        "did you mean `certificate`?",
    );
    let message = "`flow.zz.from.topcs` is not a known key";
    let text = format!("{PLANT}{FLOW}from = {{ connector = \"plant\", topics = \"a\", topcs = 1 }}");
    error(&text, message, "topcs", "unknown key", "did you mean `topics`?");
}

#[test]
fn keys_that_this_version_does_not_have() {
    for key in ["where", "map", "connection"] {
        let line = format!("from = {{ connector = \"plant\", topics = \"a\" }}\n{key} = \"own\"");
        let text = format!("{PLANT}[flow.zz]\nto = {{ connector = \"broker\" }}\n{line}");
        error(&text, &format!("`flow.zz.{key}` is not in this version"), key, "known", "remove the key");
    }
}

#[test]
fn values_of_the_wrong_kind() {
    let message = "`connector.plant.keep_alive_s` is a text, but must be a whole number";
    let help = "write a number from 0 to 65,535, without quotes (default: 60)";
    error(&plant("keep_alive_s = \"60\""), message, "\"60\"", "not a whole number", help);
    let message = "`connector.plant.enabled` is a text, but must be true or false";
    error(
        &plant("enabled = \"yes\""),
        message,
        "\"yes\"",
        "not true or false",
        "write enabled = true or enabled = false",
    );
    let message = "`connector.plant.username` is a whole number, but must be a text";
    error(&plant("username = 12"), message, "12", "not a text", "write username = \"...\"");
    let message = "`connector.plant.tls` is true or false, but must be a table";
    error(&plant("tls = true"), message, "true", "not a table", "write tls as a table: tls = { ... }");
    let message = "`connector.plant.tls.alpn` holds texts, and one of them is a whole number";
    let text = plant("tls.alpn = [\"mqtt\", 5]").replace("mqtt:", "mqtts:");
    error(&text, message, "5", "not a text", "write alpn = [\"...\"]");
    let message = "`connector.plant.keep_alive_s` is a number with a fraction, but must be a whole number";
    error(&plant("keep_alive_s = 1.5"), message, "1.5", "not a whole number", help);
    let message = "`connector` holds sections with names, and `url` is a text";
    error(
        "[connector]\nurl = \"x\"",
        message,
        "url",
        "a name is missing",
        "write it under a name: [connector.NAME]",
    );
    let message = "`flow` is a list, but must be a table";
    error("flow = []", message, "[]", "not a table", "write it under a name: [flow.NAME]");
    let text = format!(
        "{PLANT}[flow.zz]\nfrom = {{ connector = \"plant\", topics = \"a\" }}\nto = [{{ connector = \"broker\" }}, 7]"
    );
    let message = "`flow.zz.to` holds tables, and one of them is a whole number";
    error(&text, message, "7", "not a table", "write to = [{ ... }]");
}

#[test]
fn numbers_out_of_bounds() {
    for (line, value, label, bounds) in [
        ("keep_alive_s = 65536", "65536", "65,536 is more than 65,535", "0 to 65,535"),
        ("connect_timeout_ms = 99", "99", "99 is less than 100", "100 to 300,000"),
        ("reconnect_min_ms = 0", "0", "0 is less than 100", "100 to 3,600,000"),
        ("reconnect_max_ms = 3600001", "3600001", "3,600,001 is more than 3,600,000", "100 to 3,600,000"),
        ("receive_maximum = 0", "0", "0 is less than 1", "1 to 65,535"),
        ("max_packet_bytes = 0", "0", "0 is less than 1,024", "1,024 to 268,435,460"),
        ("topic_alias_max = -1", "-1", "-1 is less than 0", "0 to 65,535"),
        ("session_expiry_s = 4294967296", "4294967296", "4,294,967,296 is more than", "0 to 4,294,967,295"),
        (
            "keep_alive_s = 99999999999999999999",
            "99999999999999999999",
            "this is more than 65,535",
            "0 to 65,535",
        ),
    ] {
        let key = line.split(' ').next().unwrap();
        let message = format!("`connector.plant.{key}` is out of bounds");
        error(&plant(line), &message, value, label, &format!("write a number from {bounds}"));
    }
}

#[test]
fn words_that_are_not_a_choice() {
    let message = "`connector.plant.session` cannot be \"durabel\"";
    error(
        &plant("session = \"durabel\""),
        message,
        "\"durabel\"",
        "not one of \"durable\" or \"clean\"",
        "did you mean session = \"durable\"?",
    );
    let message = "`connector.plant.protocol` cannot be \"4\"";
    error(
        &plant("protocol = \"4\""),
        message,
        "\"4\"",
        "not one of",
        "write one of \"auto\", \"5.0\", \"3.1.1\" or \"3.1\"",
    );
    let message = "`connector.plant.kind` cannot be \"http\"";
    error(
        &plant("kind = \"http\""),
        message,
        "\"http\"",
        "not one of \"mqtt\" or \"local\"",
        "write one of \"mqtt\" or \"local\"",
    );
}

#[test]
fn names() {
    let message = "\"a b\" cannot be the name of a connector";
    let help = "use 1 to 64 letters, digits, `-` and `_`";
    error("[connector.\"a b\"]\nurl = \"mqtt://h\"", message, "\"a b\"", "not a usable name", help);
    let message = "\"a#\" cannot be the name of a user";
    let text =
        "[broker.role.r]\nallow = \"both #\"\n[broker.user.\"a#\"]\npassword = \"env:PATH\"\nroles = \"r\"";
    error(text, message, "\"a#\"", "not a usable name", "use 1 to 64 characters without `+` and `#`");
    assert!(findings(&text.replace("a#", "domain\\\\al ice")).is_empty());
    let message = "the name \"broker\" belongs to the embedded broker";
    let help = "choose another name; the embedded broker itself is set under [broker]";
    error("[connector.broker]\nurl = \"mqtt://h\"", message, "broker", "the embedded broker", help);
    let message = "`connector.here.kind` = \"local\" belongs to the connector \"broker\" alone";
    let help = "name \"broker\" in the flows; it is always there, without a section";
    error("[connector.here]\nkind = \"local\"", message, "\"local\"", "the embedded broker", help);
    let message = "`connector.broker` takes no other key than `kind`";
    let text = "[connector.broker]\nkind = \"local\"\nqos = 1";
    assert!(findings(text).iter().any(|finding| finding.message == message));
    assert!(findings("[connector.broker]\nkind = \"local\"").is_empty());
}

#[test]
fn addresses() {
    let help = "write url = \"mqtts://broker.example.com:8883\", or host = \"...\"";
    error("[connector.a]\n", "`connector.a` does not say where to connect", "a", "`url` is missing", help);
    let message = "`connector.plant` has both `url` and `host`";
    error(
        &plant("host = \"h\""),
        message,
        "host",
        "not beside `url`",
        "write either `url` or host, port, transport and path",
    );
    for (url, message, help) in [
        ("h:1883", "has no scheme", "write mqtt://h:1883 or mqtts://h:1883"),
        ("mqqt://h", "has the scheme \"mqqt\", which is not known", "did you mean mqtt://?"),
        ("https://h", "has the scheme \"https\", which is not known", "MQTT over WebSocket is wss://"),
        ("mqtt://h/x", "has a path, and mqtt:// takes none", "remove `/x`"),
        ("mqtt://h:99999", "has the port \"99999\", which is out of bounds", "write a port from 1 to 65,535"),
        ("mqtt://fe80::1", "has an IPv6 address without brackets", "write mqtt://[fe80::1]"),
        ("mqtt://", "has no host", "write mqtts://broker.example.com:8883"),
        ("mqtt://a b", "has the character ` ` in the host name", "a host name has letters, digits"),
    ] {
        let text = format!("[connector.a]\nurl = [\"mqtt://first\", \"{url}\"]\n");
        error(&text, &format!("`connector.a.url` {message}"), &format!("\"{url}\""), "here", help);
    }
    error(
        "[connector.a]\nurl = []",
        "`connector.a.url` is an empty list",
        "[]",
        "no address",
        "write url = ",
    );
    let message = "`connector.a.host` holds a port";
    error("[connector.a]\nhost = \"h:1\"", message, "\"h:1\"", "here", "write host = \"h\" and port = 1");
    let message = "`connector.a.path` is for `ws` and `wss` only";
    error(
        "[connector.a]\nhost = \"h\"\npath = \"/p\"",
        message,
        "\"/p\"",
        "here",
        "remove it, or write transport = \"wss\"",
    );
}

#[test]
fn client_ids() {
    let text = "[connector.a]\nurl = \"mqtt://h\"\nclient_id = \"x\"\n[connector.b]\nurl = \"mqtt://i\"\nclient_id = \"x\"\n";
    let message = "`connector.b.client_id` is also that of connector \"a\"";
    error(text, message, "\"x\"", "used twice", "a broker ends the older connection");
    let found = findings(text);
    assert!(found[0].to_string().contains("--- first used here"), "{}", found[0]);
    let line = "protocol = \"3.1\"\nclient_id = \"123456789012345678901234\"";
    let message = "`connector.plant.client_id` is too long for protocol = \"3.1\"";
    error(
        &plant(line),
        message,
        "\"123456789012345678901234\"",
        "24 characters, and 3.1 allows 23",
        "shorten it",
    );
    let message = "`connector.plant.client_id` is not a client identifier";
    error(&plant("client_id = \"\""), message, "\"\"", "not 1 to 65,535 bytes", "remove the key");
}

#[test]
fn a_rendering_tells_nothing_of_a_secret_and_keeps_the_places_around_it() {
    let rendered = |secret: &str| {
        let line = format!("password = {secret:?}, keep_alive_s = 70000");
        let text = format!("[connector]\nplant = {{ url = \"mqtt://h\", username = \"u\", {line} }}\n");
        findings(&text).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let one = rendered("x");
    assert_eq!(one, rendered("correct horse battery staple it's 'ä'"));
    assert!(one.contains("username = \"u\", password = \"********\", keep_alive_s = 70000 }"), "{one}");
    let shown = one.lines().find(|line| line.contains("70000 }")).unwrap();
    let caret = one.lines().find_map(|line| line.find("^^^^^ 70,000")).unwrap();
    assert!(shown.get(caret..).is_some_and(|from| from.starts_with("70000")), "{one}");
}

#[test]
fn passwords() {
    let message = "`connector.plant.password` is plain text";
    let text = plant("username = \"u\"\npassword = \"hunter2\"");
    let help = "seal it: crosspoint secret set connector.plant.password --keep";
    warning(&text, message, "\"hunter2\"", "readable for everyone who has the file", help);
    let message =
        "`connector.plant.password` is sealed, and the project file has lost the `id` that it was sealed for";
    let text = plant("username = \"u\"\npassword = \"sealed:v1:x\"");
    error(&text, message, "\"sealed:v1:x\"", "sealed", "restore the line `id");
    let message =
        "`connector.plant.password` refers to the environment variable CROSSPOINT_NOT_SET, which is not set";
    let text = plant("username = \"u\"\npassword = \"env:CROSSPOINT_NOT_SET\"");
    error(&text, message, "\"env:CROSSPOINT_NOT_SET\"", "this variable", "set it before the start");
    let message = "`connector.plant.password` is empty";
    error(&plant("username = \"u\"\npassword = \"\""), message, "\"\"", "nothing here", "write \"env:NAME\"");
    let message = "`connector.plant.password` is written without `username`";
    error(
        &plant("password = \"env:PATH\""),
        message,
        "password",
        "MQTT 3.x sends no password alone",
        "add username",
    );
}

#[test]
fn tls() {
    let secure = |line: &str| plant(line).replace("mqtt:", "mqtts:");
    let message = "`connector.plant.tls` has no effect: the address is not encrypted";
    warning(&plant("tls.alpn = \"mqtt\""), message, "tls", "not used", "write mqtts:// or wss://");
    let message = "`connector.plant.tls.verify`: the broker's certificate is not checked, so anyone on the way can read and change everything";
    warning(&secure("tls.verify = \"none\""), message, "\"none\"", "weakened", "write verify = \"full\"");
    let message = "`connector.plant.tls.certificate` is written without `key`";
    error(
        &secure("tls.certificate = \"x.pem\""),
        message,
        "certificate",
        "half of a pair",
        "add key = \"FILE.pem\"",
    );
    let message = "`connector.plant.tls.key` is written without `certificate`";
    error(&secure("tls.key = \"x.pem\""), message, "key", "half of a pair", "add certificate = \"FILE.pem\"");
    let found = findings(&secure("tls.ca = \"no-such-file.pem\""));
    assert!(found[0].message.starts_with("`connector.plant.tls.ca` cannot be read from no-such-file.pem: "));
    let message = "`connector.plant.tls.server_name` is a URL and not a host";
    error(&secure("tls.server_name = \"http://x\""), message, "\"http://x\"", "here", "write it as `url`");
}

#[test]
fn websocket_headers() {
    let web = |line: &str| plant(line).replace("mqtt:", "ws:");
    let message = "`connector.plant.websocket.headers` has no effect: the address is no WebSocket";
    warning(
        &plant("websocket.headers.X = \"env:PATH\""),
        message,
        "headers",
        "not used",
        "write ws:// or wss://",
    );
    let message = "`connector.plant.websocket.headers.Upgrade` is a header of the upgrade itself";
    error(
        &web("websocket.headers.Upgrade = \"env:PATH\""),
        message,
        "\"env:PATH\"",
        "not a header",
        "remove it",
    );
    let message = "`connector.plant.websocket.headers.a b` is not the name of an HTTP header";
    error(
        &web("websocket.headers.\"a b\" = \"env:PATH\""),
        message,
        "\"env:PATH\"",
        "not a header",
        "use letters",
    );
    let message = "`connector.plant.websocket.headers.X` is true or false, but must be a text";
    error(&web("websocket.headers.X = true"), message, "true", "not a text", "write \"...\", \"env:NAME\"");
}

#[test]
fn timing() {
    let message = "`connector.plant.reconnect_min_ms` is more than `reconnect_max_ms`";
    error(
        &plant("reconnect_min_ms = 40000"),
        message,
        "40000",
        "more than 30000",
        "make it smaller, or equal",
    );
    let text = format!(
        "{}[flow.zz]\nfrom = {{ connector = \"plant\", topics = \"a\" }}\nto = {{ connector = \"broker\" }}",
        plant("keep_alive_s = 0")
    );
    let message = "`connector.plant.keep_alive_s` = 0 turns off the only test of the connection, and a flow listens on it";
    error(
        &text,
        message,
        "0",
        "a dead connection would look like silence",
        "write a number from 1 to 65,535 (default: 60), or add canary = {} or, without a proxy, tcp_keepalive = 60",
    );
    let tested = text.replace("keep_alive_s = 0", "keep_alive_s = 0\ntcp_keepalive = 60");
    assert!(findings(&tested).is_empty());
    let of_the_proxy = tested.replace("tcp_keepalive", "proxy = \"http://p:1\"\ntcp_keepalive");
    assert_eq!(findings(&of_the_proxy).len(), 1, "the proxy would answer for a broker that is gone");
    assert!(findings(&plant("keep_alive_s = 0")).is_empty());
    assert!(findings(&text.replace("keep_alive_s = 0", "keep_alive_s = 0\ncanary = {}")).is_empty());
    error(
        &plant("ack_deadline_ms = 999"),
        "`connector.plant.ack_deadline_ms` is shorter than a second",
        "999",
        "too short for a broker that is busy",
        "write 1,000 or more, or 0 for no deadline",
    );
    for (topic, what) in [
        ("\"$SYS/x\"", "topics that begin with `$` belong to the broker"),
        ("\"a/+\"", "a Topic Name holds no wildcard [MQTT-4.7.0-1]"),
    ] {
        error(
            &plant(&format!("canary.topic = {topic}")),
            &format!("`connector.plant.canary.topic`: {what}"),
            topic,
            "not a topic for it",
            "write a full topic of its own, or remove the key",
        );
    }
    let message = "`connector.plant.session_expiry_s` has no effect: a clean session ends at disconnect";
    let text = plant("session = \"clean\"\nsession_expiry_s = 5");
    warning(&text, message, "session_expiry_s", "not used", "write session = \"durable\"");
}

#[test]
fn proxies() {
    let path = "`connector.plant.proxy`";
    error(
        &plant("proxy = \"http://p\""),
        &format!("{path} has no port"),
        "\"http://p\"",
        "here",
        "write proxy = \"http://proxy.example.com:3128\"",
    );
    warning(
        &plant("proxy = \"http://me:secret@p:1\""),
        &format!("{path} holds a password in plain text"),
        "\"http://me:secret@p:1\"",
        "readable for everyone",
        "write the whole URL as \"env:NAME\"",
    );
    error(
        &plant("proxy = { url = \"http://p:1\", username = \"u\" }"),
        &format!("{path} has `username` without `password`"),
        "proxy",
        "half a login",
        "add password",
    );
    error(
        &plant("proxy = { url = \"http://p:1\", username = \"a:b\", password = \"env:CARGO_PKG_NAME\" }"),
        &format!("{path} has a user name with a colon, which HTTP cannot carry"),
        "proxy",
        "cannot be sent",
        "use another user name",
    );
    let long = "u".repeat(256);
    error(
        &plant(&format!(
            "proxy = {{ url = \"socks5://p:1\", username = \"{long}\", password = \"env:CARGO_PKG_NAME\" }}"
        )),
        &format!("{path} has a user name or password that is too long for SOCKS5"),
        "proxy",
        "cannot be sent",
        "shorten it",
    );
    error(&plant("proxy = {}"), "`connector.plant.proxy.url` is missing", "proxy", "no proxy", "write url");
    error(
        &plant("proxy = 1"),
        "`connector.plant.proxy` is a whole number, but must be a text or a table",
        "1",
        "not a text or a table",
        "write proxy = ",
    );
    let text = plant("tcp_keepalive = 32768");
    error(
        &text,
        "`connector.plant.tcp_keepalive` is out of bounds",
        "32768",
        "32,768 is more than 32,767",
        "write a number from 0 to 32,767",
    );
}

#[test]
fn announcements() {
    let message = "`connector.plant.will.topic` is missing";
    error(
        &plant("will = { payload = \"x\" }"),
        message,
        "will",
        "no topic",
        "write topic = \"connector/plant/status\"",
    );
    let message = "`connector.plant.birth.topic`: a Topic Name holds no wildcard [MQTT-4.7.0-1]";
    error(
        &plant("birth = { topic = \"a/#\" }"),
        message,
        "\"a/#\"",
        "not a topic name",
        "write the full topic",
    );
    let message = "`connector.plant.close.response_topic`: a Topic Name holds no wildcard [MQTT-4.7.0-1]";
    error(
        &plant("close = { topic = \"a\", response_topic = \"+\" }"),
        message,
        "\"+\"",
        "not a topic name",
        "write the full topic",
    );
    let message =
        "`connector.plant.birth.user_properties.x` is a whole number, but must be a text or a list of texts";
    error(
        &plant("birth = { topic = \"a\", user_properties = { x = 7 } }"),
        message,
        "7",
        "not a text",
        "write it in quotes",
    );
    error(
        &plant("user_properties = { x = \"a\\u0000\" }"),
        "`connector.plant.user_properties` cannot be sent: user property: the text holds the character U+0000",
        "{ x = \"a\\u0000\" }",
        "in here",
        "write texts of at most 65,535 bytes",
    );
    let message = "`connector.plant.will.qos` is out of bounds";
    error(
        &plant("will = { topic = \"a\", qos = 3 }"),
        message,
        "3",
        "3 is more than 2",
        "write a number from 0 to 2",
    );
}

#[test]
fn announcements_that_nobody_would_hear() {
    let delayed = "will = { topic = \"a\", delay_s = 30 }\n";
    warning(
        &plant(&format!("{delayed}session = \"clean\"")),
        "`connector.plant.will.delay_s` has no effect: a clean session ends with the connection",
        "30",
        "the will goes out when the session ends",
        "write session = \"durable\"",
    );
    warning(
        &plant(&format!("session = \"durable\"\nsession_expiry_s = 29\n{delayed}")),
        "`connector.plant.will.delay_s` is longer than the broker keeps the session",
        "30",
        "the will goes out when the session ends",
        "make it at most `session_expiry_s`",
    );
    assert!(findings(&plant(&format!("session = \"durable\"\nsession_expiry_s = 30\n{delayed}"))).is_empty());
    warning(
        &plant("protocol = \"3.1.1\"\nbirth = { topic = \"a\", content_type = \"text/plain\" }"),
        "`connector.plant.birth.content_type` has no effect: MQTT 3.1.1 cannot carry it",
        "content_type",
        "not sent",
        "remove it, or write protocol = \"5.0\"",
    );
    warning(
        &plant("protocol = \"3.1\"\nrequest_response_information = true"),
        "`connector.plant.request_response_information` has no effect: MQTT 3.1 cannot carry it",
        "request_response_information",
        "not sent",
        "remove it",
    );
}

#[test]
fn flows() {
    let from = "from = { connector = \"plant\", topics = \"a/b\" }";
    error(
        &flow("to = { connector = \"plant\" }"),
        "`flow.zz` has no source",
        "zz",
        "`from` is missing",
        "write from = ",
    );
    error(
        &flow(from),
        "`flow.zz` has no sink",
        "zz",
        "`to` is missing or empty",
        "write to = [{ connector = \"NAME\" }]",
    );
    let both = |from: &str, to: &str| flow(&format!("from = {{ {from} }}\nto = [{{ {to} }}]"));
    let (good_from, good_to) = ("connector = \"plant\", topics = \"a/b\"", "connector = \"broker\"");
    let message = "`flow.zz.from.connector` is missing";
    error(&both("topics = \"a\"", good_to), message, "from", "no connector", "write connector = \"NAME\"");
    let message = "`flow.zz.from.topics` names no topic";
    error(
        &both("connector = \"plant\"", good_to),
        message,
        "from",
        "nothing to subscribe to",
        "write topics = ",
    );
    let message = "`flow.zz.from.connector`: there is no connector \"plnat\"";
    let text = both("connector = \"plnat\", topics = \"a\"", good_to);
    error(&text, message, "\"plnat\"", "not a connector", "did you mean \"plant\"?");
    let message = "`flow.zz.to.connector`: there is no connector \"zzz\"";
    let help = "the connectors are \"plant\" and \"broker\"; a new one is a section [connector.NAME]";
    error(&both(good_from, "connector = \"zzz\""), message, "\"zzz\"", "not a connector", help);
    let message = "`flow.zz.from.topics`: `#` is a whole level, and the last one [MQTT-4.7.1-1]";
    let text = both("connector = \"plant\", topics = [\"x\", \"a/#/b\"]", good_to);
    error(
        &text,
        message,
        "\"a/#/b\"",
        "not a topic filter",
        "see character 3; `+` stands for one whole level",
    );
    let message = "`flow.zz.to.topic`: `{tpic}` is not a placeholder";
    let text = both(good_from, "connector = \"broker\", topic = \"x/{tpic}\"");
    error(&text, message, "{tpic}", "here", "placeholders are {topic}, {topic[1]}");
    let message = "`flow.zz.to.topic`: a topic that is published to holds no wildcard";
    error(
        &both(good_from, "connector = \"broker\", topic = \"x/+\""),
        message,
        "+",
        "here",
        "`+` and `#` belong in `from.topics`",
    );
    let message = "the topic `{topic[2]}` asks for a level that `a/b` does not have";
    let sink = "connector = \"broker\", topic = \"{topic[2]}\"";
    let label = "can never be filled";
    error(&both(good_from, sink), message, &format!("{{ {sink} }}"), label, "levels are counted from 0");
    let text = format!("[broker]\nenabled = false\n{}", both(good_from, good_to));
    let message = "`flow.zz.to.connector` names the embedded broker, which is disabled";
    error(&text, message, "\"broker\"", "disabled", "remove `enabled = false` under [broker]");
}

#[test]
fn flows_that_stand_still_or_lose_something() {
    let both = |connector: &str, topics: &str, sink: &str| {
        format!(
            "{}[flow.zz]\nfrom = {{ connector = \"plant\", topics = {topics} }}\nto = [{{ connector = \"broker\"{sink} }}]",
            plant(connector)
        )
    };
    let message = "`flow.zz` does not run: connector \"plant\" is disabled";
    warning(&both("enabled = false", "\"a\"", ""), message, "zz", "stands still", "enable the connector");
    let message = "`flow.zz` may lose the retain flag: with MQTT 3.1.1 a broker forwards live messages without it, unless it knows bridges (mosquitto, EMQX and VerneMQ do)";
    let marked = "{ connector = \"broker\" }";
    warning(
        &both("protocol = \"3.1.1\"", "\"a\"", ""),
        message,
        marked,
        "`retain` is not written",
        "write retain = true or",
    );
    let message = "`flow.zz` loses the retain flag: with MQTT 3.1.1 a broker forwards live messages without it, but to a bridge, and the connector is none since the canary would not come back";
    let with_canary = both("protocol = \"3.1.1\"\ncanary = {}", "\"a\"", "");
    warning(&with_canary, message, marked, "`retain` is not written", "write retain = true or");
    assert!(findings(&both("protocol = \"3.1.1\"", "\"a\"", ", retain = true")).is_empty());
    let message = "`+/b` and `a/+` cross on connector \"plant\": with MQTT 3.x a message that matches both may come twice";
    let text = both("", "[\"a/+\", \"+/b\"]", "");
    warning(
        &text,
        message,
        "\"+/b\"",
        "in flow \"zz\"",
        "write one filter that covers both, or protocol = \"5.0\"",
    );
    assert!(findings(&both("protocol = \"5.0\"", "[\"a/+\", \"+/b\"]", "")).is_empty());
    assert!(
        findings(&both("", "[\"a/+\", \"a/b\"]", "")).is_empty(),
        "a covered filter is not subscribed to"
    );
}

#[test]
fn listeners() {
    let listener = |lines: &str| format!("[broker.listener.main]\n{lines}\n");
    let message = "`broker.listener.main.bind` is not an address to listen on";
    let help =
        "write \"127.0.0.1:1883\" for this machine only, \"0.0.0.0:1883\" or \"[::]:1883\" for every network";
    error(&listener("bind = \"*:1883\""), message, "\"*:1883\"", "not an IP address with a port", help);
    let why = "`broker.listener.main` lets nobody in: no user is defined,";
    let message = format!("{why} and without a name only this machine may connect");
    error(
        &listener("bind = \"0.0.0.0:1883\""),
        &message,
        "main",
        "nobody could connect",
        "define a user under",
    );
    let message = format!("{why} and `anonymous = false` turns the others away");
    error(&listener("anonymous = false"), &message, "main", "nobody could connect", "define a user under");
    let message = "`broker.listener.main.anonymous`: everyone who reaches 0.0.0.0:1883 may publish and subscribe to everything";
    let text = listener("bind = \"0.0.0.0:1883\"\nanonymous = true");
    warning(&text, message, "true", "no password is asked for", "define users under");
    let message = "`broker.listener.b` listens on 127.0.0.1:1883, as listener \"a\" does";
    let text = "[broker.listener.a]\nbind = \"localhost:1883\"\n[broker.listener.b]\nbind = \"127.0.0.1\"";
    error(text, message, "\"127.0.0.1\"", "taken", "give each listener a port of its own");
    let text = "anonymous = true\nbind = \"[::]:7\"\n[broker.listener.b]\nbind = \"[::1]:7\"";
    let found = findings(&listener(text));
    let message = "`broker.listener.b` listens on [::1]:7, as listener \"main\" does";
    assert!(found.iter().any(|finding| finding.message == message));
    let message = "`broker.listener.main` has no certificate";
    let help = "write tls = { certificate = \"server.pem\", key = \"server.key\" }";
    error(
        &listener("transport = \"tls\""),
        message,
        "main",
        "`tls.certificate` and `tls.key` are missing",
        help,
    );
    let message = "`broker.listener.main.tls` is for `tls` and `wss` only";
    error(
        &listener("tls = { certificate = \"x\", key = \"y\" }"),
        message,
        "tls",
        "not encrypted",
        "write transport = \"tls\"",
    );
    let message = "`broker.listener.main.allowed_origins` holds what is not an origin";
    let text = listener("transport = \"ws\"\nallowed_origins = [\"*\", \"example.com\"]");
    error(
        &text,
        message,
        "\"example.com\"",
        "not an origin",
        "write scheme, host and port as a browser does",
    );
    let message = "`broker.listener.main.allowed_origins` is for `ws` and `wss` only";
    error(&listener("allowed_origins = \"*\""), message, "allowed_origins", "not used", "remove it");
    let message = "`broker.listener.main.path` is for `ws` and `wss` only";
    error(&listener("path = \"/x\""), message, "\"/x\"", "not used", "remove it");
    let message = "`broker.listener` is empty";
    error(
        "[broker]\nlistener = {}",
        message,
        "listener",
        "nothing to listen on",
        "write [broker.listener.main]",
    );
    let message = "`broker.session_queue_bytes` is out of bounds";
    error(
        "[broker]\nsession_queue_bytes = 1",
        message,
        "1",
        "1 is less than 1,024",
        "write a number from 1,024 to",
    );
}

#[test]
fn users_and_roles() {
    let role = "[broker.role.plant]\nallow = [\"both #\"]\n";
    let user = |lines: &str| format!("{role}[broker.user.al]\n{lines}\n");
    let message = "`broker.user.al.password` is missing";
    error(&user("roles = \"plant\""), message, "al", "no password", "write password = \"$argon2id$...\"");
    let message = "`broker.user.al.roles`: there is no role \"plnt\"";
    error(
        &user("password = \"env:PATH\"\nroles = \"plnt\""),
        message,
        "\"plnt\"",
        "not a role",
        "did you mean \"plant\"?",
    );
    let message = "`broker.anonymous_roles`: there is no role \"plnt\"";
    error(
        &format!("[broker]\nanonymous_roles = \"plnt\"\n{role}"),
        message,
        "\"plnt\"",
        "not a role",
        "did you mean \"plant\"?",
    );
    let message = "`broker.user.al` has no roles";
    warning(
        &user("password = \"env:PATH\""),
        message,
        "al",
        "may connect, and neither",
        "write roles = [\"NAME\"]",
    );
    let message = "`broker.user.al.password` is plain text";
    warning(
        &user("password = \"**\"\nroles = \"plant\""),
        message,
        "\"**\"",
        "readable for",
        "seal it: crosspoint secret set broker.user.al.password --keep; or write what `crosspoint user hash` prints",
    );
    for (password, message, label) in [
        ("$5$salt$hash", "is a hash of another kind", "not Argon2id"),
        ("$6$salt$hash", "is not a whole hash of mosquitto_passwd", "incomplete"),
        ("$7$101$c2FsdA==$c2hvcnQ=", "is not a whole hash of mosquitto_passwd", "incomplete"),
        ("$argon2id$v=19$m=1,t=1,p=1$short", "is not a whole Argon2id hash", "incomplete"),
    ] {
        let found = findings(&user(&format!("password = \"{password}\"\nroles = \"plant\"")));
        assert_eq!(found[0].message, format!("`broker.user.al.password` {message}"));
        assert_eq!(found[0].label, label);
    }
    for (rule, message) in [
        ("publish", "a rule is a word and a topic filter"),
        ("write a", "\"write\" is none of publish, subscribe and both"),
        ("publish a/%x", "`%` stands before `u` or `c` only"),
        ("publish a/#/b", "`#` is a whole level, and the last one [MQTT-4.7.1-1]"),
    ] {
        let text = format!("[broker.role.r]\ndeny = [\"{rule}\"]");
        let message = format!("`broker.role.r.deny`: {message}");
        error(&text, &message, &format!("\"{rule}\""), "not a rule", "write \"publish FILTER\"");
    }
}

#[test]
fn the_console() {
    let message = "`console` is checked, but this version does not run it yet";
    warning("[console]\nbind = \"127.0.0.1:9090\"", message, "console", "not run", "nothing to do");
    let message = "`console.bind` is not an address to listen on";
    let found = findings("[console]\nbind = \"web\"");
    assert_eq!(found[0].message, message);
    assert!(findings("[console]\nenabled = false").is_empty());
}

#[test]
fn a_mark_that_marks_nothing_or_cannot_be_borne_is_an_error() {
    error(
        &plant("outbox = { replay_mark = { after_s = 5 } }"),
        "`connector.plant.outbox.replay_mark` says no mark",
        "replay_mark",
        "neither property nor topic_prefix",
        "write property = \"replay\"",
    );
    error(
        &plant("outbox = { replay_mark = { property = \"\" } }"),
        "`connector.plant.outbox.replay_mark.property` is not a name",
        "\"\"",
        "not 1 to 256 bytes of text",
        "write property = \"replay\"",
    );
    error(
        &plant("outbox = { replay_mark = { topic_prefix = \"late/+/\" } }"),
        "`connector.plant.outbox.replay_mark.topic_prefix` cannot begin a topic",
        "\"late/+/\"",
        "not 1 to 256 bytes of text without `+` and `#`",
        "write topic_prefix = \"replay/\"",
    );
}

#[test]
fn a_topic_that_cannot_be_subscribed_to_keeps_no_latest() {
    error(
        &plant("outbox = { keep_latest = [\"state/#\", \"a/#/b\"] }"),
        "`connector.plant.outbox.keep_latest`: `#` is a whole level, and the last one [MQTT-4.7.1-1]",
        "\"a/#/b\"",
        "not a topic filter",
        "write topics such as \"state/#\"",
    );
}

#[test]
fn scram_without_what_it_needs_is_refused_with_the_reason() {
    let scram = |lines: &str| format!("{PLANT}auth = \"scram-sha-256\"\n{lines}\n");
    let login = "username = \"u\"\npassword = \"env:PATH\"";
    assert!(findings(&scram(login)).is_empty());
    assert!(findings(&scram(&format!("{login}\nprotocol = \"5.0\""))).is_empty());
    error(
        &scram(&format!("{login}\nprotocol = \"3.1.1\"")),
        "`connector.plant.auth` = \"scram-sha-256\" needs MQTT 5, and protocol = \"3.1.1\" is written",
        "\"scram-sha-256\"",
        "MQTT 3.1.1 has no AUTH packet",
        "write protocol = \"5.0\", or auth = \"password\"",
    );
    for login in ["", "username = \"u\"", "password = \"env:PATH\""] {
        error(
            &scram(login),
            "`connector.plant.auth` = \"scram-sha-256\" needs `username` and `password`",
            "\"scram-sha-256\"",
            "nothing to prove",
            "write both; the password is not sent, only proven",
        );
    }
    let found = findings(&scram("username = \"u\"\npassword = \"\\u0007\""));
    let shown: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert!(shown.iter().any(|shown| shown.contains("cannot be used with auth")), "{shown:?}");
}

#[test]
fn a_hash_for_scram_that_is_not_whole_is_refused() {
    let user = |hash: &str| {
        format!(
            "[broker.user.al]\npassword = \"{hash}\"\nroles = \"r\"\n[broker.role.r]\nallow = \"both #\"\n"
        )
    };
    let found = findings(&user("$scram-sha-256$i=16384$AAAA"));
    let [finding] = found.as_slice() else { panic!("{found:?}") };
    let shown = finding.render(Colour::Never);
    assert!(shown.contains("crosspoint user hash --scram"), "{shown}");
}
