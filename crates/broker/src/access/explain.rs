//! Why a thing is allowed or denied, in words.

use std::fmt;
use std::sync::Arc;

use crosspoint_protocol::TopicFilter;

use super::permissions::{Effect, Origin, Subscribing};

/// A verdict and its reason. Its `Display` is a sentence for `crosspoint acl explain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The verdict; for publishing `Granted` or `Denied`.
    pub verdict: Subscribing,
    /// The reason.
    pub because: Because,
}

/// The reason of a verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Because {
    /// Nothing is restricted: the client is anonymous, or its user has no roles.
    Unrestricted,
    /// Only the broker itself publishes there, whatever rules say.
    Reserved,
    /// A rule decides: of several the first that denies, else the first that allows.
    Rule {
        /// The role that holds the rule.
        role: Arc<str>,
        /// The rule as it is written: `publish sensors/%u/#`.
        rule: String,
        /// The filter with the names filled in: `sensors/alice/#`.
        filter: TopicFilter,
        /// Whether the role denies it.
        is_denying: bool,
    },
    /// No rule matches.
    NoRule {
        /// Rules that allow nothing to this client, since its user name or client identifier is missing, begins with
        /// `$`, or holds `+`, `#`, `/` or U+0000.
        inapplicable: Vec<String>,
    },
}

impl Explanation {
    pub(super) fn unrestricted() -> Self {
        Self { verdict: Subscribing::Granted, because: Because::Unrestricted }
    }
}

impl Because {
    pub(super) fn rule(origin: &Origin, filter: &TopicFilter) -> Self {
        Self::Rule {
            role: origin.role.clone(),
            rule: origin.rule.to_string(),
            filter: filter.clone(),
            is_denying: origin.effect == Effect::Deny,
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Subscribing::Granted => "allowed",
            Subscribing::Filtered => "allowed in part, messages are filtered at delivery",
            Subscribing::Denied => "denied",
        };
        write!(f, "{verdict}: {}", self.because)
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unrestricted => f.write_str("nothing is restricted, since there are no roles"),
            Self::Reserved => f.write_str("only the broker itself publishes below $SYS/"),
            Self::Rule { role, rule, filter, is_denying } => {
                let list = if *is_denying { "deny" } else { "allow" };
                write!(f, "role `{role}` has `{rule}` in its {list} list (here `{filter}`)")
            }
            Self::NoRule { inapplicable } => {
                f.write_str("no rule allows it")?;
                for rule in inapplicable {
                    write!(f, "; `{rule}` does not apply, since a name in it is missing or could widen it")?;
                }
                Ok(())
            }
        }
    }
}
