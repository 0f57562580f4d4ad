use crosspoint_protocol::scram::{self, ClientExchange};
use ring::rand::{SecureRandom, SystemRandom};

use crate::{Cause, Password};

/// Begins an exchange of SCRAM-SHA-256 with a nonce of the system's randomness: an [`Environment`](crate::Environment)
/// chooses everything but this, which nobody may guess.
///
/// # Errors
/// User name or password cannot be used, or the system gives no randomness.
pub fn begin_scram(username: &str, password: &Password) -> Result<ClientExchange, Cause> {
    let mut random = [0; scram::NONCE_BYTES];
    SystemRandom::new()
        .fill(&mut random)
        .map_err(|_| Cause::Connect { what: "the system gives no randomness".to_owned() })?;
    ClientExchange::begin(username, &password.bytes(), &scram::nonce(&random)).map_err(Cause::Scram)
}

/// How a client shows who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Authentication {
    /// User name and password stand in CONNECT, as far as there are any.
    #[default]
    Password,
    /// SCRAM-SHA-256 (MQTT 5): the password stays here, and the server proves that it knows it.
    ///
    /// There is no way back from it on its own: with [`Protocol::Auto`](crate::Protocol::Auto) only 5.0 is spoken, and
    /// a server that does not offer the method is refused.
    ScramSha256,
}

/// Why a client did not authenticate again.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReauthenticateError {
    /// The client does not use [`Authentication::ScramSha256`]: nothing else can be done again.
    #[error("the client does not authenticate by SCRAM, and nothing else can be done again on a connection")]
    NotScram,
    /// There is no connection.
    #[error("the client is not connected")]
    NotConnected,
    /// The client is authenticating at this moment.
    #[error("the client is authenticating already")]
    Busy,
    /// The connection ended before the server had said yes, and why.
    #[error("the connection ended: {0}")]
    Ended(Box<Cause>),
    /// The client is closed.
    #[error("the client is closed")]
    Closed,
}
