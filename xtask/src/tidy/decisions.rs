//! The decisions under `docs/adr`.

use super::Finding;
use super::tree::Tree;

/// Finds decisions that are not called `NNNN-title.md`, and numbers that are missing or given twice.
pub(super) fn misnumbered(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut due = 1;
    let mut names: Vec<&String> = tree.decisions.iter().filter(|name| *name != "README.md").collect();
    names.sort();
    for name in names {
        let path = format!("docs/adr/{name}");
        match number(name) {
            None => findings.push(Finding::of_file(&path, "is not called NNNN-title.md")),
            Some(number) if number != due => {
                findings.push(Finding::of_file(&path, format!("number {due:04} is due here")));
                due = number + 1;
            }
            Some(_) => due += 1,
        }
    }
    findings
}

fn number(name: &str) -> Option<u32> {
    let (number, title) = name.strip_suffix(".md")?.split_once('-')?;
    if number.len() == 4 && !title.is_empty() { number.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(names: &[&str]) -> Vec<String> {
        let decisions = names.iter().map(|name| (*name).to_owned()).collect();
        misnumbered(&Tree { decisions, ..Tree::default() }).into_iter().map(|finding| finding.path).collect()
    }

    #[test]
    fn a_gap_a_double_and_a_nameless_one_are_found() {
        assert!(found(&["0002-b.md", "0001-a.md", "README.md"]).is_empty());
        assert_eq!(found(&["0001-a.md", "0003-c.md", "0004-d.md"]), ["docs/adr/0003-c.md"]);
        assert_eq!(found(&["0001-a.md", "0001-b.md"]), ["docs/adr/0001-b.md"]);
        assert_eq!(found(&["1-a.md"]), ["docs/adr/1-a.md"]);
    }
}
