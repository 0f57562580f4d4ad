//! Home Assistant: `mqtt:` of `configuration.yaml`, or the entry that its user interface made in
//! `.storage/core.config_entries`.

use serde_json::Value;

use crate::config::setting::Setting;
use crate::config::settings::connector as keys;

use super::connection::{Announcement, Place};
use super::draft::{Section, Value as Written};
use super::object::Object;
use super::{Import, ImportError, forms, read_text, yaml};

/// The member that says that the password is a variable of the environment; no key of Home Assistant is like it.
const ENVIRONMENT: &str = "passwordisofenvironment";

/// Reads the file.
pub(super) fn read(import: &mut Import<'_>) -> Result<(), ImportError> {
    let path = import.path.display().to_string();
    let text = read_text(import.path)?;
    let name = import.name();
    import.draft.preface = vec![format!("Made of {name} by `crosspoint import home-assistant`.")];
    let found = match serde_json::from_str::<Value>(&text) {
        Ok(value) => entries(import, value),
        Err(_) => configuration(import, &text)?,
    };
    if found.is_empty() {
        return Err(ImportError::Nothing {
            path,
            expected: "`mqtt:` with a broker, and no entry of the MQTT integration",
        });
    }
    for (title, object) in found {
        connector(import, &title, object);
    }
    Ok(())
}

/// Returns the entries of the MQTT integration; a store of Home Assistant holds those of all integrations.
fn entries(import: &mut Import<'_>, value: Value) -> Vec<(String, Object)> {
    let name = import.name();
    let Some(mut data) = Object::of(name.as_str(), value).and_then(|mut store| store.object(&["data"]))
    else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for mut entry in data.objects(&["entries"]) {
        if entry.text(&["domain"]).as_deref() != Some("mqtt") {
            continue;
        }
        let title = entry.text(&["title"]).unwrap_or_else(|| "home-assistant".to_owned());
        let disabled = entry.text(&["disabledby"]);
        let options = entry.object(&["options"]);
        let Some(mut object) = entry.object(&["data"]) else { continue };
        if let Some(options) = options {
            object.merge(options);
        }
        if let Some(by) = disabled {
            import.changed(
                &object.at,
                "the entry",
                format!("it was disabled by the {by}; so is the connector"),
            );
            object.set("enabled", Value::Bool(false));
        }
        found.push((title, object));
    }
    found
}

/// Returns `mqtt:` of a configuration, with the names of everything else.
fn configuration(import: &mut Import<'_>, text: &str) -> Result<Vec<(String, Object)>, ImportError> {
    let value = parse(&import.path.display().to_string(), text)?;
    let name = import.name();
    let Value::Object(mut members) = value else { return Ok(Vec::new()) };
    let mqtt = members.remove("mqtt");
    if !members.is_empty() && mqtt.is_some() {
        let others: Vec<_> = members.keys().map(|key| format!("`{key}`")).collect();
        import.left_out(&name, others.join(", "), "it says nothing of a connection to a broker");
    }
    let mqtt = match mqtt {
        Some(Value::Object(tagged)) if tagged.contains_key("!include") => {
            let file = tagged.get("!include").and_then(Value::as_str).unwrap_or_default().to_owned();
            let path = import.beside(&file);
            let text = read_text(&path)?;
            parse(&path.display().to_string(), &text)?
        }
        Some(value) => value,
        None => return Ok(Vec::new()),
    };
    let list = match mqtt {
        Value::Array(list) => list,
        value => vec![value],
    };
    let mut found = Vec::new();
    for value in list {
        let Some(mut object) = Object::of(format!("{name}: mqtt"), value) else { continue };
        secrets(import, &mut object)?;
        if object.has("broker") {
            found.push(("home-assistant".to_owned(), object));
        } else {
            object.name_rest(import, reason);
        }
    }
    Ok(found)
}

fn parse(path: &str, text: &str) -> Result<Value, ImportError> {
    yaml::read(text).map_err(|reason| ImportError::Unexpected {
        path: path.to_owned(),
        expected: "YAML of Home Assistant",
        reason,
    })
}

/// Replaces `!secret NAME` by what `secrets.yaml` has, and `!env_var NAME` by `env:NAME`.
fn secrets(import: &mut Import<'_>, object: &mut Object) -> Result<(), ImportError> {
    let path = import.beside("secrets.yaml");
    let at = object.at.clone();
    let known = match object.has_tag("!secret") {
        true => parse(&path.display().to_string(), &read_text(&path)?)?,
        false => Value::Null,
    };
    // A password that only looks like a reference is none.
    if object.has_tag_at("password", "!env_var") {
        object.set(ENVIRONMENT, Value::Bool(true));
    }
    let mut missing = Vec::new();
    object.replace_tags(|tag, name| match tag {
        "!secret" => {
            let found = known.get(name).cloned();
            if found.is_none() {
                missing.push(name.to_owned());
            }
            Some(found.unwrap_or(Value::Null))
        }
        "!env_var" => Some(Value::String(format!("env:{}", name.split(' ').next().unwrap_or_default()))),
        _ => None,
    });
    for name in missing {
        import.left_out(&at, format!("`!secret {name}`"), "secrets.yaml has no such name");
    }
    Ok(())
}

fn connector(import: &mut Import<'_>, title: &str, mut object: Object) {
    let at = object.at.clone();
    let Some(host) = object.text(&["broker"]) else {
        import.left_out(at, "an entry of the MQTT integration", "it names no broker");
        return;
    };
    let (_, mut section) = import.connector(title);
    let certificate = object.text(&["certificate"]);
    let transport = object.text(&["transport"]);
    let path = object.text(&["wspath"]);
    let place = Place {
        // There it is 1883 with TLS and with a WebSocket too.
        port: object.integer(&["port"]).or(Some(1883)),
        is_secure: certificate.is_some(),
        websocket: (transport.as_deref() == Some("websockets"))
            .then(|| path.unwrap_or_else(|| "/".to_owned())),
        ..Place::of_host(&host)
    };
    import.name_login(&place, &at);
    section.set(&keys::URL, place.url());
    if object.flag(&["enabled"]) == Some(false) {
        section.set(&keys::ENABLED, false);
    }
    match object.text(&["protocol"]).as_deref() {
        None => {}
        Some("3.1") => section.set(&keys::PROTOCOL, "3.1"),
        Some("3.1.1") => section.set(&keys::PROTOCOL, "3.1.1"),
        Some("5") | Some("5.0") => section.set(&keys::PROTOCOL, "5.0"),
        Some(_) => import.left_out(&at, "`protocol`", "it is none of 3.1, 3.1.1 and 5"),
    }
    if let Some(id) = object.text(&["clientid"]) {
        section.set(&keys::CLIENT_ID, id);
    }
    if let Some(seconds) = object.integer(&["keepalive"]) {
        import.integer(&mut section, &keys::KEEP_ALIVE_S, seconds, &at);
    }
    login(import, &mut object, &mut section);
    secure(import, &mut object, &mut section, certificate);
    headers(import, &mut object, &mut section);
    for (names, setting) in
        [(["birthmessage", "birth"], &keys::BIRTH), (["willmessage", "will"], &keys::WILL)]
    {
        if let Some(message) = object.object(&names) {
            announcement(import, message, &mut section, setting);
        }
    }
    import.draft.push(section);
    object.name_rest(import, reason);
}

/// A password of the environment is a reference here too, and no secret.
fn login(import: &mut Import<'_>, object: &mut Object, section: &mut Section) {
    let at = object.at.clone();
    let is_environment = object.flag(&[ENVIRONMENT]).is_some();
    let (user, password) = (object.text(&["username"]), object.text(&["password"]));
    match (&user, password) {
        (Some(_), Some(reference)) if is_environment => {
            import.login(section, user, None, &at);
            section.set(&keys::PASSWORD, reference);
        }
        (_, password) => import.login(section, user, password, &at),
    }
}

fn secure(import: &mut Import<'_>, object: &mut Object, section: &mut Section, certificate: Option<String>) {
    let at = object.at.clone();
    match certificate.as_deref() {
        None => {}
        Some("auto") => section.set_in(&keys::TLS, &keys::TLS_CA, vec!["auto".to_owned()]),
        Some(pem) if pem.contains("-----BEGIN") => {
            section.set_in(&keys::TLS, &keys::TLS_CA, vec![pem.to_owned()]);
        }
        Some(file) => section.set_in(&keys::TLS, &keys::TLS_CA, vec![import.file(file)]),
    }
    if object.flag(&["tlsinsecure"]) == Some(true) {
        section.set_in(&keys::TLS, &keys::TLS_VERIFY, "chain");
    }
    let password = object.text(&["clientkeypassword"]);
    forms::identity(import, object, section, &["clientcert"], &["clientkey"]);
    forms::key_password(import, section, password, &at);
}

fn headers(import: &mut Import<'_>, object: &mut Object, section: &mut Section) {
    let Some(Value::Object(headers)) = object.take(&["wsheaders"]) else { return };
    let mut written = Vec::new();
    for (name, value) in headers {
        let Some(text) = value.as_str() else { continue };
        let path = section.path_of(&format!("websocket.headers.{name}"));
        if let Some(value) = import.seal_or_warn(&object.at, &path, text) {
            written.push((name, Written::Text(value)));
        }
    }
    if !written.is_empty() {
        section.set_in(&keys::WEBSOCKET, &keys::WEBSOCKET_HEADERS, Written::Inline(written));
    }
}

fn announcement(import: &mut Import<'_>, mut message: Object, section: &mut Section, setting: &Setting) {
    if let Some(topic) = message.text(&["topic"]) {
        let payload = message.text(&["payload"]).unwrap_or_default();
        let qos = message.integer(&["qos"]).unwrap_or(0);
        let retain = message.flag(&["retain"]).unwrap_or(false);
        import.announcement(
            section,
            setting,
            Announcement { topic, payload, qos, retain, properties: Vec::new() },
        );
    }
    message.name_rest(import, |_| None);
}

fn reason(key: &str) -> Option<&'static str> {
    Some(match key {
        "discovery" | "discoveryprefix" => {
            "entities are Home Assistant's own; its own MQTT integration finds them"
        }
        "tlsversion" => "TLS 1.2 and 1.3 are offered",
        "certificate" | "clientcert" | "clientkey" => "a certificate and its key come together",
        "wspath" => "it is for the transport `websockets` only",
        "alarmcontrolpanel" | "binarysensor" | "button" | "camera" | "climate" | "cover"
        | "devicetracker" | "event" | "fan" | "humidifier" | "image" | "lawnmower" | "light" | "lock"
        | "notify" | "number" | "scene" | "select" | "sensor" | "siren" | "switch" | "tag" | "text"
        | "update" | "vacuum" | "valve" | "waterheater" => {
            "entities are Home Assistant's own; the topics stay what they are"
        }
        _ => return None,
    })
}
