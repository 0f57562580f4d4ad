//! The figures of a round, of a scenario, of a run.

use std::ops::AddAssign;

/// What is counted. All but the first two and `again` must be 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// How often a program was killed or stopped.
    pub(crate) kills: u64,
    /// Acknowledgements that a client read: of messages, retained messages, subscriptions.
    pub(crate) acknowledged: u64,
    /// Copies that a subscriber should have and has not, retained messages and subscriptions that are gone or older.
    pub(crate) lost: u64,
    /// Copies of a QoS 2 message beyond the first.
    pub(crate) duplicated: u64,
    /// First copies that came behind a later message of the same publisher.
    pub(crate) out_of_order: u64,
    /// Copies of a QoS 1 message beyond the first, which are allowed.
    pub(crate) again: u64,
    /// Sessions that were acknowledged and forgotten.
    pub(crate) forgotten: u64,
    /// Messages whose payload, topic or QoS is not what was sent.
    pub(crate) altered: u64,
    /// Packet identifiers that a broker used again before PUBREL.
    pub(crate) clashes: u64,
    /// Wills that came too early or too late, or whose client had come back or said farewell.
    pub(crate) untimely: u64,
    /// Rounds that could not be brought to their end.
    pub(crate) broken_off: u64,
}

impl Figures {
    /// Returns whether every promise was kept.
    pub(crate) const fn is_clean(&self) -> bool {
        let broken = self.lost + self.duplicated + self.out_of_order;
        broken + self.forgotten + self.altered + self.clashes + self.untimely + self.broken_off == 0
    }

    /// Returns the figures that everybody asks for, as words.
    pub(crate) fn line(&self) -> String {
        let mut line = format!(
            "acknowledged {}, lost {}, duplicated {}, out of order {}",
            grouped(self.acknowledged),
            grouped(self.lost),
            grouped(self.duplicated),
            grouped(self.out_of_order)
        );
        let others = [
            ("sessions forgotten", self.forgotten),
            ("altered", self.altered),
            ("identifiers clashing", self.clashes),
            ("wills untimely", self.untimely),
            ("rounds broken off", self.broken_off),
        ];
        for (name, figure) in others.into_iter().filter(|(_, figure)| *figure > 0) {
            line += &format!(", {name} {}", grouped(figure));
        }
        line
    }
}

impl AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.kills += other.kills;
        self.acknowledged += other.acknowledged;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.out_of_order += other.out_of_order;
        self.again += other.again;
        self.forgotten += other.forgotten;
        self.altered += other.altered;
        self.clashes += other.clashes;
        self.untimely += other.untimely;
        self.broken_off += other.broken_off;
    }
}

/// Writes a number with a comma before each three digits.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn what_is_allowed_is_clean_and_the_rest_is_not() {
        let allowed = Figures { kills: 1, acknowledged: 1, again: 1, ..Figures::default() };
        assert!(allowed.is_clean());
        let broken = [
            Figures { lost: 1, ..allowed },
            Figures { duplicated: 1, ..allowed },
            Figures { out_of_order: 1, ..allowed },
            Figures { forgotten: 1, ..allowed },
            Figures { altered: 1, ..allowed },
            Figures { clashes: 1, ..allowed },
            Figures { untimely: 1, ..allowed },
            Figures { broken_off: 1, ..allowed },
        ];
        assert!(broken.iter().all(|figures| !figures.is_clean()));
        let mut sum = Figures::default();
        broken.iter().for_each(|figures| sum += *figures);
        assert_eq!(
            sum.line(),
            "acknowledged 8, lost 1, duplicated 1, out of order 1, sessions forgotten 1, altered 1, \
             identifiers clashing 1, wills untimely 1, rounds broken off 1"
        );
        assert_eq!((sum.kills, sum.again), (8, 8));
    }
}
