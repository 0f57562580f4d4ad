//! PKCS#12: a certificate, its chain and its key in one file (RFC 7292).

use p12_keystore::Pkcs12Archive;
use p12_keystore::error::Error;
use rustls_pki_types::CertificateDer;

use super::form::Form;
use super::input::Input;
use super::{Certificates, Identity, LoadError, PrivateKey, Wanted};

impl Identity {
    /// Reads a PKCS#12 file (`.p12`, `.pfx`). Without a password it is tried as one that has none.
    ///
    /// # Errors
    /// It is none, the password does not open it, or there is no certificate with its key in it.
    pub fn read_pkcs12(bytes: &[u8], password: Option<&[u8]>) -> Result<Self, LoadError> {
        let input = Input::read(bytes)?;
        let file = input.sections.iter().find(|section| section.form == Form::Pkcs12);
        let Some(file) = file else {
            return Err(LoadError::Other { form: input.form(), wanted: Wanted::Pkcs12 });
        };
        let archive = open(&file.bytes, password)?;
        let key = archive.keys.first().ok_or(LoadError::Lacks { wanted: Wanted::PrivateKey })?;
        if archive.keys.len() > 1 {
            return Err(LoadError::SeveralKeys { count: archive.keys.len() });
        }
        let certificates = archive.certs.iter().map(|bag| CertificateDer::from(bag.cert.as_der().to_vec()));
        let certificates: Vec<_> = certificates.collect();
        if certificates.is_empty() {
            return Err(LoadError::Lacks { wanted: Wanted::Certificate });
        }
        Self::pair(Certificates::of(certificates), PrivateKey::of_pkcs8(key.key.as_der())?)
    }
}

fn open(bytes: &[u8], password: Option<&[u8]>) -> Result<Pkcs12Archive, LoadError> {
    let form = Form::Pkcs12;
    // PKCS#12 takes passwords as text.
    let text = std::str::from_utf8(password.unwrap_or_default());
    let text = text.map_err(|_| LoadError::WrongPassword { form: form.clone() })?;
    Pkcs12Archive::from_pkcs12(bytes, text).map_err(|error| match error {
        Error::MacError(_) | Error::UnpadError | Error::Pkcs5Error(_) if password.is_none() => {
            LoadError::PasswordNeeded { form }
        }
        Error::MacError(_) | Error::UnpadError | Error::Pkcs5Error(_) => LoadError::WrongPassword { form },
        Error::UnsupportedEncryptionScheme | Error::UnsupportedMacAlgorithm => LoadError::UnknownPkcs12,
        other => LoadError::Damaged { detail: format!("the PKCS#12 file cannot be read: {other}") },
    })
}
