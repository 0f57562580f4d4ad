use bytestring::ByteString;

use super::{AuthProperties, UserProperties};
use crate::ReasonCode;

/// DISCONNECT: the last packet of a connection. 3.1 and 3.1.1 know it only from the client, without content.
#[derive(Debug, Clone, PartialEq)]
pub struct Disconnect {
    /// Why the connection ends.
    pub reason: ReasonCode,
    /// The session expiry from now on, in seconds; only a client may send it.
    pub session_expiry_s: Option<u32>,
    /// A text for people, about the reason code.
    pub reason_string: Option<ByteString>,
    /// Another server to use; only a server may send it.
    pub server_reference: Option<ByteString>,
    /// User Properties.
    pub user_properties: UserProperties,
}

impl Disconnect {
    /// Returns a DISCONNECT with this reason and nothing else.
    pub const fn new(reason: ReasonCode) -> Self {
        Self {
            reason,
            session_expiry_s: None,
            reason_string: None,
            server_reference: None,
            user_properties: Vec::new(),
        }
    }
}

/// AUTH: a step of enhanced authentication (MQTT 5).
#[derive(Debug, Clone, PartialEq)]
pub struct Auth {
    /// [`ReasonCode::Success`], [`ReasonCode::ContinueAuthentication`] or [`ReasonCode::ReAuthenticate`].
    pub reason: ReasonCode,
    /// Properties.
    pub properties: AuthProperties,
}
