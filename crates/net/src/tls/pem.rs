//! Certificates and keys in PEM form, from a file or inline.

use std::fmt;
use std::path::PathBuf;

use rustls_pki_types::pem::{Error as PemError, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsOptionsError;

/// Certificates or a private key in PEM form.
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

    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsOptionsError> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.read()?).collect();
        match found {
            Ok(certificates) if certificates.is_empty() => {
                Err(TlsOptionsError::NoCertificate { place: self.place() })
            }
            Ok(certificates) => Ok(certificates),
            Err(error) => Err(self.broken(&error)),
        }
    }

    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>, TlsOptionsError> {
        let text = self.read()?;
        match PrivateKeyDer::from_pem_slice(&text) {
            Ok(key) => Ok(key),
            Err(PemError::NoItemsFound) if is_encrypted(&text) => {
                Err(TlsOptionsError::EncryptedKey { place: self.place() })
            }
            Err(PemError::NoItemsFound) => Err(TlsOptionsError::NoKey { place: self.place() }),
            // The old form keeps its passphrase marker inside the section, where it is no valid base64.
            Err(_) if is_encrypted(&text) => Err(TlsOptionsError::EncryptedKey { place: self.place() }),
            Err(error) => Err(self.broken(&error)),
        }
    }

    fn read(&self) -> Result<Vec<u8>, TlsOptionsError> {
        match &self.0 {
            Place::File(path) => std::fs::read(path)
                .map_err(|source| TlsOptionsError::Read { path: path.display().to_string(), source }),
            Place::Inline(text) => Ok(text.as_bytes().to_vec()),
        }
    }

    fn place(&self) -> String {
        match &self.0 {
            Place::File(path) => path.display().to_string(),
            Place::Inline(_) => "the inline text".to_owned(),
        }
    }

    fn broken(&self, error: &PemError) -> TlsOptionsError {
        // The parser's own message quotes lines, which may belong to a private key.
        let detail = match error {
            PemError::MissingSectionEnd { .. } => "a section has no END line",
            PemError::IllegalSectionStart { .. } => "a BEGIN line is malformed",
            PemError::Base64Decode(_) => "the text between BEGIN and END is not base64",
            _ => "it cannot be parsed",
        };
        TlsOptionsError::BrokenPem { place: self.place(), detail: detail.to_owned() }
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

fn is_encrypted(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_defect_has_its_own_error() {
        let key = |text: &str| Pem::inline(text).key();
        assert!(matches!(key("nothing"), Err(TlsOptionsError::NoKey { .. })));
        let pkcs8 = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        assert!(matches!(key(pkcs8), Err(TlsOptionsError::EncryptedKey { .. })));
        let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n\
                   -----END RSA PRIVATE KEY-----\n";
        assert!(matches!(key(old), Err(TlsOptionsError::EncryptedKey { .. })));
        assert!(matches!(key("-----BEGIN PRIVATE KEY-----\nAAAA\n"), Err(TlsOptionsError::BrokenPem { .. })));
        assert!(matches!(Pem::inline("").certificates(), Err(TlsOptionsError::NoCertificate { .. })));
        assert!(matches!(Pem::file("/no/such/file").key(), Err(TlsOptionsError::Read { .. })));
    }

    #[test]
    fn inline_text_is_never_printed() {
        assert_eq!(format!("{:?}", Pem::inline("secret")), "Pem(inline)");
    }
}
