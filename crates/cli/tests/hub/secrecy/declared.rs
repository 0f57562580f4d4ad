//! Which keys of a project are declared as secrets: each must be among those that the site plants.

use crosspoint_hub::config::setting::{Setting, Shape};
use crosspoint_hub::config::settings::PROJECT;
use serde_json::Value;

use super::site::Site;

/// Stands for a name that the project chooses.
const ANY: &str = "*";

/// Returns the path of each secret there is a declaration of.
fn declared(settings: &[&Setting], above: &[&str], found: &mut Vec<String>) {
    for setting in settings {
        let path = [above, &[setting.key]].concat();
        match setting.shape {
            Shape::Secret => found.push(path.join(".")),
            Shape::Secrets => found.push([&path[..], &[ANY]].concat().join(".")),
            Shape::Table(inner) => declared(inner, &path, found),
            // Either holds a password: the text and what is in the table.
            Shape::TextOrTable(inner) => {
                found.push(path.join("."));
                declared(inner, &path, found);
            }
            Shape::Named(inner) => declared(inner, &[&path[..], &[ANY]].concat(), found),
            _ => {}
        }
    }
}

fn is_at(planted: &str, declared: &str) -> bool {
    let (planted, declared): (Vec<&str>, Vec<&str>) =
        (planted.split('.').collect(), declared.split('.').collect());
    planted.len() == declared.len()
        && planted.iter().zip(&declared).all(|(name, key)| *key == ANY || name == key)
}

#[test]
fn every_secret_that_is_declared_is_planted() {
    let site = Site::new();
    let listed: Value = serde_json::from_str(&site.ask(&["secret", "list", "--json"])).unwrap();
    let planted: Vec<&str> =
        listed.as_array().unwrap().iter().map(|row| row["path"].as_str().unwrap()).collect();
    let mut all = Vec::new();
    declared(PROJECT, &[], &mut all);
    assert!(all.iter().any(|path| path == "connector.*.password"), "{all:?}");
    for path in all {
        assert!(
            planted.iter().any(|planted| is_at(planted, &path)),
            "`{path}` is declared as a secret, and no project of these tests has one: {planted:?}"
        );
    }
}
