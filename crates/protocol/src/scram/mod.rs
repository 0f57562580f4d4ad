//! SCRAM-SHA-256 (RFC 5802, RFC 7677), the method of enhanced authentication that is spoken here.
//!
//! ```text
//!   client                                            server
//!   ClientExchange::begin ── n,,n=USER,r=NONCE ─────► ClientFirst::read
//!   Challenged::read ◄────── r=NONCES,s=SALT,i=N ──── ClientFirst::challenge
//!   Challenged::answer ───── c=..,r=..,p=PROOF ─────► ServerExchange::read
//!   ServerProof::is_shown_by ◄── v=SIGNATURE ──────── ClientProof::verify
//! ```
//!
//! Only texts and keys are here: whoever drives it carries them in CONNECT, AUTH and CONNACK, brings the nonces, and
//! finds the user. No channel is bound: TLS, where there is any, is checked by its certificates.
//!
//! Invariants: the password never leaves this side; a number of iterations out of its bounds is refused before a
//! single one is hashed; what is secret is compared in constant time. What hashes many times says so: it takes
//! milliseconds to a second of the calling thread, which must not be one that serves connections.

mod attributes;
mod client;
mod fault;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod keys;
mod server;

pub use client::{Challenged, ClientExchange, ServerProof};
pub use fault::ScramFault;
pub use keys::{Iterations, Keys, Password};
pub use server::{ClientFirst, ClientProof, ServerExchange};

/// The name of the method.
pub const METHOD: &str = "SCRAM-SHA-256";

/// How long a nonce is that [`nonce`] writes, in bytes of randomness.
pub const NONCE_BYTES: usize = 18;

/// Writes a nonce: printable, and without a comma.
pub fn nonce(random: &[u8; NONCE_BYTES]) -> String {
    attributes::encode(random)
}

#[cfg(test)]
mod tests;
