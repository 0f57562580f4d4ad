//! A certificate authority for one test, and what it signs, as files.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use tempfile::TempDir;

/// A certificate authority with a folder for its files.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: TempDir,
}

/// When a certificate holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// It holds now.
    Now,
    /// It held once.
    Past,
    /// It will hold one day.
    Future,
}

/// The files of a certificate and its key.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM (PKCS#8).
    pub key: PathBuf,
}

impl Authority {
    /// Makes an authority.
    ///
    /// # Panics
    /// When there is no randomness or no temporary folder.
    pub fn new() -> Self {
        Self::named("test authority")
    }

    /// Makes an authority of this name.
    ///
    /// # Panics
    /// When there is no randomness or no temporary folder.
    pub fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(params, key), folder }
    }

    /// Returns the file of its certificate.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Signs a certificate for a server on this machine, or for a client of this name.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn sign(&self, name: &str) -> Identity {
        self.sign_as(name, &["localhost", "127.0.0.1"], Validity::Now)
    }

    /// Signs a certificate for other names, or other times.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn sign_as(&self, name: &str, names: &[&str], validity: Validity) -> Identity {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        (params.not_before, params.not_after) = match validity {
            Validity::Now => (params.not_before, params.not_after),
            Validity::Past => (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 1, 1)),
            Validity::Future => (date_time_ymd(2090, 1, 1), date_time_ymd(2091, 1, 1)),
        };
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let write = |ending: &str, text: String| {
            let path = self.folder.path().join(format!("{name}.{ending}"));
            std::fs::write(&path, text).unwrap();
            path
        };
        Identity { certificate: write("pem", certificate.pem()), key: write("key", key.serialize_pem()) }
    }

    /// Returns the folder that holds the files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}
