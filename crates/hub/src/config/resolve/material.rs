//! What a project file refers to and does not hold: environment variables, files of secrets, keys and certificates.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crosspoint_net::Certificates;

use super::super::diagnostic::Findings;
use super::super::secret::Secret;
use super::super::section::Text;
use super::identity;
use crate::certificates::machine_now_s;
use crate::secret::Opener;

/// The largest file of a secret, key or certificate bundle: all public authorities together are a quarter of it.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Reads what the file refers to; paths are relative to the folder of the project file.
pub(in super::super) struct Material {
    folder: PathBuf,
    opener: Opener,
    /// The files that were read, or could not be.
    files: RefCell<BTreeSet<PathBuf>>,
    now_s: i64,
}

/// Where a value came from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// It stands in the project file itself.
    Plain,
    /// The project file refers to it.
    Referred,
    /// It stands in the project file, and only the key opens it.
    Sealed,
}

/// A value that was read and a name for where it came from, which is never the value.
pub(super) struct Found {
    pub(super) bytes: Vec<u8>,
    pub(super) from: String,
    pub(super) origin: Origin,
}

/// A value that could not be read.
struct Missing {
    message: String,
    label: String,
    help: String,
}

impl Material {
    pub(in super::super) fn beside(project: &Path, opener: Opener) -> Self {
        Self {
            folder: project.parent().unwrap_or(Path::new("")).to_owned(),
            opener,
            files: RefCell::default(),
            now_s: machine_now_s(),
        }
    }

    /// Returns the files that were asked for.
    pub(in super::super) fn into_files(self) -> BTreeSet<PathBuf> {
        self.files.into_inner()
    }

    /// Returns what this machine's clock shows, in seconds since 1970, to judge the dates of certificates by.
    pub(super) const fn now_s(&self) -> i64 {
        self.now_s
    }

    /// Reads a secret: `env:NAME`, `file:PATH` or the text itself.
    pub(super) fn secret(
        &self,
        text: Text<'_>,
        path: &str,
        findings: &mut Findings,
    ) -> Option<(Secret, Origin)> {
        let found =
            self.value(text.text, path).map_err(|missing| report(missing, text, path, findings)).ok()?;
        let mut bytes = found.bytes;
        if found.origin == Origin::Referred {
            let end = bytes
                .strip_suffix(b"\n")
                .map_or(bytes.len(), |line| line.strip_suffix(b"\r").map_or(line.len(), |line| line.len()));
            bytes.truncate(end);
        }
        if bytes.is_empty() {
            let finding = findings.error(text.span, format!("`{path}` is empty")).label("nothing here");
            finding.help("write \"env:NAME\", \"file:PATH\" or the text itself, or remove the key");
            return None;
        }
        Some((Secret::new(bytes), found.origin))
    }

    /// Reads certificates: a path, inline PEM, `file:PATH` or `env:NAME`, in whatever form.
    pub(super) fn certificates(
        &self,
        text: Text<'_>,
        path: &str,
        findings: &mut Findings,
    ) -> Option<(Certificates, Found)> {
        let found = self.pem(text, path, findings)?;
        match Certificates::read(&found.bytes) {
            Ok(certificates) => Some((certificates, found)),
            Err(error) => {
                identity::refuse(text, path, &found, &error, findings);
                None
            }
        }
    }

    /// Reads a certificate or key without looking at what it is: a path, inline PEM, `file:PATH` or `env:NAME`.
    pub(super) fn pem(&self, text: Text<'_>, path: &str, findings: &mut Findings) -> Option<Found> {
        let found = if text.text.contains("-----BEGIN") {
            Ok(Found { bytes: text.text.into(), from: "the inline text".to_owned(), origin: Origin::Plain })
        } else if text.text.starts_with("env:") || text.text.starts_with("sealed:") {
            self.value(text.text, path)
        } else {
            self.file(text.text.strip_prefix("file:").unwrap_or(text.text))
        };
        found.map_err(|missing| report(missing, text, path, findings)).ok()
    }

    fn value(&self, text: &str, key_path: &str) -> Result<Found, Missing> {
        if let Some(name) = text.strip_prefix("env:") {
            return variable(name);
        }
        if let Some(path) = text.strip_prefix("file:") {
            return self.file(path);
        }
        if text.starts_with("sealed:") {
            let opened = self.opener.open(text, key_path).map_err(|closed| Missing {
                message: closed.what,
                label: "sealed".into(),
                help: closed.help,
            })?;
            let from = "the sealed value".into();
            return Ok(Found { bytes: opened.expose().to_vec(), from, origin: Origin::Sealed });
        }
        Ok(Found { bytes: text.into(), from: "the inline text".into(), origin: Origin::Plain })
    }

    fn file(&self, path: &str) -> Result<Found, Missing> {
        let full = self.folder.join(path);
        self.files.borrow_mut().insert(full.clone());
        let shown = full.display().to_string();
        let missing = |why: String, help: &str| Missing {
            message: format!("cannot be read from {shown}: {why}"),
            label: "this file".into(),
            help: help.into(),
        };
        let relative =
            "correct the path, or put the file there; a path is relative to the folder of the project file";
        let mut bytes = Vec::new();
        let file = File::open(&full).map_err(|error| missing(error.to_string(), relative))?;
        let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
        read.map_err(|error| missing(error.to_string(), relative))?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(missing("it is larger than 1 MiB".into(), "name the right file, or a smaller one"));
        }
        Ok(Found { bytes, from: shown, origin: Origin::Referred })
    }
}

fn variable(name: &str) -> Result<Found, Missing> {
    let missing = |message: String, help: String| Missing { message, label: "this variable".into(), help };
    match std::env::var(name) {
        Ok(value) => {
            Ok(Found { bytes: value.into(), from: format!("the variable {name}"), origin: Origin::Referred })
        }
        Err(std::env::VarError::NotPresent) => Err(missing(
            format!("refers to the environment variable {name}, which is not set"),
            format!("set it before the start: {name}=... crosspoint up"),
        )),
        Err(std::env::VarError::NotUnicode(_)) => Err(missing(
            format!("refers to the environment variable {name}, which is not UTF-8"),
            "put the value into a file and write \"file:PATH\"".into(),
        )),
    }
}

fn report(missing: Missing, text: Text<'_>, path: &str, findings: &mut Findings) {
    let finding = findings.error(text.span, format!("`{path}` {}", missing.message));
    finding.label(missing.label).help(missing.help);
}
