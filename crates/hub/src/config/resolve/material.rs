//! What a project file refers to and does not hold: environment variables, files of secrets, keys and certificates.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::super::diagnostic::Findings;
use super::super::plan::Pem;
use super::super::secret::Secret;
use super::super::section::Text;
use crate::secret::Opener;

/// The largest file of a secret, key or certificate bundle: all public authorities together are a quarter of it.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Reads what the file refers to; paths are relative to the folder of the project file.
pub(in super::super) struct Material {
    folder: PathBuf,
    opener: Opener,
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
struct Found {
    bytes: Vec<u8>,
    from: String,
    origin: Origin,
}

/// A value that could not be read.
struct Missing {
    message: String,
    label: String,
    help: String,
}

impl Material {
    pub(in super::super) fn beside(project: &Path, opener: Opener) -> Self {
        Self { folder: project.parent().unwrap_or(Path::new("")).to_owned(), opener }
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

    /// Reads certificates: a path, inline PEM, `file:PATH` or `env:NAME`.
    pub(super) fn certificates(&self, text: Text<'_>, path: &str, findings: &mut Findings) -> Option<Pem> {
        let found = self.pem(text, path, findings)?;
        let content = String::from_utf8_lossy(&found.bytes).into_owned();
        if content.contains("-----BEGIN CERTIFICATE-----")
            || content.contains("-----BEGIN TRUSTED CERTIFICATE-----")
        {
            return Some(Pem { origin: found.from, text: content });
        }
        let (what, help) = not_certificates(&content);
        let finding = findings.error(text.span, format!("`{path}`: {} {what}", found.from));
        finding.label("no certificate in it").help(help);
        None
    }

    /// Reads a private key, with a name for where it came from.
    pub(super) fn key(
        &self,
        text: Text<'_>,
        path: &str,
        findings: &mut Findings,
    ) -> Option<(Secret, String, Origin)> {
        let found = self.pem(text, path, findings)?;
        let content = String::from_utf8_lossy(&found.bytes).into_owned();
        let is_encrypted = content.contains("ENCRYPTED");
        if content.contains("PRIVATE KEY-----") && !is_encrypted {
            return Some((Secret::new(content), found.from, found.origin));
        }
        let (what, help) = if is_encrypted {
            (
                "is an encrypted key, which is not in this version",
                "decrypt it: openssl pkey -in KEY -out PLAIN.pem",
            )
        } else if content.contains("-----BEGIN CERTIFICATE") {
            ("is a certificate and no key", "name the key here and the certificate in `certificate`")
        } else {
            (
                "is not a private key in PEM form",
                "a DER key is converted with: openssl pkey -inform der -in KEY -out KEY.pem",
            )
        };
        let finding = findings.error(text.span, format!("`{path}`: {} {what}", found.from));
        finding.label("no usable key in it").help(help);
        None
    }

    fn pem(&self, text: Text<'_>, path: &str, findings: &mut Findings) -> Option<Found> {
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
        let shown = full.display().to_string();
        let missing = |why: String, help: &str| Missing {
            message: format!("cannot be read from {shown}: {why}"),
            label: "this file".into(),
            help: help.into(),
        };
        let relative = "a path is relative to the folder of the project file";
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

fn not_certificates(content: &str) -> (&'static str, &'static str) {
    if content.contains("-----BEGIN PKCS7") {
        let help = "convert it: openssl pkcs7 -print_certs -in BUNDLE -out CERTIFICATES.pem";
        ("is a PKCS#7 bundle, which is not in this version", help)
    } else if content.contains("PRIVATE KEY-----") {
        ("is a private key and no certificate", "name the certificate here and the key in `key`")
    } else {
        let help = "a DER certificate is converted with: openssl x509 -inform der -in FILE -out FILE.pem";
        ("is not a certificate in PEM form", help)
    }
}
