use bytes::Bytes;
use bytestring::ByteString;

/// User Properties: names and values in the order in which they came; a name may come more than once.
pub type UserProperties = Vec<(ByteString, ByteString)>;

/// The properties that explain a reason code: of the acknowledgements, SUBACK and UNSUBACK.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReasonProperties {
    /// A text for people, about the reason code.
    pub reason_string: Option<ByteString>,
    /// User Properties.
    pub user_properties: UserProperties,
}

/// The properties of an authentication exchange: of AUTH.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuthProperties {
    /// The name of the method; must stand in every AUTH.
    pub method: Option<ByteString>,
    /// Data of the method.
    pub data: Option<Bytes>,
    /// A text for people, about the reason code.
    pub reason_string: Option<ByteString>,
    /// User Properties.
    pub user_properties: UserProperties,
}
