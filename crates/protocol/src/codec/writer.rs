//! Appends the fields of one packet to a buffer.

use bytes::Bytes;
use bytestring::ByteString;

use super::{EncodeError, property::PropertyId, varint};
use crate::limits::{REMAINING_LENGTH_MAX, STRING_BYTES_MAX};

/// The end of a buffer, to which fields are appended.
pub(super) struct Writer<'a>(pub(super) &'a mut Vec<u8>);

impl Writer<'_> {
    pub(super) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn string(&mut self, field: &'static str, value: &str) -> Result<(), EncodeError> {
        if memchr::memchr(0, value.as_bytes()).is_some() {
            // [MQTT-1.5.4-2]
            return Err(EncodeError::Invalid { field, what: "the text holds the character U+0000" });
        }
        self.binary(field, value.as_bytes())
    }

    pub(super) fn binary(&mut self, field: &'static str, value: &[u8]) -> Result<(), EncodeError> {
        let Ok(len) = u16::try_from(value.len()) else {
            return Err(EncodeError::TooLong { field, bytes: value.len(), max: STRING_BYTES_MAX });
        };
        self.u16(len);
        self.0.extend_from_slice(value);
        Ok(())
    }

    /// Appends what `write` writes, with its length in front as a Variable Byte Integer.
    pub(super) fn counted(
        &mut self,
        write: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let at = self.0.len();
        self.u8(0);
        write(self)?;
        let bytes = self.0.len() - at - 1;
        let len = u32::try_from(bytes).unwrap_or(u32::MAX);
        if bytes > REMAINING_LENGTH_MAX {
            return Err(EncodeError::PacketTooLarge { bytes });
        }
        // Most packets are short, so one byte is left free for the length and the body is moved if it needs more.
        if let (Some(first), Ok(short @ 0..=0x7F)) = (self.0.get_mut(at), u8::try_from(len)) {
            *first = short;
        } else {
            let mut prefix = Vec::with_capacity(varint::len(len));
            varint::put(len, &mut prefix);
            self.0.splice(at..=at, prefix);
        }
        Ok(())
    }

    pub(super) fn property_flag(&mut self, id: PropertyId, value: Option<bool>) {
        if let Some(value) = value {
            self.0.extend_from_slice(&[id as u8, u8::from(value)]);
        }
    }

    pub(super) fn property_u16(&mut self, id: PropertyId, value: Option<u16>) {
        if let Some(value) = value {
            self.u8(id as u8);
            self.u16(value);
        }
    }

    pub(super) fn property_u32(&mut self, id: PropertyId, value: Option<u32>) {
        if let Some(value) = value {
            self.u8(id as u8);
            self.0.extend_from_slice(&value.to_be_bytes());
        }
    }

    pub(super) fn property_non_zero_u16(
        &mut self,
        id: PropertyId,
        value: Option<u16>,
    ) -> Result<(), EncodeError> {
        refuse_zero(id, value == Some(0))?;
        self.property_u16(id, value);
        Ok(())
    }

    pub(super) fn property_non_zero_u32(
        &mut self,
        id: PropertyId,
        value: Option<u32>,
    ) -> Result<(), EncodeError> {
        refuse_zero(id, value == Some(0))?;
        self.property_u32(id, value);
        Ok(())
    }

    pub(super) fn property_string(
        &mut self,
        id: PropertyId,
        value: Option<&ByteString>,
    ) -> Result<(), EncodeError> {
        let Some(value) = value else { return Ok(()) };
        self.u8(id as u8);
        self.string(id.field(), value)
    }

    pub(super) fn property_binary(
        &mut self,
        id: PropertyId,
        value: Option<&Bytes>,
    ) -> Result<(), EncodeError> {
        let Some(value) = value else { return Ok(()) };
        self.u8(id as u8);
        self.binary(id.field(), value)
    }

    /// Appends a Response Topic, to which an answer can be published.
    pub(super) fn response_topic(&mut self, value: Option<&ByteString>) -> Result<(), EncodeError> {
        let field = PropertyId::ResponseTopic.field();
        if value.is_some_and(|topic| topic.is_empty()) {
            return Err(EncodeError::Invalid { field, what: "a topic has at least one character" });
        }
        if value.is_some_and(|topic| memchr::memchr2(b'+', b'#', topic.as_bytes()).is_some()) {
            // [MQTT-3.3.2-14]
            return Err(EncodeError::Invalid { field, what: "a response topic holds no wildcard" });
        }
        self.property_string(PropertyId::ResponseTopic, value)
    }

    pub(super) fn user_properties(
        &mut self,
        properties: &[(ByteString, ByteString)],
    ) -> Result<(), EncodeError> {
        for (name, value) in properties {
            self.u8(PropertyId::UserProperty as u8);
            self.string("user property", name)?;
            self.string("user property", value)?;
        }
        Ok(())
    }
}

fn refuse_zero(id: PropertyId, is_zero: bool) -> Result<(), EncodeError> {
    if is_zero {
        return Err(EncodeError::Invalid { field: id.field(), what: "the value 0 is not allowed" });
    }
    Ok(())
}
