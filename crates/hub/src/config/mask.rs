//! Hides secrets in the text that diagnostics point into, byte for byte, so that places stay right; and says where it
//! did, so that what is shown has the same form for each of them.
//!
//! It goes by names and not by declarations, so that a misspelt `pasword` is hidden too.

use std::ops::Range;

use super::file::{Entry, Item, Table, Value};
use super::plan::Auth;

/// Words that make a key look like one of a secret.
const SECRET_WORDS: &[&str] =
    &["pass", "pwd", "secret", "token", "auth", "cookie", "credential", "api-key", "api_key"];

/// How alike a key is to `password` when it is taken for a misspelling, from 0 to 1.
const ALIKE_MIN: f64 = 0.6;

/// A text without its secrets, as long as it was.
pub(super) struct Masked {
    pub(super) text: String,
    /// Where they were, in order: no part reaches over the end of a line, and quotes around it are no part.
    pub(super) hidden: Vec<Range<usize>>,
}

/// Returns the text with the secrets of a readable file masked.
pub(super) fn masked(text: &str, root: &Table) -> Masked {
    let mut hidden = Vec::new();
    collect(root, text, false, &mut hidden);
    apply(text, &hidden)
}

/// Returns the text of a file that is not TOML with everything masked that may be a secret.
pub(super) fn masked_broken(text: &str) -> Masked {
    let mut hidden: Vec<_> = pem_blocks(text).collect();
    let mut line_start = 0;
    for line in text.split_inclusive('\n') {
        let line_end = line_start + line.len();
        if let Some(equals) = secret_assignment(line) {
            hidden.push(line_start + equals + 1..line_end);
        }
        if let (Some(quote), Some(at)) = (line.find(['"', '\'']), line.rfind('@')) {
            hidden.push(line_start + quote..line_start + at);
        }
        line_start = line_end;
    }
    apply(text, &hidden)
}

fn collect(table: &Table, text: &str, is_headers: bool, hidden: &mut Vec<Range<usize>>) {
    for entry in &table.entries {
        let names_one = names_a_secret(&entry.key) && !is_way_to_log_in(entry);
        let secret = is_headers || entry.key == "headers" || names_one;
        match &entry.item.value {
            Value::Table(inner) => collect(inner, text, is_headers || entry.key == "headers", hidden),
            _ => collect_value(&entry.item, text, secret, hidden),
        }
    }
}

/// Tells whether it is `auth` with a word that says how, not with what.
fn is_way_to_log_in(entry: &Entry) -> bool {
    matches!(&entry.item.value, Value::Text(text) if entry.key == "auth" && Auth::WORDS.contains(&text.as_str()))
}

fn collect_value(item: &Item, text: &str, secret: bool, hidden: &mut Vec<Range<usize>>) {
    match &item.value {
        Value::Table(inner) => collect(inner, text, false, hidden),
        Value::List(items) => items.iter().for_each(|item| collect_value(item, text, secret, hidden)),
        Value::Text(value) if hides(value, secret) => hidden.push(item.span.clone()),
        Value::Text(_) => hidden.extend(url_password(text, &item.span)),
        Value::Integer(_) | Value::Float | Value::Date if secret => hidden.push(item.span.clone()),
        _ => {}
    }
}

/// A reference to a secret is shown, and so is the path of a key file.
fn hides(value: &str, secret: bool) -> bool {
    (secret && !is_reference(value)) || value.contains("PRIVATE KEY-----")
}

/// Tells whether a secret says where it is instead of what it is.
pub(super) fn is_reference(value: &str) -> bool {
    ["env:", "file:"].iter().any(|prefix| value.starts_with(prefix))
}

/// Tells whether a key looks like one of a secret.
pub(crate) fn names_a_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| key.contains(word))
        || key
            .split(['_', '-'])
            .chain([key.as_str()])
            .any(|part| strsim::normalized_damerau_levenshtein(part, "password") >= ALIKE_MIN)
}

/// Finds `password@` of `scheme://user:password@host`, and of what is nearly that; where there is no colon, all that
/// stands before the `@`, for it may be the password or a token.
fn url_password(text: &str, span: &Range<usize>) -> Option<Range<usize>> {
    let value = text.get(span.clone())?;
    let end = value.rfind('@')?;
    let scheme = value.find("://").filter(|at| *at < end);
    let user = scheme.map_or(0, |at| at + 3);
    let secret = match value.get(user..end)?.find(':') {
        Some(colon) => user + colon + 1,
        None => scheme.map(|_| user)?,
    };
    Some(span.start + secret..span.start + end)
}

fn pem_blocks(text: &str) -> impl Iterator<Item = Range<usize>> {
    text.match_indices("-----BEGIN").map(|(at, _)| {
        let rest = text.get(at..).unwrap_or_default();
        at..at + rest.find("-----END").unwrap_or(rest.len())
    })
}

fn secret_assignment(line: &str) -> Option<usize> {
    line.match_indices('=').map(|(at, _)| at).find(|at| {
        let before = line.get(..*at).unwrap_or_default().trim_end().trim_end_matches(['"', '\'']);
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
        let key = before.rsplit(|c| !is_part(c)).next().unwrap_or_default();
        names_a_secret(key) || before.contains("headers")
    })
}

fn apply(text: &str, hidden: &[Range<usize>]) -> Masked {
    let hidden = parts(text, hidden);
    let mut bytes = text.as_bytes().to_vec();
    for span in &hidden {
        bytes.get_mut(span.clone()).into_iter().flatten().for_each(|byte| *byte = b'*');
    }
    // Whole values are masked, so no character is cut in half.
    Masked { text: String::from_utf8_lossy(&bytes).into_owned(), hidden }
}

/// Returns what of these spans is secret, line by line, in order and without overlaps.
fn parts(text: &str, spans: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut spans = spans.to_vec();
    spans.sort_by_key(|span| span.start);
    let (mut parts, mut done) = (Vec::<Range<usize>>::new(), 0);
    for span in spans {
        let mut at = span.start.max(done);
        done = done.max(span.end);
        for line in text.get(at..span.end).unwrap_or_default().split_inclusive('\n') {
            let part = unquoted(line);
            if !part.is_empty() {
                parts.push(at + part.start..at + part.end);
            }
            at += line.len();
        }
    }
    parts
}

/// Returns the part of a line between the spaces around it, and the quotes that begin and end it.
fn unquoted(line: &str) -> Range<usize> {
    let (begin, end) = (line.len() - line.trim_start().len(), line.trim_end().len());
    let inner = line.get(begin..end).unwrap_or_default();
    for quotes in ["\"\"\"", "'''", "\"", "'"] {
        if let Some(after) = inner.strip_prefix(quotes) {
            let end = if after.ends_with(quotes) { end - quotes.len() } else { end };
            return begin + quotes.len()..end;
        }
        if inner.ends_with(quotes) && quotes.len() == 3 {
            return begin..end - quotes.len();
        }
    }
    begin..end
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "hunter2";

    fn check(text: &str) {
        let (root, errors) = super::super::file::read(text);
        let shown = if errors.is_empty() { masked(text, &root) } else { masked_broken(text) };
        assert!(!shown.text.contains(SECRET), "{}", shown.text);
        assert_eq!(shown.text.len(), text.len());
    }

    #[test]
    fn no_spelling_of_a_secret_is_shown() {
        check("[connector.a]\npassword = \"hunter2\"");
        check("[connector.a]\npasword = \"hunter2\"");
        check("[connector.a]\ntls.key_pasword = \"hunter2\"");
        check("[connector.a]\npassword = ['hunter2']");
        check("[connector.a]\nwebsocket.headers = { X = \"hunter2\" }");
        check("[connector.a]\nwebsocket.headers = 'hunter2'");
        check("[connector.a]\nurl = \"mqtt://me:hunter2@host\"");
        check("[connector.a]\nurl = \"mqtt://me:hunter2@@host/\"");
        check("[connector.a]\nproxy = \"http://hunter2@host:1\"");
        check("[connector.a]\nurl = \"mqtt://me:it's hunter2@host/\"");
        check("[connector.a]\nurl = [\"me:hunter2@host\"]");
        check(
            "[connector.a.tls]\nkey = '''\n-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----'''",
        );
        check("[environment.x.connector.a]\npassword = \"hunter2\"");
    }

    #[test]
    fn spaces_and_quotes_in_a_secret_are_hidden_with_it() {
        let text = "password = \"it's a 'b' c\" # why";
        let shown = masked(text, &super::super::file::read(text).0);
        assert_eq!(shown.text, "password = \"************\" # why");
        let hidden = shown.hidden.first().cloned();
        assert_eq!((hidden, shown.hidden.len()), (Some(12..24), 1));
        let text = "password = \"x'\"\n";
        assert_eq!(masked(text, &super::super::file::read(text).0).text, "password = \"**\"\n");
    }

    #[test]
    fn no_secret_of_a_broken_file_is_shown() {
        check("password = \"hunter2");
        check("a = { password = \"hunter2\", b = }");
        check("a = { pasword = \"hunter2\"");
        check("key = '''\n-----BEGIN PRIVATE KEY-----\nhunter2\n");
        check("websocket.headers.X = \"hunter2");
        check("url = \"mqtt://me:hunter2@host");
    }

    #[test]
    fn what_is_no_secret_stays() {
        let text = "username = \"me\"\nauth = \"scram-sha-256\"\npassword = \"env:MQTT_PASSWORD\"\ntls.key = \"client.key\"";
        assert_eq!(masked(text, &super::super::file::read(text).0).text, text);
    }

    proptest::proptest! {
        #[test]
        fn masking_keeps_every_place(text in "\\PC*|(password *= *\"?[é\"a\n]*){1,3}") {
            proptest::prop_assert_eq!(masked_broken(&text).text.len(), text.len());
        }
    }
}
