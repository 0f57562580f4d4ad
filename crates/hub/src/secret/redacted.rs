//! The project file without its secrets, to be shown to others.

use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, TableLike, Value};

use super::envelope::SEALED;
use super::fields::{Field, FieldKind, seat_of};
use crate::config::names_a_secret;
use crate::config::settings::declared;

/// What stands for a password in a URL.
const HIDDEN: &str = "removed";

/// Returns a project file without its secrets, or `None` where it is not TOML.
///
/// In the place of a secret stands `env:NAME` with a name made of its path, so that the file can be used with secrets of
/// one's own. What refers to a variable or a file stays, and so do addresses, user names and topics. Comments go: a
/// password may have been commented out.
pub fn redacted(text: &str) -> Option<String> {
    let document: DocumentMut = text.parse().ok()?;
    let mut fresh = DocumentMut::new();
    copy_table(document.as_table(), fresh.as_table_mut(), &mut Vec::new());
    Some(fresh.to_string())
}

/// Builds the table anew instead of taking things away, so that what is not copied cannot stay.
fn copy_table(from: &dyn TableLike, to: &mut dyn TableLike, keys: &mut Vec<String>) {
    for (key, item) in from.iter() {
        keys.push(key.to_owned());
        if let Some(item) = copy_item(item, keys) {
            to.insert(key, item);
        }
        keys.pop();
    }
}

fn copy_item(item: &Item, keys: &mut Vec<String>) -> Option<Item> {
    Some(match item {
        Item::None => return None,
        Item::Value(value) => Item::Value(copy_value(value, keys)),
        Item::Table(from) => Item::Table(fresh_table(from, keys)),
        Item::ArrayOfTables(from) => {
            let mut tables = ArrayOfTables::new();
            from.iter().for_each(|table| tables.push(fresh_table(table, keys)));
            Item::ArrayOfTables(tables)
        }
    })
}

fn fresh_table(from: &Table, keys: &mut Vec<String>) -> Table {
    let mut table = Table::new();
    table.set_implicit(from.is_implicit());
    table.set_dotted(from.is_dotted());
    table.set_position(from.position());
    copy_table(from, &mut table, keys);
    table
}

fn copy_value(value: &Value, keys: &mut Vec<String>) -> Value {
    let names_one = || keys.iter().any(|key| names_a_secret(key));
    match value {
        Value::String(text) => copy_text(text.value(), keys).into(),
        Value::Integer(_) | Value::Float(_) | Value::Datetime(_) if !is_known(keys) && names_one() => {
            variable(keys).into()
        }
        Value::Integer(number) => (*number.value()).into(),
        Value::Float(number) => (*number.value()).into(),
        Value::Boolean(flag) => (*flag.value()).into(),
        Value::Datetime(time) => (*time.value()).into(),
        Value::Array(from) => {
            Value::Array(from.iter().map(|value| copy_value(value, keys)).collect::<Array>())
        }
        Value::InlineTable(from) => {
            let mut table = InlineTable::new();
            table.set_dotted(from.is_dotted());
            copy_table(from, &mut table, keys);
            Value::InlineTable(table)
        }
    }
}

fn copy_text(text: &str, keys: &[String]) -> String {
    let is_reference = text.starts_with("env:") || text.starts_with("file:");
    let hides = match Field::of(keys, text) {
        Some(field) => !matches!(field.kind, FieldKind::Env | FieldKind::File),
        // A key that is misspelt is not declared.
        None => !is_known(keys) && !is_reference && keys.iter().any(|key| names_a_secret(key)),
    };
    if hides || text.contains("PRIVATE KEY-----") || text.contains(SEALED) {
        return variable(keys);
    }
    without_password(text)
}

/// Tells whether a path of keys is declared: then its declaration says whether it is a secret.
fn is_known(keys: &[String]) -> bool {
    declared(seat_of(keys).1).is_some()
}

fn variable(keys: &[String]) -> String {
    let (_, base) = seat_of(keys);
    let is_usable = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let name: Vec<String> = base.iter().map(|key| key.chars().map(is_usable).collect()).collect();
    format!("env:{}", name.join("_"))
}

/// Replaces the password of `scheme://user:password@host`.
fn without_password(text: &str) -> String {
    let parts = text.split_once("://").and_then(|(scheme, rest)| {
        let (login, host) = rest.rsplit_once('@')?;
        let (user, _) = login.split_once(':')?;
        Some(format!("{scheme}://{user}:{HIDDEN}@{host}"))
    });
    parts.unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"# password = "hunter2"
id = "00000000000000000000000000000007"
[connector.a] # hunter2
url = ["mqtt://h", "mqtt://me:hunter2@h"] # hunter2
username = "me"
password = "hunter2" # hunter2
keep_alive_s = 5 # hunter2
# hunter2
websocket.headers = { Cookie = "hunter2", Other = "env:OTHER" }
tls = { key = """
-----BEGIN PRIVATE KEY-----
hunter2
-----END PRIVATE KEY-----""", pasword = 7 }
[connector.a.token]
x = "hunter2"
[[flow.f.to]] # hunter2
connector = "a"
[connector.b]
password = "sealed:v1:hunter2"
tls.key = "b.key"
[broker.user.u]
password = "$argon2id$v=19$m=1,t=1,p=1$hunter2hunter2$hunter2"
[environment.live.connector.a]
password = "hunter2"
# hunter2
"#;

    #[test]
    fn no_secret_and_no_comment_is_left() {
        let shown = redacted(FILE).unwrap();
        assert!(!shown.contains("hunter2") && !shown.contains('#'), "{shown}");
        for kept in [
            "url = [\"mqtt://h\", \"mqtt://me:removed@h\"]",
            "username = \"me\"",
            "password = \"env:CONNECTOR_A_PASSWORD\"",
            "keep_alive_s = 5",
            "Other = \"env:OTHER\"",
            "Cookie = \"env:CONNECTOR_A_WEBSOCKET_HEADERS_COOKIE\"",
            "tls.key = \"b.key\"",
            "[environment.live.connector.a]",
            "[[flow.f.to]]",
        ] {
            assert!(shown.contains(kept), "{kept} is missing in {shown}");
        }
    }

    #[test]
    fn what_has_no_secret_means_the_same_afterwards() {
        let text = "[broker.listener.main]\nbind = \"127.0.0.1:0\"\n[console]\nenabled = false\n";
        let read = |text: &str| crate::config::parse(text, "p.toml", None).unwrap().0;
        assert_eq!(read(&redacted(text).unwrap()), read(text));
    }

    #[test]
    fn what_is_not_toml_is_not_shown() {
        assert_eq!(redacted("password = \"hunter2"), None);
    }
}
