//! Guesses from its first bytes what a peer speaks, to explain a mix-up of ports in plain words.

use std::fmt;

/// What a peer speaks, judged by the first bytes it sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoken {
    /// A TLS handshake or alert.
    Tls,
    /// An HTTP request or answer.
    Http,
}

impl Spoken {
    /// Returns what the bytes look like, or `None` when they resemble neither TLS nor HTTP.
    ///
    /// Five bytes are enough; of fewer, nothing is said. Any error message may use it: that TLS came to a plain
    /// port is the most common mistake there is.
    pub fn guess(first: &[u8]) -> Option<Self> {
        match first {
            // A record header: handshake or alert, major version 3.
            [0x16 | 0x15, 0x03, 0x00..=0x04, _, _, ..] => Some(Self::Tls),
            _ if HTTP_STARTS.iter().any(|start| first.starts_with(start)) => Some(Self::Http),
            _ => None,
        }
    }
}

/// The first bytes that a peer sent, by which it can be told what it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FirstBytes {
    bytes: [u8; FIRST_BYTES_MAX],
    count: u8,
}

/// How many bytes are kept of what came first.
const FIRST_BYTES_MAX: usize = 8;

impl FirstBytes {
    /// Keeps the first few of what was read.
    pub fn of(read: &[u8]) -> Self {
        let mut first = Self::default();
        for (kept, byte) in first.bytes.iter_mut().zip(read) {
            *kept = *byte;
            first.count += 1;
        }
        first
    }

    /// Returns what they look like.
    pub fn spoken(&self) -> Option<Spoken> {
        Spoken::guess(self.as_slice())
    }

    /// Returns the bytes, as many as came, at most eight.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.count)).unwrap_or_default()
    }
}

impl fmt::Display for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls => "TLS",
            Self::Http => "HTTP",
        })
    }
}

const HTTP_STARTS: [&[u8]; 8] =
    [b"HTTP/", b"GET /", b"POST ", b"PUT /", b"HEAD ", b"OPTIO", b"DELET", b"CONNE"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_and_http_are_told_apart_from_the_rest() {
        assert_eq!(Spoken::guess(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]), Some(Spoken::Tls));
        assert_eq!(Spoken::guess(&[0x15, 0x03, 0x03, 0x00, 0x02]), Some(Spoken::Tls));
        assert_eq!(Spoken::guess(b"HTTP/1.1 400 Bad Request"), Some(Spoken::Http));
        assert_eq!(Spoken::guess(b"GET / HTTP/1.1"), Some(Spoken::Http));
        assert_eq!(Spoken::guess(&[0x16, 0x03]), None);
        assert_eq!(Spoken::guess(&[0x10, 0x10, 0x00, 0x04, b'M']), None);
        assert_eq!(Spoken::guess(b""), None);
    }
}
