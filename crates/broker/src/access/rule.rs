//! One line of a role: what it speaks of, and which topics.

use std::fmt;

use crosspoint_protocol::TopicFilter;
use crosspoint_protocol::topic::InvalidTopic;

/// A rule such as `publish sensors/%u/#`: `publish`, `subscribe` or `both`, and a Topic Filter.
///
/// `%u` stands for the user name and `%c` for the client identifier, anywhere in the filter. Subscribing includes
/// receiving. As everywhere in MQTT, a filter that begins with a wildcard does not speak of topics that begin with
/// `$`; nor does a rule that begins with `%u` or `%c`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    access: RuleAccess,
    pattern: Box<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RuleAccess {
    Publish,
    Subscribe,
    Both,
}

impl Rule {
    /// Reads a rule.
    ///
    /// # Errors
    /// What is wrong, with its place.
    pub fn parse(text: &str) -> Result<Self, InvalidRule> {
        let start = text.len() - text.trim_start().len();
        let trimmed = text.trim();
        let (word, rest) = trimmed.split_once(char::is_whitespace).unwrap_or((trimmed, ""));
        let access = match word {
            "publish" => RuleAccess::Publish,
            "subscribe" => RuleAccess::Subscribe,
            "both" => RuleAccess::Both,
            _ => return Err(RuleFault::Access(word.to_owned()).at(start)),
        };
        let pattern = rest.trim_start();
        let pattern_start = start + trimmed.len() - pattern.len();
        check_pattern(pattern).map_err(|(fault, at)| fault.at(pattern_start + at))?;
        Ok(Self { access, pattern: pattern.into() })
    }

    pub(super) fn speaks_of_publishing(&self) -> bool {
        self.access != RuleAccess::Subscribe
    }

    pub(super) fn speaks_of_subscribing(&self) -> bool {
        self.access != RuleAccess::Publish
    }

    /// Tells whether two clients of one user may need different filters.
    pub(super) fn names_the_client(&self) -> bool {
        self.pattern.contains("%c")
    }

    /// Returns the filter for one client; `None` if a name in it is such that it could widen the rule
    /// (CVE-2017-7650), so that an allowing rule then allows nothing.
    pub(super) fn resolve(&self, subject: Subject<'_>) -> Option<TopicFilter> {
        let mut text = String::with_capacity(self.pattern.len() + 32);
        let mut rest: &str = &self.pattern;
        while let Some((before, name, after)) = split_at_placeholder(rest, subject) {
            text.push_str(before);
            text.push_str(name.filter(|name| is_harmless(name))?);
            rest = after;
        }
        text.push_str(rest);
        // `$SYS` and `$share` are never the work of a name.
        let is_dollar_written = !text.starts_with('$') || self.pattern.starts_with('$');
        let filter = TopicFilter::parse(text).ok()?;
        (is_dollar_written && !filter.is_shared()).then_some(filter)
    }

    /// Returns the filter that denies all that a rule could mean which does not resolve: everything from the first
    /// level on that holds a name.
    pub(super) fn resolve_widely(&self) -> Option<TopicFilter> {
        let at = [self.pattern.find("%u"), self.pattern.find("%c")].into_iter().flatten().min()?;
        let levels = self.pattern.get(..at)?.rsplit_once('/').map_or("", |(levels, _)| levels);
        let is_first_level = !self.pattern.get(..at)?.contains('/');
        TopicFilter::parse(if is_first_level { "#".to_owned() } else { format!("{levels}/#") }).ok()
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access = match self.access {
            RuleAccess::Publish => "publish",
            RuleAccess::Subscribe => "subscribe",
            RuleAccess::Both => "both",
        };
        write!(f, "{access} {}", self.pattern)
    }
}

/// Whose names stand for `%u` and `%c`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub(super) username: Option<&'a str>,
    pub(super) client_id: &'a str,
}

/// Why a text is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct InvalidRule {
    /// What is wrong.
    pub fault: RuleFault,
    /// Where it begins, as a byte offset into the text.
    pub at: usize,
}

/// What is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleFault {
    /// The first word is none that begins a rule.
    #[error("a rule begins with `publish`, `subscribe` or `both`, not with `{0}`")]
    Access(String),
    /// No topics are named.
    #[error("topics follow, such as `sensors/%u/#`")]
    NoTopics,
    /// The rule names a group that shares a subscription.
    #[error("a rule speaks of topics only; leave out `$share/` and the group's name")]
    Shared,
    /// What follows is no Topic Filter.
    #[error("{0}")]
    Topics(InvalidTopic),
}

impl RuleFault {
    fn at(self, at: usize) -> InvalidRule {
        InvalidRule { fault: self, at }
    }
}

fn check_pattern(pattern: &str) -> Result<(), (RuleFault, usize)> {
    if pattern.is_empty() {
        return Err((RuleFault::NoTopics, 0));
    }
    if pattern == "$share" || pattern.starts_with("$share/") {
        return Err((RuleFault::Shared, 0));
    }
    TopicFilter::parse(pattern).map(|_| ()).map_err(|invalid| (RuleFault::Topics(invalid), invalid.at))
}

/// Returns what stands before the first placeholder, the name that it stands for, and what follows.
fn split_at_placeholder<'p, 's>(
    pattern: &'p str,
    subject: Subject<'s>,
) -> Option<(&'p str, Option<&'s str>, &'p str)> {
    let mut places = pattern.match_indices('%').map(|(at, _)| pattern.split_at(at));
    places.find_map(|(before, from)| {
        if let Some(after) = from.strip_prefix("%u") {
            return Some((before, subject.username, after));
        }
        from.strip_prefix("%c").map(|after| (before, Some(subject.client_id), after))
    })
}

/// Tells whether a name stays within the level where it is put.
fn is_harmless(name: &str) -> bool {
    !name.is_empty() && !name.contains(['+', '#', '/', '\0'])
}
