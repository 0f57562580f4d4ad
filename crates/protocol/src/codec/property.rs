//! The properties of MQTT 5 and how their values are encoded.

/// Defines [`PropertyId`] from the table of the specification (2.2.2.2).
macro_rules! properties {
    ($($name:ident = $byte:literal, $kind:ident, $field:literal;)+) => {
        /// The identifier of a property.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub(super) enum PropertyId {
            $($name = $byte,)+
        }

        impl PropertyId {
            /// Returns the property that this byte stands for, or `None` where the specification knows none.
            pub(super) const fn from_byte(byte: u8) -> Option<Self> {
                match byte {
                    $($byte => Some(Self::$name),)+
                    _ => None,
                }
            }

            /// Returns the name of the property, for errors.
            pub(super) const fn field(self) -> &'static str {
                match self {
                    $(Self::$name => $field,)+
                }
            }

            /// Returns how its value is encoded.
            pub(super) const fn kind(self) -> PropertyKind {
                match self {
                    $(Self::$name => PropertyKind::$kind,)+
                }
            }
        }
    };
}

/// How the value of a property is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PropertyKind {
    /// One byte.
    Byte,
    /// A Two Byte Integer.
    TwoBytes,
    /// A Four Byte Integer.
    FourBytes,
    /// A Variable Byte Integer.
    Varint,
    /// A length of two bytes, and as many bytes: a UTF-8 Encoded String or Binary Data.
    Counted,
    /// Two UTF-8 Encoded Strings.
    Pair,
}

properties! {
    PayloadFormatIndicator = 0x01, Byte, "payload format indicator";
    MessageExpiryInterval = 0x02, FourBytes, "message expiry interval";
    ContentType = 0x03, Counted, "content type";
    ResponseTopic = 0x08, Counted, "response topic";
    CorrelationData = 0x09, Counted, "correlation data";
    SubscriptionIdentifier = 0x0B, Varint, "subscription identifier";
    SessionExpiryInterval = 0x11, FourBytes, "session expiry interval";
    AssignedClientIdentifier = 0x12, Counted, "assigned client identifier";
    ServerKeepAlive = 0x13, TwoBytes, "server keep alive";
    AuthenticationMethod = 0x15, Counted, "authentication method";
    AuthenticationData = 0x16, Counted, "authentication data";
    RequestProblemInformation = 0x17, Byte, "request problem information";
    WillDelayInterval = 0x18, FourBytes, "will delay interval";
    RequestResponseInformation = 0x19, Byte, "request response information";
    ResponseInformation = 0x1A, Counted, "response information";
    ServerReference = 0x1C, Counted, "server reference";
    ReasonString = 0x1F, Counted, "reason string";
    ReceiveMaximum = 0x21, TwoBytes, "receive maximum";
    TopicAliasMaximum = 0x22, TwoBytes, "topic alias maximum";
    TopicAlias = 0x23, TwoBytes, "topic alias";
    MaximumQoS = 0x24, Byte, "maximum QoS";
    RetainAvailable = 0x25, Byte, "retain available";
    UserProperty = 0x26, Pair, "user property";
    MaximumPacketSize = 0x27, FourBytes, "maximum packet size";
    WildcardSubscriptionAvailable = 0x28, Byte, "wildcard subscription available";
    SubscriptionIdentifierAvailable = 0x29, Byte, "subscription identifier available";
    SharedSubscriptionAvailable = 0x2A, Byte, "shared subscription available";
}
