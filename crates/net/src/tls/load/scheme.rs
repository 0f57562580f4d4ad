//! How an encrypted PKCS#8 key is encrypted (PKCS#5, PKCS#12 appendix B), by its identifier.

use super::der::{Element, OID, SEQUENCE};

const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 13];
const PKCS5: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5];
const PKCS12_PBE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 1];

/// How a key is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// PBES2, the one that is used today.
    Pbes2,
    /// An older one, and whether OpenSSL keeps it among its legacy ways.
    Old { name: &'static str, is_legacy: bool },
    /// One that nobody knows.
    Unknown,
}

impl Scheme {
    /// Reads it from EncryptedPrivateKeyInfo.
    pub(super) fn of(der: &[u8]) -> Self {
        let identifier = || {
            let (outer, _) = Element::first(der)?;
            outer.child(0, SEQUENCE)?.child(0, OID)
        };
        let Some(identifier) = identifier() else { return Self::Unknown };
        if identifier.content == PBES2 {
            return Self::Pbes2;
        }
        let (prefix, last) = match identifier.content {
            [prefix @ .., last] => (prefix, *last),
            [] => return Self::Unknown,
        };
        let (name, is_legacy) = match (prefix, last) {
            (PKCS5, 1) => ("PBES1, MD2-DES", true),
            (PKCS5, 3) => ("PBES1, MD5-DES", true),
            (PKCS5, 4) => ("PBES1, MD2-RC2", true),
            (PKCS5, 6) => ("PBES1, MD5-RC2", true),
            (PKCS5, 10) => ("PBES1, SHA1-DES", true),
            (PKCS5, 11) => ("PBES1, SHA1-RC2", true),
            (PKCS12_PBE, 1) => ("PBES1, SHA1-RC4-128", true),
            (PKCS12_PBE, 2) => ("PBES1, SHA1-RC4-40", true),
            (PKCS12_PBE, 3) => ("PBES1, SHA1-3DES", false),
            (PKCS12_PBE, 4) => ("PBES1, SHA1-2DES", false),
            (PKCS12_PBE, 5) => ("PBES1, SHA1-RC2-128", true),
            (PKCS12_PBE, 6) => ("PBES1, SHA1-RC2-40", true),
            _ => return Self::Unknown,
        };
        Self::Old { name, is_legacy }
    }
}
