//! The bytes of one file: what is live, what is durable, and the changes between the two.

use fastrand::Rng;

/// The bytes of one file.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pub(super) live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

/// One change of the bytes of a file.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
    Extend(usize),
}

impl Content {
    /// Returns the content of a file of which everything is durable.
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        Self { live: bytes.clone(), durable: bytes, pending: Vec::new() }
    }

    pub(super) fn change(&mut self, change: Change) {
        change.apply(&mut self.live);
        self.pending.push(change);
    }

    /// Makes every change durable.
    pub(super) fn sync(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            change.apply(&mut self.durable);
        }
    }

    /// Lets no later sync write what has changed.
    pub(super) fn forget_changes(&mut self) {
        self.pending.clear();
    }

    /// Returns what is there when nothing but what was synced is.
    pub(super) fn synced(&self) -> Self {
        Self::of(self.durable.clone())
    }

    /// Returns what may be there after a power cut: each change is kept, lost, or torn.
    pub(super) fn torn(&self, rng: &mut Rng) -> Self {
        let mut bytes = self.durable.clone();
        for change in &self.pending {
            match (rng.u8(0..3), change) {
                (0, _) => {}
                (1, Change::Write(offset, written)) => {
                    let start = rng.usize(0..=written.len());
                    let end = rng.usize(start..=written.len());
                    let part = written.get(start..end).unwrap_or_default().to_vec();
                    Change::Write(offset + start, part).apply(&mut bytes);
                }
                _ => change.apply(&mut bytes),
            }
        }
        Self::of(bytes)
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Truncate(length) => bytes.truncate(*length),
            Self::Extend(length) => bytes.resize(bytes.len().max(*length), 0),
            Self::Write(offset, written) => {
                let end = offset + written.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                if let Some(place) = bytes.get_mut(*offset..end) {
                    place.copy_from_slice(written);
                }
            }
        }
    }
}
