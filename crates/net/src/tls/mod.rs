//! TLS on both sides: what is trusted, what is presented, and what went wrong in plain words.
//!
//! Only TLS 1.2 and 1.3, only the ring provider, which is passed explicitly. Certificates and keys are read in one place,
//! [`load`], whatever form they come in.

mod cause;
mod client;
mod load;
mod options_error;
mod pem;
mod roots;
mod server;
mod verify;
mod version;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use cause::TlsCause;
pub use client::{TlsClientOptions, Verify};
pub use load::{CertificateFacts, Certificates, Form, Identity, LoadError, PrivateKey, Standing, Wanted};
pub use options_error::TlsOptionsError;
pub use pem::Pem;
pub use server::{ClientCertificates, TlsServerOptions};
pub use version::TlsVersion;

pub(crate) use cause::in_plain_words;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
