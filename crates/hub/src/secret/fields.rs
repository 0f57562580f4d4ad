//! Which texts of a project file are secrets, by the declarations of its keys.

use super::envelope::SEALED;
use crate::config::edit::ProjectEdit;
use crate::config::setting::Shape;
use crate::config::settings::{ENVIRONMENT, declared};

/// Keys whose text names a file unless it is PEM itself.
const FILES: &[&str] = &["key", "pkcs12"];

/// A secret that is written in a project file. It does not hold the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The environment whose overlay it stands in.
    pub environment: Option<String>,
    /// Its path from the top of the project, or of the overlay: what it is sealed for.
    pub path: String,
    /// In which form it is written.
    pub kind: FieldKind,
    /// The variable or the file that it refers to.
    pub reference: Option<String>,
}

/// In which form a secret is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// Only the key opens it.
    Sealed,
    /// It comes from an environment variable.
    Env,
    /// It comes from a file.
    File,
    /// It is a hash, from which nobody gets the password.
    Hash,
    /// Everyone who has the file can read it.
    Plain,
}

impl FieldKind {
    /// Returns the word that people read.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::Env => "env",
            Self::File => "file",
            Self::Hash => "hash",
            Self::Plain => "plain",
        }
    }
}

impl Field {
    /// Returns the field of a text, or `None` where it is no secret.
    pub(super) fn of(keys: &[String], text: &str) -> Option<Self> {
        let (environment, base) = seat_of(keys);
        if !is_secret(base) && !text.starts_with(SEALED) {
            return None;
        }
        let (kind, reference) = kind_of(base, text);
        // The URL of a proxy holds a secret only where it holds a login.
        let is_url = declared(base).is_some_and(|setting| matches!(setting.shape, Shape::TextOrTable(_)));
        if is_url && kind == FieldKind::Plain && !text.contains('@') {
            return None;
        }
        let environment = environment.map(str::to_owned);
        Some(Self { environment, path: base.join("."), kind, reference })
    }

    /// Returns how a person names it.
    pub fn shown(&self) -> String {
        match &self.environment {
            Some(name) => format!("`{}` of environment {name}", self.path),
            None => format!("`{}`", self.path),
        }
    }
}

/// Returns every secret that is written in a project file, in its order.
pub(super) fn fields(edit: &ProjectEdit) -> Vec<Field> {
    let mut fields = Vec::new();
    edit.each_text(|keys, text| fields.extend(Field::of(keys, text)));
    fields
}

/// Splits a path of keys into the environment and the path that the overlay lies over.
pub(super) fn seat_of(keys: &[String]) -> (Option<&str>, &[String]) {
    match keys {
        [first, name, base @ ..] if first == ENVIRONMENT.key => (Some(name), base),
        base => (None, base),
    }
}

/// Tells whether a path of keys, without the environment, leads to a secret.
pub(super) fn is_secret(keys: &[String]) -> bool {
    match declared(keys).map(|setting| (setting.key, &setting.shape)) {
        Some((_, Shape::Secret | Shape::TextOrTable(_))) => true,
        // The table itself is none.
        Some((table, Shape::Secrets)) => keys.iter().rev().nth(1).is_some_and(|parent| parent == table),
        _ => false,
    }
}

fn kind_of(base: &[String], text: &str) -> (FieldKind, Option<String>) {
    let names_file = base.last().is_some_and(|key| FILES.contains(&key.as_str()));
    if text.starts_with(SEALED) {
        (FieldKind::Sealed, None)
    } else if let Some(name) = text.strip_prefix("env:") {
        (FieldKind::Env, Some(name.to_owned()))
    } else if let Some(path) = text.strip_prefix("file:") {
        (FieldKind::File, Some(path.to_owned()))
    } else if names_file && !text.contains("-----BEGIN") {
        (FieldKind::File, Some(text.to_owned()))
    } else if is_user_password(base) && is_hash(text) {
        (FieldKind::Hash, None)
    } else {
        (FieldKind::Plain, None)
    }
}

fn is_user_password(base: &[String]) -> bool {
    matches!(base, [broker, user, _, password] if broker == "broker" && user == "user" && password == "password")
}

/// Tells whether a text has the form of a hash: `$NAME$...`.
fn is_hash(text: &str) -> bool {
    text.strip_prefix('$').is_some_and(|rest| rest.matches('$').count() >= 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::setting::Setting;
    use crate::config::settings::PROJECT;

    fn keys(path: &str) -> Vec<String> {
        path.split('.').map(str::to_owned).collect()
    }

    fn check(path: &str, text: &str, kind: Option<FieldKind>) {
        let field = Field::of(&keys(path), text);
        assert_eq!(field.map(|field| field.kind), kind, "{path} = {text}");
    }

    #[test]
    fn secrets_are_found_by_their_declaration() {
        check("connector.a.password", "x", Some(FieldKind::Plain));
        check("connector.a.password", "env:X", Some(FieldKind::Env));
        check("connector.a.password", "sealed:v1:x", Some(FieldKind::Sealed));
        check("connector.a.websocket.headers.X-Any", "file:x", Some(FieldKind::File));
        check("connector.a.tls.key", "client.key", Some(FieldKind::File));
        check("connector.a.tls.pkcs12", "client.p12", Some(FieldKind::File));
        check("connector.a.tls.key_password", "x", Some(FieldKind::Plain));
        check("connector.a.tls.key", "-----BEGIN PRIVATE KEY-----", Some(FieldKind::Plain));
        check("broker.user.a.password", "$argon2id$v=19$m=1$x$y", Some(FieldKind::Hash));
        check("broker.user.a.password", "$money", Some(FieldKind::Plain));
        check("connector.a.password", "$argon2id$v=19$m=1$x$y", Some(FieldKind::Plain));
        check("connector.a.username", "me", None);
        check("connector.a.proxy", "http://me:x@h:1", Some(FieldKind::Plain));
        check("connector.a.proxy", "env:X", Some(FieldKind::Env));
        check("connector.a.proxy", "http://h:1", None);
        check("connector.a.proxy.password", "x", Some(FieldKind::Plain));
        check("connector.a.tls.certificate", "sealed:v1:x", Some(FieldKind::Sealed));
        check("connector.a", "x", None);
    }

    #[test]
    fn an_overlay_has_the_path_of_what_it_lies_over() {
        let field = Field::of(&keys("environment.live.connector.a.password"), "x").unwrap();
        assert_eq!(
            (field.path.as_str(), field.environment.as_deref()),
            ("connector.a.password", Some("live"))
        );
    }

    /// A secret in a list of tables would have the path of its neighbour: a sealed value could be moved there.
    #[test]
    fn no_secret_is_declared_in_a_list_of_tables() {
        fn check(settings: &[&Setting], in_list: bool, path: &str) {
            for setting in settings {
                let path = format!("{path}.{}", setting.key);
                match &setting.shape {
                    Shape::Secret | Shape::Secrets | Shape::TextOrTable(_) => assert!(!in_list, "{path}"),
                    Shape::Tables(inner) => check(inner, true, &path),
                    Shape::Table(inner) | Shape::Named(inner) => check(inner, in_list, &path),
                    _ => {}
                }
            }
        }
        check(PROJECT, false, "");
    }
}
