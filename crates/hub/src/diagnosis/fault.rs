//! The name of every fault that is known.

use std::fmt;

/// Defines [`Fault`]: variant, the word for programs, what it means.
macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $name:ident = $word:literal;)+) => {
        /// What is wrong with a connection, for programs.
        ///
        /// The words are stable: `--json` shows them, and alerts are made of them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Fault {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Fault {
            /// Every fault, in the order of the stages in which they show.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Returns the fault of a word.
            pub fn of_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|fault| fault.word() == word)
            }

            /// Returns the word for programs, such as `unknown-authority`.
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                }
            }
        }
    };
}

faults! {
    /// The host name has no address.
    NameNotFound = "name-not-found";
    /// Nobody listens on the port.
    Refused = "refused";
    /// Nothing answers at all: a firewall drops the packets, or the address is wrong.
    Filtered = "filtered";
    /// There is no way to the address.
    Unreachable = "unreachable";
    /// The port accepts the connection and then says nothing.
    Silent = "silent";
    /// The proxy itself cannot be reached, or is none.
    ProxyUnreachable = "proxy-unreachable";
    /// The proxy wants a login, or another one.
    ProxyLogin = "proxy-login";
    /// The proxy does not get to the broker, or does not want to.
    ProxyRefused = "proxy-refused";
    /// The connector speaks TLS, the port does not.
    TlsToPlain = "tls-to-plain";
    /// The port closes the connection during the TLS handshake.
    TlsClosed = "tls-closed";
    /// The port speaks TLS, the connector does not.
    PlainToTls = "plain-to-tls";
    /// A web server answers.
    HttpOnPort = "http-on-port";
    /// What answers speaks something else.
    NotMqtt = "not-mqtt";
    /// The certificate of the broker has run out.
    CertificateExpired = "certificate-expired";
    /// The certificate of the broker runs out within a month.
    CertificateExpiresSoon = "certificate-expires-soon";
    /// The certificate of the broker is not valid yet.
    CertificateNotYetValid = "certificate-not-yet-valid";
    /// The certificate of the broker is for other names.
    CertificateWrongHost = "certificate-wrong-host";
    /// The authority that signed the broker's certificate is not trusted.
    UnknownAuthority = "unknown-authority";
    /// The certificate of the broker cannot be used for another reason.
    CertificateUnusable = "certificate-unusable";
    /// The broker lets in only who presents a certificate.
    ClientCertificateRequired = "client-certificate-required";
    /// The broker does not accept our certificate.
    ClientCertificateRefused = "client-certificate-refused";
    /// Our private key does not belong to our certificate.
    KeyMismatch = "key-mismatch";
    /// Our TLS settings cannot be used.
    TlsSettings = "tls-settings";
    /// There is no TLS version, cipher or application protocol in common.
    TlsNothingInCommon = "tls-nothing-in-common";
    /// TLS failed in another way.
    TlsFailed = "tls-failed";
    /// The server refuses the WebSocket upgrade.
    UpgradeRefused = "upgrade-refused";
    /// The port is no WebSocket port.
    NotWebSocket = "not-websocket";
    /// The stream was closed instead of an answer to CONNECT.
    ClosedWithoutAnswer = "closed-without-answer";
    /// The broker does not speak the version.
    VersionRefused = "version-refused";
    /// The broker does not accept user name or password.
    BadLogin = "bad-login";
    /// The broker does not offer the method of authentication, or wants one.
    MethodNotOffered = "method-not-offered";
    /// The broker did not prove that it knows the password: it may be an impostor.
    BrokerUnproven = "broker-unproven";
    /// The exchange of SCRAM went wrong otherwise.
    ScramFailed = "scram-failed";
    /// The broker does not let this client in.
    NotAuthorized = "not-authorized";
    /// The broker does not accept the client identifier.
    ClientIdRefused = "client-id-refused";
    /// Two clients have the same identifier and end each other's connection.
    ClientIdFight = "client-id-fight";
    /// The broker does not accept so long a keep alive.
    KeepAliveTooHigh = "keep-alive-too-high";
    /// The keep alive is shorter than the broker or the way to it allows.
    KeepAliveTooLow = "keep-alive-too-low";
    /// The broker is overloaded, out of order or shutting down.
    BrokerUnavailable = "broker-unavailable";
    /// An administrator has to let us in again.
    Banned = "banned";
    /// The broker allows fewer or smaller things than are asked for.
    QuotaExceeded = "quota-exceeded";
    /// The broker names another one.
    OtherBroker = "other-broker";
    /// The broker gave another reason.
    RefusedOtherwise = "refused-otherwise";
    /// A packet is larger than the broker accepts.
    PacketTooLarge = "packet-too-large";
    /// The broker does not accept the QoS.
    QosLowered = "qos-lowered";
    /// The broker refuses a subscription.
    SubscribeDenied = "subscribe-denied";
    /// The broker refuses a publication.
    PublishDenied = "publish-denied";
    /// The broker took a message and did not deliver it.
    NothingCameBack = "nothing-came-back";
    /// Nothing comes on a filter, and something does on one that is nearly the same.
    NearMiss = "near-miss";
    /// Nothing comes on a filter.
    NothingLive = "nothing-live";
    /// The broker does not deliver retained messages to filters with wildcards.
    RetainedNotToWildcards = "retained-not-to-wildcards";
    /// The broker keeps no retained messages.
    RetainedLost = "retained-lost";
    /// The broker does not keep a session.
    SessionNotKept = "session-not-kept";
    /// The broker keeps a session, and says that it has none.
    SessionNotTold = "session-not-told";
    /// An open connection ended without a reason.
    ConnectionLost = "connection-lost";
    /// The broker does not answer pings.
    KeepAliveTimeout = "keep-alive-timeout";
    /// The broker acknowledges nothing.
    NoAcknowledgements = "no-acknowledgements";
    /// The broker breaks the protocol.
    ProtocolViolation = "protocol-violation";
    /// Something on this side: its disk, its memory, its settings.
    OurSide = "our-side";
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
