//! The files of the checkout as the rules see them.

use std::fs;
use std::path::{Path, PathBuf};

use super::source::Source;
use crate::Outcome;
use crate::workspace::{Package, Workspace};

/// Everything that the rules read.
#[derive(Default)]
pub(crate) struct Tree {
    /// Where every file is, from the root of the checkout.
    pub(crate) paths: Vec<String>,
    /// Every Rust file.
    pub(crate) sources: Vec<Source>,
    /// Every other text file: its path and its text.
    pub(crate) texts: Vec<(String, String)>,
    /// The names of the files in `docs/adr`.
    pub(crate) decisions: Vec<String>,
    /// The rooms and what each depends on.
    pub(crate) packages: Vec<Package>,
    /// Folders that only this machine has: the checkout and the home of its user.
    pub(crate) machine_folders: Vec<String>,
}

/// Folders with nothing of ours in them, wherever they stand.
const SKIPPED: &[&str] = &["target", "node_modules", "corpus", "artifacts", "crosspoint-data"];

/// Kinds of files that are text and ours, by the end of their name.
const TEXT_ENDS: &[&str] =
    &[".md", ".toml", ".yml", ".yaml", ".sh", ".py", ".js", ".html", ".css", ".json", "/run", ".service"];

impl Tree {
    pub(crate) fn read(workspace: &Workspace) -> Outcome<Self> {
        let mut tree = Self {
            packages: workspace.packages.clone(),
            machine_folders: machine_folders(&workspace.root),
            ..Self::default()
        };
        for path in files(&workspace.root)? {
            tree.add(&workspace.shown(&path), &path)?;
        }
        Ok(tree)
    }

    fn add(&mut self, shown: &str, path: &Path) -> Outcome {
        self.paths.push(shown.to_owned());
        if let Some(name) = shown.strip_prefix("docs/adr/") {
            self.decisions.push(name.to_owned());
        }
        if shown.ends_with(".rs") {
            self.sources.push(Source::new(shown, &read_text(path)?));
        } else if TEXT_ENDS.iter().any(|end| shown.ends_with(end)) {
            self.texts.push((shown.to_owned(), read_text(path)?));
        }
        Ok(())
    }

    /// Returns a tree of Rust files alone, for the tests of the rules.
    #[cfg(test)]
    pub(crate) fn of_sources(files: &[(&str, &str)]) -> Self {
        let sources = files.iter().map(|(path, text)| Source::new(path, text)).collect();
        Self { sources, ..Self::default() }
    }

    /// Returns the text of every file with its path.
    pub(crate) fn all_texts(&self) -> impl Iterator<Item = (&str, &str)> {
        let sources = self.sources.iter().map(|source| (source.path.as_str(), source.text.as_str()));
        sources.chain(self.texts.iter().map(|(path, text)| (path.as_str(), text.as_str())))
    }
}

fn read_text(path: &Path) -> Outcome<String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// Returns every file below a folder in the order of their names, hidden files of the root's `.ci` included.
fn files(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_file() {
            found.push(entry.path());
        } else if entry.file_type()?.is_dir() && is_ours(&name) {
            found.extend(files(&entry.path())?);
        }
    }
    Ok(found)
}

fn is_ours(folder: &str) -> bool {
    !SKIPPED.contains(&folder) && (!folder.starts_with('.') || matches!(folder, ".ci" | ".cargo" | ".github"))
}

/// Returns the folders that only this machine has; a root of one folder (`/app`) could be meant by any text.
fn machine_folders(root: &Path) -> Vec<String> {
    let home = std::env::var("HOME").map(|home| format!("{}/", home.trim_end_matches('/')));
    let root = root.to_string_lossy().into_owned();
    let mut folders: Vec<String> = home.into_iter().filter(|home| home.len() > 1).collect();
    if root.matches(['/', '\\']).count() > 1 {
        folders.push(root);
    }
    folders
}
