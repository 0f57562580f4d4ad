//! The schema of the project file, judged by a validator that others wrote: it says what `check` says of a key alone.
#![expect(clippy::unwrap_used, reason = "what goes wrong in a helper fails its test")]

use crosspoint_hub::config::setting::{Setting, Shape};
use crosspoint_hub::config::{SAMPLE, parse, schema, settings};
use jsonschema::Validator;
use serde_json::Value;

fn validator() -> Validator {
    let schema: Value = serde_json::from_str(&schema()).unwrap();
    jsonschema::draft202012::meta::validate(&schema).unwrap();
    jsonschema::draft202012::new(&schema).unwrap()
}

#[track_caller]
fn json(text: &str) -> Value {
    toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn the_sample_is_right_also_with_what_it_shows_in_comments() {
    let validator = validator();
    assert!(validator.is_valid(&json(SAMPLE)));
    let is_toml = |line: &&str| line.starts_with('[') || line.contains(" = ");
    let shown: Vec<&str> =
        SAMPLE.lines().filter_map(|line| line.strip_prefix("# ")).filter(is_toml).collect();
    assert!(shown.len() > 10, "{shown:?}");
    let shown = json(&shown.join("\n"));
    if let Err(error) = validator.validate(&shown) {
        panic!("{error} at {}", error.instance_path());
    }
}

/// Returns a value of a shape, as TOML, and values that it does not take.
fn values(setting: &Setting) -> (String, Vec<String>) {
    let text = "\"text\"".to_owned();
    match &setting.shape {
        Shape::Flag { .. } => ("true".to_owned(), vec!["1".to_owned(), text]),
        Shape::Integer { min, max, .. } => {
            let wrong = vec![(min - 1).to_string(), (max + 1).to_string(), "1.5".to_owned(), text];
            (max.to_string(), wrong)
        }
        Shape::Text { .. } | Shape::Secret => (text, vec!["true".to_owned(), "[\"a\"]".to_owned()]),
        Shape::Choice { values, .. } => {
            (format!("\"{}\"", values.last().unwrap()), vec!["\"?\"".to_owned(), "5".to_owned()])
        }
        Shape::Texts => ("[\"a\", \"b\"]".to_owned(), vec!["[1]".to_owned(), "true".to_owned()]),
        Shape::Secrets | Shape::Pairs => ("{ A = \"a\" }".to_owned(), vec!["{ A = 1 }".to_owned(), text]),
        Shape::Table(_) | Shape::Tables(_) | Shape::Named(_) | Shape::Overlays => {
            ("{}".to_owned(), vec![text, "{ no-such-key = 1 }".to_owned()])
        }
        Shape::TextOrTable(_) => (text, vec!["true".to_owned(), "[\"a\"]".to_owned()]),
        Shape::NotYet => (String::new(), vec![text, "{}".to_owned(), "1".to_owned()]),
    }
}

/// Calls `check` with every key there is, its path and a name for each table with names.
fn every_key(known: &[&Setting], path: &str, check: &mut impl FnMut(&Setting, &str)) {
    for setting in known {
        let path = if path.is_empty() { setting.key.to_owned() } else { format!("{path}.{}", setting.key) };
        check(setting, &path);
        match setting.shape {
            Shape::Table(inner) | Shape::TextOrTable(inner) | Shape::Tables(inner) => {
                every_key(inner, &path, check)
            }
            Shape::Named(inner) => every_key(inner, &format!("{path}.x"), check),
            _ => {}
        }
    }
}

#[test]
fn every_key_takes_what_it_takes_and_what_check_refuses_the_schema_refuses() {
    let validator = validator();
    let mut keys = 0;
    for place in ["", "environment.e."] {
        every_key(settings::PROJECT, "", &mut |setting, path| {
            if setting.shape == Shape::Overlays && !place.is_empty() {
                return;
            }
            let (right, wrong) = values(setting);
            keys += 1;
            if !right.is_empty() {
                let text = format!("{place}{path} = {right}");
                assert!(validator.is_valid(&json(&text)), "{text}");
            }
            for wrong in wrong {
                let text = format!("{place}{path} = {wrong}");
                assert!(parse(&text, "crosspoint.toml", None).is_err(), "check takes {text}");
                assert!(!validator.is_valid(&json(&text)), "the schema takes {text}");
            }
        });
    }
    assert!(keys > 100, "{keys} keys");
}

#[test]
fn names_and_what_an_environment_takes_away_are_held_to_the_same_rules() {
    let validator = validator();
    let long = format!("connector.{}.url = \"mqtt://h\"", "x".repeat(65));
    for (text, is_right) in [
        ("connector.\"a b\".url = \"mqtt://h\"", false),
        (long.as_str(), false),
        ("broker.user.\"a b\".roles = []", true),
        ("broker.user.\"a+b\".roles = []", false),
        ("broker.user.unset.roles = []", true),
        ("environment.e.unset = \"console\"", true),
        ("environment.e.connector.a.tls.unset = [\"ca\"]", true),
        ("environment.e.broker.user.unset = [\"a\"]", true),
        ("environment.e.broker.user.unset.roles = []", true),
        ("environment.e.connector.a.unset = [1]", false),
        ("environment.e.environment.f = {}", false),
        ("environment.all = {}", false),
        ("connector.a.unset = [\"url\"]", false),
    ] {
        assert_eq!(validator.is_valid(&json(text)), is_right, "{text}");
        // What is left to say of a project like these is about several keys.
        let findings = parse(text, "crosspoint.toml", None).err().unwrap_or_default();
        let of_shape = findings.iter().filter(|finding| {
            ["cannot be the name", "is not a known key", "cannot hold another", "holds texts"]
                .iter()
                .any(|said| finding.message.contains(said))
        });
        assert_eq!(of_shape.count() == 0, is_right, "{text}: {findings:?}");
    }
}

#[test]
fn a_secret_is_marked_and_every_key_has_its_help() {
    let schema: Value = serde_json::from_str(&schema()).unwrap();
    let connector = &schema["properties"]["connector"]["additionalProperties"]["properties"];
    assert_eq!(connector["password"]["writeOnly"], true);
    assert_eq!(connector["tls"]["properties"]["key"]["writeOnly"], true);
    assert_eq!(connector["keep_alive_s"]["default"], 60);
    assert_eq!(connector["keep_alive_s"]["description"], settings::connector::KEEP_ALIVE_S.help);
}
