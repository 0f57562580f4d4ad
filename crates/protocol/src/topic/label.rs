//! The text of one level.

/// The longest level that is held without an allocation; with it a label takes 24 bytes.
const SHORT_BYTES_MAX: usize = 22;

/// The bytes of one level.
pub(super) enum Label {
    /// A level that fits; nearly all do.
    Short { len: u8, bytes: [u8; SHORT_BYTES_MAX] },
    /// A longer level.
    Long(Box<[u8]>),
}

impl Label {
    pub(super) fn new(level: &[u8]) -> Self {
        let mut bytes = [0; SHORT_BYTES_MAX];
        match bytes.get_mut(..level.len()) {
            Some(start) => {
                start.copy_from_slice(level);
                Self::Short { len: level.len() as u8, bytes }
            }
            None => Self::Long(level.into()),
        }
    }

    pub(super) const fn empty() -> Self {
        Self::Short { len: 0, bytes: [0; SHORT_BYTES_MAX] }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Self::Long(bytes) => bytes,
        }
    }
}

const _: () = assert!(size_of::<Label>() == 24);
