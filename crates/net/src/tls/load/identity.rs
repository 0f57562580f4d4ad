//! A certificate chain and the private key that belongs to it.

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::facts::{self, CertificateFacts};
use super::{Certificates, LoadError, PrivateKey};

/// A certificate chain, own certificate first, and the private key of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    certificates: Certificates,
    key: PrivateKey,
}

impl Identity {
    /// Puts certificates and a key together. The certificate that the key belongs to comes first, wherever it stood; the
    /// others follow in their order.
    ///
    /// # Errors
    /// The key belongs to none of the certificates.
    pub fn pair(certificates: Certificates, key: PrivateKey) -> Result<Self, LoadError> {
        let mut chain = certificates.into_der();
        let Some(own) = chain.iter().position(|certificate| is_of(certificate, &key)) else {
            return Err(LoadError::NotAPair { key: key.kind(), certificate: described(chain.first()) });
        };
        let own = chain.remove(own);
        chain.insert(0, own);
        Ok(Self { certificates: Certificates::of(chain), key })
    }

    /// Returns the certificate chain.
    pub const fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// Returns the private key.
    pub const fn key(&self) -> &PrivateKey {
        &self.key
    }

    pub(crate) fn into_parts(self) -> (Certificates, PrivateKey) {
        (self.certificates, self.key)
    }
}

fn is_of(certificate: &CertificateDer<'_>, key: &PrivateKey) -> bool {
    let parsed = X509Certificate::from_der(certificate);
    parsed.is_ok_and(|(_, certificate)| certificate.public_key().raw == key.spki())
}

fn described(certificate: Option<&CertificateDer<'_>>) -> String {
    let facts = certificate.and_then(|certificate| CertificateFacts::of(certificate));
    let subject = facts.map_or_else(|| "that is there".to_owned(), |facts| format!("{:?}", facts.subject));
    match certificate.and_then(|certificate| facts::key_kind(certificate)) {
        Some(kind) => format!("{subject} ({kind})"),
        None => subject,
    }
}
