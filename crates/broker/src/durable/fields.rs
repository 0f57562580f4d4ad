//! Reading and writing the fields of a record: a byte for its form before them, texts behind their length, a u32.

use bytestring::ByteString;
use crosspoint_store::bytes_in::BytesIn;

/// The form of every record that is written here, and the only one there is.
pub(super) const FORM: u8 = 1;

/// Begins to read a record; `None` when it has another form.
pub(super) fn of(record: &[u8]) -> Option<BytesIn<'_>> {
    BytesIn::of_form(FORM, record)
}

pub(super) fn text(fields: &mut BytesIn<'_>) -> Option<ByteString> {
    let length = usize::try_from(fields.u32()?).ok()?;
    std::str::from_utf8(fields.take(length)?).ok().map(ByteString::from)
}

pub(super) fn put_text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Checks that a record comes back whole, and that no part of it and nothing behind it is taken for one.
#[cfg(test)]
pub(super) fn check<T: PartialEq + std::fmt::Debug>(
    record: &T,
    encode: impl Fn(&T) -> Vec<u8>,
    decode: impl Fn(&[u8]) -> Option<T>,
) {
    let bytes = encode(record);
    assert_eq!(decode(&bytes).as_ref(), Some(record));
    for end in 0..bytes.len() {
        assert_ne!(decode(&bytes[..end]).as_ref(), Some(record), "{end} of {} bytes", bytes.len());
    }
    for form in [0, 2, 0xFF] {
        let mut other = bytes.clone();
        other[0] = form;
        assert_eq!(decode(&other), None, "form {form}");
    }
    let mut rng = fastrand::Rng::with_seed(1);
    for _ in 0..200 {
        let garbage: Vec<u8> = (0..rng.usize(0..40)).map(|_| rng.u8(..)).collect();
        let _ = decode(&garbage);
    }
}
