//! The seam between the broker and whoever knows its users.

use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use crosspoint_protocol::{ByteString, ReasonCode, scram::ScramFault};

use super::permissions::Permissions;
use super::scram::{Proving, ScramExchange};

/// What [`Authenticator::authenticate`] returns.
pub type Authenticating<'a> = Pin<Box<dyn Future<Output = Result<Identity, Refusal>> + Send + 'a>>;

/// Decides who may come in, and what they may do.
pub trait Authenticator: Send + Sync + fmt::Debug + 'static {
    /// Decides on one CONNECT. The caller sets the deadline.
    ///
    /// # Cancel safety
    /// Dropping the future gives the login up; nothing is left behind but work that has already begun.
    fn authenticate(&self, login: LoginRequest) -> Authenticating<'_>;

    /// Begins an exchange of SCRAM-SHA-256 (MQTT 5) with the client's first message. By default there is none.
    ///
    /// # Errors
    /// [`Refusal::BadAuthenticationMethod`] if nobody can come in like this, [`Refusal::Scram`] if the message is wrong. That
    /// a user does not exist is no error here: nobody is told.
    fn begin_scram(&self, first: &[u8]) -> Result<ScramExchange, Refusal> {
        let _ = first;
        Err(Refusal::BadAuthenticationMethod)
    }

    /// Decides on the client's answer to the challenge. The caller sets the deadline. Of `login` only the client identifier
    /// and the address count.
    ///
    /// # Cancel safety
    /// As of [`authenticate`](Self::authenticate).
    fn end_scram(&self, exchange: ScramExchange, last: Bytes, login: LoginRequest) -> Proving<'_> {
        drop((exchange, last, login));
        Box::pin(std::future::ready(Err(Refusal::BadAuthenticationMethod)))
    }

    /// Returns what a client that is already in may do now; `None` if its user is gone.
    ///
    /// Ask again for every session whose [`Permissions::generation`] is not [`generation`](Self::generation).
    /// `username` is that of its [`Identity`]. Whether a client without one may still be there is a question to its
    /// listener.
    fn permissions_for(&self, username: Option<&str>, client_id: &str) -> Option<Arc<Permissions>>;

    /// Returns a number that changes whenever the answers of [`permissions_for`](Self::permissions_for) may change.
    fn generation(&self) -> u64 {
        0
    }
}

/// What a CONNECT says about who sends it.
#[derive(Clone)]
#[non_exhaustive]
pub struct LoginRequest {
    /// The client identifier, the assigned one if the client gave none.
    pub client_id: ByteString,
    /// The user name, unchecked.
    pub username: Option<ByteString>,
    /// The password.
    pub password: Option<Bytes>,
    /// Whether the listener admits clients that give no user name.
    pub anonymous_allowed: bool,
    /// Where the connection comes from; `None` if it has no network address.
    pub peer: Option<IpAddr>,
}

impl LoginRequest {
    /// Starts a request without user name, password and address, on a listener that admits no anonymous clients.
    pub fn new(client_id: impl Into<ByteString>) -> Self {
        Self {
            client_id: client_id.into(),
            username: None,
            password: None,
            anonymous_allowed: false,
            peer: None,
        }
    }
}

impl fmt::Debug for LoginRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginRequest")
            .field("client_id", &self.client_id)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "hidden"))
            .field("anonymous_allowed", &self.anonymous_allowed)
            .field("peer", &self.peer)
            .finish()
    }
}

/// Who a client is, and what it may do.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The user name that was proven; `None` for an anonymous client, whatever user name it gave.
    pub username: Option<ByteString>,
    /// What the client may do.
    pub permissions: Arc<Permissions>,
}

/// Why a client may not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The user name is unknown or the password is wrong; which of them, nobody is told.
    #[error("the user name or the password is wrong")]
    BadUserNameOrPassword,
    /// The client gave no user name where one is asked for.
    #[error("the client gave no user name, and this listener admits no anonymous clients")]
    NotAuthorized,
    /// The client named a method of authentication that nobody can come in by.
    #[error("the client named a method of authentication that is not offered")]
    BadAuthenticationMethod,
    /// The exchange of SCRAM is wrong in itself.
    #[error("{0}")]
    Scram(ScramFault),
    /// Too many passwords wait to be checked. The client may try again.
    #[error("too many passwords wait to be checked")]
    Busy,
}

impl Refusal {
    /// Returns the code for the CONNACK.
    pub const fn reason_code(self) -> ReasonCode {
        match self {
            Self::BadUserNameOrPassword => ReasonCode::BadUserNameOrPassword,
            Self::NotAuthorized => ReasonCode::NotAuthorized,
            Self::BadAuthenticationMethod => ReasonCode::BadAuthenticationMethod,
            Self::Scram(_) => ReasonCode::ProtocolError,
            Self::Busy => ReasonCode::ServerBusy,
        }
    }
}
