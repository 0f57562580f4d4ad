//! The numbered messages: what their payloads say, and whether they arrived as they were sent.

/// A numbered message of a publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Which publisher, counted from 0.
    pub(crate) publisher: usize,
    /// Its how many-th message, counted from 0.
    pub(crate) number: u64,
}

impl Stamp {
    /// Returns the payload of this message: its numbers, and filling whose bytes follow from them.
    ///
    /// To `extra` bytes of filling come some more: few for most, up to 4 KiB for one in 16, 64 KiB for one in 1,024.
    pub(crate) fn payload(self, extra: usize) -> Vec<u8> {
        let mixed = self.mixed();
        let more = match mixed % 1024 {
            0 => 65_536,
            1..=64 => (mixed >> 10) % 4_096,
            _ => (mixed >> 10) % 100,
        };
        let length = extra + more as usize;
        let mut payload = (self.publisher as u32).to_be_bytes().to_vec();
        payload.extend(self.number.to_be_bytes());
        payload.extend((length as u32).to_be_bytes());
        let filling = mixed.to_le_bytes();
        payload.extend(filling.iter().cycle().take(length));
        payload
    }

    /// Reads a payload back; `None` when it is not exactly as it was sent.
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let (publisher, rest) = payload.split_at_checked(4)?;
        let (number, rest) = rest.split_at_checked(8)?;
        let (length, filling) = rest.split_at_checked(4)?;
        let stamp = Self {
            publisher: u32::from_be_bytes(publisher.try_into().ok()?) as usize,
            number: u64::from_be_bytes(number.try_into().ok()?),
        };
        let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
        let expected = stamp.mixed().to_le_bytes();
        let is_whole = length == filling.len() && filling.chunks(8).all(|part| expected.starts_with(part));
        is_whole.then_some(stamp)
    }

    const fn mixed(self) -> u64 {
        mix(self.number ^ (self.publisher as u64) << 48)
    }
}

/// Returns a number that looks random and depends on nothing else (the finaliser of SplitMix64).
pub(crate) const fn mix(number: u64) -> u64 {
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
            let payload = stamp.payload(9);
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
            (0..20_000).map(|number| Stamp { publisher: 0, number }.payload(0).len()).collect();
        assert!(lengths.iter().any(|length| *length < 20));
        assert!(lengths.contains(&(16 + 65_536)));
        assert!(lengths.iter().sum::<usize>() / lengths.len() < 400);
    }
}
