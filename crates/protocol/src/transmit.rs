//! Bytes on their way to a peer: small ones copied together, large payloads referenced.

use std::{collections::VecDeque, io::IoSlice};

use crate::Message;

/// The bytes that one connection has to send, in order.
///
/// Small packets are copied behind each other into one buffer; a large payload stays where it is and is woven in
/// when the bytes are written. So a fan-out of a large message copies it for nobody, and one write takes everything.
#[derive(Debug, Default)]
pub struct Transmit {
    bytes: Vec<u8>,
    /// Large payloads, each with the position in `bytes` before which it goes, ascending.
    shared: VecDeque<(usize, Shared)>,
    shared_bytes: usize,
    /// How much of `bytes` has been sent.
    sent: usize,
}

/// The payload of a message, or what is left of it to send.
#[derive(Debug, Clone)]
pub struct Shared {
    message: Message,
    sent: usize,
}

impl Shared {
    pub(crate) const fn payload_of(message: Message) -> Self {
        Self { message, sent: 0 }
    }

    fn rest(&self) -> &[u8] {
        self.message.payload().get(self.sent..).unwrap_or_default()
    }
}

impl Transmit {
    /// Lends a buffer to write into; dropped if there is one already.
    pub fn lend(&mut self, mut buffer: Vec<u8>) {
        if self.bytes.capacity() == 0 {
            buffer.clear();
            self.bytes = buffer;
        }
    }

    /// Tells whether a buffer is there to write into.
    pub const fn has_buffer(&self) -> bool {
        self.bytes.capacity() != 0
    }

    /// Takes the buffer back, for somebody else to use, if nothing is left to send.
    pub fn reclaim(&mut self) -> Option<Vec<u8>> {
        (self.is_empty() && self.has_buffer()).then(|| {
            self.clear();
            std::mem::take(&mut self.bytes)
        })
    }

    /// Returns the buffer to which small packets are appended. What stands in it already must stay.
    pub const fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Appends a large payload without copying it.
    pub fn push_shared(&mut self, shared: Shared) {
        self.shared_bytes += shared.rest().len();
        self.shared.push_back((self.bytes.len(), shared));
    }

    /// Moves everything from `other` behind what is here.
    pub fn append(&mut self, other: &mut Self) {
        if self.is_empty() {
            self.clear();
            std::mem::swap(self, other);
            return;
        }
        let base = self.bytes.len();
        for (at, shared) in other.shared.drain(..) {
            self.shared.push_back((base + at.saturating_sub(other.sent), shared));
        }
        self.bytes.extend_from_slice(other.bytes.get(other.sent..).unwrap_or_default());
        self.shared_bytes += other.shared_bytes;
        other.clear();
    }

    /// Returns how many bytes are left to send.
    pub const fn len(&self) -> usize {
        self.bytes.len() - self.sent + self.shared_bytes
    }

    /// Tells whether nothing is left to send.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `slices` with the next bytes to send and returns how many slices it filled.
    pub fn io_slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut at = self.sent;
        let mut shared = self.shared.iter();
        let mut filled = 0;
        let mut next = shared.next();
        let mut slots = slices.iter_mut();
        loop {
            let end = next.map_or(self.bytes.len(), |(position, _)| *position);
            for part in [self.bytes.get(at..end).unwrap_or_default(), next.map_or(&[][..], |(_, s)| s.rest())]
            {
                if part.is_empty() {
                    continue;
                }
                let Some(slot) = slots.next() else { return filled };
                *slot = IoSlice::new(part);
                filled += 1;
            }
            at = end;
            if next.is_none() {
                return filled;
            }
            next = shared.next();
        }
    }

    /// Notes that the first `count` bytes have been sent.
    pub fn advance(&mut self, mut count: usize) {
        while count > 0 {
            let end = self.shared.front().map_or(self.bytes.len(), |(position, _)| *position);
            let step = count.min(end - self.sent);
            self.sent += step;
            count -= step;
            let Some((_, shared)) = self.shared.front_mut().filter(|_| self.sent == end) else { break };
            let step = count.min(shared.rest().len());
            shared.sent += step;
            self.shared_bytes -= step;
            count -= step;
            if !shared.rest().is_empty() {
                break;
            }
            self.shared.pop_front();
        }
        if self.is_empty() {
            self.clear();
        }
    }

    /// Drops everything that is left.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.shared.clear();
        self.shared_bytes = 0;
        self.sent = 0;
    }

    /// Returns all bytes as one buffer, for tests and for transports without vectored writes.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut slices = vec![IoSlice::new(&[]); 2 * self.shared.len() + 1];
        let filled = self.io_slices(&mut slices);
        slices.iter().take(filled).flat_map(|slice| slice.iter().copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Now, QoS, TopicName, packet::PublishProperties};

    fn large(byte: u8, len: usize) -> Shared {
        let topic = TopicName::parse("t").unwrap();
        let payload = vec![byte; len];
        let properties = PublishProperties::default();
        Shared::payload_of(Message::new(
            &topic,
            &payload,
            QoS::AtMostOnce,
            false,
            &properties,
            Now::default(),
        ))
    }

    /// "ab", a payload, "c", two payloads in a row, "d".
    fn woven() -> (Transmit, Vec<u8>) {
        let mut transmit = Transmit::default();
        transmit.bytes().extend_from_slice(b"ab");
        transmit.push_shared(large(b'1', 5));
        transmit.bytes().push(b'c');
        transmit.push_shared(large(b'2', 3));
        transmit.push_shared(large(b'3', 4));
        transmit.bytes().push(b'd');
        (transmit, b"ab11111c2223333d".to_vec())
    }

    #[test]
    fn bytes_and_payloads_leave_in_the_order_in_which_they_came() {
        let (transmit, expected) = woven();
        assert_eq!(transmit.to_vec(), expected);
        assert_eq!(transmit.len(), expected.len());
    }

    #[test]
    fn what_was_sent_is_gone_however_it_was_cut() {
        for step in 1..=16 {
            let (mut transmit, expected) = woven();
            let mut sent = 0;
            while !transmit.is_empty() {
                assert_eq!(transmit.to_vec(), expected[sent..]);
                let count = step.min(transmit.len());
                transmit.advance(count);
                sent += count;
            }
            assert_eq!(sent, expected.len());
            assert!(transmit.bytes().is_empty(), "nothing is kept");
        }
    }

    #[test]
    fn few_slices_take_a_beginning() {
        let (transmit, expected) = woven();
        for count in 0..8 {
            let mut slices = vec![IoSlice::new(&[]); count];
            let filled = transmit.io_slices(&mut slices);
            assert!(filled <= count);
            let taken: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
            assert_eq!(taken, expected[..taken.len()]);
            assert!(count == 0 || !taken.is_empty());
        }
    }

    #[test]
    fn one_goes_behind_another_wherever_both_stand() {
        for sent_of_first in 0..=16 {
            for sent_of_second in 0..=16 {
                let (mut first, expected) = woven();
                let (mut second, _) = woven();
                first.advance(sent_of_first);
                second.advance(sent_of_second);
                first.append(&mut second);
                let all = [&expected[sent_of_first..], &expected[sent_of_second..]].concat();
                assert_eq!(first.to_vec(), all, "{sent_of_first} {sent_of_second}");
                assert_eq!(first.len(), all.len());
                assert!(second.is_empty());
            }
        }
    }

    #[test]
    fn a_buffer_is_lent_once_and_comes_back_when_all_is_sent() {
        let mut transmit = Transmit::default();
        assert!(!transmit.has_buffer());
        assert_eq!(transmit.reclaim(), None);
        transmit.lend(Vec::with_capacity(64));
        transmit.lend(Vec::with_capacity(128));
        transmit.bytes().push(1);
        assert_eq!(transmit.reclaim(), None);
        transmit.advance(1);
        let buffer = transmit.reclaim().unwrap();
        assert!(buffer.is_empty() && buffer.capacity() == 64);
        assert!(!transmit.has_buffer());
    }
}
