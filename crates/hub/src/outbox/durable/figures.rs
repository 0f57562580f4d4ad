//! What an outbox counts, and how the counts outlive the process: `docs/formats/records.md`, table 22.
//!
//! Positions of the queue count by themselves: what has one was accepted. One row a connector says how those before
//! the head ended; it changes in the batch that moves the head. What never gets a position (dropped because the outbox
//! was full, or given up before it came here) is told by a row of its own in the batch that decides it, and folded
//! into the first one later. So rows of batches that are under way at the same time never contradict each other.

use bytes::Bytes;
use crosspoint_store::bytes_in::{self, BytesIn};

/// The form that is written here, and the only one there is.
const FORM: u8 = 1;

/// What an outbox has counted, at one moment.
///
/// At all times, over restarts: accepted = confirmed + sent + waiting + dead + dropped (full, expired, replaced, by
/// command, damaged).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxFigures {
    /// Messages that were taken.
    pub accepted: u64,
    /// Messages at QoS 1 and 2 that the broker has confirmed.
    pub confirmed: u64,
    /// Messages at QoS 0 that were handed to the system.
    pub sent: u64,
    /// Messages that went to the dead letters.
    pub dead: u64,
    /// Messages that were dropped because the outbox was full.
    pub dropped_full: u64,
    /// Messages that expired, or became too old, before they could be sent.
    pub dropped_expired: u64,
    /// Messages that a newer one on the same topic has replaced.
    pub replaced: u64,
    /// Messages that somebody has dropped.
    pub dropped_by_command: u64,
    /// Messages that the disk has lost.
    pub damaged: u64,
    /// Messages among the confirmed that the broker may have twice: it lost the session, or the connection was ended
    /// before it had confirmed.
    pub maybe_twice: u64,
    /// Messages that were sent again behind later ones, because the broker refused them for the moment.
    pub reordered: u64,
    /// The bytes of what waits, as the limit of the outbox counts them.
    pub waiting_bytes: u64,
}

impl OutboxFigures {
    /// Returns how many messages wait.
    pub const fn waiting(&self) -> u64 {
        self.accepted.saturating_sub(self.ended())
    }

    /// Returns how many messages have left the outbox, one way or the other.
    pub const fn ended(&self) -> u64 {
        let dropped = self.dropped_full + self.dropped_expired + self.replaced + self.dropped_by_command;
        self.confirmed + self.sent + self.dead + dropped + self.damaged
    }

    pub(super) const fn count(&mut self, end: End, messages: u64) {
        match end {
            End::Confirmed => self.confirmed += messages,
            End::Sent => self.sent += messages,
            End::Dead => self.dead += messages,
            End::Full => self.dropped_full += messages,
            End::Expired => self.dropped_expired += messages,
            End::Replaced => self.replaced += messages,
            End::Command => self.dropped_by_command += messages,
            End::Damaged => self.damaged += messages,
        }
    }
}

/// How the stay of a message in an outbox ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Confirmed,
    Sent,
    Dead,
    Full,
    Expired,
    Replaced,
    Command,
    Damaged,
}

/// The row of a connector: how everything before the head of its queue ended, and what never had a position.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Kept {
    /// Of these, `accepted` counts what never had a position, and `waiting_bytes` is how many there were.
    pub(super) figures: OutboxFigures,
    /// Up to which position `waiting_bytes` counts.
    pub(super) bytes_until: u64,
}

impl Kept {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = vec![FORM];
        for number in self.numbers() {
            bytes_in::put_varint(&mut out, number);
        }
        out.into()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut bytes = BytesIn::of_form(FORM, bytes)?;
        let mut number = || bytes.varint();
        let figures = OutboxFigures {
            accepted: number()?,
            confirmed: number()?,
            sent: number()?,
            dead: number()?,
            dropped_full: number()?,
            dropped_expired: number()?,
            replaced: number()?,
            dropped_by_command: number()?,
            damaged: number()?,
            maybe_twice: number()?,
            reordered: number()?,
            waiting_bytes: number()?,
        };
        Some(Self { figures, bytes_until: number()? })
    }

    const fn numbers(&self) -> [u64; 13] {
        let of = &self.figures;
        [
            of.accepted,
            of.confirmed,
            of.sent,
            of.dead,
            of.dropped_full,
            of.dropped_expired,
            of.replaced,
            of.dropped_by_command,
            of.damaged,
            of.maybe_twice,
            of.reordered,
            of.waiting_bytes,
            self.bytes_until,
        ]
    }
}

/// What one batch decides about messages that get no position.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Aside {
    /// Dropped because the outbox was full.
    pub(super) full: u64,
    /// Put into the dead letters before they came here.
    pub(super) dead: u64,
}

impl Aside {
    pub(super) const fn is_empty(&self) -> bool {
        self.full == 0 && self.dead == 0
    }

    pub(super) const fn count_into(&self, figures: &mut OutboxFigures) {
        figures.accepted += self.full + self.dead;
        figures.dropped_full += self.full;
        figures.dead += self.dead;
    }

    pub(super) fn encode(&self) -> Bytes {
        let mut out = vec![FORM];
        bytes_in::put_varint(&mut out, self.full);
        bytes_in::put_varint(&mut out, self.dead);
        out.into()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut bytes = BytesIn::of_form(FORM, bytes)?;
        Some(Self { full: bytes.varint()?, dead: bytes.varint()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_and_no_part_of_them_does() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..1_000 {
            let mut number = || random.u64(..) >> random.u32(0..64);
            let figures = OutboxFigures {
                accepted: number(),
                confirmed: number(),
                sent: number(),
                dead: number(),
                dropped_full: number(),
                dropped_expired: number(),
                replaced: number(),
                dropped_by_command: number(),
                damaged: number(),
                maybe_twice: number(),
                reordered: number(),
                waiting_bytes: number(),
            };
            let kept = Kept { figures, bytes_until: number() };
            let aside = Aside { full: number(), dead: number() };
            let (kept_bytes, aside_bytes) = (kept.encode(), aside.encode());
            assert_eq!(Kept::decode(&kept_bytes), Some(kept));
            assert_eq!(Aside::decode(&aside_bytes), Some(aside));
            assert!((0..kept_bytes.len()).all(|end| Kept::decode(&kept_bytes[..end]).is_none()));
            assert!((0..aside_bytes.len()).all(|end| Aside::decode(&aside_bytes[..end]).is_none()));
        }
        assert_eq!(Kept::decode(&[2; 20]), None, "another form");
    }
}
