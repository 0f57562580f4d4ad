//! Links between our documents.

use super::Finding;
use super::tree::Tree;

/// Finds links of Markdown files to files or folders that are not there.
pub(super) fn broken(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts.iter().filter(|(path, _)| path.ends_with(".md")) {
        for (line, text) in text.lines().enumerate() {
            for target in targets(text) {
                let place = resolved(path, target);
                let is_there = tree.paths.iter().any(|known| known == &place || is_below(known, &place));
                if !is_there {
                    findings.push(Finding::at(path, line, format!("nothing is at `{target}`")));
                }
            }
        }
    }
    findings
}

/// Returns the files that a line links to, without anchors; addresses elsewhere are not ours to check.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let links = line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    let files = links.filter(|link| !link.contains("://") && !link.starts_with("mailto:"));
    files.filter_map(|link| link.split('#').next()).filter(|file| !file.is_empty())
}

/// Returns a link's place from the root of the checkout.
fn resolved(document: &str, link: &str) -> String {
    let mut folders: Vec<&str> = document.split('/').collect();
    folders.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(folders.pop()),
            name => folders.push(name),
        }
    }
    folders.join("/")
}

fn is_below(path: &str, folder: &str) -> bool {
    folder.is_empty() || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_nothing_is_found() {
        let text = "[a](../a.md#b) [b](b.md) [c](#c) [d](https://example.org/x) [e](../docs) [f](./adr/)\n[g](gone.md)";
        let tree = Tree {
            texts: vec![("docs/c.md".to_owned(), text.to_owned())],
            paths: ["a.md", "docs/b.md", "docs/c.md", "docs/adr/0001-x.md"].map(str::to_owned).into(),
            ..Tree::default()
        };
        assert_eq!(broken(&tree), [Finding::at("docs/c.md", 1, "nothing is at `gone.md`")]);
    }
}
