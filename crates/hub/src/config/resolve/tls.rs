//! TLS of connectors and listeners.

use super::super::diagnostic::Findings;
use super::super::plan::{Address, ClientTls, Pem, TlsVersion, Verify};
use super::super::section::{Section, Text};
use super::super::setting::Setting;
use super::super::settings::connector as keys;
use super::identity::IdentityKeys;
use super::material::Material;
use super::{address, identity};

/// The word for the authorities of the system and those that come with this program.
const AUTO: &str = "auto";

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
    let (ca, trusts_public) = authorities(&section, material, findings);
    let server_name = section.text(&keys::TLS_SERVER_NAME);
    let server_name =
        server_name.and_then(|name| address::host(name, &section.path_of(&keys::TLS_SERVER_NAME), findings));
    let alpn = alpn(&section, findings);
    let identity = identity::resolve(&section, &IdentityKeys::CONNECTOR, material, findings);
    let version_min = TlsVersion::of_word(section.text_or_default(&keys::TLS_MIN_VERSION));
    ClientTls { ca, trusts_public, identity, verify, server_name, alpn, version_min }
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

/// Reads the authorities of a connector; the flag tells whether the public ones are trusted as well.
fn authorities(section: &Section<'_>, material: &Material, findings: &mut Findings) -> (Vec<Pem>, bool) {
    let texts = section.texts(&keys::TLS_CA);
    let trusts_public = texts.iter().any(|text| text.text == AUTO);
    let named = texts.into_iter().filter(|text| text.text != AUTO);
    let path = section.path_of(&keys::TLS_CA);
    (named.filter_map(|text| authority(text, &path, material, findings)).collect(), trusts_public)
}

/// Reads the authorities of client certificates.
pub(super) fn client_authorities(
    section: &Section<'_>,
    setting: &Setting,
    material: &Material,
    findings: &mut Findings,
) -> Vec<Pem> {
    let path = section.path_of(setting);
    let mut found = Vec::new();
    for text in section.texts(setting) {
        if text.text == AUTO {
            let message = format!("`{path}` = \"auto\" would let in everyone with a certificate of anybody");
            let finding = findings.error(text.span, message).label("public authorities");
            finding.help("name the authority that signs the certificates of your clients");
            continue;
        }
        found.extend(authority(text, &path, material, findings));
    }
    found
}

fn authority(text: Text<'_>, path: &str, material: &Material, findings: &mut Findings) -> Option<Pem> {
    let (certificates, found) = material.certificates(text, path, findings)?;
    if let Err(error) = certificates.check_authorities() {
        identity::refuse(text, path, &found, &error, findings);
        return None;
    }
    identity::warn_of_dates(&certificates, &found.from, text.span, path, material, findings);
    Some(Pem { origin: found.from, text: certificates.to_pem() })
}
