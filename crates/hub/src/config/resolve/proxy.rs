//! `proxy` of a connector: one text, or a table with a login of its own.

use std::ops::Range;

use super::super::diagnostic::Findings;
use super::super::plan::{ProxyKind, ProxyPlan};
use super::super::secret::Secret;
use super::super::section::{Section, Text};
use super::super::settings::link as keys;
use super::address::{Wrong, authority_parts, wrong};
use super::material::{Material, Origin};

/// How long user name and password may be: SOCKS5 has one byte for the length of each.
const LOGIN_BYTES_MAX: usize = 255;

const EXAMPLE: &str =
    "write proxy = \"http://proxy.example.com:3128\" or \"socks5://proxy.example.com:1080\"";

/// A proxy as its URL says it.
#[derive(Debug, PartialEq)]
struct Url {
    kind: ProxyKind,
    host: String,
    port: u16,
    /// What stands before the `@`, decoded.
    login: Option<(String, String)>,
}

/// Resolves the proxy of a connector.
pub(super) fn resolve(
    connector: &Section<'_>,
    material: &Material,
    findings: &mut Findings,
) -> Option<ProxyPlan> {
    let path = connector.path_of(&keys::PROXY);
    if let Some(text) = connector.text(&keys::PROXY) {
        // It may hold a password, and so may come from where passwords come from.
        let (secret, origin) = material.secret(text, &path, findings)?;
        let url = report(url(secret.expose_text().unwrap_or_default()), text.span, &path, findings)?;
        if origin == Origin::Plain && url.login.is_some() {
            let help = "write the whole URL as \"env:NAME\" or \"file:PATH\", or proxy = { url, username, password }";
            let finding = findings.warning(text.span, format!("`{path}` holds a password in plain text"));
            finding.label("readable for everyone who has the file").help(help);
        }
        let login = url.login.map(|(username, password)| (username, Secret::new(password)));
        return checked(
            ProxyPlan { kind: url.kind, host: url.host, port: url.port, login },
            text.span,
            &path,
            findings,
        );
    }
    if !connector.has_table(&keys::PROXY) {
        return None;
    }
    of_table(&connector.table(&keys::PROXY), material, findings)
}

fn of_table(section: &Section<'_>, material: &Material, findings: &mut Findings) -> Option<ProxyPlan> {
    let path = section.path_of(&keys::PROXY_URL);
    let Some(text) = section.text(&keys::PROXY_URL) else {
        if !section.has(&keys::PROXY_URL) {
            let finding = findings.error(&section.span, format!("`{path}` is missing")).label("no proxy");
            finding.help("write url = \"http://proxy.example.com:3128\"");
        }
        return None;
    };
    let url = report(url(text.text), text.span, &path, findings)?;
    if url.login.is_some() {
        let finding = findings.error(text.span, format!("`{path}` holds a user name or password"));
        finding.label("here").help("write them as `username` and `password` beside it");
        return None;
    }
    let login = login(section, material, findings);
    let plan = ProxyPlan { kind: url.kind, host: url.host, port: url.port, login };
    checked(plan, &section.span, &section.path, findings)
}

fn login(section: &Section<'_>, material: &Material, findings: &mut Findings) -> Option<(String, Secret)> {
    let username = section.text(&keys::PROXY_USERNAME);
    let password: Option<Text<'_>> = section.text(&keys::PROXY_PASSWORD);
    let (username, text) = match (username, password) {
        (Some(username), Some(password)) => (username, password),
        (None, None) => return None,
        (written, _) => {
            let (has, lacks) =
                if written.is_some() { ("username", "password") } else { ("password", "username") };
            let message = format!("`{}` has `{has}` without `{lacks}`", section.path);
            findings
                .error(&section.span, message)
                .label("half a login")
                .help(format!("add {lacks} = \"...\""));
            return None;
        }
    };
    let path = section.path_of(&keys::PROXY_PASSWORD);
    let (secret, origin) = material.secret(text, &path, findings)?;
    if origin == Origin::Plain {
        let finding = findings.warning(text.span, format!("`{path}` is plain text"));
        finding.label("readable for everyone who has the file").help("write \"env:NAME\" or \"file:PATH\"");
    }
    Some((username.text.to_owned(), secret))
}

/// Checks that the login can be sent to this kind of proxy.
fn checked(plan: ProxyPlan, span: &Range<usize>, path: &str, findings: &mut Findings) -> Option<ProxyPlan> {
    let Some((username, password)) = &plan.login else { return Some(plan) };
    let fits = |bytes: usize| (1..=LOGIN_BYTES_MAX).contains(&bytes);
    let is_socks = plan.kind != ProxyKind::Http;
    let (what, help) = if password.expose_text().is_none() {
        ("has a password that is not UTF-8", "write it as text")
    } else if is_socks && !(fits(username.len()) && fits(password.expose().len())) {
        ("has a user name or password that is too long for SOCKS5", "shorten it to at most 255 bytes")
    } else if !is_socks && username.contains(':') {
        ("has a user name with a colon, which HTTP cannot carry", "use another user name")
    } else {
        return Some(plan);
    };
    findings.error(span, format!("`{path}` {what}")).label("cannot be sent").help(help);
    None
}

fn report<T>(
    result: Result<T, Wrong>,
    span: &Range<usize>,
    path: &str,
    findings: &mut Findings,
) -> Option<T> {
    let wrong = match result {
        Ok(found) => return Some(found),
        Err(wrong) => wrong,
    };
    findings.error(span, format!("`{path}` {}", wrong.what)).label("here").help(wrong.help);
    None
}

fn url(text: &str) -> Result<Url, Wrong> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return wrong("has no scheme", EXAMPLE);
    };
    let kind = match scheme.to_ascii_lowercase().as_str() {
        "http" => ProxyKind::Http,
        "socks5" | "socks" => ProxyKind::Socks5,
        "socks5h" => ProxyKind::Socks5Hostname,
        "https" => {
            return wrong(
                "is a proxy that is spoken to with TLS, which is not in this version",
                "use its http:// port: what goes through is encrypted between here and the broker by mqtts://",
            );
        }
        "socks4" | "socks4a" => return wrong("is SOCKS4, which is not spoken here", "use socks5://"),
        _ => return wrong("has a scheme that no proxy has", EXAMPLE),
    };
    // The last `@` ends the login: before it nothing is shown, it may be a password.
    let (login, place) = match rest.rsplit_once('@') {
        Some((login, place)) => (Some(url_login(login)?), place),
        None => (None, rest),
    };
    let place = place.strip_suffix('/').unwrap_or(place);
    let (host, port) = authority_parts(place)?;
    match port {
        Some(port) => Ok(Url { kind, host, port, login }),
        None => wrong("has no port", EXAMPLE),
    }
}

fn url_login(text: &str) -> Result<(String, String), Wrong> {
    let both = text.split_once(':').and_then(|(name, password)| Some((decoded(name)?, decoded(password)?)));
    match both {
        Some((name, password)) if !name.is_empty() && !password.is_empty() => Ok((name, password)),
        _ => wrong(
            "has a login that is not USER:PASSWORD",
            "write characters such as `@`, `:` and `%` percent-encoded, or proxy = { url, username, password }",
        ),
    }
}

/// Decodes `%3A` and the like.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        bytes.push(match byte {
            b'%' => u8::try_from(digit()? * 16 + digit()?).ok()?,
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match url(text) {
            Ok(Url { kind, host, port, login }) => format!("{kind:?} {host} {port} {login:?}"),
            Err(wrong) => format!("error: {}", wrong.what),
        }
    }

    #[test]
    fn urls_of_every_kind() {
        for (text, expected) in [
            ("http://Proxy.Example:3128", "Http proxy.example 3128 None"),
            ("HTTP://[::1]:3128/", "Http ::1 3128 None"),
            ("socks5://127.0.0.1:1080", "Socks5 127.0.0.1 1080 None"),
            ("socks5h://h:1", "Socks5Hostname h 1 None"),
            ("socks5://me:p%40ss%3A@h:1", "Socks5 h 1 Some((\"me\", \"p@ss:\"))"),
            ("http://me:a/b@c@h:1", "Http h 1 Some((\"me\", \"a/b@c\"))"),
            ("http://h", "error: has no port"),
            ("http://me@h:1", "error: has a login that is not USER:PASSWORD"),
            ("http://me:%zz@h:1", "error: has a login that is not USER:PASSWORD"),
            ("https://h:1", "error: is a proxy that is spoken to with TLS, which is not in this version"),
            ("socks4://h:1", "error: is SOCKS4, which is not spoken here"),
            ("mqtt://h:1", "error: has a scheme that no proxy has"),
            ("h:3128", "error: has no scheme"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn no_fault_shows_what_may_be_a_password() {
        for text in
            ["http://me:hunter2@", "http://me:hunter2@h", "x://me:hunter2@h:1", "socks5://hunter2@h:1"]
        {
            let Err(wrong) = url(text) else { panic!("{text}") };
            assert!(!format!("{wrong:?}").contains("hunter2"), "{wrong:?}");
        }
    }
}
