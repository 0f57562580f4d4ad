//! AVstudio, Mendix and Boomi: connections by the fields of their forms, as JSON.
//!
//! These systems export no file that is documented, so the fields are those of their pages, in any spelling: `Keep Alive
//! Timeout (seconds)`, `keepAliveTimeout`. A file is one connection, a list of them, or an object with such a list.

use serde_json::Value;

use crate::config::settings::connector as keys;

use super::connection::Place;
use super::draft::Section;
use super::object::Object;
use super::{Import, ImportError, read_text};

/// A form of another system.
pub(super) struct Form {
    /// What the file should be.
    expected: &'static str,
    /// The names of the list.
    lists: &'static [&'static str],
    /// What takes the fields that only it has.
    own: fn(&mut Import<'_>, &mut Object, &mut Section),
    /// Whether the address is a WebSocket when it has a path.
    path: &'static [&'static str],
    /// The port when none is given, where it is not that of the transport.
    port: Option<i64>,
}

/// The form of AVstudio's project settings.
pub(super) const AVSTUDIO: Form = Form {
    expected: "MQTT connectors of AVstudio as JSON",
    lists: &["mqttconnectors", "connectors"],
    own: avstudio,
    path: &["path"],
    port: None,
};

/// The ConnectionAdministration page of Mendix.
pub(super) const MENDIX: Form = Form {
    expected: "MQTT connections of Mendix as JSON",
    lists: &["connections", "connectiondetails"],
    own: mendix,
    path: &["path"],
    port: None,
};

/// The connection page of Boomi's MQTT connectors.
pub(super) const BOOMI: Form = Form {
    expected: "MQTT connections of Boomi as JSON",
    lists: &["connections"],
    own: boomi,
    path: &[],
    port: Some(1883),
};

const NAME: &[&str] = &["name", "connectionname", "componentname"];
const HOST: &[&str] = &["host", "brokerhost", "broker", "hostname"];
const PORT: &[&str] = &["port", "brokerport"];
const SECURE: &[&str] = &[
    "secureconnection",
    "secure",
    "enablessl",
    "ssl",
    "sslenabled",
    "usesslcertifications",
    "usesslcertificates",
];

/// Reads the file.
pub(super) fn read(import: &mut Import<'_>, form: &Form) -> Result<(), ImportError> {
    let path = import.path.display().to_string();
    let unexpected =
        |reason: String| ImportError::Unexpected { path: path.clone(), expected: form.expected, reason };
    let value: Value =
        serde_json::from_str(&read_text(import.path)?).map_err(|error| unexpected(error.to_string()))?;
    let name = import.name();
    import.draft.preface = vec![format!("Made of {name} by `crosspoint import`.")];
    let mut count = 0;
    for mut object in objects(import, &name, value, form) {
        match object.text(HOST) {
            Some(host) => {
                connection(import, object, &host, form);
                count += 1;
            }
            None => import.left_out(&object.at, "a connection", "it has no host"),
        }
    }
    if count == 0 {
        return Err(ImportError::Nothing { path: path.clone(), expected: "connection with a host" });
    }
    Ok(())
}

fn objects(import: &mut Import<'_>, name: &str, value: Value, form: &Form) -> Vec<Object> {
    let list = match value {
        Value::Array(list) => list,
        value => {
            let Some(mut object) = Object::of(name, value.clone()) else { return Vec::new() };
            let listed = object.objects(form.lists);
            if listed.is_empty() {
                return Object::of(name, value).into_iter().collect();
            }
            object.name_rest(import, |_| Some("it is no connection to a broker"));
            return listed;
        }
    };
    let object = |(index, value)| Object::of(format!("{name}[{index}]"), value);
    list.into_iter().enumerate().filter_map(object).collect()
}

fn connection(import: &mut Import<'_>, mut object: Object, host: &str, form: &Form) {
    let at = object.at.clone();
    let host = Place::of_host(host);
    let (_, mut section) = import.connector(&object.text(NAME).unwrap_or_else(|| host.host.clone()));
    import.name_login(&host, &at);
    let is_secure = object.flag(SECURE).unwrap_or(false);
    let path = object.text(form.path);
    let protocol = object.text(&["protocol", "transport"]).unwrap_or_default().to_ascii_lowercase();
    let is_websocket =
        path.is_some() || matches!(protocol.as_str(), "ws" | "wss" | "websocket" | "websockets");
    let place = Place {
        port: object.integer(PORT).or(form.port),
        is_secure: is_secure || matches!(protocol.as_str(), "tls" | "ssl" | "wss" | "mqtts"),
        websocket: is_websocket.then(|| path.clone().unwrap_or_else(|| "/mqtt".to_owned())),
        ..host
    };
    if path.is_some() {
        import.changed(&at, "`path`", "an address with a path is a WebSocket");
    }
    version(import, &protocol, &mut section, &at);
    section.set(&keys::URL, place.url());
    (form.own)(import, &mut object, &mut section);
    keep_alive(import, &mut object, &mut section);
    import.draft.push(section);
    object.name_rest(import, |_| None);
}

/// Boomi's protocol is a version, the others' a transport.
fn version(import: &mut Import<'_>, protocol: &str, section: &mut Section, at: &str) {
    if protocol.contains("3.1.1") {
        section.set(&keys::PROTOCOL, "3.1.1");
    } else if protocol.contains("3.0") || protocol.contains("3.1") {
        section.set(&keys::PROTOCOL, "3.1");
    } else if !matches!(
        protocol,
        "" | "tcp" | "mqtt" | "tls" | "ssl" | "mqtts" | "ws" | "wss" | "websocket" | "websockets"
    ) {
        import.left_out(
            at,
            format!("the protocol \"{}\"", protocol.escape_debug()),
            "it is none that is known here",
        );
    }
}

fn keep_alive(import: &mut Import<'_>, object: &mut Object, section: &mut Section) {
    let names =
        ["keepalive", "keepalivetimeout", "keepalivetimeoutseconds", "keepalivetimeouts", "keepaliveseconds"];
    if let Some(seconds) = object.integer(&names) {
        let at = object.at.clone();
        import.integer(section, &keys::KEEP_ALIVE_S, seconds, &at);
    }
}

fn avstudio(import: &mut Import<'_>, object: &mut Object, section: &mut Section) {
    let at = object.at.clone();
    let (user, password) = (object.text(&["username", "user"]), object.text(&["password"]));
    import.login(section, user, password, &at);
    if let Some(period) = object.integer(&["reconnecttimeout", "reconnecttimeoutms", "reconnect"]) {
        // There it is one period, so both ends are the same here.
        import.integer(section, &keys::RECONNECT_MIN_MS, period, &at);
        import.integer(section, &keys::RECONNECT_MAX_MS, period, &at);
    }
}

fn mendix(import: &mut Import<'_>, object: &mut Object, section: &mut Section) {
    let at = object.at.clone();
    let method = object.text(&["authenticationmethod", "authentication"]).unwrap_or_default();
    let (user, password) = (object.text(&["username", "user"]), object.text(&["password"]));
    if method.eq_ignore_ascii_case("none") {
        if user.is_some() || password.is_some() {
            import.left_out(&at, "user name and password", "the authentication method is NONE");
        }
    } else if password.as_deref().is_some_and(|password| password.starts_with("{AES")) {
        import.login(section, user, None, &at);
        let path = section.path_of(keys::PASSWORD.key);
        let why = format!(
            "it is encrypted with the EncryptionKey of the app; type it again: crosspoint secret set {path}"
        );
        import.left_out(&at, "the password", why);
    } else {
        import.login(section, user, password, &at);
    }
    authority(import, object, section, &["cacertificate"]);
    let password = object.text(&["certificatepassword", "clientcertificatepassword"]);
    identity(import, object, section, &["clientcertificate"], &["clientcertificatekey", "clientkey"]);
    key_password(import, section, password, &at);
}

fn boomi(import: &mut Import<'_>, object: &mut Object, section: &mut Section) {
    let at = object.at.clone();
    let uses_login = object.flag(&["useauthentication"]).unwrap_or(true);
    let user = object.text(&["username", "user"]);
    let current = object.text(&["password"]);
    let deprecated = object.text(&["passworddeprecated"]);
    if current.is_some() && deprecated.is_some() {
        import.left_out(&at, "`Password (Deprecated)`", "`Password` is the one that counts");
    }
    if uses_login {
        import.login(section, user, current.or(deprecated), &at);
    } else if user.is_some() {
        import.left_out(&at, "user name and password", "`Use Authentication?` is off");
    }
    if let Some(is_clean) = object.flag(&["cleansession"]) {
        section.set(&keys::SESSION, if is_clean { "clean" } else { "durable" });
    }
    if let Some(id) = object.text(&["clientid"]) {
        section.set(&keys::CLIENT_ID, id);
    }
    if let Some(bytes) = object.integer(&["maxmessagesize", "maximummessagesize"]) {
        import.integer(section, &keys::MAX_PACKET_BYTES, bytes, &at);
    }
    authority(import, object, section, &["publicsslcertification", "publicsslcertificate"]);
    let password = object.text(&["clientcertificatepassword", "clientsslcertificatepassword"]);
    if let Some(text) = object.text(&["clientsslcertification", "clientsslcertificate"]) {
        if text.contains("BEGIN CERTIFICATE") && text.contains("PRIVATE KEY-----") {
            set_identity(import, section, text.clone(), text, &at);
        } else {
            let why = "it is a component of the platform: export certificate and key, and name the files in `tls.certificate` and `tls.key`";
            import.left_out(&at, "the client certificate", why);
        }
    }
    key_password(import, section, password, &at);
}

/// Takes the authority of the broker, which is PEM or a file.
pub(super) fn authority(import: &mut Import<'_>, object: &mut Object, section: &mut Section, names: &[&str]) {
    let at = object.at.clone();
    let Some(text) = object.text(names) else { return };
    if text.contains("-----BEGIN CERTIFICATE") {
        section.set_in(&keys::TLS, &keys::TLS_CA, vec![text]);
    } else if is_file(&text) {
        section.set_in(&keys::TLS, &keys::TLS_CA, vec![import.file(&text)]);
    } else {
        import.left_out(
            at,
            "the certificate of the authority",
            "it is neither PEM nor a file; name its file in `tls.ca`",
        );
    }
}

/// Takes certificate and key of the client, which are PEM or files.
pub(super) fn identity(
    import: &mut Import<'_>,
    object: &mut Object,
    section: &mut Section,
    certificate: &[&str],
    key: &[&str],
) {
    let at = object.at.clone();
    let (Some(certificate), key) = (object.text(certificate), object.text(key)) else {
        if object.text(key).is_some() {
            import.left_out(at, "the key of the client", "it has no certificate");
        }
        return;
    };
    match key {
        Some(key) => set_identity(import, section, certificate, key, &at),
        None => import.left_out(at, "the certificate of the client", "it has no key"),
    }
}

fn set_identity(import: &mut Import<'_>, section: &mut Section, certificate: String, key: String, at: &str) {
    let is_pem = |text: &str| text.contains("-----BEGIN");
    let certificate = if is_pem(&certificate) { certificate } else { import.file(&certificate) };
    let key = if is_pem(&key) {
        let path = section.path_of("tls.key");
        import.seal_or_warn(at, &path, &key)
    } else {
        Some(import.file(&key))
    };
    if let Some(key) = key {
        section.set_in(&keys::TLS, &keys::TLS_CERTIFICATE, certificate);
        section.set_in(&keys::TLS, &keys::TLS_KEY, key);
    }
}

/// Sets the password of the client's key.
pub(super) fn key_password(
    import: &mut Import<'_>,
    section: &mut Section,
    password: Option<String>,
    at: &str,
) {
    let Some(password) = password.filter(|password| !password.is_empty()) else { return };
    if !section.has_in(&keys::TLS, &keys::TLS_KEY) {
        import.left_out(at, "the password of the key", "there is no key that it is for");
        return;
    }
    let path = section.path_of("tls.key_password");
    if let Some(written) = import.seal_or_warn(at, &path, &password) {
        section.set_in(&keys::TLS, &keys::TLS_KEY_PASSWORD, written);
    }
}

fn is_file(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    !text.contains('\n') && [".pem", ".crt", ".cer", ".key", ".p7b"].iter().any(|end| lower.ends_with(end))
}
