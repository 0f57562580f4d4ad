//! The sealed value, as `docs/formats/sealed.md` writes it down.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::{KeyId, KeyRing, ProjectId};
use crate::config::Secret;

/// What every sealed value of this form begins with.
const PREFIX: &str = "sealed:v1:";

/// What every sealed value begins with, of whatever form.
pub(crate) const SEALED: &str = "sealed:";

/// The largest secret: a key with its chain of certificates is a hundredth of it.
const SECRET_BYTES_MAX: usize = 1024 * 1024;

/// The longest path.
const PATH_BYTES_MAX: usize = 1024;

/// A multiple of what every plaintext is filled up to, so that a value does not tell how long its password is.
const FILLED_BYTES: usize = 32;

/// Goes before the header in what is authenticated, so that no other use of the key makes the same.
const DOMAIN: &[u8] = b"crosspoint sealed value v1\0";

const NONCE_BYTES: usize = 24;

/// Where a value is entered: it opens there and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// The project.
    pub project: ProjectId,
    /// The path of the key from the top of the project, without the environment: an overlay has the same seat as what it
    /// lies over.
    pub path: String,
}

/// What a sealed value tells without a key. Nothing of it is certain until the value is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The key that it was sealed with.
    pub key: KeyId,
    /// What it was sealed for.
    pub seat: Seat,
}

/// Why a value cannot be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The text is no sealed value.
    #[error("is no whole sealed value: it has been cut off or changed")]
    Malformed,
    /// Another form than this version knows.
    #[error("is sealed in a form that this version does not know")]
    NewerForm,
    /// None of the keys is the one it was sealed with.
    #[error("was sealed with key {wanted}, and the key at hand is {}", listed(at_hand))]
    OtherKey {
        /// The key that it was sealed with.
        wanted: KeyId,
        /// The keys that were tried.
        at_hand: Vec<KeyId>,
    },
    /// The key is the right one, and the value is not what it sealed.
    #[error("has been damaged since it was sealed")]
    Damaged,
    /// It is whole and was sealed for another path.
    #[error("was sealed for `{path}` and opens nowhere else")]
    Moved {
        /// The path that it was sealed for.
        path: String,
    },
    /// It is whole and was sealed for another project.
    #[error("was sealed in another project, for `{path}`, and opens nowhere else")]
    OtherProject {
        /// The path that it was sealed for, there.
        path: String,
    },
    /// The value or its path is too long.
    #[error("is too long to be sealed: a secret has at most 1 MiB, a path 1,024 bytes")]
    TooLong,
    /// The system gives no random bytes.
    #[error("cannot be sealed: the system gives no random bytes")]
    NoRandomness,
}

fn listed(ids: &[KeyId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Seals a secret for a seat, with the first key.
///
/// # Errors
/// The secret or the path is too long, or the system gives no random bytes.
pub fn seal(secret: &Secret, seat: &Seat, keys: &KeyRing) -> Result<String, SealError> {
    let path = u16::try_from(seat.path.len()).ok().filter(|_| seat.path.len() <= PATH_BYTES_MAX);
    let path_bytes = path.ok_or(SealError::TooLong)?;
    if secret.expose().len() > SECRET_BYTES_MAX {
        return Err(SealError::TooLong);
    }
    let mut nonce = [0; NONCE_BYTES];
    SystemRandom::new().fill(&mut nonce).map_err(|_| SealError::NoRandomness)?;
    let key = keys.first();
    let mut sealed = Vec::with_capacity(256);
    sealed.extend_from_slice(&key.id().0);
    sealed.extend_from_slice(&seat.project.bytes());
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(&path_bytes.to_be_bytes());
    sealed.extend_from_slice(seat.path.as_bytes());
    let (plain, authenticated) = (filled(secret.expose()), authenticated(&sealed));
    let payload = Payload { msg: &plain, aad: &authenticated };
    let cipher = XChaCha20Poly1305::new(key.bytes().into());
    // The cipher fails beyond 256 GiB only.
    let hidden = cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| SealError::TooLong)?;
    sealed.extend_from_slice(&hidden);
    Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(sealed)))
}

/// Opens a sealed value where it stands.
///
/// # Errors
/// It was sealed with another key, for another seat, or is damaged.
pub fn unseal(text: &str, seat: &Seat, keys: &KeyRing) -> Result<Secret, SealError> {
    let (label, secret) = open(text, keys)?;
    // The header is authenticated, so from here on it is certain what the value was sealed for.
    match label.seat {
        Seat { project, path } if project != seat.project => Err(SealError::OtherProject { path }),
        Seat { path, .. } if path != seat.path => Err(SealError::Moved { path }),
        Seat { .. } => Ok(secret),
    }
}

/// Opens a sealed value wherever it stands, and tells what it was sealed for.
pub(super) fn open(text: &str, keys: &KeyRing) -> Result<(Label, Secret), SealError> {
    let parts = Parts::parse(text)?;
    let key = keys.key(parts.label.key).ok_or_else(|| SealError::OtherKey {
        wanted: parts.label.key,
        at_hand: keys.keys().map(super::SealingKey::id).collect(),
    })?;
    let authenticated = authenticated(&parts.header);
    let payload = Payload { msg: &parts.hidden, aad: &authenticated };
    let cipher = XChaCha20Poly1305::new(key.bytes().into());
    let plain = cipher.decrypt(&XNonce::from(parts.nonce), payload).map_err(|_| SealError::Damaged)?;
    let plain = Zeroizing::new(plain);
    let end = plain.iter().rposition(|byte| *byte != 0).filter(|at| plain.get(*at) == Some(&0x80));
    let secret = end.and_then(|end| plain.get(..end)).ok_or(SealError::Damaged)?;
    Ok((parts.label, Secret::new(secret)))
}

impl Label {
    /// Reads what a sealed value says of itself.
    ///
    /// # Errors
    /// It is no sealed value of a known form.
    pub fn of(text: &str) -> Result<Self, SealError> {
        Parts::parse(text).map(|parts| parts.label)
    }
}

/// A sealed value, taken apart.
struct Parts {
    label: Label,
    header: Vec<u8>,
    nonce: [u8; NONCE_BYTES],
    hidden: Vec<u8>,
}

impl Parts {
    fn parse(text: &str) -> Result<Self, SealError> {
        let Some(encoded) = text.strip_prefix(PREFIX) else {
            let is_newer = text.strip_prefix("sealed:v").is_some_and(|rest| {
                rest.split_once(':').is_some_and(|(number, _)| number.parse::<u32>().is_ok())
            });
            return Err(if is_newer { SealError::NewerForm } else { SealError::Malformed });
        };
        let bytes = URL_SAFE_NO_PAD.decode(encoded.trim()).map_err(|_| SealError::Malformed)?;
        Self::of(&bytes).ok_or(SealError::Malformed)
    }

    fn of(bytes: &[u8]) -> Option<Self> {
        let (key, rest) = bytes.split_first_chunk::<8>()?;
        let (project, rest) = rest.split_first_chunk::<16>()?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE_BYTES>()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (path, hidden) = rest.split_at_checked(length).filter(|_| length <= PATH_BYTES_MAX)?;
        let seat =
            Seat { project: ProjectId::of_bytes(*project), path: std::str::from_utf8(path).ok()?.to_owned() };
        Some(Self {
            label: Label { key: KeyId(*key), seat },
            header: bytes.get(..bytes.len() - hidden.len())?.to_vec(),
            nonce: *nonce,
            hidden: hidden.to_vec(),
        })
    }
}

fn authenticated(header: &[u8]) -> Vec<u8> {
    [DOMAIN, header].concat()
}

/// Appends 0x80 and zeros up to the next multiple.
fn filled(secret: &[u8]) -> Zeroizing<Vec<u8>> {
    let length = (secret.len() + 1).next_multiple_of(FILLED_BYTES);
    let mut plain = Zeroizing::new(Vec::with_capacity(length));
    plain.extend_from_slice(secret);
    plain.push(0x80);
    plain.resize(length, 0);
    plain
}

#[cfg(test)]
mod tests {
    use super::super::SealingKey;
    use super::*;

    fn seat(path: &str) -> Seat {
        Seat { project: ProjectId::of_bytes([7; 16]), path: path.to_owned() }
    }

    fn keys() -> KeyRing {
        KeyRing::of(SealingKey::generate().unwrap())
    }

    #[test]
    fn what_was_sealed_opens_at_its_seat() {
        let keys = keys();
        for secret in [&b""[..], b"hunter2", b"ends with \x80\0\0", &[0x80; 64], &[0; 31]] {
            let sealed = seal(&Secret::new(secret), &seat("connector.a.password"), &keys).unwrap();
            assert_eq!(unseal(&sealed, &seat("connector.a.password"), &keys).unwrap().expose(), secret);
        }
    }

    #[test]
    fn two_seals_of_one_secret_have_nothing_in_common_but_the_header() {
        let keys = keys();
        let [a, b] = [0; 2].map(|_| seal(&Secret::new("hunter2"), &seat("p"), &keys).unwrap());
        assert_ne!(a, b);
        assert!(!a.contains("hunter2") && !a.contains(&URL_SAFE_NO_PAD.encode("hunter2")));
    }

    #[test]
    fn a_value_does_not_tell_how_long_its_secret_is() {
        let keys = keys();
        let length = |secret: &str| seal(&Secret::new(secret), &seat("p"), &keys).unwrap().len();
        assert_eq!(length(""), length("thirty-one characters, no more."));
        assert_ne!(length(""), length("and thirty-two characters are ..."));
    }

    #[test]
    fn a_moved_value_names_where_it_was_sealed_for() {
        let keys = keys();
        let sealed = seal(&Secret::new("x"), &seat("connector.a.password"), &keys).unwrap();
        let moved = unseal(&sealed, &seat("connector.b.password"), &keys).unwrap_err();
        assert_eq!(moved, SealError::Moved { path: "connector.a.password".into() });
        let elsewhere = Seat { project: ProjectId::of_bytes([8; 16]), path: "connector.a.password".into() };
        let error = unseal(&sealed, &elsewhere, &keys).unwrap_err();
        assert_eq!(error, SealError::OtherProject { path: "connector.a.password".into() });
    }

    #[test]
    fn another_key_is_told_from_damage() {
        let [right, wrong] = [keys(), keys()];
        let sealed = seal(&Secret::new("x"), &seat("p"), &right).unwrap();
        let error = unseal(&sealed, &seat("p"), &wrong).unwrap_err();
        let expected = SealError::OtherKey { wanted: right.first().id(), at_hand: vec![wrong.first().id()] };
        assert_eq!(error, expected);
    }

    #[test]
    fn no_byte_can_be_changed_unnoticed() {
        let keys = keys();
        let sealed = seal(&Secret::new("hunter2"), &seat("connector.a.password"), &keys).unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(sealed.strip_prefix(PREFIX).unwrap()).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&changed));
            // Also a path or a project that was rewritten to fit: the header is authenticated.
            let claimed = Label::of(&text).map_or(seat("connector.a.password"), |label| label.seat);
            assert!(unseal(&text, &claimed, &keys).is_err(), "byte {at}");
            let cut = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&bytes[..at]));
            assert!(unseal(&cut, &seat("connector.a.password"), &keys).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn other_forms_are_told_from_nonsense() {
        assert_eq!(Label::of("sealed:v2:AAAA").unwrap_err(), SealError::NewerForm);
        assert_eq!(Label::of("sealed:v1:%%%").unwrap_err(), SealError::Malformed);
        assert_eq!(Label::of("sealed:").unwrap_err(), SealError::Malformed);
    }

    #[test]
    fn what_is_too_long_is_refused() {
        let keys = keys();
        let secret = Secret::new(vec![b'x'; SECRET_BYTES_MAX + 1]);
        assert_eq!(seal(&secret, &seat("p"), &keys).unwrap_err(), SealError::TooLong);
        let long = seat(&"p".repeat(PATH_BYTES_MAX + 1));
        assert_eq!(seal(&Secret::new("x"), &long, &keys).unwrap_err(), SealError::TooLong);
    }

    proptest::proptest! {
        #[test]
        fn garbage_is_refused_without_a_panic(text in "(sealed:v1:)?[A-Za-z0-9_-]{0,300}") {
            let keys = KeyRing::of(SealingKey::generate().unwrap());
            proptest::prop_assert!(unseal(&text, &seat("p"), &keys).is_err());
        }
    }
}
