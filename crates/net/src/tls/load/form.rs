//! What some bytes are: the forms of certificates and keys, and what people take for one of them.

use std::fmt;

use super::der::{
    BIT_STRING, CONTEXT_0, Element, GENERALIZED_TIME, INTEGER, OCTET_STRING, OID, SEQUENCE, UTC_TIME,
};

/// What some bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Form {
    /// An X.509 certificate.
    Certificate,
    /// A PKCS#7 bundle, which holds certificates.
    Pkcs7,
    /// A PKCS#12 file, which holds a certificate and its key.
    Pkcs12,
    /// A private key in PKCS#8.
    Pkcs8Key,
    /// A private key in PKCS#1.
    RsaKey,
    /// A private key in SEC1.
    EcKey,
    /// An encrypted private key in PKCS#8.
    EncryptedKey,
    /// A private key that is encrypted in the old way of PEM.
    OldEncryptedKey,
    /// A private key for DSA.
    DsaKey,
    /// A private key of OpenSSH.
    OpenSshKey,
    /// A public key of SSH.
    SshPublicKey,
    /// A private key of PuTTY.
    PuttyKey,
    /// A key or message of PGP.
    Pgp,
    /// A certificate request.
    CertificateRequest,
    /// A certificate revocation list.
    RevocationList,
    /// A public key.
    PublicKey,
    /// Parameters for keys.
    Parameters,
    /// A keystore of Java.
    JavaKeystore,
    /// A web page.
    WebPage,
    /// Another section of PEM.
    OtherSection(String),
    /// Text.
    Text,
    /// DER or BER of something else.
    OtherDer,
    /// Other bytes.
    Bytes,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "a certificate",
            Self::Pkcs7 => "a PKCS#7 bundle",
            Self::Pkcs12 => "a PKCS#12 file",
            Self::Pkcs8Key | Self::RsaKey | Self::EcKey => "a private key",
            Self::EncryptedKey | Self::OldEncryptedKey => "an encrypted private key",
            Self::DsaKey => "a private key for DSA",
            Self::OpenSshKey => "a private key of OpenSSH",
            Self::SshPublicKey => "a public key of SSH",
            Self::PuttyKey => "a private key of PuTTY",
            Self::Pgp => "of PGP",
            Self::CertificateRequest => "a certificate request",
            Self::RevocationList => "a certificate revocation list",
            Self::PublicKey => "a public key",
            Self::Parameters => "a set of parameters for keys",
            Self::JavaKeystore => "a keystore of Java (JKS)",
            Self::WebPage => "a web page",
            Self::OtherSection(label) => return write!(f, "PEM of the kind {label:?}"),
            Self::Text => "a text without BEGIN and END lines",
            Self::OtherDer => "DER of something else",
            Self::Bytes => "a file of an unknown kind",
        })
    }
}

/// The beginnings of object identifiers, as they stand in DER.
const PKCS7_SIGNED: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];
const PKCS7: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7];

impl Form {
    /// Tells what DER is by its skeleton.
    pub(super) fn of_der(bytes: &[u8]) -> Self {
        let outer = Element::first(bytes).map(|(outer, _)| outer).filter(|outer| outer.tag == SEQUENCE);
        outer.and_then(|outer| Self::of_skeleton(&outer)).unwrap_or(Self::OtherDer)
    }

    /// Tells whether it is a private key, in whatever form.
    pub(super) const fn is_key(&self) -> bool {
        matches!(
            self,
            Self::Pkcs8Key
                | Self::RsaKey
                | Self::EcKey
                | Self::EncryptedKey
                | Self::OldEncryptedKey
                | Self::DsaKey
                | Self::OpenSshKey
                | Self::PuttyKey
        )
    }

    fn of_skeleton(outer: &Element<'_>) -> Option<Self> {
        let mut children = outer.children();
        let (first, second) = (children.next()?, children.next()?);
        let third = children.next().map(|third| third.tag);
        Some(match (first.tag, second.tag) {
            (OID, _) if first.content == PKCS7_SIGNED => Self::Pkcs7,
            (INTEGER, SEQUENCE) if second.child(0, OID)?.content.starts_with(PKCS7) => Self::Pkcs12,
            (INTEGER, SEQUENCE) if third == Some(OCTET_STRING) => Self::Pkcs8Key,
            (INTEGER, OCTET_STRING) => Self::EcKey,
            (INTEGER, INTEGER) => match outer.children().count() {
                2 => Self::PublicKey,
                6 => Self::DsaKey,
                9.. => Self::RsaKey,
                _ => return None,
            },
            (SEQUENCE, OCTET_STRING) => Self::EncryptedKey,
            (SEQUENCE, BIT_STRING) => Self::PublicKey,
            (SEQUENCE, SEQUENCE) if third == Some(BIT_STRING) => Self::of_signed(&first),
            _ => return None,
        })
    }

    /// Tells certificates, requests and revocation lists apart, which are all signed in the same way.
    fn of_signed(body: &Element<'_>) -> Self {
        let tags: Vec<u8> = body.children().map(|child| child.tag).collect();
        let is_time = |tag: &u8| matches!(*tag, UTC_TIME | GENERALIZED_TIME);
        match tags.as_slice() {
            [CONTEXT_0, INTEGER, ..] => Self::Certificate,
            [INTEGER, SEQUENCE, SEQUENCE, CONTEXT_0] | [INTEGER, SEQUENCE, SEQUENCE] => {
                Self::CertificateRequest
            }
            tags if tags.iter().take(4).any(is_time) => Self::RevocationList,
            // Version 1 does not say its version.
            [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE, ..] => Self::Certificate,
            _ => Self::OtherDer,
        }
    }

    /// Tells what bytes are that are neither PEM nor DER, as far as that helps.
    pub(super) fn of_strange(bytes: &[u8]) -> Self {
        const JKS: &[u8] = &[0xfe, 0xed, 0xfe, 0xed];
        const JCEKS: &[u8] = &[0xce, 0xce, 0xce, 0xce];
        if bytes.starts_with(JKS) || bytes.starts_with(JCEKS) {
            return Self::JavaKeystore;
        }
        let Ok(text) = std::str::from_utf8(bytes) else { return Self::Bytes };
        let text = text.trim_start();
        let begins =
            |with: &str| text.get(..with.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(with));
        if begins("PuTTY-User-Key-File") {
            Self::PuttyKey
        } else if begins("ssh-") || begins("ecdsa-sha2-") || begins("---- BEGIN SSH2") {
            Self::SshPublicKey
        } else if begins("<!DOCTYPE") || begins("<html") {
            Self::WebPage
        } else if text.chars().any(|c| c.is_control() && !c.is_whitespace()) {
            Self::Bytes
        } else {
            Self::Text
        }
    }

    /// Tells what a section of PEM is whose DER does not tell it, by its label.
    pub(super) fn of_label(label: &str) -> Option<Self> {
        Some(match label {
            "OPENSSH PRIVATE KEY" => Self::OpenSshKey,
            "SSH2 PUBLIC KEY" => Self::SshPublicKey,
            "DSA PRIVATE KEY" => Self::DsaKey,
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Self::CertificateRequest,
            "X509 CRL" => Self::RevocationList,
            "PUBLIC KEY" | "RSA PUBLIC KEY" => Self::PublicKey,
            label if label.starts_with("PGP ") => Self::Pgp,
            label if label.ends_with(" PARAMETERS") => Self::Parameters,
            _ => return None,
        })
    }
}
