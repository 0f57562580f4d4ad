//! The URL of `-L`: `mqtt://user:password@host:port/topic`.

use crosspoint_client::Transport;

/// A URL, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) transport: Transport,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    /// What follows the slash after the host, as it stands there; absent when nothing does.
    pub(crate) topic: Option<String>,
}

impl Url {
    /// Takes a URL apart. User name and password may be percent-encoded; a topic is taken as it stands, since `#`,
    /// `+` and `?` are parts of topics.
    ///
    /// # Errors
    /// What is wrong, as a sentence without the URL, which may hold a password.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) =
            text.split_once("://").ok_or("the URL has no scheme: write mqtt://host/topic")?;
        let transport = transport_of(scheme)?;
        let (authority, topic) = match rest.split_once('/') {
            Some((authority, topic)) => (authority, Some(topic).filter(|topic| !topic.is_empty())),
            None => (rest, None),
        };
        let (login, server) = match authority.rsplit_once('@') {
            Some((login, server)) => (Some(login), server),
            None => (None, authority),
        };
        let (username, password) = login_of(login)?;
        let (host, port) = server_of(server)?;
        Ok(Self { transport, username, password, host, port, topic: topic.map(str::to_owned) })
    }
}

fn transport_of(scheme: &str) -> Result<Transport, String> {
    Ok(match scheme.to_ascii_lowercase().as_str() {
        "mqtt" | "tcp" => Transport::Tcp,
        "mqtts" | "ssl" | "tls" => Transport::Tls,
        "ws" => Transport::Ws,
        "wss" => Transport::Wss,
        _ => return Err(format!("the URL's scheme is {scheme:?}: it must be mqtt, mqtts, ws or wss")),
    })
}

fn login_of(login: Option<&str>) -> Result<(Option<String>, Option<String>), String> {
    let Some(login) = login else { return Ok((None, None)) };
    let (username, password) = match login.split_once(':') {
        Some((username, password)) => (username, Some(password)),
        None => (login, None),
    };
    let username = Some(decode(username)?).filter(|username| !username.is_empty());
    Ok((username, password.map(decode).transpose()?))
}

fn server_of(server: &str) -> Result<(String, Option<u16>), String> {
    let (host, port) = match server.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or("the URL's address has no closing bracket")?;
            (host, port.strip_prefix(':'))
        }
        None => match server.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err("the URL's host is an IPv6 address: put it in brackets, as in [::1]".to_owned());
            }
            Some((host, port)) => (host, Some(port)),
            None => (server, None),
        },
    };
    if host.is_empty() {
        return Err("the URL has no host: write mqtt://host/topic".to_owned());
    }
    let port = match port {
        None | Some("") => None,
        Some(port) => Some(
            port.parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(|| format!("the URL's port is {port:?}: it must be a number from 1 to 65535"))?,
        ),
    };
    Ok((host.to_owned(), port))
}

/// Decodes `%3A` and the like.
fn decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        match (digit(rest.next()), digit(rest.next())) {
            (Some(high), Some(low)) => bytes.push((high * 16 + low) as u8),
            _ => {
                return Err(
                    "the URL has a % without two hexadecimal digits: write %25 for a percent sign".to_owned()
                );
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| "the URL's user name or password is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let url = Url::parse("mqtts://al%40ice:s%3Aecret@broker.example:9000/a/b").unwrap();
        assert_eq!(url.transport, Transport::Tls);
        assert_eq!(url.username.as_deref(), Some("al@ice"));
        assert_eq!(url.password.as_deref(), Some("s:ecret"));
        assert_eq!((url.host.as_str(), url.port), ("broker.example", Some(9000)));
        assert_eq!(url.topic.as_deref(), Some("a/b"));
    }

    #[test]
    fn parts_may_be_missing_and_topics_are_taken_as_they_stand() {
        let cases = [
            ("mqtt://host", Transport::Tcp, "host", None, None),
            ("mqtt://host/", Transport::Tcp, "host", None, None),
            ("ws://host:8083/a/+/#", Transport::Ws, "host", Some(8083), Some("a/+/#")),
            ("wss://[::1]:1/a%20b", Transport::Wss, "::1", Some(1), Some("a%20b")),
            ("MQTT://[fe80::1]", Transport::Tcp, "fe80::1", None, None),
            ("tcp://host//a", Transport::Tcp, "host", None, Some("/a")),
        ];
        for (text, transport, host, port, topic) in cases {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.transport, url.host.as_str(), url.port), (transport, host, port), "{text}");
            assert_eq!(url.topic.as_deref(), topic, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_without_the_password() {
        let cases = [
            ("host/topic", "no scheme"),
            ("http://host/topic", "\"http\""),
            ("mqtt:///topic", "no host"),
            ("mqtt://u:secret@/t", "no host"),
            ("mqtt://u:secret@host:99999/t", "65535"),
            ("mqtt://u:secret@host:0/t", "65535"),
            ("mqtt://u:secret%g@host/t", "%25"),
            ("mqtt://[::1/t", "bracket"),
            ("mqtt://::1/t", "[::1]"),
        ];
        for (text, expected) in cases {
            let error = Url::parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
