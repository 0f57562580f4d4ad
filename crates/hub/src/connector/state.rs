//! What a connector is doing, in the words that log, status and console share.

use std::sync::Arc;

use crosspoint_client::{Cause, Connected, Pace, ReasonCode};

use crate::diagnosis::{Diagnosis, Fault};

/// What a connector is doing, why, and what to do about it. Times are on the wall clock, in milliseconds since
/// 1970-01-01 UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectorState {
    /// In one word.
    pub condition: Condition,
    /// Since when.
    pub since_wall_ms: u64,
    /// What is wrong and what to do about it; absent when nothing is.
    pub trouble: Option<Diagnosis>,
    /// Whether the trouble is that connections are lost again and again.
    pub is_flapping: bool,
    /// When it is tried again; absent when it is connected, is off, or tries right now.
    pub next_try_wall_ms: Option<u64>,
    /// What was agreed upon with the server, while it is connected to a remote one.
    pub agreed: Option<Arc<Connected>>,
    /// How often the connection was lost since the connector was started with its settings.
    pub drops: u64,
    /// How long the last connections that were lost had lived on average, in milliseconds, once there were two.
    pub lived_ms: Option<u64>,
}

/// What a connector is doing, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Condition {
    /// It is disabled, or did not start.
    Off,
    /// It tries for the first time.
    Connecting,
    /// Messages can flow.
    Connected,
    /// Messages can flow, and something is wrong all the same.
    Degraded,
    /// It waits before the next try, or tries again.
    BackingOff,
    /// The broker refuses it for a reason that only a person can mend.
    Refused,
    /// Another client uses its client identifier: each connection ends the other.
    Fighting,
    /// With these settings it cannot connect.
    Misconfigured,
}

impl Condition {
    /// Returns the word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Degraded => "degraded",
            Self::BackingOff => "backing off",
            Self::Refused => "refused",
            Self::Fighting => "fighting over its client id",
            Self::Misconfigured => "misconfigured",
        }
    }

    /// Returns the condition of a word.
    pub(crate) fn of_word(word: &str) -> Option<Self> {
        let all = [
            Self::Off,
            Self::Connecting,
            Self::Connected,
            Self::Degraded,
            Self::BackingOff,
            Self::Refused,
            Self::Fighting,
            Self::Misconfigured,
        ];
        all.into_iter().find(|condition| condition.word() == word)
    }

    /// Tells whether messages can flow.
    pub const fn is_connected(self) -> bool {
        matches!(self, Self::Connected | Self::Degraded)
    }

    /// Returns what a connector is in that has no connection for this cause, which means this.
    pub(super) fn of(cause: &Cause, meaning: &Diagnosis) -> Self {
        match cause {
            Cause::ClientIdFight { .. } => Self::Fighting,
            Cause::OtherProtocol { .. }
            | Cause::NotMqtt(_)
            | Cause::UnsupportedVersion { .. }
            | Cause::Connect { .. } => Self::Misconfigured,
            Cause::Refused { reason, .. } | Cause::Disconnected { reason, .. } if is_setting(*reason) => {
                Self::Misconfigured
            }
            other if other.pace() == Pace::Refused => Self::Refused,
            // A stream that was closed is the network's weather, until a second look has told what the port speaks.
            _ if is_about_settings(meaning) => Self::Misconfigured,
            _ => Self::BackingOff,
        }
    }
}

/// Tells whether the client ended a connection that was well, for a better one: no loss, and no trouble.
pub(super) const fn leaves_by_itself(cause: &Cause) -> bool {
    matches!(cause, Cause::VersionUpward | Cause::ReturnToFirst | Cause::WithoutBridgeBit)
}

/// Tells whether a fault stays until somebody changes a setting, or what the other side shows.
fn is_about_settings(meaning: &Diagnosis) -> bool {
    use Fault as F;
    match meaning.fault {
        // Without a setting that mends it, what is behind the web server is down.
        F::UpgradeRefused => meaning.mend.is_some(),
        F::TlsToPlain
        | F::PlainToTls
        | F::HttpOnPort
        | F::NotWebSocket
        | F::CertificateExpired
        | F::CertificateNotYetValid
        | F::CertificateWrongHost
        | F::UnknownAuthority
        | F::CertificateUnusable
        | F::KeyMismatch
        | F::TlsSettings
        | F::TlsNothingInCommon
        | F::TlsFailed
        | F::ProxyLogin => true,
        _ => false,
    }
}

/// Tells whether a reason is about what was asked, and not about who asked.
const fn is_setting(reason: ReasonCode) -> bool {
    use ReasonCode as R;
    matches!(
        reason,
        R::BadAuthenticationMethod
            | R::ClientIdentifierNotValid
            | R::UnsupportedProtocolVersion
            | R::TopicNameInvalid
            | R::PayloadFormatInvalid
            | R::RetainNotSupported
            | R::QoSNotSupported
    )
}
