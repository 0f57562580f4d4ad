//! What a listener presents and whom it lets in.

use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::client::identity;
use super::roots::roots_of;
use super::{Pem, TlsOptionsError, TlsVersion, provider};

/// Whether clients of a listener present certificates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// None are asked for. The default.
    #[default]
    Ignored,
    /// One is asked for; who presents one must have it signed by one of these.
    Optional(Vec<Pem>),
    /// One signed by one of these is needed to get in.
    Required(Vec<Pem>),
}

/// What a listener presents on TLS and whom it lets in.
///
/// The files are read when the listener is bound and at each reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsServerOptions {
    certificates: Pem,
    key: Pem,
    client_certificates: ClientCertificates,
    alpn: Vec<String>,
    version_min: TlsVersion,
}

impl TlsServerOptions {
    /// Presents a certificate and its intermediates with the private key, which must not be encrypted here.
    pub fn new(certificates: Pem, key: Pem) -> Self {
        Self {
            certificates,
            key,
            client_certificates: ClientCertificates::default(),
            alpn: Vec::new(),
            version_min: TlsVersion::default(),
        }
    }

    /// Sets whether clients present certificates. Default: [`ClientCertificates::Ignored`].
    pub fn client_certificates(mut self, client_certificates: ClientCertificates) -> Self {
        self.client_certificates = client_certificates;
        self
    }

    /// Accepts an application protocol (ALPN); several calls accept several, the preferred first.
    ///
    /// Default: none, whatever a client offers is ignored. With some, a client that offers others is refused.
    pub fn alpn(mut self, protocol: impl Into<String>) -> Self {
        self.alpn.push(protocol.into());
        self
    }

    /// Sets the oldest version of TLS that is spoken. Default: [`TlsVersion::V1_2`].
    pub fn version_min(mut self, version: TlsVersion) -> Self {
        self.version_min = version;
        self
    }

    pub(crate) fn config(&self) -> Result<ServerConfig, TlsOptionsError> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(self.version_min.and_newer())?;
        let builder = match self.client_verifier()? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let (certificates, key) = identity(&self.certificates, &self.key)?.into_parts();
        let mut config = builder.with_single_cert(certificates.into_der(), key.to_der())?;
        config.alpn_protocols = self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(config)
    }

    fn client_verifier(&self) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsOptionsError> {
        let builder =
            |roots: RootCertStore| WebPkiClientVerifier::builder_with_provider(roots.into(), provider());
        let verifier = match &self.client_certificates {
            ClientCertificates::Ignored => return Ok(None),
            ClientCertificates::Optional(pems) => builder(roots_of(pems)?).allow_unauthenticated().build(),
            ClientCertificates::Required(pems) => builder(roots_of(pems)?).build(),
        };
        // The one thing that can be wrong without revocation lists: no authority at all was named.
        verifier.map(Some).map_err(|_| TlsOptionsError::NoClientAuthorities)
    }
}
