//! Table 1: a session. Its key is the client identifier.
//!
//! ```text
//! form u8 │ flags u8: 1 it has a user, 2 its client is away │ number u64 │ expiry u32, seconds
//!         │ user: length u32, text │ what was left of the expiry u32, seconds, and when u64, ms of the wall clock
//! ```

use bytestring::ByteString;

use super::fields::{self, FORM, put_text};

const HAS_USER: u8 = 1;
const IS_AWAY: u8 = 2;

/// What is kept of a session besides its Subscriptions and exchanges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SessionRecord {
    pub(crate) number: u64,
    pub(crate) username: Option<ByteString>,
    /// Seconds for which it outlives its connection; `u32::MAX` is for ever.
    pub(crate) expiry_s: u32,
    /// `None` while its client is connected.
    pub(crate) away: Option<Away>,
}

/// What a session had left at some time of its client's absence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Away {
    pub(crate) left_s: u32,
    pub(crate) at_wall_ms: u64,
}

impl SessionRecord {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32);
        let flags = if self.username.is_some() { HAS_USER } else { 0 }
            | if self.away.is_some() { IS_AWAY } else { 0 };
        out.extend_from_slice(&[FORM, flags]);
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.expiry_s.to_le_bytes());
        if let Some(username) = &self.username {
            put_text(username, &mut out);
        }
        if let Some(away) = &self.away {
            out.extend_from_slice(&away.left_s.to_le_bytes());
            out.extend_from_slice(&away.at_wall_ms.to_le_bytes());
        }
        out
    }

    pub(crate) fn decode(record: &[u8]) -> Option<Self> {
        let mut fields = fields::of(record)?;
        let flags = fields.u8().filter(|flags| flags & !(HAS_USER | IS_AWAY) == 0)?;
        let (number, expiry_s) = (fields.u64()?, fields.u32()?);
        let username = if flags & HAS_USER == 0 { None } else { Some(fields::text(&mut fields)?) };
        let away = if flags & IS_AWAY == 0 {
            None
        } else {
            Some(Away { left_s: fields.u32()?, at_wall_ms: fields.u64()? })
        };
        fields.end()?;
        Some(Self { number, username, expiry_s, away })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::fields::check;

    #[test]
    fn a_session_comes_back_whole() {
        for username in [None, Some(ByteString::from("")), Some("ålice".into())] {
            for away in [None, Some(Away { left_s: u32::MAX, at_wall_ms: 1 << 41 })] {
                let record = SessionRecord { number: 1 << 40, username: username.clone(), expiry_s: 7, away };
                check(&record, SessionRecord::encode, SessionRecord::decode);
            }
        }
    }
}
