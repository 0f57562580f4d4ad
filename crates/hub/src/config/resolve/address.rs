//! Where a connector connects: a URL, a list of them, or host, port, transport and path.

use std::net::Ipv6Addr;
use std::ops::Range;

use super::super::diagnostic::Findings;
use super::super::plan::{Address, Transport};
use super::super::section::{Section, Text};
use super::super::settings::connector as keys;
use super::super::suggest::closest;
use super::preset;

const SCHEMES: &[&str] = &["mqtt", "mqtts", "tcp", "ssl", "tls", "ws", "wss"];
const DEFAULT_PATH: &str = "/mqtt";

/// Why a text is not an address.
#[derive(Debug, PartialEq)]
pub(super) struct Wrong {
    pub(super) what: String,
    pub(super) help: String,
}

pub(super) fn wrong<T>(what: impl Into<String>, help: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { what: what.into(), help: help.into() })
}

/// Returns the addresses of a connector in the order of failover, empty when there is an error.
pub(super) fn resolve(section: &Section<'_>, findings: &mut Findings) -> Vec<Address> {
    let parts = [&keys::HOST, &keys::PORT, &keys::TRANSPORT, &keys::PATH];
    let part = parts.into_iter().find(|part| section.has(part));
    match (section.has(&keys::URL), part) {
        (true, Some(part)) => {
            let message = format!("`{}` has both `url` and `{}`", section.path, part.key);
            let finding = findings.error(&section.key_span_of(part), message).label("not beside `url`");
            finding.also(&section.key_span_of(&keys::URL), "`url` says it all").help(
                "write either `url` or host, port, transport and path; in an environment, unset = [\"url\"] takes it away",
            );
            Vec::new()
        }
        (true, None) => urls(section, findings),
        (false, Some(_)) if section.has(&keys::HOST) => from_parts(section, findings).into_iter().collect(),
        (false, _) => {
            nowhere(section, findings);
            Vec::new()
        }
    }
}

fn nowhere(section: &Section<'_>, findings: &mut Findings) {
    let message = format!("`{}` does not say where to connect", section.path);
    let finding = findings.error(&section.span, message);
    match preset::of(section) {
        Some(preset) => finding.label("`host` is missing").help(preset::host_help(preset)),
        None => finding
            .label("`url` is missing")
            .help("write url = \"mqtts://broker.example.com:8883\", or host = \"...\""),
    };
}

fn urls(section: &Section<'_>, findings: &mut Findings) -> Vec<Address> {
    let path = section.path_of(&keys::URL);
    let texts = section.texts(&keys::URL);
    if section.lacks(&keys::URL) {
        let finding = findings.error(&section.span_of(&keys::URL), format!("`{path}` is an empty list"));
        finding.label("no address").help("write url = \"mqtts://broker.example.com:8883\"");
    }
    texts.into_iter().filter_map(|text| report(url(text.text), text, &path, findings)).collect()
}

fn from_parts(section: &Section<'_>, findings: &mut Findings) -> Option<Address> {
    let host = section.text(&keys::HOST)?;
    let transport = transport(section.text_or_default(&keys::TRANSPORT));
    let port = section.integer(&keys::PORT).and_then(|port| u16::try_from(port).ok());
    let path = match section.text(&keys::PATH) {
        Some(written) if !transport.is_websocket() => {
            let wrong = wrong("is for `ws` and `wss` only", "remove it, or write transport = \"wss\"");
            return report(wrong, written, &section.path_of(&keys::PATH), findings);
        }
        Some(written) => {
            report(checked_path(written.text), written, &section.path_of(&keys::PATH), findings)?
        }
        None => default_path(transport),
    };
    let host = self::host(host, &section.path_of(&keys::HOST), findings)?;
    Some(Address { transport, host, port: port.unwrap_or(default_port(transport)), path })
}

/// Checks a host name or IP address that stands alone.
pub(super) fn host(text: Text<'_>, path: &str, findings: &mut Findings) -> Option<String> {
    report(host_alone(text.text), text, path, findings)
}

fn report<T>(result: Result<T, Wrong>, text: Text<'_>, path: &str, findings: &mut Findings) -> Option<T> {
    let span: &Range<usize> = text.span;
    let wrong = match result {
        Ok(found) => return Some(found),
        Err(wrong) => wrong,
    };
    findings.error(span, format!("`{path}` {}", wrong.what)).label("here").help(wrong.help);
    None
}

/// Returns the transport of a word of `transport`.
pub(super) fn transport(word: &str) -> Transport {
    match word {
        "tls" => Transport::Tls,
        "ws" => Transport::Ws,
        "wss" => Transport::Wss,
        _ => Transport::Tcp,
    }
}

fn url(text: &str) -> Result<Address, Wrong> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return wrong("has no scheme", format!("write mqtt://{0} or mqtts://{0}", without_secrets(text)));
    };
    let transport = match scheme.to_ascii_lowercase().as_str() {
        "mqtt" | "tcp" => Transport::Tcp,
        "mqtts" | "ssl" | "tls" => Transport::Tls,
        "ws" => Transport::Ws,
        "wss" => Transport::Wss,
        other => return unknown_scheme(other),
    };
    let (authority, path) = rest.find(['/', '?', '#']).map_or((rest, ""), |at| rest.split_at(at));
    if authority.contains('@') {
        return credentials();
    }
    let (host, port) = authority_parts(authority)?;
    let path = match (path, transport.is_websocket()) {
        ("", _) | ("/", false) => default_path(transport),
        (path, true) => checked_path(path)?,
        (path, false) => {
            let help = format!("remove `{path}`; a topic belongs in a flow, a path needs ws:// or wss://");
            return wrong(format!("has a path, and {scheme}:// takes none"), help);
        }
    };
    Ok(Address { transport, host, port: port.unwrap_or(default_port(transport)), path })
}

fn credentials<T>() -> Result<T, Wrong> {
    wrong(
        "holds a user name or password",
        "write them as `username` and `password`, where they can be kept secret",
    )
}

fn unknown_scheme(scheme: &str) -> Result<Address, Wrong> {
    let help = match closest(scheme, SCHEMES.iter().copied()) {
        Some(meant) => format!("did you mean {meant}://?"),
        None if scheme == "http" => "MQTT over WebSocket is ws://".into(),
        None if scheme == "https" => "MQTT over WebSocket is wss://".into(),
        None => "the schemes are mqtt, mqtts, tcp, ssl, tls, ws and wss".into(),
    };
    wrong(format!("has the scheme \"{}\", which is not known", scheme.escape_debug()), help)
}

/// Takes host and port apart.
pub(super) fn authority_parts(authority: &str) -> Result<(String, Option<u16>), Wrong> {
    if let Some(rest) = authority.strip_prefix('[') {
        let Some((address, after)) = rest.split_once(']') else {
            return wrong("has a `[` without its `]`", "write an IPv6 address as mqtt://[::1]:1883");
        };
        let host = ipv6(address)?;
        return match after.strip_prefix(':') {
            Some(digits) => Ok((host, Some(port(digits)?))),
            None if after.is_empty() => Ok((host, None)),
            None => wrong("goes on after the `]`", "write mqtt://[::1]:1883"),
        };
    }
    match authority.rsplit_once(':') {
        Some((host, _)) if host.contains(':') => {
            wrong("has an IPv6 address without brackets", format!("write mqtt://[{authority}]"))
        }
        Some((host, digits)) => Ok((host_name(host)?, Some(port(digits)?))),
        None => Ok((host_name(authority)?, None)),
    }
}

fn port(digits: &str) -> Result<u16, Wrong> {
    match digits.parse::<u16>() {
        Ok(port) if port > 0 && digits.bytes().all(|digit| digit.is_ascii_digit()) => Ok(port),
        _ => wrong(
            format!("has the port \"{}\", which is out of bounds", digits.escape_debug()),
            "write a port from 1 to 65,535, or none for the default",
        ),
    }
}

fn host_alone(text: &str) -> Result<String, Wrong> {
    if text.contains("://") {
        return wrong("is a URL and not a host", "write it as `url`");
    }
    if text.contains('@') {
        return credentials();
    }
    let bare = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(text);
    match bare.split_once(':') {
        Some((host, digits)) if !digits.contains(':') => {
            wrong("holds a port", format!("write host = \"{host}\" and port = {digits}"))
        }
        Some(_) => ipv6(bare),
        None => host_name(bare),
    }
}

fn ipv6(text: &str) -> Result<String, Wrong> {
    match text.parse::<Ipv6Addr>() {
        Ok(address) => Ok(address.to_string()),
        Err(_) if text.contains('%') => wrong(
            "has an IPv6 address with a zone, which is not in this version",
            "use a name or another address",
        ),
        Err(_) => wrong("is not an IPv6 address", "write it like [2001:db8::1]"),
    }
}

fn host_name(text: &str) -> Result<String, Wrong> {
    if text.is_empty() {
        return wrong("has no host", "write mqtts://broker.example.com:8883");
    }
    if text.len() > 253 {
        return wrong("has a host name of more than 253 characters", "check the name");
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match text.chars().find(|c| !is_plain(*c)) {
        None => Ok(text.to_ascii_lowercase()),
        Some(c) if !c.is_ascii() => wrong(
            format!("has the character `{}` in the host name", c.escape_debug()),
            "write the name in its ASCII form (xn--...)",
        ),
        Some(c) => wrong(
            format!("has the character `{}` in the host name", c.escape_debug()),
            "a host name has letters, digits, `-` and `.`",
        ),
    }
}

fn checked_path(path: &str) -> Result<String, Wrong> {
    if !path.starts_with('/') {
        return wrong("is a path that does not begin with `/`", format!("write \"/{path}\""));
    }
    match path.chars().find(|c| !c.is_ascii_graphic() || *c == '#') {
        None => Ok(path.to_owned()),
        Some(c) => wrong(
            format!("has the character `{}` in the path", c.escape_debug()),
            "write it percent-encoded, such as %20 for a space",
        ),
    }
}

fn default_path(transport: Transport) -> String {
    (if transport.is_websocket() { DEFAULT_PATH } else { "/" }).to_owned()
}

pub(super) const fn default_port(transport: Transport) -> u16 {
    match transport {
        Transport::Tcp => 1883,
        Transport::Tls => 8883,
        Transport::Ws => 80,
        Transport::Wss => 443,
    }
}

fn without_secrets(text: &str) -> &str {
    text.rsplit('@').next().unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        url(text).map_or_else(|wrong| format!("error: {}", wrong.what), |address| address.to_string())
    }

    #[test]
    fn urls_of_every_scheme() {
        for (text, expected) in [
            ("mqtt://host", "mqtt://host:1883"),
            ("MQTT://Host.Example", "mqtt://host.example:1883"),
            ("tcp://10.0.0.1:1884", "mqtt://10.0.0.1:1884"),
            ("mqtts://host", "mqtts://host:8883"),
            ("ssl://host", "mqtts://host:8883"),
            ("tls://host:1", "mqtts://host:1"),
            ("ws://host", "ws://host:80/mqtt"),
            ("ws://host/", "ws://host:80/"),
            ("wss://host:9001/a/b?c=d", "wss://host:9001/a/b?c=d"),
            ("mqtt://[::1]", "mqtt://[::1]:1883"),
            ("mqtt://[2001:DB8::1]:1884/", "mqtt://[2001:db8::1]:1884"),
            ("mqtt://host/topic", "error: has a path, and mqtt:// takes none"),
            ("mqtt://me:secret@host", "error: holds a user name or password"),
            ("mqtt://::1:1883", "error: has an IPv6 address without brackets"),
            ("mqtt://[::1", "error: has a `[` without its `]`"),
            ("mqtt://[::1]x", "error: goes on after the `]`"),
            ("mqtt://[fe80::1%eth0]", "error: has an IPv6 address with a zone, which is not in this version"),
            ("mqtt://host:0", "error: has the port \"0\", which is out of bounds"),
            ("mqtt://host:65536", "error: has the port \"65536\", which is out of bounds"),
            ("mqtt://host:+1", "error: has the port \"+1\", which is out of bounds"),
            ("mqtt://", "error: has no host"),
            ("mqtt://a b", "error: has the character ` ` in the host name"),
            ("mqtt://bücher", "error: has the character `ü` in the host name"),
            ("host:1883", "error: has no scheme"),
            ("http://host", "error: has the scheme \"http\", which is not known"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_shown_reads_as_the_same_address(text in "(mqtts?|wss?)://([a-z.:\\[\\]0-9/?#@]{0,20}|\\PC{0,10})") {
            if let Ok(address) = url(&text) {
                proptest::prop_assert_eq!(url(&address.to_string()), Ok(address));
            }
        }
    }
}
