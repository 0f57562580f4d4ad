//! The numbered messages: what their payloads say, and whether they arrived as they were sent.

/// A numbered message of a publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Which publisher, counted from 0.
    pub(crate) publisher: usize,
    /// Its how many-th message, counted from 0.
    pub(crate) number: u64,
}

/// The bytes of the publisher's and the message's number.
const STAMP_BYTES: usize = 12;

impl Stamp {
    /// Returns the payload of this message: its numbers, and filling whose length and bytes follow from them.
    pub(crate) fn payload(self) -> Vec<u8> {
        let mut payload = (self.publisher as u32).to_be_bytes().to_vec();
        payload.extend(self.number.to_be_bytes());
        payload.extend(self.filling());
        payload
    }

    /// Reads a payload back; `None` when it is not exactly as it was sent.
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let (stamp, filling) = payload.split_at_checked(STAMP_BYTES)?;
        let (publisher, number) = stamp.split_at_checked(4)?;
        let stamp = Self {
            publisher: u32::from_be_bytes(publisher.try_into().ok()?) as usize,
            number: u64::from_be_bytes(number.try_into().ok()?),
        };
        stamp.filling().eq(filling.iter().copied()).then_some(stamp)
    }

    /// Most messages are small, one in 16 has up to 4 KiB, one in 1,024 has 64 KiB.
    fn filling(self) -> impl Iterator<Item = u8> {
        let mixed = mix(self.number ^ (self.publisher as u64) << 48);
        let length = match mixed % 1024 {
            0 => 65_536,
            1..=64 => (mixed >> 10) % 4_096,
            _ => (mixed >> 10) % 100,
        };
        (0..length).map(move |index| (mixed >> (index % 8 * 8)) as u8)
    }
}

/// Returns a number that looks random and depends on nothing else (the finaliser of SplitMix64).
pub(crate) fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_read_back_and_any_change_of_it_is_seen() {
        for number in 0..200 {
            let stamp = Stamp { publisher: 3, number };
            let payload = stamp.payload();
            assert_eq!(Stamp::read(&payload), Some(stamp));
            for place in 0..payload.len().min(20) {
                let mut changed = payload.clone();
                changed[place] ^= 1;
                assert_ne!(Stamp::read(&changed), Some(stamp));
            }
            assert_ne!(Stamp::read(&payload[..payload.len() - 1]), Some(stamp));
        }
    }

    #[test]
    fn lengths_go_from_nothing_to_64_kib() {
        let lengths: Vec<usize> =
            (0..20_000).map(|number| Stamp { publisher: 0, number }.payload().len()).collect();
        assert!(lengths.iter().any(|length| *length < 16));
        assert!(lengths.contains(&(STAMP_BYTES + 65_536)));
        assert!(lengths.iter().sum::<usize>() / lengths.len() < 400);
    }
}
