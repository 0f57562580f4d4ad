//! Variable Byte Integers: seven bits a byte, the lowest first, at most four bytes.

use crate::limits::REMAINING_LENGTH_MAX;

/// The largest value that four bytes can hold.
pub const MAX: u32 = 268_435_455;

const _: () = assert!(MAX as usize == REMAINING_LENGTH_MAX);

/// Why bytes are not a Variable Byte Integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidVarint {
    /// It has no end within four bytes.
    #[error("a variable byte integer has at most four bytes")]
    TooLong,
    /// It uses more bytes than its value needs [MQTT-1.5.5-1].
    #[error("a variable byte integer uses no more bytes than it needs")]
    NotMinimal,
}

/// Returns how many bytes the value takes: 1 to 4.
pub const fn len(value: u32) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

/// Appends the value, which is at most [`MAX`]; of a larger one the bits above are lost.
pub fn put(mut value: u32, out: &mut Vec<u8>) {
    debug_assert!(value <= MAX, "{value} does not fit into four bytes");
    value &= MAX;
    while value > 0x7F {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads the value that begins `bytes` and how many bytes it takes; `None` if it has not come to its end.
///
/// # Errors
/// What can't become a value, whatever bytes follow.
pub fn read(bytes: &[u8]) -> Result<Option<(u32, usize)>, InvalidVarint> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            let is_minimal = byte != 0 || index == 0;
            return if is_minimal { Ok(Some((value, index + 1))) } else { Err(InvalidVarint::NotMinimal) };
        }
    }
    if bytes.len() < 4 { Ok(None) } else { Err(InvalidVarint::TooLong) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(value: u32) -> Vec<u8> {
        let mut out = Vec::new();
        put(value, &mut out);
        out
    }

    #[test]
    fn values_take_the_bytes_of_table_1_1() {
        let table: [(u32, &[u8]); 8] = [
            (0, &[0x00]),
            (127, &[0x7F]),
            (128, &[0x80, 0x01]),
            (16_383, &[0xFF, 0x7F]),
            (16_384, &[0x80, 0x80, 0x01]),
            (2_097_151, &[0xFF, 0xFF, 0x7F]),
            (2_097_152, &[0x80, 0x80, 0x80, 0x01]),
            (MAX, &[0xFF, 0xFF, 0xFF, 0x7F]),
        ];
        for (value, bytes) in table {
            assert_eq!(bytes_of(value), bytes);
            assert_eq!(len(value), bytes.len());
            assert_eq!(read(bytes), Ok(Some((value, bytes.len()))));
            assert_eq!(read(&bytes[..bytes.len() - 1]), Ok(None));
        }
    }

    #[test]
    fn a_fifth_byte_is_refused_when_the_fourth_asks_for_it() {
        assert_eq!(read(&[0xFF, 0xFF, 0xFF]), Ok(None));
        assert_eq!(read(&[0xFF, 0xFF, 0xFF, 0xFF]), Err(InvalidVarint::TooLong));
        assert_eq!(read(&[0x80, 0x80, 0x80, 0x80, 0x01]), Err(InvalidVarint::TooLong));
    }

    #[test]
    fn mqtt_1_5_5_1_padded_values_are_refused() {
        for padded in [&[0x80, 0x00][..], &[0x81, 0x00], &[0xFF, 0x80, 0x00], &[0x80, 0x80, 0x80, 0x00]] {
            assert_eq!(read(padded), Err(InvalidVarint::NotMinimal));
        }
    }
}
