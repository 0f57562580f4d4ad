//! What every system says about a connection to a broker: where it goes and how TLS is done.

use crate::config::setting::Setting;
use crate::config::settings::{CONNECTOR, announcement, connector as keys};

use super::Import;
use super::draft::{Section, Value};
use super::names;

/// Where a connection goes.
#[derive(Default)]
pub(super) struct Place {
    pub(super) host: String,
    pub(super) port: Option<i64>,
    pub(super) is_secure: bool,
    /// The path of a WebSocket, when it is one.
    pub(super) websocket: Option<String>,
    /// Whether the URL held a user name or password, which a URL of the project may not.
    pub(super) has_login: bool,
}

impl Place {
    /// Takes a URL apart, in the schemes that the systems use; `None` when it is none.
    pub(super) fn of_url(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let (is_secure, is_websocket) = match scheme.to_ascii_lowercase().as_str() {
            "mqtt" | "tcp" => (false, false),
            "mqtts" | "ssl" | "tls" => (true, false),
            "ws" => (false, true),
            "wss" => (true, true),
            _ => return None,
        };
        // The login ends first: a password may hold a slash.
        let (has_login, rest) = without_login(rest);
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port.parse().ok()?)),
            _ => (authority, None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let path = if path.is_empty() { "/" } else { path };
        Some(Self {
            host: host.to_owned(),
            port,
            is_secure,
            websocket: is_websocket.then(|| path.to_owned()),
            has_login,
        })
    }

    /// Returns the place of a host that stands alone.
    pub(super) fn of_host(host: &str) -> Self {
        let (has_login, host) = without_login(host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Self { host, has_login, ..Self::default() }
    }

    /// Returns the URL that the project file has for it.
    pub(super) fn url(&self) -> String {
        let scheme = match (self.websocket.is_some(), self.is_secure) {
            (false, false) => "mqtt",
            (false, true) => "mqtts",
            (true, false) => "ws",
            (true, true) => "wss",
        };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let port = self.port.map_or_else(String::new, |port| format!(":{port}"));
        let path = self.websocket.as_deref().unwrap_or_default();
        let path =
            if path.starts_with('/') || path.is_empty() { path.to_owned() } else { format!("/{path}") };
        format!("{scheme}://{host}{port}{path}")
    }
}

/// Cuts off what stands before the last `@`, for it may be a password, and tells whether there was any.
fn without_login(address: &str) -> (bool, &str) {
    address.rsplit_once('@').map_or((false, address), |(_, place)| (true, place))
}

impl Import<'_> {
    /// Names a user name and a password that stand in a URL.
    pub(super) fn name_login(&mut self, place: &Place, at: &str) {
        if place.has_login {
            let why = "write them as `username` and `password`";
            self.left_out(at, "the user name and the password in the address", why);
        }
    }

    /// Begins a connector under a name that is usable and free.
    pub(super) fn connector(&self, wished: &str) -> (String, Section) {
        let is_taken = |name: &str| name == "broker" || self.draft.has(&[CONNECTOR.key, name]);
        let name = names::usable(wished, "mqtt", is_taken);
        let section = Section::new(&[CONNECTOR.key, &name]);
        (name, section)
    }

    /// Sets a number, and says so when it is out of bounds.
    pub(super) fn integer(&mut self, section: &mut Section, setting: &Setting, number: i64, at: &str) {
        if let Err(nearest) = section.set_integer(setting, number) {
            let why = format!("`{}` is {nearest}, the nearest that is possible", setting.key);
            self.changed(at, format!("the number {number}"), why);
        }
    }

    /// Sets user name and password, each when there is one.
    pub(super) fn login(
        &mut self,
        section: &mut Section,
        username: Option<String>,
        password: Option<String>,
        at: &str,
    ) {
        let username = username.filter(|name| !name.is_empty());
        let password = password.filter(|password| !password.is_empty());
        if password.is_some() && username.is_none() {
            self.left_out(
                at,
                "a password without a user name",
                "before MQTT 5 it is not sent; write `username` too",
            );
            return;
        }
        if let Some(username) = username {
            section.set(&keys::USERNAME, username);
        }
        if let Some(password) = password {
            let path = section.path_of(keys::PASSWORD.key);
            if let Some(written) = self.seal_or_warn(at, &path, &password) {
                section.set(&keys::PASSWORD, written);
            }
        }
    }

    /// Sets will or birth.
    pub(super) fn announcement(&mut self, section: &mut Section, setting: &Setting, message: Announcement) {
        let mut entries = vec![(announcement::TOPIC.key.to_owned(), Value::Text(message.topic))];
        entries.push((announcement::PAYLOAD.key.to_owned(), Value::Text(message.payload)));
        if message.qos != 0 {
            entries.push((announcement::QOS.key.to_owned(), Value::Integer(message.qos)));
        }
        if message.retain {
            entries.push((announcement::RETAIN.key.to_owned(), Value::Flag(true)));
        }
        entries
            .extend(message.properties.into_iter().map(|(setting, value)| (setting.key.to_owned(), value)));
        section.set(setting, Value::Inline(entries));
    }
}

/// A message that is published when a connection begins or dies.
pub(super) struct Announcement {
    pub(super) topic: String,
    pub(super) payload: String,
    pub(super) qos: i64,
    pub(super) retain: bool,
    /// Properties of MQTT 5.
    pub(super) properties: Vec<(&'static Setting, Value)>,
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn urls_come_out_as_the_project_has_them() {
        for (text, expected) in [
            ("mqtt://h", Some("mqtt://h")),
            ("tcp://h:1884", Some("mqtt://h:1884")),
            ("SSL://h:8883/", Some("mqtts://h:8883")),
            ("wss://h/mqtt", Some("wss://h/mqtt")),
            ("ws://[::1]:9001", Some("ws://[::1]:9001/")),
            ("mqtt://me:secret@h", Some("mqtt://h")),
            ("mqtt://me:se/cret@h:1884/x", Some("mqtt://h:1884")),
            ("mqtt://me:1/secret@h", Some("mqtt://h")),
            ("http://h", None),
            ("h", None),
            ("mqtt://h:x", None),
        ] {
            assert_eq!(Place::of_url(text).map(|place| place.url()).as_deref(), expected, "{text}");
        }
        let place = Place::of_host("x://me:secret@[::1]");
        assert_eq!((place.url().as_str(), place.has_login), ("mqtt://[::1]", true));
    }
}
