//! OIBus: the export of its configuration, or one connector of its API.
//!
//! A north connector of type `mqtt` publishes, so it becomes a connector; a south connector of type `mqtt` reads, and its
//! items become a flow to the embedded broker.

use serde_json::Value;

use crate::config::settings::{FLOW, connector as keys, flow};

use super::connection::Place;
use super::draft::{Section, Value as Written};
use super::object::Object;
use super::{Import, ImportError, forms, read_text};

/// Which way a connector of OIBus goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    North,
    South,
}

/// Reads the file.
pub(super) fn read(import: &mut Import<'_>) -> Result<(), ImportError> {
    let path = import.path.display().to_string();
    let text = read_text(import.path)?;
    let value: Value = serde_json::from_str(&text).map_err(|error| ImportError::Unexpected {
        path: path.clone(),
        expected: "JSON of OIBus",
        reason: error.to_string(),
    })?;
    let name = import.name();
    import.draft.preface = vec![format!("Made of {name} by `crosspoint import oibus`.")];
    let mut count = 0;
    for (side, object) in connectors(import, &name, value) {
        count += usize::from(connector(import, side, object));
    }
    if count == 0 {
        return Err(ImportError::Nothing { path, expected: "connector of type `mqtt`" });
    }
    Ok(())
}

fn connectors(import: &mut Import<'_>, name: &str, value: Value) -> Vec<(Side, Object)> {
    let list = match value {
        Value::Array(list) => list,
        value => vec![value],
    };
    let mut found = Vec::new();
    for (index, value) in list.into_iter().enumerate() {
        let Some(mut object) = Object::of(format!("{name}[{index}]"), value) else { continue };
        object.at = if index == 0 { name.to_owned() } else { object.at };
        let mut whole = match object.object(&["config"]) {
            Some(config) => {
                object.text(&["oibusversion"]);
                object.text(&["exportedat"]);
                object.name_rest(import, |_| None);
                config
            }
            None => object,
        };
        let north = whole.objects(&["northconnectors", "north"]);
        let south = whole.objects(&["southconnectors", "south"]);
        if north.is_empty() && south.is_empty() {
            let side = if whole.has("items") { Side::South } else { Side::North };
            found.push((side, whole));
            continue;
        }
        found.extend(north.into_iter().map(|object| (Side::North, object)));
        found.extend(south.into_iter().map(|object| (Side::South, object)));
        whole.name_rest(import, |_| Some("it is no connector"));
    }
    found
}

/// Adds a connector; `false` when it is none of MQTT.
fn connector(import: &mut Import<'_>, side: Side, mut object: Object) -> bool {
    // An export wraps what the API gives: `{ type, settings: { name, type, settings } }`.
    let mut kind = object.text(&["type"]);
    if !object.has("name")
        && let Some(inner) = object.object(&["settings"])
    {
        object.name_rest(import, reason);
        object = inner;
        kind = object.text(&["type"]).or(kind);
    }
    let name = object.text(&["name"]).unwrap_or_else(|| "oibus".to_owned());
    let at = format!("{} ({name})", object.at);
    if kind.as_deref() != Some("mqtt") {
        let kind = kind.unwrap_or_else(|| "unknown".to_owned());
        import.left_out(at, format!("a connector of type `{kind}`"), "it is none of MQTT");
        return false;
    }
    let Some(mut settings) = object.object(&["settings"]) else {
        import.left_out(at, "the connector", "it has no settings");
        return false;
    };
    let Some(place) = settings.text(&["url"]).as_deref().and_then(Place::of_url) else {
        import.left_out(at, "the connector", "its URL is none of mqtt, mqtts, tcp, ssl, tls, ws and wss");
        return false;
    };
    let (connector, mut section) = import.connector(&name);
    if let Some(description) = object.text(&["description"]) {
        section.comment(description);
    }
    if object.flag(&["enabled"]) == Some(false) {
        section.set(&keys::ENABLED, false);
    }
    import.name_login(&place, &at);
    section.set(&keys::URL, place.url());
    let qos = settings.integer(&["qos"]).unwrap_or(1);
    client(import, &mut settings, &mut section, &place, qos);
    outbox(import, &mut object, &at);
    import.draft.push(section);
    match side {
        Side::South => items(import, &mut object, &connector, qos),
        Side::North => {
            let why = "no flow leads to it yet: write one, with the topics that OIBus's transformers made";
            import.changed(&at, "what it publishes", why);
        }
    }
    settings.name_rest(import, |_| None);
    object.name_rest(import, reason);
    true
}

fn client(import: &mut Import<'_>, settings: &mut Object, section: &mut Section, place: &Place, qos: i64) {
    let at = settings.at.clone();
    if let Some(is_persistent) = settings.flag(&["persistent"]) {
        // As there, only QoS 1 and 2 have a session that lasts.
        section.set(&keys::SESSION, if is_persistent && qos > 0 { "durable" } else { "clean" });
    }
    if let Some(period) = settings.integer(&["reconnectperiod"]) {
        import.integer(section, &keys::RECONNECT_MIN_MS, period, &at);
        import.integer(section, &keys::RECONNECT_MAX_MS, period, &at);
    }
    if let Some(timeout) = settings.integer(&["connecttimeout"]) {
        import.integer(section, &keys::CONNECT_TIMEOUT_MS, timeout, &at);
    }
    if settings.flag(&["rejectunauthorized"]) == Some(false) && place.is_secure {
        section.set_in(&keys::TLS, &keys::TLS_VERIFY, "none");
        section.comment(
            "OIBus did not check the broker's certificate; write tls.verify = \"full\" when it can be.",
        );
    }
    let Some(mut authentication) = settings.object(&["authentication"]) else { return };
    let method = authentication.text(&["type"]);
    let (user, password) = (authentication.text(&["username"]), authentication.text(&["password"]));
    match password.is_none() && user.is_some() && method.as_deref() == Some("basic") {
        true => {
            let path = section.path_of(keys::PASSWORD.key);
            import.login(section, user, None, &at);
            let why = format!("an export has no secrets; type it again: crosspoint secret set {path}");
            import.left_out(&at, "the password", why);
        }
        false => import.login(section, user, password, &at),
    }
    forms::authority(import, &mut authentication, section, &["cafilepath"]);
    forms::identity(import, &mut authentication, section, &["certfilepath"], &["keyfilepath"]);
    authentication.name_rest(import, |_| None);
}

/// The cache of a north connector: the outbox does what it does, but its numbers mean other things.
fn outbox(import: &mut Import<'_>, object: &mut Object, at: &str) {
    if object.take(&["caching"]).is_some() {
        let why = "the outbox of the connector stores what waits, with limits of its own under `outbox`";
        import.changed(at, "`caching`", why);
    }
}

fn items(import: &mut Import<'_>, object: &mut Object, connector: &str, qos: i64) {
    let mut topics = Vec::new();
    for mut item in object.objects(&["items"]) {
        let name = item.text(&["name"]).unwrap_or_default();
        let is_enabled = item.flag(&["enabled"]).unwrap_or(true);
        let topic = item.object(&["settings"]).and_then(|mut settings| {
            let topic = settings.text(&["topic"]);
            settings.name_rest(import, reason);
            topic
        });
        match topic {
            Some(topic) if is_enabled => topics.push(topic),
            Some(topic) => {
                import.left_out(&item.at, format!("the item `{name}` with `{topic}`"), "it is disabled")
            }
            None => import.left_out(&item.at, format!("the item `{name}`"), "it has no topic"),
        }
        item.name_rest(import, reason);
    }
    if topics.is_empty() {
        return;
    }
    let mut section = Section::new(&[FLOW.key, connector]);
    section.comment("What the items read comes to the embedded broker under the same topics.");
    let from = vec![
        (flow::FROM_CONNECTOR.key.to_owned(), Written::from(connector)),
        (flow::FROM_TOPICS.key.to_owned(), topics.into()),
        (flow::FROM_QOS.key.to_owned(), Written::Integer(qos)),
    ];
    let to = vec![(flow::TO_CONNECTOR.key.to_owned(), Written::from("broker"))];
    section.set(&flow::FROM, Written::Inline(from));
    section.set(&flow::TO, Written::List(vec![Written::Inline(to)]));
    import.draft.push(section);
}

fn reason(key: &str) -> Option<&'static str> {
    Some(match key {
        "subscriptions" | "transformers" | "items" | "groups" => {
            "how OIBus passes values on is written as flows here"
        }
        "scanmode" | "scanmodeid" | "scanmodename" | "scanmodes" => "messages go on when they come",
        "maxnumberofmessages" | "flushmessagetimeout" => "messages go on when they come, one by one",
        "id" | "oibusinternalid" | "oibuscreatedby" | "oibusupdatedby" | "oibuscreatedat"
        | "oibusupdatedat" | "createdby" | "updatedby" | "createdat" | "updatedat" => {
            "it is a number or a date of OIBus itself"
        }
        _ => return None,
    })
}
