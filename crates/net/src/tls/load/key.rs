//! A private key, from PEM and DER, encrypted or not.

use std::fmt;

use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use x509_parser::oid_registry::Oid;
use zeroize::Zeroizing;

use super::der::{CONTEXT_0, Element, OID, SEQUENCE};
use super::facts::{kind_of_oid, kind_of_spki};
use super::form::Form;
use super::input::Input;
use super::scheme::Scheme;
use super::section::{self, Section};
use super::{LoadError, Wanted, old_encryption};
use crate::tls::provider;

/// A private key that can sign for TLS. Its bytes are overwritten when it goes.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey {
    encoding: Encoding,
    der: Zeroizing<Vec<u8>>,
    /// The public half, as certificates have it.
    spki: Vec<u8>,
    protection: Protection,
}

/// How the DER of a key is to be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Pkcs8,
    Pkcs1,
    Sec1,
}

/// Whether a key was encrypted where it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protection {
    Plain,
    Encrypted,
}

impl PrivateKey {
    /// Reads the private key in some bytes: PKCS#8, PKCS#1 or SEC1, as PEM with any text around it or as DER; and if it is
    /// encrypted, with PBES2 or in the old way of PEM, with its password.
    ///
    /// A password that is not needed is not looked at: ask [`Self::was_encrypted`].
    ///
    /// # Errors
    /// There is none that could be used, with what there is instead.
    pub fn read(bytes: &[u8], password: Option<&[u8]>) -> Result<Self, LoadError> {
        let input = Input::read(bytes)?;
        let keys: Vec<&Section> = input.sections.iter().filter(|section| section.form.is_key()).collect();
        let Some(first) = keys.first() else {
            return Err(LoadError::Other { form: input.form(), wanted: Wanted::PrivateKey });
        };
        let count = distinct(&keys);
        if count > 1 {
            return Err(LoadError::SeveralKeys { count });
        }
        Self::of_section(first, password)
    }

    /// Takes a key in the DER of PKCS#8.
    pub(super) fn of_pkcs8(der: &[u8]) -> Result<Self, LoadError> {
        Self::of_der(Encoding::Pkcs8, Zeroizing::new(der.to_vec()), Protection::Encrypted)
    }

    /// Tells whether it was encrypted where it was read.
    pub fn was_encrypted(&self) -> bool {
        self.protection == Protection::Encrypted
    }

    /// Returns it as PEM, not encrypted.
    pub fn to_pem(&self) -> Zeroizing<String> {
        let label = match self.encoding {
            Encoding::Pkcs8 => "PRIVATE KEY",
            Encoding::Pkcs1 => "RSA PRIVATE KEY",
            Encoding::Sec1 => "EC PRIVATE KEY",
        };
        section::write(label, &self.der)
    }

    /// Says what kind it is, such as `EC on P-256`.
    pub fn kind(&self) -> String {
        kind_of_spki(&self.spki).unwrap_or_else(|| "of an unknown kind".to_owned())
    }

    /// Returns the public half, as SubjectPublicKeyInfo in DER.
    pub(super) fn spki(&self) -> &[u8] {
        &self.spki
    }

    pub(crate) fn to_der(&self) -> PrivateKeyDer<'static> {
        as_der(self.encoding, &self.der)
    }

    fn of_section(section: &Section, password: Option<&[u8]>) -> Result<Self, LoadError> {
        let form = section.form.clone();
        let (encoding, der, protection) = match form {
            Form::Pkcs8Key => (Encoding::Pkcs8, section.bytes.clone(), Protection::Plain),
            Form::RsaKey => (Encoding::Pkcs1, section.bytes.clone(), Protection::Plain),
            Form::EcKey => (Encoding::Sec1, section.bytes.clone(), Protection::Plain),
            Form::EncryptedKey => (Encoding::Pkcs8, of_encrypted(section, password)?, Protection::Encrypted),
            Form::OldEncryptedKey => {
                let (encoding, der) = of_old_encrypted(section, password)?;
                (encoding, der, Protection::Encrypted)
            }
            form => return Err(LoadError::Other { form, wanted: Wanted::PrivateKey }),
        };
        Self::of_der(encoding, der, protection)
    }

    fn of_der(
        encoding: Encoding,
        der: Zeroizing<Vec<u8>>,
        protection: Protection,
    ) -> Result<Self, LoadError> {
        let signing = provider().key_provider.load_private_key(as_der(encoding, &der));
        let spki = signing.ok().and_then(|key| key.public_key().map(|spki| spki.to_vec()));
        match spki {
            Some(spki) => Ok(Self { encoding, der, spki, protection }),
            None => Err(LoadError::KeyKind { kind: kind_of_key(encoding, &der) }),
        }
    }
}

fn as_der(encoding: Encoding, der: &[u8]) -> PrivateKeyDer<'static> {
    match encoding {
        Encoding::Pkcs8 => PrivatePkcs8KeyDer::from(der.to_vec()).into(),
        Encoding::Pkcs1 => PrivatePkcs1KeyDer::from(der.to_vec()).into(),
        Encoding::Sec1 => PrivateSec1KeyDer::from(der.to_vec()).into(),
    }
}

/// Counts the keys that differ; the same one may stand twice.
fn distinct(keys: &[&Section]) -> usize {
    let is_new = |(place, key): &(usize, &&Section)| {
        keys.iter().take(*place).all(|other| *other.bytes != *key.bytes || other.form != key.form)
    };
    keys.iter().enumerate().filter(is_new).count()
}

/// Opens a key that is encrypted after PKCS#8.
fn of_encrypted(section: &Section, password: Option<&[u8]>) -> Result<Zeroizing<Vec<u8>>, LoadError> {
    let unknown = |scheme: &str, is_legacy| LoadError::UnknownScheme { scheme: scheme.to_owned(), is_legacy };
    match Scheme::of(&section.bytes) {
        Scheme::Pbes2 => {}
        Scheme::Old { name, is_legacy } => return Err(unknown(name, is_legacy)),
        Scheme::Unknown => return Err(unknown("of an unknown kind", false)),
    }
    let password = password.ok_or(LoadError::PasswordNeeded { form: Form::EncryptedKey })?;
    let parsed = EncryptedPrivateKeyInfoRef::try_from(section.bytes.as_slice());
    let key = parsed.map_err(|_| unknown("PBES2 with a cipher of its own", false))?;
    match key.decrypt(password) {
        Ok(key) => Ok(key.to_bytes()),
        Err(error) if is_unsupported(&error) => Err(unknown("PBES2 with a cipher of its own", false)),
        // The wrong key leaves bytes without padding, or by chance with it and no key in them.
        Err(_) => Err(LoadError::WrongPassword { form: Form::EncryptedKey }),
    }
}

fn is_unsupported(error: &pkcs8::Error) -> bool {
    use pkcs8::pkcs5::Error as Pkcs5;
    let pkcs8::Error::EncryptedPrivateKey(error) = error else { return false };
    matches!(error, Pkcs5::UnsupportedAlgorithm { .. } | Pkcs5::AlgorithmParametersInvalid { .. })
}

/// Opens a key that is encrypted in the old way of PEM.
fn of_old_encrypted(
    section: &Section,
    password: Option<&[u8]>,
) -> Result<(Encoding, Zeroizing<Vec<u8>>), LoadError> {
    let form = Form::OldEncryptedKey;
    let dek_info = section.dek_info.as_deref().unwrap_or_default();
    let password = password.ok_or(LoadError::PasswordNeeded { form: form.clone() })?;
    let der = old_encryption::decrypt(dek_info, &section.bytes, password)?;
    match Form::of_der(&der) {
        Form::RsaKey => Ok((Encoding::Pkcs1, der)),
        Form::EcKey => Ok((Encoding::Sec1, der)),
        Form::Pkcs8Key => Ok((Encoding::Pkcs8, der)),
        Form::DsaKey => Err(LoadError::Other { form: Form::DsaKey, wanted: Wanted::PrivateKey }),
        _ => Err(LoadError::WrongPassword { form }),
    }
}

/// Says what kind of key it is that cannot be used: what its identifiers say.
fn kind_of_key(encoding: Encoding, der: &[u8]) -> String {
    let outer = Element::first(der).map(|(outer, _)| outer);
    let named = match encoding {
        Encoding::Pkcs8 => outer.and_then(|outer| outer.child(1, SEQUENCE)).map(|algorithm| {
            let curve = algorithm.child(1, OID);
            curve.or_else(|| algorithm.child(0, OID))
        }),
        Encoding::Sec1 => {
            outer.and_then(|outer| outer.child(2, CONTEXT_0)).map(|parameters| parameters.child(0, OID))
        }
        Encoding::Pkcs1 => return "RSA of this size".to_owned(),
    };
    match named.flatten().map(|oid| kind_of_oid(&Oid::new(oid.content.to_vec().into()))) {
        Some(kind) if kind == "RSA" => "RSA of this size".to_owned(),
        Some(kind) => kind,
        None => "EC on a curve that is not named".to_owned(),
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PrivateKey").field(&self.kind()).finish()
    }
}
