//! Where certificates and keys lie: in a file or inline.

use std::fmt;
use std::path::PathBuf;

use rustls::RootCertStore;

use super::load::{Certificates, PrivateKey};
use super::{LoadError, TlsOptionsError};

/// Certificates or a private key, as PEM text or as a file in any form that [`Certificates::read`] and
/// [`PrivateKey::read`] take.
///
/// A file is read anew each time it is needed, so that a renewed certificate is used by the next connection or
/// the next reload. Printing it never shows inline text, which may be a private key.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem(Place);

#[derive(Clone, PartialEq, Eq)]
enum Place {
    File(PathBuf),
    Inline(String),
}

impl Pem {
    /// Names a file to read.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Place::File(path.into()))
    }

    /// Takes the PEM text itself.
    pub fn inline(text: impl Into<String>) -> Self {
        Self(Place::Inline(text.into()))
    }

    pub(super) fn certificates(&self) -> Result<Certificates, TlsOptionsError> {
        Certificates::read(&self.read()?).map_err(|cause| self.not_loaded(cause))
    }

    pub(super) fn authorities(&self) -> Result<RootCertStore, TlsOptionsError> {
        self.certificates()?.authorities().map_err(|cause| self.not_loaded(cause))
    }

    pub(super) fn key(&self) -> Result<PrivateKey, TlsOptionsError> {
        PrivateKey::read(&self.read()?, None).map_err(|cause| self.not_loaded(cause))
    }

    fn read(&self) -> Result<Vec<u8>, TlsOptionsError> {
        match &self.0 {
            Place::File(path) => std::fs::read(path)
                .map_err(|source| TlsOptionsError::Read { path: path.display().to_string(), source }),
            Place::Inline(text) => Ok(text.as_bytes().to_vec()),
        }
    }

    fn not_loaded(&self, cause: LoadError) -> TlsOptionsError {
        TlsOptionsError::Load { place: self.place(), cause }
    }

    fn place(&self) -> String {
        match &self.0 {
            Place::File(path) => path.display().to_string(),
            Place::Inline(_) => "the inline text".to_owned(),
        }
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::File(path) => f.debug_tuple("Pem").field(path).finish(),
            Place::Inline(_) => f.write_str("Pem(inline)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::Form;

    #[test]
    fn an_error_names_the_place_and_what_is_there() {
        let error = Pem::inline("nothing").key().unwrap_err();
        assert!(matches!(
            &error,
            TlsOptionsError::Load { cause: LoadError::Other { form: Form::Text, .. }, .. }
        ));
        let expected = "the inline text is a text without BEGIN and END lines and no private key";
        assert_eq!(error.to_string(), expected);
        assert!(matches!(Pem::file("/no/such/file").key(), Err(TlsOptionsError::Read { .. })));
    }

    #[test]
    fn inline_text_is_never_printed() {
        assert_eq!(format!("{:?}", Pem::inline("secret")), "Pem(inline)");
    }
}
