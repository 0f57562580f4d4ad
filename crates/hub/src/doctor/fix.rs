//! Writes the setting that mends a fault, where that makes nothing weaker.
//!
//! What may be written is one short list, [`may_write`], whatever a diagnosis offers. Verification, trust, credentials and
//! access are for a person: a certificate that does not hold may be an attack as well as a mistake.

use std::path::Path;

use super::Patient;
use crate::config::edit::{EditError, ProjectEdit};
use crate::config::plan::{Address, MqttPlan};
use crate::config::{Diagnostic, Severity};
use crate::diagnosis::{Diagnosis, Mend, MendValue};

/// A setting that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixed {
    /// Where it stands, such as `connector.plant.keep_alive_s`.
    pub key: String,
    /// What stands there now, as TOML.
    pub value: String,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotFixed {
    /// No setting mends it, or only a person knows its value.
    #[error("no setting is known that mends it by itself")]
    NoValue,
    /// It would make the connection weaker, or trust somebody new.
    #[error("`{key}` decides who is trusted: that is for a person to write")]
    NotForUs {
        /// The key.
        key: &'static str,
    },
    /// The value does not stand where one value can be replaced by another.
    #[error("`{key}` is a list or stands elsewhere: only a person knows which one is meant")]
    NotAlone {
        /// The key.
        key: &'static str,
    },
    /// The file cannot be changed.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The project would not be valid with it.
    #[error("the project would not be valid with it: {0}")]
    Invalid(String),
}

/// Writes what mends a diagnosis into a project file, keeping everything else of it as it is.
///
/// With an environment it is written into that environment's overlay where the overlay has the key, and into the base
/// otherwise. The changed file is checked by `check` before it is written.
///
/// # Errors
/// Nothing was written, and why.
pub fn fix(
    project: &Path,
    environment: Option<&str>,
    patient: &Patient,
    diagnosis: &Diagnosis,
    check: impl FnOnce(&str) -> Result<(), Vec<Diagnostic>>,
) -> Result<Fixed, NotFixed> {
    let Some(Mend { key, value: Some(value) }) = &diagnosis.mend else { return Err(NotFixed::NoValue) };
    if !may_write(&patient.mqtt, key, value) {
        return Err(NotFixed::NotForUs { key });
    }
    let mut edit = ProjectEdit::open(project)?;
    let (path, value) = place(&edit, environment, &patient.name, key, value)?;
    let keys: Vec<&str> = path.iter().map(String::as_str).collect();
    let shown = match &value {
        MendValue::Text(text) => {
            edit.set_text(&keys, text)?;
            format!("{text:?}")
        }
        MendValue::Integer(number) => {
            edit.set_integer(&keys, *number)?;
            number.to_string()
        }
    };
    check(&edit.text()).map_err(|found| NotFixed::Invalid(first_error(&found)))?;
    edit.save()?;
    Ok(Fixed { key: path.join("."), value: shown })
}

/// Tells whether the doctor may write a value by itself.
fn may_write(mqtt: &MqttPlan, key: &str, value: &MendValue) -> bool {
    match (key, value) {
        ("keep_alive_s", MendValue::Integer(seconds)) => *seconds > 0,
        ("protocol", MendValue::Text(version)) => version == "auto",
        ("url", MendValue::Text(url)) => match mqtt.addresses.as_slice() {
            [only] => is_as_strong(only, url),
            _ => false,
        },
        _ => false,
    }
}

/// Tells whether a URL goes to the same host, and as protected as before.
fn is_as_strong(address: &Address, url: &str) -> bool {
    let is_secure = url.starts_with("mqtts://") || url.starts_with("wss://");
    let authority = authority(address);
    let same = |scheme: &str| {
        let rest = url.strip_prefix(scheme).and_then(|rest| rest.strip_prefix(authority.as_str()));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let is_same_host = ["mqtt://", "mqtts://", "ws://", "wss://"].iter().any(|scheme| same(scheme));
    is_same_host && (is_secure || !address.transport.is_secure())
}

fn authority(address: &Address) -> String {
    match address.host.contains(':') {
        true => format!("[{}]:{}", address.host, address.port),
        false => format!("{}:{}", address.host, address.port),
    }
}

/// Finds where a key stands, or belongs: in the overlay that has it, in the base otherwise.
fn place(
    edit: &ProjectEdit,
    environment: Option<&str>,
    name: &str,
    key: &'static str,
    value: &MendValue,
) -> Result<(Vec<String>, MendValue), NotFixed> {
    let base = vec!["connector".to_owned(), name.to_owned()];
    let overlay = environment
        .map(|environment| [vec!["environment".to_owned(), environment.to_owned()], base.clone()].concat());
    let has = |place: &[String], key: &str| {
        let keys: Vec<&str> = place.iter().map(String::as_str).chain([key]).collect();
        edit.has(&keys)
    };
    let is_url = key == "url";
    let places: Vec<Vec<String>> = overlay.into_iter().chain([base.clone()]).collect();
    for place in places {
        if has(&place, key) {
            let keys: Vec<&str> = place.iter().map(String::as_str).chain([key]).collect();
            // A list of addresses has no single place to write one into.
            let is_one = !is_url || edit.text_at(&keys).is_some();
            let path = [place.clone(), vec![key.to_owned()]].concat();
            return if is_one { Ok((path, value.clone())) } else { Err(NotFixed::NotAlone { key }) };
        }
        if is_url && has(&place, "host") {
            let transport = transport_of(value).ok_or(NotFixed::NotAlone { key })?;
            let path = [place.clone(), vec!["transport".to_owned()]].concat();
            return Ok((path, MendValue::Text(transport.to_owned())));
        }
    }
    if is_url {
        return Err(NotFixed::NotAlone { key });
    }
    Ok(([base, vec![key.to_owned()]].concat(), value.clone()))
}

fn transport_of(url: &MendValue) -> Option<&'static str> {
    let MendValue::Text(url) = url else { return None };
    let (scheme, _) = url.split_once("://")?;
    Some(match scheme {
        "mqtt" => "tcp",
        "mqtts" => "tls",
        "ws" => "ws",
        "wss" => "wss",
        _ => return None,
    })
}

fn first_error(found: &[Diagnostic]) -> String {
    let error = found.iter().find(|finding| finding.severity == Severity::Error);
    error.map_or_else(|| "it has an error".to_owned(), |error| error.message.clone())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::parse;
    use crate::diagnosis::Fault;

    fn fixed(text: &str, environment: Option<&str>, diagnosis: &Diagnosis) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("crosspoint.toml");
        fs::write(&file, text).unwrap();
        let (plan, _) = parse(text, "crosspoint.toml", environment).unwrap();
        let patient = Patient::of_plan(&plan, "a").unwrap();
        let check = |text: &str| parse(text, "crosspoint.toml", environment).map(|_| ());
        let result = fix(&file, environment, &patient, diagnosis, check);
        let after = fs::read_to_string(&file).unwrap();
        match result {
            Ok(_) => Ok(after),
            Err(error) => {
                assert_eq!(after, text, "nothing is written: {error}");
                Err(error.to_string())
            }
        }
    }

    fn diagnosis() -> Diagnosis {
        Diagnosis::new(Fault::OurSide, "cause", "next")
    }

    const BASE: &str =
        "# my plant\n[connector.a]\nurl = \"mqtt://h:8883\" # the old one\nkeep_alive_s = 120 # long\n";

    #[test]
    fn a_value_is_replaced_and_comments_stay() {
        let after = fixed(BASE, None, &diagnosis().integer("keep_alive_s", 30)).unwrap();
        assert_eq!(after, BASE.replace("120", "30"));
        let after = fixed(BASE, None, &diagnosis().text("url", "mqtts://h:8883")).unwrap();
        assert_eq!(after, BASE.replace("mqtt://", "mqtts://"));
        let after = fixed(BASE, None, &diagnosis().text("protocol", "auto")).unwrap();
        assert_eq!(after, format!("{BASE}protocol = \"auto\"\n"));
    }

    #[test]
    fn nothing_is_ever_made_weaker() {
        let secure = "[connector.a]\nurl = \"mqtts://h:1883\"\ntls.verify = \"full\"\n";
        for weaker in [
            diagnosis().text("url", "mqtt://h:1883"),
            diagnosis().text("url", "ws://h:1883/mqtt"),
            diagnosis().text("url", "mqtts://other:1883"),
            diagnosis().text("url", "mqtts://h:18830"),
            diagnosis().text("tls.verify", "none"),
            diagnosis().text("tls.verify", "chain"),
            diagnosis().text("tls.server_name", "attacker.example"),
            diagnosis().text("tls.ca", "auto"),
            diagnosis().text("tls.min_version", "1.2"),
            diagnosis().text("username", "admin"),
            diagnosis().text("password", "x"),
            diagnosis().text("protocol", "3.1"),
            diagnosis().integer("keep_alive_s", 0),
        ] {
            assert!(fixed(secure, None, &weaker).unwrap_err().contains("for a person"), "{weaker:?}");
        }
        assert!(fixed(secure, None, &diagnosis().setting("tls.ca")).is_err());
    }

    #[test]
    fn parts_get_a_transport_and_lists_are_left_alone() {
        let parts = "[connector.a]\nhost = \"h\"\nport = 8883\ntransport = \"tcp\" # hm\n";
        let mend = diagnosis().text("url", "mqtts://h:8883");
        assert_eq!(fixed(parts, None, &mend).unwrap(), parts.replace("tcp", "tls"));
        let list = "[connector.a]\nurl = [\"mqtt://h:8883\"]\n";
        assert!(fixed(list, None, &mend).unwrap_err().contains("list"));
    }

    #[test]
    fn an_overlay_that_has_the_key_gets_it() {
        let text = format!("{BASE}[environment.lab.connector.a]\nkeep_alive_s = 90\n");
        let mend = diagnosis().integer("keep_alive_s", 30);
        assert_eq!(fixed(&text, Some("lab"), &mend).unwrap(), text.replace("90", "30"));
        assert_eq!(fixed(&text, None, &mend).unwrap(), text.replace("120", "30"));
        let mend = diagnosis().text("url", "mqtts://h:8883");
        assert_eq!(fixed(&text, Some("lab"), &mend).unwrap(), text.replace("mqtt://", "mqtts://"));
    }
}
