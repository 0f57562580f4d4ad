//! What a kept subscription is.

use std::ops::RangeInclusive;
use std::time::Duration;

use crosspoint_client::{QoS, TopicFilter};

use crate::config::plan::{OutboxPlan, WhenFull};

/// How many characters a name has at most.
const NAME_CHARACTERS_MAX: usize = 64;

/// How many filters there are at most.
const FILTERS_MAX: usize = 64;

/// What limits may say.
const BYTES: RangeInclusive<u64> = 65_536..=1_099_511_627_776;
const MESSAGES: RangeInclusive<u64> = 1..=1_000_000_000;
const AGE_S: RangeInclusive<u64> = 1..=3_153_600_000;

/// A subscription that outlives whoever asked for it: what comes waits on disk until somebody reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptSubscription {
    /// Its name: 1 to 64 letters, digits, `-` and `_`.
    pub name: String,
    /// On which connector.
    pub connector: String,
    /// To what: 1 to 64 filters.
    pub filters: Vec<TopicFilter>,
    /// The highest QoS at which messages come.
    pub qos: QoS,
    /// What may wait.
    pub limits: KeptLimits,
}

/// What may wait for whoever reads a kept subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptLimits {
    /// How many bytes of messages, each counted as 64 more than it has: 64 KiB to 1 TiB. Default 256 MiB.
    pub bytes_max: u64,
    /// How many messages: 1 to 1,000,000,000. Default no limit.
    pub messages_max: Option<u64>,
    /// For how long, in whole seconds up to 100 years. Default for ever.
    pub age_max: Option<Duration>,
    /// What happens when no more may wait. Default: the oldest message is dropped, so that one who does not read holds
    /// nobody up. [`WhenFull::Block`] holds up everything that comes from the connector.
    pub when_full: WhenFull,
}

impl Default for KeptLimits {
    fn default() -> Self {
        Self { bytes_max: 256 << 20, messages_max: None, age_max: None, when_full: WhenFull::DropOldest }
    }
}

impl KeptSubscription {
    /// Returns it with its filters in their order and each once, so that what is the same looks the same.
    pub(crate) fn in_order(mut self) -> Self {
        self.filters.sort();
        self.filters.dedup();
        self
    }

    /// Checks that it can be one.
    pub(crate) fn check(&self) -> Result<(), String> {
        let is_usable = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
        let length = self.name.chars().count();
        if !(1..=NAME_CHARACTERS_MAX).contains(&length) || !self.name.chars().all(is_usable) {
            return Err("a name is 1 to 64 letters, digits, `-` and `_`".to_owned());
        }
        if !(1..=FILTERS_MAX).contains(&self.filters.len()) {
            return Err(format!("it has 1 to {FILTERS_MAX} topic filters"));
        }
        let KeptLimits { bytes_max, messages_max, age_max, .. } = &self.limits;
        let of_age = age_max.map(|age| age.as_secs());
        is_within("bytes", Some(*bytes_max), &BYTES)?;
        is_within("messages", *messages_max, &MESSAGES)?;
        is_within("seconds", of_age, &AGE_S)
    }
}

impl KeptLimits {
    /// Returns them as those of an outbox.
    pub(crate) fn policy(self) -> OutboxPlan {
        let Self { bytes_max, messages_max, age_max, when_full } = self;
        let messages_max = messages_max.unwrap_or(u64::MAX);
        OutboxPlan { bytes_max, messages_max, age_max, when_full, ..OutboxPlan::default() }
    }
}

fn is_within(what: &str, value: Option<u64>, bounds: &RangeInclusive<u64>) -> Result<(), String> {
    match value.is_none_or(|value| bounds.contains(&value)) {
        true => Ok(()),
        false => Err(format!("the limit of {what} is {} to {}", bounds.start(), bounds.end())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_one_is_refused() {
        let good = KeptSubscription {
            name: "night-1_a".to_owned(),
            connector: "plant".to_owned(),
            filters: vec![TopicFilter::parse("a").unwrap()],
            qos: QoS::AtLeastOnce,
            limits: KeptLimits::default(),
        };
        assert_eq!(good.check(), Ok(()));
        let with = |change: fn(&mut KeptSubscription)| {
            let mut changed = good.clone();
            change(&mut changed);
            changed.check()
        };
        assert!(with(|kept| kept.name = String::new()).is_err());
        assert!(with(|kept| kept.name = "x".repeat(65)).is_err());
        assert!(with(|kept| kept.name = "$kept/1".to_owned()).is_err());
        assert!(with(|kept| kept.filters.clear()).is_err());
        assert!(with(|kept| kept.limits.bytes_max = 1).is_err());
        assert!(with(|kept| kept.limits.messages_max = Some(0)).is_err());
        assert!(with(|kept| kept.limits.age_max = Some(Duration::from_millis(1))).is_err());
    }

    #[test]
    fn the_order_of_filters_makes_no_other_subscription() {
        let of = |texts: &[&str]| KeptSubscription {
            name: "n".to_owned(),
            connector: "c".to_owned(),
            filters: texts.iter().map(|text| TopicFilter::parse(*text).unwrap()).collect(),
            qos: QoS::AtMostOnce,
            limits: KeptLimits::default(),
        };
        assert_eq!(of(&["b", "a", "b"]).in_order(), of(&["a", "b"]).in_order());
        assert_ne!(of(&["b", "a"]).in_order(), of(&["a"]).in_order());
    }
}
