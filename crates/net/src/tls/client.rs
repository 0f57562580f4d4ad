//! What a client trusts and presents.

use rustls::ClientConfig;
use rustls_pki_types::ServerName;

use super::roots::Trusted;
use super::verify::verifier;
use super::{Identity, Pem, TlsOptionsError, TlsVersion, provider};

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
    trusted: Trusted,
    identity: Option<(Pem, Pem)>,
    verify: Verify,
    version_min: TlsVersion,
    server_name: Option<String>,
    alpn: Vec<String>,
}

impl TlsClientOptions {
    /// Trusts the certificates in `pem`, instead of the authorities of the system.
    ///
    /// May be called several times; all of them are trusted then. Default: the system's.
    pub fn authority(mut self, pem: Pem) -> Self {
        self.trusted.named.push(pem);
        self
    }

    /// Trusts the authorities of the system and those that come with this program, Mozilla's, besides the ones named with
    /// [`authority`](Self::authority). Default: the system's, and only while none is named.
    ///
    /// Those that come with the program are as old as the program.
    pub fn public_authorities(mut self) -> Self {
        self.trusted.public = true;
        self
    }

    /// Presents a certificate and its intermediates with the private key, when the server asks.
    ///
    /// The key must not be encrypted here. Default: none.
    pub fn identity(mut self, certificates: Pem, key: Pem) -> Self {
        self.identity = Some((certificates, key));
        self
    }

    /// Sets how the server's certificate is checked. Default: [`Verify::Full`].
    pub fn verify(mut self, verify: Verify) -> Self {
        self.verify = verify;
        self
    }

    /// Sets the oldest version of TLS that is spoken. Default: [`TlsVersion::V1_2`].
    pub fn version_min(mut self, version: TlsVersion) -> Self {
        self.version_min = version;
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
        let verifier = verifier(self.verify, || self.trusted.roots(), &provider)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(self.version_min.and_newer())?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &self.identity {
            Some((certificates, key)) => {
                let (certificates, key) = identity(certificates, key)?.into_parts();
                builder.with_client_auth_cert(certificates.into_der(), key.to_der())?
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
}

/// Reads certificates and the key that belongs to them.
pub(super) fn identity(certificates: &Pem, key: &Pem) -> Result<Identity, TlsOptionsError> {
    Identity::pair(certificates.certificates()?, key.key()?).map_err(TlsOptionsError::Identity)
}
