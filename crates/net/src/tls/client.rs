//! What a client trusts and presents.

use std::sync::{Arc, OnceLock};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;

use super::verify::verifier;
use super::{Pem, TlsOptionsError, provider};

/// How a client checks the server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verify {
    /// Chain, dates and host name. The default.
    #[default]
    Full,
    /// Chain and dates, but any host name: for a private CA whose certificates carry other names.
    ///
    /// With the system's authorities this is worth little: anyone can get a certificate for some name.
    Chain,
    /// Nothing: whoever answers is believed, and can read and change everything.
    None,
}

/// What a client trusts and presents on TLS.
///
/// The default trusts the authorities of the system, checks everything and presents no certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsClientOptions {
    authorities: Vec<Pem>,
    identity: Option<(Pem, Pem)>,
    verify: Verify,
    server_name: Option<String>,
    alpn: Vec<String>,
}

impl TlsClientOptions {
    /// Trusts the certificates in `pem`, instead of the authorities of the system.
    ///
    /// May be called several times; all of them are trusted then. Default: the system's.
    pub fn authority(mut self, pem: Pem) -> Self {
        self.authorities.push(pem);
        self
    }

    /// Presents a certificate (own first, then intermediates) with its private key, when the server asks.
    ///
    /// The key may be PKCS#8, PKCS#1 or SEC1, without a passphrase. Default: none.
    pub fn identity(mut self, certificates: Pem, key: Pem) -> Self {
        self.identity = Some((certificates, key));
        self
    }

    /// Sets how the server's certificate is checked. Default: [`Verify::Full`].
    pub fn verify(mut self, verify: Verify) -> Self {
        self.verify = verify;
        self
    }

    /// Sets the name to ask for (SNI) and to verify. Default: the host that is dialled.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Offers an application protocol (ALPN); several calls offer several, the preferred first. Default: none.
    pub fn alpn(mut self, protocol: impl Into<String>) -> Self {
        self.alpn.push(protocol.into());
        self
    }

    /// Returns how the server's certificate is checked.
    pub fn verification(&self) -> Verify {
        self.verify
    }

    /// Reads the files: blocking, and therefore not for a thread that serves connections.
    pub(crate) fn config(&self) -> Result<ClientConfig, TlsOptionsError> {
        let provider = provider();
        let verifier = verifier(self.verify, || self.roots(), &provider)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &self.identity {
            Some((certificates, key)) => {
                builder.with_client_auth_cert(certificates.certificates()?, key.key()?)?
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(config)
    }

    pub(crate) fn name_for(&self, host: &str) -> Result<ServerName<'static>, TlsOptionsError> {
        let name = self.server_name.as_deref().unwrap_or(host);
        ServerName::try_from(name.to_owned())
            .map_err(|_| TlsOptionsError::ServerName { name: name.to_owned() })
    }

    fn roots(&self) -> Result<Arc<RootCertStore>, TlsOptionsError> {
        if self.authorities.is_empty() { system_roots() } else { roots_of(&self.authorities).map(Arc::new) }
    }
}

/// Reads trusted certificates: one that cannot serve as an authority is an error here, since a person named it.
pub(super) fn roots_of(pems: &[Pem]) -> Result<RootCertStore, TlsOptionsError> {
    let mut roots = RootCertStore::empty();
    for pem in pems {
        for certificate in pem.certificates()? {
            roots.add(certificate)?;
        }
    }
    Ok(roots)
}

/// Reads the system's authorities once a process: some hundred files, and they change with the system only.
fn system_roots() -> Result<Arc<RootCertStore>, TlsOptionsError> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(roots) = ROOTS.get() {
        return Ok(roots.clone());
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(TlsOptionsError::NoSystemRoots);
    }
    Ok(ROOTS.get_or_init(|| Arc::new(roots)).clone())
}
