//! What is in effect, and where it came from.
#![expect(clippy::unwrap_used, reason = "what goes wrong in a helper fails its test")]

use std::path::PathBuf;

use crosspoint_hub::config::{ExplainError, Explained, Origin, Shown, explain};
use crosspoint_hub::secret::KeySource;
use tempfile::TempDir;

const PROJECT: &str = "\
[connector.plant]
url = \"mqtt://plant.example:1883\"
username = \"gateway\"
password = \"hunter2\"
websocket.headers = { X-Key = \"hunter2\" }

[connector.cloud]
preset = \"emqx-cloud\"
host = \"abc.emqxsl.com\"
username = \"u\"
password = \"env:CARGO_PKG_NAME\"
keep_alive_s = 30

[flow.up]
from = { connector = \"plant\", topics = [\"a\"] }
to = [{ connector = \"cloud\" }]

[environment.production.connector.plant]
url = \"mqtt://plant.internal:1884\"
password = \"hunter3\"
unset = [\"username\"]
";

struct Project {
    _folder: TempDir,
    path: PathBuf,
}

fn project(text: &str) -> Project {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("crosspoint.toml");
    std::fs::write(&path, text).unwrap();
    Project { _folder: folder, path }
}

impl Project {
    #[track_caller]
    fn all(&self, key: &str, environment: Option<&str>) -> Vec<Explained> {
        explain(&self.path, environment, &KeySource::beside(&self.path), key).unwrap()
    }

    #[track_caller]
    fn one(&self, key: &str, environment: Option<&str>) -> Explained {
        let found = self.all(key, environment);
        let [one] = found.as_slice() else { panic!("{key}: {found:?}") };
        assert_eq!(one.path, key);
        one.clone()
    }

    #[track_caller]
    fn unknown(&self, key: &str) -> (String, String) {
        match explain(&self.path, None, &KeySource::beside(&self.path), key) {
            Err(ExplainError::Key { what, help }) => (what, help),
            other => panic!("{other:?}"),
        }
    }
}

fn written(text: &str) -> Shown {
    Shown::Value(text.to_owned())
}

#[test]
fn a_value_comes_from_the_file_or_from_the_environment_that_replaces_it() {
    let project = project(PROJECT);
    let url = project.one("connector.plant.url", None);
    assert_eq!(
        (url.value, url.origin),
        (written("\"mqtt://plant.example:1883\""), Origin::Written { line: 2 })
    );
    assert_eq!((url.replaced, url.values.as_str()), (None, "a text or a list of texts"));

    let url = project.one("connector.plant.url", Some("production"));
    assert_eq!(url.value, written("\"mqtt://plant.internal:1884\""));
    assert_eq!(url.origin, Origin::Environment { name: "production".to_owned(), line: 19 });
    assert_eq!(url.replaced, Some((written("\"mqtt://plant.example:1883\""), 2)));
    assert!(url.help.starts_with("Where to connect"), "{}", url.help);
}

#[test]
fn what_an_environment_takes_away_is_told() {
    let project = project(PROJECT);
    let name = project.one("connector.plant.username", Some("production"));
    assert_eq!((name.value, name.origin), (Shown::Nothing, Origin::Default));
    assert_eq!(name.replaced, Some((written("\"gateway\""), 3)));
}

#[test]
fn a_default_a_preset_and_what_follows_from_other_keys() {
    let project = project(PROJECT);
    let alive = project.one("connector.plant.keep_alive_s", None);
    assert_eq!((alive.value, alive.origin), (written("60"), Origin::Default));
    assert_eq!((alive.values.as_str(), alive.default.as_deref()), ("0 to 65,535", Some("60")));

    // The flow listens on it, so the session is a durable one.
    let session = project.one("connector.plant.session", None);
    assert_eq!((session.value, session.origin), (written("\"durable\""), Origin::OtherKeys));
    let session = project.one("connector.cloud.session", None);
    assert_eq!((session.value, session.origin), (written("\"clean\""), Origin::OtherKeys));
    let port = project.one("connector.plant.port", None);
    assert_eq!((port.value, port.origin), (written("1883"), Origin::OtherKeys));

    let preset = Origin::Preset { name: "emqx-cloud".to_owned(), line: 8 };
    for (key, value) in [("transport", "\"tls\""), ("port", "8883")] {
        let found = project.one(&format!("connector.cloud.{key}"), None);
        assert_eq!((found.value, &found.origin), (written(value), &preset));
    }
    let host = project.one("connector.cloud.host", None);
    assert_eq!((host.value, host.origin), (written("\"abc.emqxsl.com\""), Origin::Written { line: 9 }));
}

#[test]
fn a_table_has_all_its_keys_and_those_of_the_tables_in_it() {
    let found = project(PROJECT).all("connector.plant", None);
    let paths: Vec<&str> = found.iter().map(|one| one.path.as_str()).collect();
    for key in ["url", "keep_alive_s", "tls.verify", "outbox.when_full", "outbox.archive.bytes", "will.topic"]
    {
        let path = format!("connector.plant.{key}");
        assert_eq!(paths.iter().filter(|found| **found == path).count(), 1, "{path} in {paths:?}");
    }
    let whole = project(PROJECT).all("", None);
    for path in ["connector.cloud.port", "flow.up.to", "broker.durability", "console.bind"] {
        assert!(whole.iter().any(|one| one.path == path), "{path}");
    }
}

#[test]
fn no_answer_shows_a_secret() {
    let project = project(PROJECT);
    for environment in [None, Some("production")] {
        let all = project.all("", environment);
        assert!(!format!("{all:?}").contains("hunter"), "{all:?}");
    }
    assert_eq!(project.one("connector.plant.password", None).value, Shown::Hidden);
    assert_eq!(project.one("connector.plant.websocket.headers", None).value, Shown::Hidden);
    // Where it is kept is no secret, and it is what one wants to know.
    assert_eq!(project.one("connector.cloud.password", None).value, written("\"env:CARGO_PKG_NAME\""));
    let password = project.one("connector.plant.password", Some("production"));
    assert_eq!((password.value, password.replaced), (Shown::Hidden, Some((Shown::Hidden, 4))));

    // A file with errors is explained too, and shows no more.
    let wrong = self::project(
        "[connector.a]\nurl = \"mqtt://me:hunter2@h\"\nusername = [\"hunter2\"]\npasword = \"hunter2\"\n",
    );
    let all = wrong.all("", None);
    assert_eq!(wrong.one("connector.a.url", None).value, Shown::Hidden);
    assert!(
        !format!("{:?}", all.iter().filter(|one| !one.path.ends_with("username")).collect::<Vec<_>>())
            .contains("hunter2")
    );
}

#[test]
fn a_key_that_is_not_there_is_answered_with_one_that_is() {
    let project = project(PROJECT);
    let (what, help) = project.unknown("connector.plant.usrname");
    assert_eq!(what, "`connector.plant.usrname` is not a known key");
    assert_eq!(help, "did you mean connector.plant.username?");
    let (what, help) = project.unknown("connector.plnt.url");
    assert_eq!(
        (what.as_str(), help.as_str()),
        ("the file has no `connector.plnt`", "did you mean connector.plant?")
    );
    assert_eq!(project.unknown("conector").1, "did you mean connector?");
    assert_eq!(project.unknown("connector.plant.url.x").1, "ask for connector.plant.url");
    assert_eq!(
        project.unknown("connector.plant.websocket.headers.X-Key").1,
        "ask for connector.plant.websocket.headers"
    );
    assert_eq!(project.unknown("a b").0, "`a b` is not a key path");
    let (_, help) = project.unknown("environment.production.connector.plant.url");
    assert_eq!(help, "ask for connector.plant.url with --env production");
}

#[test]
fn a_file_that_is_no_toml_or_has_no_such_environment_is_not_explained() {
    for (text, environment) in [("url = ", None), (PROJECT, Some("prodution"))] {
        let project = project(text);
        let found = explain(&project.path, environment, &KeySource::beside(&project.path), "connector");
        let Err(ExplainError::File(findings)) = found else { panic!("{found:?}") };
        assert!(!findings.is_empty());
    }
}
