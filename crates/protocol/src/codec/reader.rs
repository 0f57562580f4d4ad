//! Reads the fields of one packet where they lie in the buffer.

use bytes::Bytes;
use bytestring::ByteString;

use super::{
    property::PropertyId,
    varint::{self, InvalidVarint},
};
use crate::{
    Offence, PacketId, Violation,
    limits::{PROPERTIES_BYTES_MAX, USER_PROPERTIES_MAX},
    packet::{PacketType, UserProperties},
};

/// A position in the body of a packet, or in a block of properties.
///
/// Strings and binary fields come out as slices of the buffer. Nothing is read beyond `end`.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    source: &'a Bytes,
    at: usize,
    end: usize,
    packet: PacketType,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(source: &'a Bytes, at: usize, end: usize, packet: PacketType) -> Self {
        Self { source, at, end, packet }
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, Violation> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, Violation> {
        self.array(field).map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, Violation> {
        self.array(field).map(u32::from_be_bytes)
    }

    pub(super) fn varint(&mut self, field: &'static str) -> Result<u32, Violation> {
        match varint::read(self.slice()) {
            Ok(Some((value, len))) => {
                self.at += len;
                Ok(value)
            }
            Ok(None) => Err(self.cut_short(field)),
            Err(error) => Err(invalid_varint(self.packet, field, error)),
        }
    }

    pub(super) fn packet_id(&mut self) -> Result<PacketId, Violation> {
        let value = self.u16("packet identifier")?;
        PacketId::new(value).ok_or_else(|| {
            self.protocol("packet identifier", "the packet identifier 0 is not allowed", Some("MQTT-2.2.1-3"))
        })
    }

    /// Reads Binary Data.
    pub(super) fn binary(&mut self, field: &'static str) -> Result<Bytes, Violation> {
        let (start, end) = self.counted(field)?;
        Ok(self.source.slice(start..end))
    }

    /// Reads a UTF-8 Encoded String.
    pub(super) fn string(&mut self, field: &'static str) -> Result<ByteString, Violation> {
        let (start, end) = self.counted(field)?;
        self.refuse_nul(start, end, field)?;
        ByteString::try_from(self.source.slice(start..end)).map_err(|_| self.not_utf8(field))
    }

    /// Reads a UTF-8 Encoded String that is only looked at.
    pub(super) fn str(&mut self, field: &'static str) -> Result<&'a str, Violation> {
        let (start, end) = self.counted(field)?;
        self.refuse_nul(start, end, field)?;
        let bytes = self.source.get(start..end).unwrap_or_default();
        std::str::from_utf8(bytes).map_err(|_| self.not_utf8(field))
    }

    /// Steps over Binary Data.
    pub(super) fn skip_binary(&mut self, field: &'static str) -> Result<(), Violation> {
        self.counted(field).map(|_| ())
    }

    /// Takes all that is left.
    pub(super) fn rest(&mut self) -> Bytes {
        let start = std::mem::replace(&mut self.at, self.end);
        self.source.slice(start..self.end)
    }

    /// Steps over a block of properties and returns a reader of what stands in it.
    pub(super) fn properties(&mut self) -> Result<Reader<'a>, Violation> {
        let len = self.varint("property length")? as usize;
        if len > self.remaining() {
            return Err(self.malformed("property length", "the properties end after the packet", None));
        }
        if len > PROPERTIES_BYTES_MAX {
            let offence = Offence::TooLarge { bytes: len, max: PROPERTIES_BYTES_MAX };
            return Err(self.violation("properties", offence, None));
        }
        let start = self.at;
        self.at += len;
        Ok(Reader { at: start, end: self.at, ..*self })
    }

    /// Reads the identifier of the next property; `None` at the end of the block.
    pub(super) fn property_id(&mut self) -> Result<Option<PropertyId>, Violation> {
        if self.is_empty() {
            return Ok(None);
        }
        let value = self.varint("property identifier")?;
        match u8::try_from(value).ok().and_then(PropertyId::from_byte) {
            Some(id) => Ok(Some(id)),
            None => Err(self.malformed("property identifier", "there is no such property", None)),
        }
    }

    /// Reads the value of a property that may stand in a packet once.
    pub(super) fn set<T>(
        &mut self,
        slot: &mut Option<T>,
        id: PropertyId,
        read: fn(&mut Self, &'static str) -> Result<T, Violation>,
    ) -> Result<(), Violation> {
        if slot.is_some() {
            return Err(self.given_twice(id));
        }
        *slot = Some(read(self, id.field())?);
        Ok(())
    }

    pub(super) fn flag(&mut self, field: &'static str) -> Result<bool, Violation> {
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.protocol(field, "the value is neither 0 nor 1", None)),
        }
    }

    pub(super) fn non_zero_u16(&mut self, field: &'static str) -> Result<u16, Violation> {
        let value = self.u16(field)?;
        if value == 0 { Err(self.zero(field)) } else { Ok(value) }
    }

    pub(super) fn non_zero_u32(&mut self, field: &'static str) -> Result<u32, Violation> {
        let value = self.u32(field)?;
        if value == 0 { Err(self.zero(field)) } else { Ok(value) }
    }

    pub(super) fn non_zero_varint(&mut self, field: &'static str) -> Result<u32, Violation> {
        let value = self.varint(field)?;
        if value == 0 { Err(self.zero(field)) } else { Ok(value) }
    }

    /// Reads a Response Topic: a string that could be a Topic Name.
    pub(super) fn response_topic(&mut self, field: &'static str) -> Result<ByteString, Violation> {
        let topic = self.string(field)?;
        self.refuse_wildcards(&topic, field)?;
        Ok(topic)
    }

    /// Refuses a Response Topic that nobody could publish to.
    pub(super) fn refuse_wildcards(&self, topic: &str, field: &'static str) -> Result<(), Violation> {
        if topic.is_empty() {
            let offence = Offence::TopicNameInvalid("a topic has at least one character");
            return Err(self.violation(field, offence, Some("MQTT-4.7.3-1")));
        }
        if memchr::memchr2(b'+', b'#', topic.as_bytes()).is_some() {
            let offence = Offence::TopicNameInvalid("a response topic holds no wildcard");
            return Err(self.violation(field, offence, Some("MQTT-3.3.2-14")));
        }
        Ok(())
    }

    /// Reads a User Property and appends it.
    pub(super) fn user_property(&mut self, properties: &mut UserProperties) -> Result<(), Violation> {
        if properties.len() == USER_PROPERTIES_MAX {
            return Err(self.too_many_user_properties());
        }
        let name = self.string("user property")?;
        let value = self.string("user property")?;
        properties.push((name, value));
        Ok(())
    }

    /// Checks that nothing is left.
    pub(super) fn finish(&self) -> Result<(), Violation> {
        if self.is_empty() {
            return Ok(());
        }
        Err(self.malformed("remaining length", "bytes follow the last field", None))
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    pub(super) const fn remaining(&self) -> usize {
        self.end - self.at
    }

    pub(super) const fn malformed(
        &self,
        field: &'static str,
        what: &'static str,
        rule: Option<&'static str>,
    ) -> Violation {
        self.violation(field, Offence::Malformed(what), rule)
    }

    pub(super) const fn protocol(
        &self,
        field: &'static str,
        what: &'static str,
        rule: Option<&'static str>,
    ) -> Violation {
        self.violation(field, Offence::Protocol(what), rule)
    }

    pub(super) const fn violation(
        &self,
        field: &'static str,
        offence: Offence,
        rule: Option<&'static str>,
    ) -> Violation {
        Violation { packet: self.packet, field, offence, rule }
    }

    pub(super) const fn not_in_this_packet(&self, id: PropertyId) -> Violation {
        self.malformed(id.field(), "the property does not belong into this packet", None)
    }

    pub(super) const fn given_twice(&self, id: PropertyId) -> Violation {
        self.protocol(id.field(), "the property is given twice", None)
    }

    pub(super) const fn too_many_user_properties(&self) -> Violation {
        self.violation("user property", Offence::OverLimit("more user properties than 256"), None)
    }

    const fn zero(&self, field: &'static str) -> Violation {
        self.protocol(field, "the value 0 is not allowed", None)
    }

    const fn cut_short(&self, field: &'static str) -> Violation {
        self.malformed(field, "the packet ends within the field", None)
    }

    const fn not_utf8(&self, field: &'static str) -> Violation {
        self.malformed(field, "the text is not well-formed UTF-8", Some("MQTT-1.5.4-1"))
    }

    fn refuse_nul(&self, start: usize, end: usize, field: &'static str) -> Result<(), Violation> {
        let bytes = self.source.get(start..end).unwrap_or_default();
        if memchr::memchr(0, bytes).is_some() {
            return Err(self.malformed(field, "the text holds the character U+0000", Some("MQTT-1.5.4-2")));
        }
        Ok(())
    }

    /// Steps over a length of two bytes and as many bytes, and returns where those begin and end.
    fn counted(&mut self, field: &'static str) -> Result<(usize, usize), Violation> {
        let len = usize::from(self.u16(field)?);
        if len > self.remaining() {
            return Err(self.cut_short(field));
        }
        let start = self.at;
        self.at += len;
        Ok((start, self.at))
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Violation> {
        match self.slice().first_chunk() {
            Some(array) => {
                self.at += N;
                Ok(*array)
            }
            None => Err(self.cut_short(field)),
        }
    }

    fn slice(&self) -> &'a [u8] {
        self.source.get(self.at..self.end).unwrap_or_default()
    }
}

// Keeps the number in the sentence above true.
const _: () = assert!(USER_PROPERTIES_MAX == 256);

/// Makes a broken Variable Byte Integer a violation.
pub(super) fn invalid_varint(packet: PacketType, field: &'static str, error: InvalidVarint) -> Violation {
    let (what, rule) = match error {
        InvalidVarint::TooLong => ("a variable byte integer has at most four bytes", None),
        InvalidVarint::NotMinimal => {
            ("a variable byte integer uses no more bytes than it needs", Some("MQTT-1.5.5-1"))
        }
    };
    Violation { packet, field, offence: Offence::Malformed(what), rule }
}
