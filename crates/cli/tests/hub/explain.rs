//! `explain`, `schema`, and `check --env all`, on the built program.

use std::process::Output;

use serde_json::Value;

use crate::support::{PROJECT, crosspoint, folder, run, text};

const ENVIRONMENTS: &str = "\
[connector.plant]
enabled = false
url = \"mqtt://127.0.0.1:1\"
username = \"u\"
password = \"hunter2\"
[environment.good.connector.plant]
url = \"mqtt://127.0.0.1:2\"
[environment.wrong.connector.plant]
unset = [\"url\"]
";

fn project() -> String {
    format!("{PROJECT}{ENVIRONMENTS}")
}

fn both(output: &Output) -> (String, String) {
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn explain_says_what_is_in_effect_and_from_where() {
    let folder = folder(&project());
    let output = run(folder.path(), &["explain", "connector.plant.url", "--env", "good"]);
    let (out, errors) = both(&output);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    for line in [
        "value         \"mqtt://127.0.0.1:2\"",
        "from          environment good, crosspoint.toml:11",
        "instead of    \"mqtt://127.0.0.1:1\" (crosspoint.toml:7)",
    ] {
        assert!(out.lines().any(|shown| shown == line), "{line} in {out}");
    }

    // The environment of the process counts as the flag does.
    let mut command = crosspoint(folder.path(), &["explain", "connector.plant.url", "--json"]);
    let output = command.env("CROSSPOINT_ENV", "good").output().unwrap();
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&shown["value"], &shown["line"]), (&"\"mqtt://127.0.0.1:2\"".into(), &11.into()), "{shown}");
    assert_eq!((&shown["origin"], &shown["environment"]), (&"environment".into(), &"good".into()));
    assert_eq!(shown["replaced"]["line"], 7);
}

#[test]
fn explain_shows_no_secret_and_finds_what_was_meant() {
    let folder = folder(&project());
    for form in [
        &["explain"][..],
        &["explain", "connector.plant", "--json"],
        &["explain", "connector.plant.password"],
    ] {
        let output = run(folder.path(), form);
        let (out, errors) = both(&output);
        assert!(out.contains("(secret)") && !(out + &errors).contains("hunter2"), "{form:?}");
    }
    let output = run(folder.path(), &["explain", "connector.plant.keepalive"]);
    assert_eq!(output.status.code(), Some(2));
    let (out, errors) = both(&output);
    assert!(errors.contains("did you mean connector.plant.keep_alive_s?") && out.is_empty(), "{errors}");
}

#[test]
fn every_environment_is_checked_and_named() {
    let folder = folder(&project());
    let output = run(folder.path(), &["check", "--env", "all"]);
    let (out, errors) = both(&output);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(
        out.contains("without an environment: valid") && out.contains("environment good: valid"),
        "{out}"
    );
    assert!(!out.contains("environment wrong"), "{out}");
    assert!(errors.contains("crosspoint.toml, environment wrong: 1 error"), "{errors}");
    assert!(errors.contains("environment wrong:\n\nerror: `connector.plant` does not say where"), "{errors}");
    // What is said without an environment is not said again.
    assert_eq!(errors.matches("`connector.plant.password` is plain text").count(), 1, "{errors}");

    let right = project().replace("unset = [\"url\"]", "unset = [\"username\", \"password\"]");
    let folder = self::folder(&right);
    let output = run(folder.path(), &["check", "--env", "all"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn the_schema_is_json_and_the_reference_markdown() {
    let folder = tempfile::tempdir().unwrap();
    // More than a pipe holds, so it is read while it is written.
    let whole = |arguments: &[&str]| crosspoint(folder.path(), arguments).output().unwrap().stdout;
    let schema: Value = serde_json::from_slice(&whole(&["schema"])).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(schema["properties"]["connector"].is_object());
    let page = text(&whole(&["schema", "--markdown"]));
    assert!(page.contains("\n## `[connector.NAME]`\n"), "{page}");
}
