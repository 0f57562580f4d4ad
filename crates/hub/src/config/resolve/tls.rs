//! TLS of connectors and listeners.

use super::super::diagnostic::Findings;
use super::super::plan::{Address, ClientTls, Identity, Pem, Verify};
use super::super::section::Section;
use super::super::setting::Setting;
use super::super::settings::connector as keys;
use super::address;
use super::material::{Material, Origin};

/// Returns the TLS of a connector.
pub(super) fn client(
    connector: &Section<'_>,
    addresses: &[Address],
    material: &Material,
    findings: &mut Findings,
) -> ClientTls {
    let section = connector.table(&keys::TLS);
    let is_used = addresses.iter().any(|address| address.transport.is_secure());
    if !section.entries().is_empty() && !addresses.is_empty() && !is_used {
        let message = format!("`{}` has no effect: the address is not encrypted", section.path);
        let finding = findings.warning(&section.span, message).label("not used");
        finding.help("write mqtts:// or wss:// for an encrypted connection");
    }
    let verify = verify(&section, findings);
    let ca = certificates(&section, &keys::TLS_CA, material, findings);
    let server_name = section.text(&keys::TLS_SERVER_NAME);
    let server_name =
        server_name.and_then(|name| address::host(name, &section.path_of(&keys::TLS_SERVER_NAME), findings));
    let alpn = alpn(&section, findings);
    let identity = identity(&section, &keys::TLS_CERTIFICATE, &keys::TLS_KEY, material, findings);
    ClientTls { ca, identity, verify, server_name, alpn }
}

fn verify(section: &Section<'_>, findings: &mut Findings) -> Verify {
    let (verify, what) = match section.text_or_default(&keys::TLS_VERIFY) {
        "chain" => (
            Verify::Chain,
            "the broker's host name is not checked, so any certificate of these authorities passes",
        ),
        "none" => (
            Verify::None,
            "the broker's certificate is not checked, so anyone on the way can read and change everything",
        ),
        _ => return Verify::Full,
    };
    let path = section.path_of(&keys::TLS_VERIFY);
    let finding = findings.warning(&section.span_of(&keys::TLS_VERIFY), format!("`{path}`: {what}"));
    finding.label("weakened").help("write verify = \"full\" and name the authority in `ca`");
    verify
}

fn alpn(section: &Section<'_>, findings: &mut Findings) -> Vec<String> {
    let texts = section.texts(&keys::TLS_ALPN);
    for text in texts.iter().filter(|text| text.text.is_empty() || text.text.len() > 255) {
        let path = section.path_of(&keys::TLS_ALPN);
        let message = format!("`{path}` has a name of {} bytes", text.text.len());
        let finding = findings.error(text.span, message).label("not 1 to 255 bytes");
        finding.help("write a protocol name such as \"mqtt\"");
    }
    texts.into_iter().map(|text| text.text.to_owned()).collect()
}

/// Reads one or several certificates.
pub(super) fn certificates(
    section: &Section<'_>,
    setting: &Setting,
    material: &Material,
    findings: &mut Findings,
) -> Vec<Pem> {
    let path = section.path_of(setting);
    let mut found = Vec::new();
    for text in section.texts(setting) {
        if text.text == "auto" {
            let finding = findings.error(text.span, format!("`{path}` = \"auto\" is not in this version"));
            finding
                .label("known, but not built yet")
                .help("remove the key to trust the system's authorities");
            continue;
        }
        found.extend(material.certificates(text, &path, findings));
    }
    found
}

/// Reads a certificate and its key, which come together or not at all.
pub(super) fn identity(
    section: &Section<'_>,
    certificate: &Setting,
    key: &Setting,
    material: &Material,
    findings: &mut Findings,
) -> Option<Identity> {
    let (certificate_text, key_text) = match (section.text(certificate), section.text(key)) {
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(_), None) if !section.has(key) => {
            alone(section, certificate, key, findings);
            return None;
        }
        (None, Some(_)) if !section.has(certificate) => {
            alone(section, key, certificate, findings);
            return None;
        }
        _ => return None,
    };
    let pem = material.certificates(certificate_text, &section.path_of(certificate), findings);
    let path = section.path_of(key);
    let (secret, key_origin, origin) = material.key(key_text, &path, findings)?;
    if origin == Origin::Plain {
        let finding = findings.warning(key_text.span, format!("`{path}` stands in the project file itself"));
        finding.label("readable for everyone who has the file");
        finding.help(format!(
            "seal it: crosspoint secret set {path} --keep; or put it into a file and write its path"
        ));
    }
    Some(Identity { certificate: pem?, key: secret, key_origin })
}

fn alone(section: &Section<'_>, written: &Setting, missing: &Setting, findings: &mut Findings) {
    let message = format!("`{}` is written without `{}`", section.path_of(written), missing.key);
    let finding = findings.error(&section.key_span_of(written), message).label("half of a pair");
    finding.help(format!("add {} = \"FILE.pem\", or remove this key", missing.key));
}
