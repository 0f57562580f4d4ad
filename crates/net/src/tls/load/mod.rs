//! Reads certificates and keys, in whatever form they come.
//!
//! ```text
//!  bytes ─► Input: sections of PEM, or DER with its Form ─► Certificates ─┐
//!                                                        └► PrivateKey ───┴─► Identity (checked to be a pair)
//!  PKCS#12, with a password ──────────────────────────────────────────────►
//! ```
//!
//! It opens no files and knows no settings. What it cannot take it names for what it is. Invariants: no error holds a
//! byte of a key; keys are overwritten when they go; an [`Identity`] has its own certificate first and the key of that.

mod certificates;
mod der;
mod error;
mod facts;
mod form;
mod identity;
mod input;
mod key;
mod old_encryption;
mod pkcs12;
mod scheme;
mod section;
#[cfg(test)]
mod tests;

pub use certificates::Certificates;
pub use error::{LoadError, Wanted};
pub use facts::{CertificateFacts, Standing};
pub use form::Form;
pub use identity::Identity;
pub use key::PrivateKey;
