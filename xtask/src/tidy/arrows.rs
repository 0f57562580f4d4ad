//! The arrows between the rooms.

use super::Finding;
use super::tree::Tree;

/// Every room of the product, and the rooms that it may know.
const ARROWS: &[(&str, &[&str])] = &[
    ("crosspoint-protocol", &[]),
    ("crosspoint-net", &[]),
    ("crosspoint-store", &[]),
    ("crosspoint-client", &["crosspoint-protocol", "crosspoint-net"]),
    ("crosspoint-broker", &["crosspoint-protocol", "crosspoint-net", "crosspoint-store"]),
    (
        "crosspoint-hub",
        &[
            "crosspoint-client",
            "crosspoint-broker",
            "crosspoint-store",
            "crosspoint-net",
            "crosspoint-protocol",
        ],
    ),
    ("crosspoint-console", &["crosspoint-hub"]),
    ("crosspoint", &["crosspoint-hub", "crosspoint-console", "crosspoint-client"]),
    // No room, but as strange to all of them: a mistake of ours must not hide itself.
    ("crosspoint-crash", &[]),
];

/// Packages around the product: they may know every room, and no room may know them but for its tests.
const AROUND: &[&str] = &["crosspoint-testkit", "conformance", "interop", "xtask"];

/// Finds packages that are no room, and arrows between rooms that nobody drew.
pub(super) fn undrawn(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &tree.packages {
        if AROUND.contains(&package.name.as_str()) {
            continue;
        }
        let Some((_, known)) = ARROWS.iter().find(|(room, _)| *room == package.name) else {
            findings.push(Finding::of_file(
                "Cargo.toml",
                format!("`{}` is no room of the drawing", package.name),
            ));
            continue;
        };
        let ours = |name: &str| tree.packages.iter().any(|other| other.name == name);
        for name in package.dependencies.iter().filter(|name| ours(name) && !known.contains(&name.as_str())) {
            findings.push(Finding::of_file("Cargo.toml", format!("nobody drew {} -> {name}", package.name)));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Package;

    fn package(name: &str, dependencies: &[&str]) -> Package {
        let dependencies = dependencies.iter().map(|name| (*name).to_owned()).collect();
        Package { name: name.to_owned(), dependencies, ..Package::default() }
    }

    fn found(packages: Vec<Package>) -> Vec<String> {
        let tree = Tree { packages, ..Tree::default() };
        undrawn(&tree).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn an_undrawn_arrow_is_found() {
        let net = package("crosspoint-net", &["crosspoint-protocol", "tokio"]);
        let found = found(vec![net, package("crosspoint-protocol", &["bytes"])]);
        assert_eq!(found, ["nobody drew crosspoint-net -> crosspoint-protocol"]);
    }

    #[test]
    fn a_room_may_not_lean_on_the_testkit() {
        let found = found(vec![
            package("crosspoint-client", &["crosspoint-testkit"]),
            package("crosspoint-testkit", &["crosspoint-client"]),
        ]);
        assert_eq!(found, ["nobody drew crosspoint-client -> crosspoint-testkit"]);
    }

    #[test]
    fn a_new_room_is_found_until_it_is_drawn() {
        assert_eq!(
            found(vec![package("crosspoint-utils", &[])]),
            ["`crosspoint-utils` is no room of the drawing"]
        );
    }

    #[test]
    fn the_crash_test_may_not_share_our_mistakes() {
        let crash = package("crosspoint-crash", &["crosspoint-protocol", "clap"]);
        let found = found(vec![crash, package("crosspoint-protocol", &[])]);
        assert_eq!(found, ["nobody drew crosspoint-crash -> crosspoint-protocol"]);
    }

    #[test]
    fn drawn_arrows_pass() {
        let client = package("crosspoint-client", &["crosspoint-protocol"]);
        assert!(found(vec![client, package("crosspoint-protocol", &[])]).is_empty());
    }
}
