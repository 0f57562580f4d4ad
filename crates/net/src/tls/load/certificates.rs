//! Certificates, from PEM, DER and PKCS#7.

use std::fmt;

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;

use super::der::{CONTEXT_0, Element, Elements, INTEGER, SEQUENCE};
use super::facts::CertificateFacts;
use super::form::Form;
use super::input::Input;
use super::section::{self, Section};
use super::{LoadError, Wanted};

/// Certificates, in the order in which they were found.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificates(Vec<CertificateDer<'static>>);

impl Certificates {
    /// Reads all certificates of some bytes: PEM with any text around it, DER, or PKCS#7 in either.
    ///
    /// There is at least one. Whether they are valid is not asked here.
    ///
    /// # Errors
    /// There is none, with what there is instead.
    pub fn read(bytes: &[u8]) -> Result<Self, LoadError> {
        let input = Input::read(bytes)?;
        let mut found = Vec::new();
        let mut has_bundle = false;
        for section in &input.sections {
            match section.form {
                Form::Certificate => of_der(section, &mut found),
                Form::Pkcs7 => {
                    has_bundle = true;
                    of_pkcs7(section, &mut found)?;
                }
                _ => {}
            }
        }
        match (found.is_empty(), input.form()) {
            (false, _) => Ok(Self(found)),
            (true, _) if has_bundle => Err(LoadError::Lacks { wanted: Wanted::Certificate }),
            (true, form) => Err(LoadError::Other { form, wanted: Wanted::Certificate }),
        }
    }

    pub(super) const fn of(certificates: Vec<CertificateDer<'static>>) -> Self {
        Self(certificates)
    }

    /// Returns them in DER.
    pub fn as_der(&self) -> &[CertificateDer<'static>] {
        &self.0
    }

    /// Returns them as PEM.
    pub fn to_pem(&self) -> String {
        self.0.iter().map(|certificate| section::write("CERTIFICATE", certificate).to_string()).collect()
    }

    /// Returns what stands in each, without those that cannot be understood.
    pub fn facts(&self) -> impl Iterator<Item = CertificateFacts> {
        self.0.iter().filter_map(|certificate| CertificateFacts::of(certificate))
    }

    /// Checks that each can serve as an authority to trust.
    ///
    /// # Errors
    /// One cannot.
    pub fn check_authorities(&self) -> Result<(), LoadError> {
        self.authorities().map(drop)
    }

    pub(crate) fn authorities(&self) -> Result<RootCertStore, LoadError> {
        let mut roots = RootCertStore::empty();
        for certificate in &self.0 {
            roots.add(certificate.clone()).map_err(|error| LoadError::NotAnAuthority {
                subject: CertificateFacts::of(certificate).map(|facts| facts.subject).unwrap_or_default(),
                detail: error.to_string(),
            })?;
        }
        Ok(roots)
    }

    pub(crate) fn into_der(self) -> Vec<CertificateDer<'static>> {
        self.0
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.facts().map(|facts| facts.subject)).finish()
    }
}

/// Takes the certificates that stand one behind another; what OpenSSL adds to a "trusted" one is none.
fn of_der(section: &Section, found: &mut Vec<CertificateDer<'static>>) {
    let certificates =
        Elements::of(&section.bytes).filter(|element| Form::of_der(element.whole) == Form::Certificate);
    found.extend(certificates.map(|element| CertificateDer::from(element.whole.to_vec())));
}

/// Takes the certificates out of SignedData (RFC 5652, section 5.1).
fn of_pkcs7(section: &Section, found: &mut Vec<CertificateDer<'static>>) -> Result<(), LoadError> {
    let signed = || {
        let (outer, _) = Element::first(&section.bytes)?;
        outer.child(1, CONTEXT_0)?.child(0, SEQUENCE).filter(|signed| signed.child(0, INTEGER).is_some())
    };
    let signed = signed()
        .ok_or_else(|| LoadError::Damaged { detail: "the PKCS#7 bundle cannot be read".to_owned() })?;
    let Some(set) = signed.children().skip(3).find(|child| child.tag == CONTEXT_0) else { return Ok(()) };
    let certificates = set.children().filter(|element| Form::of_der(element.whole) == Form::Certificate);
    found.extend(certificates.map(|element| CertificateDer::from(element.whole.to_vec())));
    Ok(())
}
