//! Bridges: each `connection` becomes a connector, each of its topics one flow or two.

use crosspoint_protocol::TopicFilter;

use crate::config::setting::Setting;
use crate::config::settings::{FLOW, connector as keys, flow};

use super::super::connection::{Announcement, Place};
use super::super::draft::{Section, Value};
use super::super::{Import, names};
use super::leftovers;
use super::lines::{Block, Line};
use super::listener::newest_only;

/// The port of an address without one, also with TLS.
const PORT: i64 = 1883;

/// A way that messages take.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Out,
    In,
}

/// One way of a `topic` line.
struct Way {
    at: String,
    direction: Direction,
    qos: i64,
    from: TopicFilter,
    to: TopicFilter,
    /// What the sink says, unless topics stay what they are.
    template: Option<String>,
}

/// Reads every bridge and adds connectors and flows to the draft.
pub(super) fn read(import: &mut Import<'_>, bridges: &mut Vec<Block>, has_broker: bool) {
    let mut incoming: Vec<(String, TopicFilter)> = Vec::new();
    let mut guarded: Vec<(String, Way)> = Vec::new();
    for mut block in bridges.drain(..) {
        let mut ways = Vec::new();
        for line in block.take_all("topic") {
            match ways_of(&line) {
                Ok(found) => ways.extend(found),
                Err(why) => import.left_out(line.at, format!("`topic {}`", line.value), why),
            }
        }
        let outgoing_retain = block.take_flag("bridge_outgoing_retain").unwrap_or(true);
        match connector(import, &mut block, &ways) {
            Ok(name) if has_broker => {
                flows(import, &name, &ways, outgoing_retain);
                for way in ways {
                    match way.direction {
                        Direction::In => incoming.push((name.clone(), way.to)),
                        Direction::Out => guarded.push((name.clone(), way)),
                    }
                }
            }
            Ok(name) => {
                let why = "the embedded broker is off, for it has no listener";
                import.left_out(&block.at, format!("the flows of the bridge `{name}`"), why);
            }
            Err(why) => import.left_out(&block.at, format!("the bridge `{}`", block.head), why),
        }
        leftovers(import, block);
    }
    name_chains(import, &incoming, &guarded);
}

fn connector(import: &mut Import<'_>, block: &mut Block, ways: &[Way]) -> Result<String, String> {
    if block.find(&["bridge_psk", "bridge_identity"]).is_some() {
        block.take(&["bridge_psk"]);
        block.take(&["bridge_identity"]);
        return Err("it uses a pre-shared key, and there is no TLS with them".to_owned());
    }
    let addresses = block.take(&["address", "addresses"]).ok_or("it has no address")?;
    let tls = ["bridge_cafile", "bridge_capath", "bridge_certfile", "bridge_tls_use_os_certs", "bridge_alpn"];
    let is_secure = block.find(&tls).is_some();
    let urls: Vec<String> =
        addresses.value.split_whitespace().map(|address| url(address, is_secure)).collect();
    if block.take_flag("round_robin") == Some(true) {
        import.changed(
            &addresses.at,
            "`round_robin true`",
            "the first address that answers is taken, in the order of the list",
        );
    }
    let (name, mut section) = import.connector(&block.head);
    section.comment(format!("The bridge of {}.", block.at));
    match urls.as_slice() {
        [url] => section.set(&keys::URL, url.as_str()),
        _ => section.set(&keys::URL, urls),
    }
    client(import, block, &mut section, ways);
    timing(import, block, &mut section);
    secure(import, block, &mut section);
    notifications(import, block, &mut section);
    import.draft.push(section);
    Ok(name)
}

fn url(address: &str, is_secure: bool) -> String {
    let (host, port) =
        match address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?))) {
            Some((host, port)) if !host.contains(':') || host.starts_with('[') => (host, port),
            _ => (address, PORT),
        };
    Place { port: Some(port), is_secure, ..Place::of_host(host) }.url()
}

fn client(import: &mut Import<'_>, block: &mut Block, section: &mut Section, ways: &[Way]) {
    let protocol = block.take(&["bridge_protocol_version"]);
    let version = match protocol.as_ref().map(|line| line.value.as_str()) {
        Some("mqttv31") => Some("3.1"),
        Some("mqttv311") => Some("3.1.1"),
        Some("mqttv50") => Some("5.0"),
        _ => None,
    };
    let returns = ways.iter().any(|way| goes_back(way, ways));
    match (version, protocol) {
        (Some("5.0"), _) => section.set(&keys::PROTOCOL, "5.0"),
        (Some(_), Some(line)) if returns => {
            let why = "messages go both ways, and only MQTT 5 keeps a broker from sending ours back: `protocol` is \"auto\"";
            import.changed(line.at, format!("`bridge_protocol_version {}`", line.value), why);
        }
        (Some(version), _) => section.set(&keys::PROTOCOL, version),
        (None, Some(line)) => import.left_out(
            line.at,
            "`bridge_protocol_version`",
            "it is none of mqttv31, mqttv311 and mqttv50",
        ),
        (None, None) => {}
    }
    if let Some(line) = block.take(&["remote_clientid", "clientid"]) {
        section.set(&keys::CLIENT_ID, line.value);
    }
    let clean = block.take_flag("cleansession").unwrap_or(false);
    section.set(&keys::SESSION, if clean { "clean" } else { "durable" });
    if let Some(line) = block.take(&["bridge_session_expiry_interval"]) {
        number(import, section, &keys::SESSION_EXPIRY_S, &line, 1);
    }
    let username = block.take(&["remote_username", "username"]);
    let password = block.take(&["remote_password", "password"]);
    let at = password.as_ref().or(username.as_ref()).map_or_else(String::new, |line| line.at.clone());
    import.login(section, username.map(|line| line.value), password.map(|line| line.value), &at);
}

fn timing(import: &mut Import<'_>, block: &mut Block, section: &mut Section) {
    if let Some(line) = block.take(&["keepalive_interval"]) {
        number(import, section, &keys::KEEP_ALIVE_S, &line, 1);
    }
    if let Some(line) = block.take(&["bridge_max_packet_size"]).filter(|line| line.value != "0") {
        number(import, section, &keys::MAX_PACKET_BYTES, &line, 1);
    }
    if let Some(line) = block.take(&["bridge_max_topic_alias"]) {
        number(import, section, &keys::TOPIC_ALIAS_MAX, &line, 1);
    }
    if let Some(line) = block.take(&["restart_timeout"]) {
        let mut words = line.value.split_whitespace();
        let base = Line { value: words.next().unwrap_or_default().to_owned(), ..line.clone() };
        let cap = Line { value: words.next().unwrap_or(&base.value).to_owned(), ..line.clone() };
        number(import, section, &keys::RECONNECT_MIN_MS, &base, 1_000);
        number(import, section, &keys::RECONNECT_MAX_MS, &cap, 1_000);
    }
    if let Some(line) = block.take(&["start_type"]).filter(|line| line.value != "automatic") {
        let why = "a connector is always connected, or off with enabled = false";
        import.changed(line.at, format!("`start_type {}`", line.value), why);
    }
    if block.take_flag("try_private") == Some(false) {
        import.changed(
            &block.at,
            "`try_private false`",
            "flows that go both ways ask the broker for No Local (MQTT 5)",
        );
    }
}

fn number(import: &mut Import<'_>, section: &mut Section, setting: &Setting, line: &Line, times: i64) {
    match line.value.parse::<i64>() {
        Ok(number) => import.integer(section, setting, number.saturating_mul(times), &line.at),
        Err(_) => import.left_out(&line.at, format!("`{}`", line.key), "what follows is not a number"),
    }
}

fn secure(import: &mut Import<'_>, block: &mut Block, section: &mut Section) {
    let tls = &keys::TLS;
    if let Some(line) = block.take(&["bridge_cafile"]) {
        section.set_in(tls, &keys::TLS_CA, vec![import.file(&line.value)]);
    }
    for (key, setting) in [("bridge_certfile", &keys::TLS_CERTIFICATE), ("bridge_keyfile", &keys::TLS_KEY)] {
        if let Some(line) = block.take(&[key]) {
            section.set_in(tls, setting, import.file(&line.value));
        }
    }
    if block.take_flag("bridge_insecure") == Some(true) {
        section.set_in(tls, &keys::TLS_VERIFY, "chain");
    }
    if let Some(line) = block.take(&["bridge_alpn"]) {
        section.set_in(tls, &keys::TLS_ALPN, vec![line.value]);
    }
    if block.take(&["bridge_tls_version"]).is_some_and(|line| newest_only(import, &line)) {
        section.set_in(tls, &keys::TLS_MIN_VERSION, "1.3");
    }
}

/// Mosquitto says at `$SYS/broker/connection/NAME/state`, retained, whether a bridge is connected: 1 or 0.
fn notifications(import: &mut Import<'_>, block: &mut Block, section: &mut Section) {
    let is_on = block.take_flag("notifications").unwrap_or(true);
    let is_local = block.take_flag("notifications_local_only").unwrap_or(false);
    let topic = block.take(&["notification_topic"]);
    match topic {
        Some(line) if is_on && !is_local && !line.value.starts_with('$') => {
            for (setting, payload) in [(&keys::BIRTH, "1"), (&keys::WILL, "0")] {
                let (topic, payload) = (line.value.clone(), payload.to_owned());
                import.announcement(
                    section,
                    setting,
                    Announcement { topic, payload, qos: 1, retain: true, properties: Vec::new() },
                );
            }
            let why =
                "it says so at the remote broker, by `birth` and `will`; nothing is published at our own";
            import.changed(line.at, "`notification_topic`", why);
        }
        _ if is_on => {
            let what = if is_local { "`notifications_local_only`" } else { "the notifications" };
            let why = "no topic says whether it is connected; write `birth` and `will` where somebody listens for it";
            import.left_out(&block.at, format!("{what} of the bridge `{}`", block.head), why);
        }
        _ => {}
    }
}

/// Takes a `topic` line apart: `pattern [[out|in|both] qos] [local-prefix remote-prefix]`.
fn ways_of(line: &Line) -> Result<Vec<Way>, String> {
    let words = words(&line.value);
    let mut words = words.iter().map(String::as_str);
    let pattern = words.next().ok_or("it names no topic")?;
    let directions: &[Direction] = match words.next() {
        None | Some("out") => &[Direction::Out],
        Some("in") => &[Direction::In],
        Some("both") => &[Direction::Out, Direction::In],
        Some(_) => return Err("its direction is none of out, in and both".to_owned()),
    };
    let qos = match words.next() {
        None => 0,
        Some(word) => {
            word.parse().ok().filter(|qos| (0..=2).contains(qos)).ok_or("its QoS is none of 0, 1 and 2")?
        }
    };
    let (local, remote) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let filter = |prefix: &str| {
        TopicFilter::parse(format!("{prefix}{pattern}"))
            .map_err(|error| format!("`{prefix}{pattern}`: {error}"))
    };
    let (local_filter, remote_filter) = (filter(local)?, filter(remote)?);
    let way = |direction: &Direction| {
        let (from, to, old, new) = match direction {
            Direction::Out => (&local_filter, &remote_filter, local, remote),
            Direction::In => (&remote_filter, &local_filter, remote, local),
        };
        let template = (old != new).then(|| template(pattern, old, new)).transpose()?;
        let (at, from, to) = (line.at.clone(), from.clone(), to.clone());
        Ok(Way { at, direction: *direction, qos, from, to, template })
    };
    directions.iter().map(way).collect()
}

/// Splits a line at blanks, but not inside of quotes; `""` is an empty word.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut is_quoted = false;
    for letter in text.chars() {
        match letter {
            '"' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            ' ' | '\t' if !is_quoted => words.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

/// Returns the topic of a sink that takes one prefix away and puts another before it.
///
/// A prefix is any text, a template counts levels: so a prefix that ends inside of a level is possible only where the
/// rest of the level is written out in the pattern.
fn template(pattern: &str, old: &str, new: &str) -> Result<String, String> {
    let escaped = |text: &str| text.replace('{', "{{").replace('}', "}}");
    let levels = old.matches('/').count();
    if pattern.is_empty() {
        return Ok(escaped(new));
    }
    if old.is_empty() || old.ends_with('/') {
        let rest = if levels == 0 { "{topic}".to_owned() } else { format!("{{topic[{levels}..]}}") };
        return Ok(format!("{}{rest}", escaped(new)));
    }
    let (first, rest) = pattern.split_once('/').map_or((pattern, None), |(first, rest)| (first, Some(rest)));
    if first.contains(['+', '#']) {
        return Err("its prefix ends inside of a level with a wildcard".to_owned());
    }
    let rest = rest.map_or_else(String::new, |_| format!("/{{topic[{}..]}}", levels + 1));
    Ok(format!("{}{}{rest}", escaped(new), escaped(first)))
}

/// Tells whether what a way brings would be taken back by another way of the same bridge.
fn goes_back(way: &Way, ways: &[Way]) -> bool {
    ways.iter().any(|other| other.direction != way.direction && other.from.overlaps(&way.to))
}

/// Tells whether a way reads what another way of the same bridge wrote there.
fn hears_itself(way: &Way, ways: &[Way]) -> bool {
    ways.iter().any(|other| other.direction != way.direction && other.to.overlaps(&way.from))
}

fn flows(import: &mut Import<'_>, connector: &str, ways: &[Way], outgoing_retain: bool) {
    for way in ways {
        let (from, to, word) = match way.direction {
            Direction::Out => ("broker", connector, "out"),
            Direction::In => (connector, "broker", "in"),
        };
        let draft = &import.draft;
        let name = names::usable(&format!("{connector}-{word}"), "flow", |name| draft.has(&[FLOW.key, name]));
        let mut section = Section::new(&[FLOW.key, &name]);
        let entry = |setting: &Setting, value: Value| (setting.key.to_owned(), value);
        let source = vec![
            entry(&flow::FROM_CONNECTOR, from.into()),
            entry(&flow::FROM_TOPICS, vec![way.from.as_str().to_owned()].into()),
            entry(&flow::FROM_QOS, Value::Integer(way.qos)),
        ];
        let mut sink = vec![entry(&flow::TO_CONNECTOR, to.into())];
        sink.extend(way.template.as_ref().map(|topic| entry(&flow::TO_TOPIC, topic.as_str().into())));
        if way.direction == Direction::Out && !outgoing_retain {
            sink.push(entry(&flow::TO_RETAIN, false.into()));
        }
        section.set(&flow::FROM, Value::Inline(source));
        section.set(&flow::TO, Value::List(vec![Value::Inline(sink)]));
        if hears_itself(way, ways) {
            section.comment("Messages go both ways: what came from there does not go back.");
            section.set(&flow::ALLOW_LOOP, true);
        }
        import.draft.push(section);
    }
}

/// Names flows that leave out what other bridges bring, because they leave out whatever this program publishes.
fn name_chains(import: &mut Import<'_>, incoming: &[(String, TopicFilter)], outgoing: &[(String, Way)]) {
    for (name, way) in outgoing {
        let own = |(other, filter): &(String, TopicFilter)| other == name && filter.overlaps(&way.from);
        let foreign = |(other, filter): &&(String, TopicFilter)| other != name && filter.overlaps(&way.from);
        if !incoming.iter().any(own) {
            continue;
        }
        if let Some((other, _)) = incoming.iter().find(foreign) {
            let what = format!("`{}` to the bridge `{name}`", way.from);
            let why = format!(
                "what the bridge `{other}` brings does not go on to it: write a flow from `{other}` to `{name}`"
            );
            import.changed(&way.at, what, why);
        }
    }
}
