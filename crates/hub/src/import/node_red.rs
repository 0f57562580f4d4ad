//! Node-RED: the MQTT nodes of `flows.json`.
//!
//! Each `mqtt-broker` becomes a connector. An `mqtt in` that is wired straight to an `mqtt out` becomes a flow; what runs
//! in between is not carried over.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::config::setting::Setting;
use crate::config::settings::{FLOW, announcement, connector as keys, flow};

use super::connection::{Announcement, Place};
use super::draft::{Section, Value as Written};
use super::object::Object;
use super::{Import, ImportError, forms, names, read_text};

/// The nodes that speak of MQTT, by what they are.
#[derive(Default)]
struct Nodes {
    brokers: Vec<Object>,
    tls: BTreeMap<String, Object>,
    /// Those of them that a connection uses.
    used_tls: BTreeSet<String>,
    inputs: Vec<Object>,
    outputs: BTreeMap<String, Object>,
    /// How many others there are of each type.
    others: BTreeMap<String, usize>,
}

/// Members that say how a node is drawn in the editor and what it is called there.
const DRAWING: &[&str] = &["z", "x", "y", "g", "wires", "inputs", "name", "info"];

/// Reads the file, and the credentials beside it.
pub(super) fn read(import: &mut Import<'_>) -> Result<(), ImportError> {
    let path = import.path.display().to_string();
    let unexpected = |reason: String| ImportError::Unexpected {
        path: path.clone(),
        expected: "a flows.json of Node-RED",
        reason,
    };
    let value: Value =
        serde_json::from_str(&read_text(import.path)?).map_err(|error| unexpected(error.to_string()))?;
    let Value::Array(list) = value else { return Err(unexpected("it is no list of nodes".to_owned())) };
    let mut nodes = nodes(import, list);
    if nodes.brokers.is_empty() {
        return Err(ImportError::Nothing { path, expected: "node of type `mqtt-broker`" });
    }
    let name = import.name();
    import.draft.preface = vec![format!("Made of {name} by `crosspoint import node-red`.")];
    let mut credentials = credentials(import);
    let mut connectors = BTreeMap::new();
    for broker in std::mem::take(&mut nodes.brokers) {
        connector(import, broker, &mut nodes, &mut credentials, &mut connectors);
    }
    for (_, tls) in nodes.tls.iter().filter(|(id, _)| !nodes.used_tls.contains(*id)) {
        import.left_out(&tls.at, "a TLS configuration", "no connection to a broker uses it");
    }
    flows(import, &mut nodes, &connectors);
    for (kind, count) in nodes.others {
        import.left_out(&name, format!("{count} of `{kind}`"), "only MQTT nodes are carried over");
    }
    Ok(())
}

fn nodes(import: &Import<'_>, list: Vec<Value>) -> Nodes {
    let mut nodes = Nodes::default();
    for value in list {
        let Some(mut node) = Object::of(import.name(), value) else { continue };
        let id = node.text(&["id"]).unwrap_or_default();
        let kind = node.text(&["type"]).unwrap_or_default();
        node.at = format!("node {id}");
        match kind.as_str() {
            "mqtt-broker" => nodes.brokers.push(node),
            "tls-config" => _ = nodes.tls.insert(id, node),
            "mqtt in" => nodes.inputs.push(node),
            "mqtt out" => _ = nodes.outputs.insert(id, node),
            _ => *nodes.others.entry(kind).or_default() += 1,
        }
    }
    nodes
}

/// Returns the credentials of each node. Those that are encrypted are named.
fn credentials(import: &mut Import<'_>) -> BTreeMap<String, Object> {
    let stem = import.path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let file = import.beside(&format!("{stem}_cred.json"));
    let at = format!("{stem}_cred.json");
    let value = match read_text(&file).map(|text| serde_json::from_str::<Value>(&text)) {
        Ok(Ok(value)) => value,
        Ok(Err(_)) => {
            import.left_out(at, "the credentials", "the file is no JSON");
            return BTreeMap::new();
        }
        Err(_) => return BTreeMap::new(),
    };
    let Value::Object(members) = value else { return BTreeMap::new() };
    if members.contains_key("$") {
        let why = "they are encrypted with the credentialSecret of Node-RED; type them again: crosspoint secret set connector.NAME.password";
        import.left_out(at, "user names, passwords and keys", why);
        return BTreeMap::new();
    }
    let object = |(id, value): (String, Value)| Some((id.clone(), Object::of(format!("{at}: {id}"), value)?));
    members.into_iter().filter_map(object).collect()
}

fn connector(
    import: &mut Import<'_>,
    mut node: Object,
    nodes: &mut Nodes,
    credentials: &mut BTreeMap<String, Object>,
    connectors: &mut BTreeMap<String, String>,
) {
    let id = node.at.trim_start_matches("node ").to_owned();
    let Some(broker) = node.text(&["broker"]) else {
        import.left_out(&node.at, "an `mqtt-broker`", "it has no address");
        return;
    };
    let uses_tls = node.flag(&["usetls"]).unwrap_or(false);
    let port = node.integer(&["port"]);
    let place = Place::of_url(&broker).unwrap_or_else(|| Place {
        port: port.or(Some(1883)),
        is_secure: uses_tls,
        ..Place::of_host(&broker)
    });
    // The host and not the address, which may hold a password.
    let (name, mut section) = import.connector(&node.text(&["name"]).unwrap_or_else(|| place.host.clone()));
    section.comment(format!("The {} of Node-RED.", node.at));
    let at = node.at.clone();
    import.name_login(&place, &at);
    section.set(&keys::URL, place.url());
    if node.flag(&["autoconnect"]) == Some(false) {
        section.set(&keys::ENABLED, false);
    }
    client(import, &mut node, &mut section);
    let mut of_node = node.object(&["credentials"]).or_else(|| credentials.remove(&id));
    if let Some(login) = &mut of_node {
        let (user, password) = (login.text(&["user"]), login.text(&["password"]));
        let at = node.at.clone();
        import.login(&mut section, user, password, &at);
    }
    let verifies = node.flag(&["verifyservercert"]);
    match node.text(&["tls"]) {
        Some(tls) if uses_tls => match nodes.tls.get(&tls).map(Object::copy) {
            Some(config) => {
                secure(import, config, credentials.get(&tls).map(Object::copy), &mut section);
                nodes.used_tls.insert(tls);
            }
            None => import.left_out(&node.at, "the TLS configuration", "the file has no node with its id"),
        },
        _ if uses_tls && verifies == Some(false) => section.set_in(&keys::TLS, &keys::TLS_VERIFY, "none"),
        _ => {}
    }
    import.draft.push(section);
    node.ignore(DRAWING);
    node.name_rest(import, reason);
    connectors.insert(id, name);
}

fn client(import: &mut Import<'_>, node: &mut Object, section: &mut Section) {
    let at = node.at.clone();
    match node.integer(&["protocolversion"]) {
        Some(3) => section.set(&keys::PROTOCOL, "3.1"),
        Some(5) => section.set(&keys::PROTOCOL, "5.0"),
        Some(4) => section.set(&keys::PROTOCOL, "3.1.1"),
        _ => {}
    }
    node.flag(&["compatmode"]);
    if let Some(id) = node.text(&["clientid"]) {
        section.set(&keys::CLIENT_ID, id);
    }
    let is_clean = node.flag(&["cleansession"]).unwrap_or(true);
    section.set(&keys::SESSION, if is_clean { "clean" } else { "durable" });
    if let Some(seconds) = node.integer(&["sessionexpiry", "sessionexpiryinterval"]).filter(|_| !is_clean) {
        import.integer(section, &keys::SESSION_EXPIRY_S, seconds, &at);
    }
    if let Some(seconds) = node.integer(&["keepalive"]) {
        import.integer(section, &keys::KEEP_ALIVE_S, seconds, &at);
    }
    // What is not wanted any more is always unsubscribed here, which is the default there.
    if node.flag(&["autounsubscribe"]) == Some(false) {
        import.left_out(&at, "`autoUnsubscribe`", "what no flow wants is unsubscribed");
    }
    for (word, setting) in [("birth", &keys::BIRTH), ("close", &keys::CLOSE), ("will", &keys::WILL)] {
        message(import, node, section, word, setting);
    }
}

fn message(import: &mut Import<'_>, node: &mut Object, section: &mut Section, word: &str, setting: &Setting) {
    let topic = node.text(&[&format!("{word}topic")]);
    let payload = node.text(&[&format!("{word}payload")]).unwrap_or_default();
    let qos = node.integer(&[&format!("{word}qos")]).unwrap_or(0);
    let retain = node.flag(&[&format!("{word}retain")]).unwrap_or(false);
    let properties = node.object(&[&format!("{word}msg")]).map(|message| properties(import, message, word));
    let properties = properties.unwrap_or_default();
    if let Some(topic) = topic {
        import.announcement(section, setting, Announcement { topic, payload, qos, retain, properties });
    }
}

/// Takes the MQTT 5 properties of a message.
fn properties(import: &mut Import<'_>, mut message: Object, word: &str) -> Vec<(&'static Setting, Written)> {
    let mut properties = Vec::new();
    for (name, setting) in [
        ("contenttype", &announcement::CONTENT_TYPE),
        ("resptopic", &announcement::RESPONSE_TOPIC),
        ("correl", &announcement::CORRELATION_DATA),
    ] {
        properties.extend(message.text(&[name]).map(|text| (setting, Written::Text(text))));
    }
    if let Some(seconds) = message.integer(&["expiry"]) {
        properties.push((&announcement::MESSAGE_EXPIRY_S, Written::Integer(seconds.max(0))));
    }
    if word == "will" {
        properties.extend(
            message
                .integer(&["delay"])
                .map(|seconds| (&announcement::DELAY_S, Written::Integer(seconds.max(0)))),
        );
    }
    message.name_rest(import, |_| Some("write it by hand, as `user_properties`"));
    properties
}

/// Takes a copy of a TLS configuration, which other brokers may use too.
fn secure(import: &mut Import<'_>, mut config: Object, secrets: Option<Object>, section: &mut Section) {
    let at = config.at.clone();
    let mut secrets = config.object(&["credentials"]).or(secrets).unwrap_or_else(|| config.empty());
    forms::authority(import, &mut config, section, &["ca"]);
    forms::authority(import, &mut secrets, section, &["cadata"]);
    forms::identity(import, &mut config, section, &["cert"], &["key"]);
    forms::identity(import, &mut secrets, section, &["certdata"], &["keydata"]);
    let password = secrets.text(&["passphrase"]);
    forms::key_password(import, section, password, &at);
    if config.flag(&["verifyservercert"]) == Some(false) {
        section.set_in(&keys::TLS, &keys::TLS_VERIFY, "none");
    }
    if let Some(name) = config.text(&["servername"]) {
        section.set_in(&keys::TLS, &keys::TLS_SERVER_NAME, name);
    }
    if let Some(protocol) = config.text(&["alpnprotocol"]) {
        section.set_in(&keys::TLS, &keys::TLS_ALPN, vec![protocol]);
    }
    for (name, what) in [("certname", "client certificate"), ("keyname", "key"), ("caname", "authority")] {
        if config.text(&[name]).is_some() && !section.has_in(&keys::TLS, what_key(name)) {
            let why = "it was uploaded, and lies in the encrypted credentials; name its file";
            import.left_out(&at, format!("the {what}"), why);
        }
    }
    config.ignore(DRAWING);
    config.name_rest(import, |_| None);
}

fn what_key(name: &str) -> &'static Setting {
    match name {
        "certname" => &keys::TLS_CERTIFICATE,
        "keyname" => &keys::TLS_KEY,
        _ => &keys::TLS_CA,
    }
}

fn flows(import: &mut Import<'_>, nodes: &mut Nodes, connectors: &BTreeMap<String, String>) {
    let mut wired: Vec<String> = Vec::new();
    for mut input in std::mem::take(&mut nodes.inputs) {
        let at = input.at.clone();
        let name = input.text(&["name"]);
        let topic = input.text(&["topic"]);
        let from = input.text(&["broker"]).and_then(|id| connectors.get(&id).cloned());
        let targets = targets(&mut input);
        let sinks: Vec<Written> = targets
            .iter()
            .filter_map(|id| Some((id, nodes.outputs.get(id)?)))
            .filter_map(|(id, output)| Some((id.clone(), sink(output, connectors)?)))
            .map(|(id, sink)| {
                wired.push(id);
                sink
            })
            .collect();
        let qos = input.integer(&["qos"]).unwrap_or(2);
        input.text(&["datatype"]);
        let why = match (&topic, &from) {
            (None, _) => "what it subscribes to is told to it while Node-RED runs",
            (_, None) => "its `mqtt-broker` is not in the file, or has no address",
            _ => {
                "it is not wired straight to an `mqtt out`; what runs in between is written as a flow by hand"
            }
        };
        let called =
            name.as_deref().or(topic.as_deref()).map_or_else(String::new, |called| format!(" of {called}"));
        let (Some(topic), Some(from), false) = (topic, from, sinks.is_empty()) else {
            import.left_out(at, format!("an `mqtt in`{called}"), why);
            continue;
        };
        if targets.len() > sinks.len() {
            import.left_out(&at, "wires to other nodes", "only those to `mqtt out` are carried over");
        }
        let draft = &import.draft;
        let flow_name =
            names::usable(name.as_deref().unwrap_or(&topic), "flow", |name| draft.has(&[FLOW.key, name]));
        let mut section = Section::new(&[FLOW.key, &flow_name]);
        let source = vec![
            (flow::FROM_CONNECTOR.key.to_owned(), Written::Text(from)),
            (flow::FROM_TOPICS.key.to_owned(), vec![topic].into()),
            (flow::FROM_QOS.key.to_owned(), Written::Integer(qos)),
        ];
        section.set(&flow::FROM, Written::Inline(source));
        section.set(&flow::TO, Written::List(sinks));
        import.draft.push(section);
        input.ignore(DRAWING);
        input.name_rest(import, reason);
    }
    for (id, mut output) in std::mem::take(&mut nodes.outputs) {
        if wired.contains(&id) {
            output.ignore(DRAWING);
            output.ignore(&["broker", "topic", "qos", "retain"]);
            output.name_rest(import, reason);
        } else {
            import.left_out(
                &output.at,
                "an `mqtt out`",
                "no `mqtt in` is wired straight to it; what publishes there is written as a flow by hand",
            );
        }
    }
}

/// Returns the nodes that an output is wired to.
fn targets(node: &mut Object) -> Vec<String> {
    let Some(Value::Array(ports)) = node.take(&["wires"]) else { return Vec::new() };
    let wires = ports.into_iter().filter_map(|port| match port {
        Value::Array(wires) => Some(wires),
        _ => None,
    });
    wires.flatten().filter_map(|wire| wire.as_str().map(str::to_owned)).collect()
}

/// Returns what an `mqtt out` says as a sink. It may be wired more than once, so nothing is taken out of it but what
/// says how it publishes.
fn sink(output: &Object, connectors: &BTreeMap<String, String>) -> Option<Written> {
    let mut copy = output.copy();
    let connector = connectors.get(&copy.text(&["broker"])?)?.clone();
    let mut entries = vec![(flow::TO_CONNECTOR.key.to_owned(), Written::Text(connector))];
    if let Some(topic) = copy.text(&["topic"]) {
        let topic = topic.replace('{', "{{").replace('}', "}}");
        entries.push((flow::TO_TOPIC.key.to_owned(), Written::Text(topic)));
    }
    if let Some(qos) = copy.integer(&["qos"]) {
        entries.push((flow::TO_QOS.key.to_owned(), Written::Integer(qos)));
    }
    if let Some(retain) = copy.flag(&["retain"]) {
        entries.push((flow::TO_RETAIN.key.to_owned(), Written::Flag(retain)));
    }
    Some(Written::Inline(entries))
}

fn reason(key: &str) -> Option<&'static str> {
    Some(match key {
        "d" => "the node is disabled; disable the connector or leave the flow out",
        "nl" | "rap" | "rh" => "the flow asks for what it needs",
        "userprops" | "resptopic" | "correl" | "contenttype" | "expiry" => {
            "properties of a message stay as they came"
        }
        _ => return None,
    })
}
