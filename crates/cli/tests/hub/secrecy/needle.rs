//! The secret that everything is searched for, and the search.

/// What every secret here holds. It is random enough to occur nowhere by chance.
pub(super) const NEEDLE: &str = "kQ7vZw3XjN";

/// A secret of a place.
pub(super) fn secret(place: &str) -> String {
    format!("{place}-{NEEDLE}-{place}")
}

/// Base64 of the needle, at each of the three places in which it may begin, without the characters at the ends that its
/// neighbours change.
fn encoded_needles() -> Vec<String> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let at = |skip: usize| {
        let bits: Vec<u8> =
            NEEDLE.bytes().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).skip(skip).collect();
        let digit = |six: &[u8]| DIGITS[six.iter().fold(0, |all, bit| all << 1 | usize::from(*bit))];
        String::from_utf8(bits.chunks_exact(6).map(digit).collect()).unwrap()
    };
    // The first whole digit begins at bit 0, 4 or 2 of the needle, as it stands at byte 0, 1 or 2 of three.
    vec![at(0), at(4), at(2)]
}

#[track_caller]
pub(super) fn assert_silent(what: &str, said: &[u8]) {
    let said = String::from_utf8_lossy(said);
    for needle in encoded_needles().iter().map(String::as_str).chain([NEEDLE]) {
        if let Some(at) = said.find(needle) {
            let from = said[..at].rfind('\n').map_or(0, |line| line + 1);
            panic!("{what} tells a secret: {}", said[from..].lines().next().unwrap());
        }
    }
}

#[test]
fn the_needle_is_found_when_it_is_there() {
    let shown = |text: &str| std::panic::catch_unwind(|| assert_silent("this", text.as_bytes())).is_err();
    assert!(shown(&secret("x")));
    assert!(!shown("nothing"));
    // In base64, by another hand: alone, behind `-` and behind `--`.
    for encoded in ["a1E3dlp3M1hqTg==", "LWtRN3ZadzNYak4=", "LS1rUTd2WnczWGpO"] {
        assert!(shown(encoded), "{encoded}");
    }
}
