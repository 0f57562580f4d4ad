//! Where things are: folders and packages, as cargo tells them.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{Outcome, process};

/// The checkout and what it builds into.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// The folder of the root manifest.
    pub(crate) root: PathBuf,
    /// Cargo's target directory, wherever the environment put it.
    pub(crate) target: PathBuf,
    pub(crate) packages: Vec<Package>,
}

/// One member of the workspace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) features: Vec<String>,
    /// What it needs to run or to build; what only its tests need is left out.
    pub(crate) dependencies: Vec<String>,
}

impl Workspace {
    pub(crate) fn load() -> Outcome<Self> {
        let text = process::read(&mut process::cargo(["metadata", "--no-deps", "--format-version=1"]))?;
        let metadata: Value = serde_json::from_str(&text)?;
        Ok(Self {
            root: path(&metadata, "workspace_root")?,
            target: path(&metadata, "target_directory")?,
            packages: elements(&metadata, "packages").map(package).collect(),
        })
    }

    /// Returns where the programs that the tests talk to are kept.
    pub(crate) fn peers(&self) -> PathBuf {
        self.target.join("peers")
    }

    /// Returns a path for people: relative to the checkout, with `/` between folders.
    pub(crate) fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).to_string_lossy().replace('\\', "/")
    }
}

/// Returns whether this is a run of continuous integration, where nothing may be left out.
pub(crate) fn is_ci() -> bool {
    is_set(&std::env::var("CI").unwrap_or_default())
}

fn is_set(value: &str) -> bool {
    !matches!(value, "" | "0" | "false")
}

fn package(value: &Value) -> Package {
    let features = value.get("features").and_then(Value::as_object);
    Package {
        name: text(value, "name").to_owned(),
        features: features.map(|map| map.keys().cloned().collect()).unwrap_or_default(),
        dependencies: elements(value, "dependencies")
            .filter(|dependency| text(dependency, "kind") != "dev")
            .map(|dependency| text(dependency, "name").to_owned())
            .collect(),
    }
}

fn path(value: &Value, key: &str) -> Outcome<PathBuf> {
    match text(value, key) {
        "" => Err(format!("cargo metadata does not tell `{key}`").into()),
        path => Ok(PathBuf::from(path)),
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn elements<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_tests_need_is_no_dependency() {
        let value = serde_json::json!({
            "name": "a",
            "features": {"fuzz": []},
            "dependencies": [
                {"name": "b", "kind": null}, {"name": "c", "kind": "dev"}, {"name": "d", "kind": "build"}
            ]
        });
        let package = package(&value);
        assert_eq!(package.dependencies, ["b", "d"]);
        assert_eq!(package.features, ["fuzz"]);
    }

    #[test]
    fn a_variable_is_set_unless_it_says_no() {
        assert_eq!(
            ["true", "1", "yes", "", "0", "false"].map(is_set),
            [true, true, true, false, false, false]
        );
    }
}
