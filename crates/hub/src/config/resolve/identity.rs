//! Certificates with their keys: of a connector, for the broker it connects to; of a listener, for its clients.

use std::ops::Range;

use crosspoint_net as net;
use crosspoint_net::LoadError;

use super::super::diagnostic::Findings;
use super::super::plan::{Identity, Pem};
use super::super::secret::Secret;
use super::super::section::{Section, Text};
use super::super::setting::Setting;
use super::super::settings::{broker, connector};
use super::material::{Found, Material, Origin};
use crate::certificates::trouble;

/// The keys that make up an identity.
pub(super) struct IdentityKeys {
    certificate: &'static Setting,
    key: &'static Setting,
    key_password: &'static Setting,
    pkcs12: &'static Setting,
}

impl IdentityKeys {
    /// Those of a connector.
    pub(super) const CONNECTOR: Self = Self {
        certificate: &connector::TLS_CERTIFICATE,
        key: &connector::TLS_KEY,
        key_password: &connector::TLS_KEY_PASSWORD,
        pkcs12: &connector::TLS_PKCS12,
    };

    /// Those of a listener.
    pub(super) const LISTENER: Self = Self {
        certificate: &broker::LISTENER_TLS_CERTIFICATE,
        key: &broker::LISTENER_TLS_KEY,
        key_password: &broker::LISTENER_TLS_KEY_PASSWORD,
        pkcs12: &broker::LISTENER_TLS_PKCS12,
    };

    /// Tells whether one is written of which there is no identity without.
    pub(super) fn are_written(&self, section: &Section<'_>) -> bool {
        section.has(self.certificate) || section.has(self.key) || section.has(self.pkcs12)
    }
}

/// Reads a certificate and its key, or both from a PKCS#12 file.
pub(super) fn resolve(
    section: &Section<'_>,
    keys: &IdentityKeys,
    material: &Material,
    findings: &mut Findings,
) -> Option<Identity> {
    if !keys.are_written(section) {
        if section.has(keys.key_password) {
            let message = format!("`{}` has no effect: there is no key", section.path_of(keys.key_password));
            let finding = findings.warning(&section.key_span_of(keys.key_password), message);
            finding.label("not used").help("name the encrypted key as `key`, or remove this");
        }
        return None;
    }
    let reading = Reading { section, keys, material, password: password(section, keys, material, findings)? };
    if section.has(keys.pkcs12) { reading.pkcs12(findings) } else { reading.pair(findings) }
}

/// Reads the password; the outer `None` says that it is written and cannot be had.
fn password(
    section: &Section<'_>,
    keys: &IdentityKeys,
    material: &Material,
    findings: &mut Findings,
) -> Option<Option<Secret>> {
    let Some(text) = section.text(keys.key_password) else {
        return (!section.has(keys.key_password)).then_some(None);
    };
    let path = section.path_of(keys.key_password);
    let (secret, origin) = material.secret(text, &path, findings)?;
    if origin == Origin::Plain {
        let finding = findings.warning(text.span, format!("`{path}` is plain text"));
        finding.label("readable for everyone who has the file");
        finding.help(format!("seal it: crosspoint secret set {path} --keep"));
    }
    Some(Some(secret))
}

struct Reading<'a> {
    section: &'a Section<'a>,
    keys: &'a IdentityKeys,
    material: &'a Material,
    password: Option<Secret>,
}

impl Reading<'_> {
    fn pkcs12(&self, findings: &mut Findings) -> Option<Identity> {
        let Self { section, keys, .. } = self;
        let path = section.path_of(keys.pkcs12);
        if let Some(other) = [keys.certificate, keys.key].into_iter().find(|other| section.has(other)) {
            let message = format!("`{}` is written beside `{}`", section.path_of(other), keys.pkcs12.key);
            let finding = findings.error(&section.key_span_of(other), message).label("which of the two?");
            finding.help("write `pkcs12`, or `certificate` and `key`, and remove the other");
            return None;
        }
        let text = section.text(keys.pkcs12)?;
        let found = self.material.pem(text, &path, findings)?;
        let read = net::Identity::read_pkcs12(&found.bytes, self.expose());
        let identity = read.map_err(|error| self.refuse(text, &path, &found, &error, findings)).ok()?;
        Some(self.finish(identity, (text, &path, &found), (text, &path, &found), findings))
    }

    fn pair(&self, findings: &mut Findings) -> Option<Identity> {
        let Self { section, keys, .. } = self;
        let (certificate, key) = match (section.text(keys.certificate), section.text(keys.key)) {
            (Some(certificate), Some(key)) => (certificate, key),
            (Some(_), None) if !section.has(keys.key) => {
                alone(section, keys.certificate, keys.key, findings);
                return None;
            }
            (None, Some(_)) if !section.has(keys.certificate) => {
                alone(section, keys.key, keys.certificate, findings);
                return None;
            }
            _ => return None,
        };
        let (certificate_path, key_path) = (section.path_of(keys.certificate), section.path_of(keys.key));
        let chain = self.material.certificates(certificate, &certificate_path, findings);
        let key_found = self.material.pem(key, &key_path, findings)?;
        let read = net::PrivateKey::read(&key_found.bytes, self.expose());
        let private = read.map_err(|error| self.refuse(key, &key_path, &key_found, &error, findings)).ok()?;
        let (chain, chain_found) = chain?;
        let identity = net::Identity::pair(chain, private).map_err(|error| {
            let finding = findings.error(key.span, format!("`{key_path}`: {error}"));
            finding.label(format!("the key of {}", key_found.from));
            finding.also(certificate.span, format!("the certificate of {}", chain_found.from));
            finding.help(error.hint());
        });
        let at_certificate = (certificate, certificate_path.as_str(), &chain_found);
        Some(self.finish(identity.ok()?, at_certificate, (key, &key_path, &key_found), findings))
    }

    /// Says what is to be said of an identity that is whole, and takes it over.
    fn finish(
        &self,
        identity: net::Identity,
        (text, path, found): (Text<'_>, &str, &Found),
        (key_text, key_path, key_found): (Text<'_>, &str, &Found),
        findings: &mut Findings,
    ) -> Identity {
        if key_found.origin == Origin::Plain {
            let message = format!("`{key_path}` stands in the project file itself");
            let finding = findings.warning(key_text.span, message);
            finding.label("readable for everyone who has the file");
            finding.help(format!(
                "seal it: crosspoint secret set {key_path} --keep; or put it into a file and write its path"
            ));
        }
        if self.password.is_some() && !identity.key().was_encrypted() {
            let span = self.section.key_span_of(self.keys.key_password);
            let password = self.section.path_of(self.keys.key_password);
            let message = format!("`{password}` has no effect: {} is not encrypted", key_found.from);
            findings.warning(&span, message).label("not used").help("remove it, or name the encrypted key");
        }
        warn_of_dates(identity.certificates(), &found.from, text.span, path, self.material, findings);
        Identity {
            certificate: Pem { origin: found.from.clone(), text: identity.certificates().to_pem() },
            key: Secret::new(identity.key().to_pem().as_bytes()),
            key_origin: key_found.from.clone(),
        }
    }

    fn refuse(&self, text: Text<'_>, path: &str, found: &Found, error: &LoadError, findings: &mut Findings) {
        if let (LoadError::WrongPassword { .. }, true) = (error, self.password.is_some()) {
            let span = self.section.span_of(self.keys.key_password);
            let path = self.section.path_of(self.keys.key_password);
            let finding = findings.error(&span, format!("`{path}` does not open {}", found.from));
            finding.label("not the password").also(text.span, "of this").help(error.hint());
            return;
        }
        refuse(text, path, found, error, findings);
    }

    fn expose(&self) -> Option<&[u8]> {
        self.password.as_ref().map(Secret::expose)
    }
}

/// Reports that something cannot be read as what it is named for.
pub(super) fn refuse(text: Text<'_>, path: &str, found: &Found, error: &LoadError, findings: &mut Findings) {
    let label = match error {
        LoadError::Empty => "nothing in it",
        LoadError::PasswordNeeded { .. } => "encrypted",
        LoadError::Other { .. } | LoadError::Lacks { .. } => "not what belongs here",
        _ => "cannot be used",
    };
    let finding = findings.error(text.span, format!("`{path}`: {} {error}", found.from));
    finding.label(label).help(error.hint());
}

/// Warns of certificates that have expired, soon will, or are not valid yet: that is no error, for nothing else of a
/// project should stand still because of it.
pub(super) fn warn_of_dates(
    certificates: &net::Certificates,
    from: &str,
    span: &Range<usize>,
    path: &str,
    material: &Material,
    findings: &mut Findings,
) {
    if let Some(trouble) = trouble(certificates.facts(), material.now_s()) {
        let finding = findings.warning(span, format!("`{path}`: {trouble}"));
        finding.label(format!("in {from}"));
        finding
            .help("renew it: a running hub takes the new file over by itself; or set this machine's clock");
    }
}

fn alone(section: &Section<'_>, written: &Setting, missing: &Setting, findings: &mut Findings) {
    let message = format!("`{}` is written without `{}`", section.path_of(written), missing.key);
    let finding = findings.error(&section.key_span_of(written), message).label("half of a pair");
    finding.help(format!("add {} = \"FILE.pem\", or remove this key", missing.key));
}
