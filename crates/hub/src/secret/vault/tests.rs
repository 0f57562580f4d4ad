use std::fs;

use super::*;
use crate::config::load_with;
use crate::secret::replace_key_file;

const FILE: &str = "\
# our site
[connector.plant]
url = \"mqtts://h\"
username = \"me\"
password = \"hunter2\"   # ask Bob
[connector.plant.websocket.headers]
Cookie = \"hunter3\"
[broker.user.al]
password = \"env:AL\"
roles = []
[environment.live.connector.plant]
password = \"hunter4\"
[environment.test.connector.plant]
url = \"mqtts://g\"
";

struct Site {
    folder: tempfile::TempDir,
    source: KeySource,
}

impl Site {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("crosspoint.toml"), text).unwrap();
        let key = folder.path().join("key");
        make_key_file(&key, &KeyRing::of(SealingKey::generate().unwrap())).unwrap();
        let source = KeySource::of_file(&key);
        Self { folder, source }
    }

    fn vault(&self) -> Vault {
        Vault::open(&self.folder.path().join("crosspoint.toml"), self.source.clone()).unwrap()
    }

    fn text(&self) -> String {
        fs::read_to_string(self.folder.path().join("crosspoint.toml")).unwrap()
    }

    fn change(&self, from: &str, to: &str) {
        let text = self.text();
        assert!(text.contains(from), "{text}");
        fs::write(self.folder.path().join("crosspoint.toml"), text.replace(from, to)).unwrap();
    }

    /// What a connector of the plan would send.
    fn password(&self, name: &str, environment: Option<&str>) -> Result<Secret, String> {
        let path = self.folder.path().join("crosspoint.toml");
        match load_with(&path, environment, &self.source) {
            Ok((mut plan, _)) => match plan.connectors.remove(name) {
                Some(crate::config::plan::ConnectorPlan::Mqtt(mqtt)) => Ok(mqtt.password.unwrap()),
                other => panic!("{other:?}"),
            },
            Err(findings) => Err(findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
        }
    }

    fn listed(&self) -> Vec<String> {
        let line = |listed: Listed| {
            let environment = listed.field.environment.map(|name| format!("{name}:")).unwrap_or_default();
            format!("{environment}{} {}", listed.field.path, listed.field.kind.as_str())
        };
        self.vault().list().unwrap().into_iter().map(line).collect()
    }
}

fn without_user(text: &str) -> String {
    text.replace("[broker.user.al]\npassword = \"env:AL\"\nroles = []\n", "")
}

fn written(path: &str, environment: Option<&str>) -> Written {
    Written { path: path.to_owned(), environment: environment.map(str::to_owned) }
}

#[test]
fn what_is_set_is_sealed_where_the_value_comes_from_and_unsealed_in_the_plan() {
    let site = Site::new(&without_user(FILE));
    let path = "connector.plant.password";
    let new = Secret::new("n3w");
    assert_eq!(site.vault().set(path, None, &new).unwrap(), written(path, None));
    assert_eq!(site.password("plant", None).unwrap(), new);
    assert_eq!(site.password("plant", Some("live")).unwrap(), Secret::new("hunter4"));
    assert_eq!(
        site.vault().set(path, Some("test"), &new).unwrap(),
        written(path, None),
        "it comes from there"
    );
    assert_eq!(
        site.vault().set(path, Some("live"), &Secret::new("l1ve")).unwrap(),
        written(path, Some("live"))
    );
    assert_eq!(site.password("plant", Some("live")).unwrap(), Secret::new("l1ve"));
    assert_eq!(
        site.vault().set_in_overlay(path, "test", &Secret::new("t3st")).unwrap(),
        written(path, Some("test"))
    );
    assert_eq!(site.password("plant", Some("test")).unwrap(), Secret::new("t3st"));
    assert_eq!(site.password("plant", None).unwrap(), new);
    let text = site.text();
    assert!(text.starts_with("id = \"") && text.contains("# our site\n[connector.plant]\n"), "{text}");
    assert!(text.contains("\"   # ask Bob\n"), "the comment stays: {text}");
    assert!(!text.contains("hunter2") && !text.contains("n3w") && text.contains("hunter3"), "{text}");
}

#[test]
fn what_is_sealed_and_printed_opens_where_it_was_sealed_for() {
    let site = Site::new(&without_user(FILE));
    let sealed = site.vault().seal("connector.plant.password", &Secret::new("n3w")).unwrap();
    site.change("hunter2", &sealed);
    assert_eq!(site.password("plant", None).unwrap(), Secret::new("n3w"));
}

#[test]
fn a_moved_value_is_refused_by_name_until_it_is_renamed() {
    let site = Site::new(&without_user(FILE));
    site.vault().keep(None).unwrap();
    site.change("[connector.plant]", "[connector.site]");
    site.change("[connector.plant.websocket.headers]", "[connector.site.websocket.headers]");
    site.change("[environment.live.connector.plant]", "[environment.live.connector.site]");
    site.change("[environment.test.connector.plant]", "[environment.test.connector.site]");
    let refused = site.password("site", None).unwrap_err();
    assert!(
        refused.contains("`connector.site.password` was sealed for `connector.plant.password`"),
        "{refused}"
    );
    assert!(refused.contains("crosspoint secret move connector.plant.password connector.site.password"));
    let all = site.vault().rename("connector.plant", "connector.site").unwrap();
    assert_eq!(all.len(), 3, "{all:?}");
    assert_eq!(site.password("site", None).unwrap(), Secret::new("hunter2"));
    assert_eq!(site.password("site", Some("live")).unwrap(), Secret::new("hunter4"));
    let again = site.vault().rename("connector.plant", "connector.site").unwrap_err();
    assert!(matches!(again, VaultError::NothingMoved { .. }));
}

#[test]
fn a_value_of_another_project_is_refused() {
    let site = Site::new(&without_user(FILE));
    site.vault().keep(None).unwrap();
    let id = site.text().lines().next().unwrap().to_owned();
    site.change(&id, "id = \"00000000000000000000000000000000\"");
    let refused = site.password("plant", None).unwrap_err();
    assert!(refused.contains("was sealed in another project"), "{refused}");
    site.change("id = \"00000000000000000000000000000000\"", "");
    let refused = site.password("plant", None).unwrap_err();
    assert!(refused.contains("has lost the `id`"), "{refused}");
}

#[test]
fn plain_text_is_sealed_as_it_stands_everywhere_or_at_one_path() {
    let site = Site::new(FILE);
    let path = "connector.plant.password";
    assert_eq!(site.vault().keep(Some(path)).unwrap(), [written(path, None), written(path, Some("live"))]);
    assert_eq!(
        site.listed(),
        [
            "connector.plant.password sealed",
            "connector.plant.websocket.headers.Cookie plain",
            "broker.user.al.password env",
            "live:connector.plant.password sealed",
        ]
    );
    assert_eq!(site.vault().keep(None).unwrap().len(), 1);
    assert!(matches!(site.vault().keep(Some(path)), Err(VaultError::NotPlain { .. })));
    assert_eq!(site.vault().keep(None).unwrap(), []);
    assert!(!site.text().contains("hunter"));
}

#[test]
fn what_is_no_secret_or_is_not_there_is_refused_and_nothing_is_written() {
    let site = Site::new(FILE);
    let secret = Secret::new("n3w");
    let set =
        |path: &str, environment: Option<&str>| site.vault().set(path, environment, &secret).unwrap_err();
    assert!(matches!(set("connector.plant.url", None), VaultError::NotASecret { .. }));
    assert!(matches!(set("connector.plant.websocket.headers", None), VaultError::NotASecret { .. }));
    assert!(matches!(set("environment.live.connector.plant.password", None), VaultError::NotASecret { .. }));
    assert!(matches!(set("connector.plnt.password", None), VaultError::NoSection { .. }));
    assert!(matches!(set("connector.plant.password", Some("lve")), VaultError::NoEnvironment { .. }));
    assert_eq!(site.text(), FILE);
}

#[test]
fn rotation_seals_everything_anew_and_the_old_key_opens_nothing() {
    let site = Site::new(&without_user(FILE));
    site.vault().keep(None).unwrap();
    let key = site.folder.path().join("key");
    let old = fs::read_to_string(&key).unwrap();
    let rotated = site.vault().rotate().unwrap();
    assert_eq!((rotated.values, rotated.retired.len(), rotated.needed_by.len()), (3, 1, 0));
    assert_eq!(site.password("plant", None).unwrap(), Secret::new("hunter2"));
    assert_eq!(site.password("plant", Some("live")).unwrap(), Secret::new("hunter4"));
    let old_key = old.lines().last().unwrap();
    assert!(!fs::read_to_string(&key).unwrap().contains(old_key), "nothing holds the old key");
    fs::write(&key, &old).unwrap();
    let refused = site.password("plant", None).unwrap_err();
    assert!(refused.contains(&format!("was sealed with key {}", rotated.key)), "{refused}");
}

#[test]
fn whatever_a_crash_leaves_of_a_rotation_opens() {
    let site = Site::new(&without_user(FILE));
    site.vault().keep(None).unwrap();
    let key = site.folder.path().join("key");
    let old = site.source.keys(None).unwrap();
    let new = SealingKey::generate().unwrap();
    // After the first of the three steps, and after the second.
    replace_key_file(&key, &old.clone().under(new.clone())).unwrap();
    assert_eq!(site.password("plant", None).unwrap(), Secret::new("hunter2"));
    let mut vault = site.vault();
    vault.seal_all(&old, &KeyRing::of(new)).unwrap();
    vault.edit.save().unwrap();
    assert_eq!(site.password("plant", None).unwrap(), Secret::new("hunter2"));
    // Doing it again ends it.
    let rotated = site.vault().rotate().unwrap();
    assert_eq!((rotated.values, rotated.retired.len()), (3, 2));
    assert_eq!(site.source.keys(None).unwrap().keys().count(), 1);
    assert_eq!(site.password("plant", None).unwrap(), Secret::new("hunter2"));
}

#[test]
fn a_rotation_that_would_lose_a_value_changes_nothing() {
    let site = Site::new(&without_user(FILE));
    site.vault().keep(None).unwrap();
    let other = Site::new(FILE);
    let id = site.text().lines().next().unwrap().to_owned();
    other.change("# our site", &id);
    let foreign = other.vault().seal("connector.plant.password", &Secret::new("x")).unwrap();
    site.change(
        "[environment.test.connector.plant]",
        &format!("[environment.test.connector.plant]\npassword = \"{foreign}\""),
    );
    let (text, key) = (site.text(), fs::read_to_string(site.folder.path().join("key")).unwrap());
    let refused = site.vault().rotate().unwrap_err().to_string();
    assert!(
        refused.starts_with("`connector.plant.password` of environment test was sealed with key"),
        "{refused}"
    );
    assert_eq!((site.text(), fs::read_to_string(site.folder.path().join("key")).unwrap()), (text, key));
}

#[test]
fn a_rotation_keeps_the_key_that_a_neighbour_needs() {
    let site = Site::new(&without_user(FILE));
    site.vault().keep(None).unwrap();
    fs::write(site.folder.path().join("other.toml"), site.text()).unwrap();
    let rotated = site.vault().rotate().unwrap();
    assert_eq!(rotated.needed_by.len(), 1, "{rotated:?}");
    assert!(rotated.needed_by[0].ends_with("other.toml"));
    assert_eq!(site.source.keys(None).unwrap().keys().count(), 2);
}

#[test]
fn a_rotation_to_a_passphrase_needs_no_key_file() {
    let site = Site::new(&without_user(FILE));
    site.vault().keep(None).unwrap();
    let phrase = site.folder.path().join("phrase");
    fs::write(&phrase, "correct horse\n").unwrap();
    let new = KeySource::of_passphrase_file(&phrase);
    assert_eq!(site.vault().rotate_to(&new).unwrap().values, 3);
    let site = Site { source: new, ..site };
    assert_eq!(site.password("plant", None).unwrap(), Secret::new("hunter2"));
    assert!(matches!(site.vault().rotate(), Err(VaultError::FixedKey { .. })));
}

#[test]
fn the_list_tells_what_opens_and_shows_no_value() {
    let site = Site::new(&without_user(FILE));
    site.vault().keep(Some("connector.plant.password")).unwrap();
    let shown = format!("{:?}", site.vault().list().unwrap());
    assert!(!shown.contains("hunter") && !shown.contains("sealed:v1"), "{shown}");
    assert_eq!(shown.matches("Opens").count(), 2);
    fs::remove_file(site.folder.path().join("key")).unwrap();
    let shown = format!("{:?}", site.vault().list().unwrap());
    assert!(!shown.contains("Opens") && shown.contains("is not there"), "{shown}");
}
