//! Bytes as packets.

use super::{Packet, Publish, Step, Version};

/// What the broker sent is no packet of this version, or none that a broker may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

type Read<T> = Result<T, Malformed>;

/// Reads the packet at the beginning of `bytes`, and how many bytes it is; `None` when it is not all there yet.
pub(crate) fn decode(version: Version, bytes: &[u8]) -> Read<Option<(Packet, usize)>> {
    let Some((first, rest)) = bytes.split_first() else { return Ok(None) };
    let Some((body_length, header)) = length(rest)? else { return Ok(None) };
    let Some(body) = rest.get(header..header + body_length) else { return Ok(None) };
    let packet = body_of(version, *first, Body(body))?;
    Ok(Some((packet, 1 + header + body_length)))
}

fn body_of(version: Version, first: u8, mut body: Body) -> Read<Packet> {
    let packet = match first {
        0x20 => connected(version, &mut body)?,
        0x30..=0x3F => Packet::Publish(publish(version, first, &mut body)?),
        0x40 => exchange(version, Step::Ack, &mut body)?,
        0x50 => exchange(version, Step::Rec, &mut body)?,
        0x62 => exchange(version, Step::Rel, &mut body)?,
        0x70 => exchange(version, Step::Comp, &mut body)?,
        0x90 => {
            let id = body.id()?;
            body.skip_properties(version)?;
            Packet::Subscribed { id, codes: body.rest().to_vec() }
        }
        0xB0 => {
            let id = body.id()?;
            body.rest();
            Packet::Unsubscribed { id }
        }
        0xE0 if version == Version::V5 => {
            let reason = if body.0.is_empty() { 0 } else { body.byte()? };
            body.rest();
            Packet::Disconnected { reason }
        }
        _ => return Err(Malformed),
    };
    if body.0.is_empty() { Ok(packet) } else { Err(Malformed) }
}

fn connected(version: Version, body: &mut Body) -> Read<Packet> {
    let has_session = match body.byte()? {
        0 => false,
        1 => true,
        _ => return Err(Malformed),
    };
    let code = body.byte()?;
    let receive_max = if version == Version::V5 { receive_max(body.properties()?)? } else { u16::MAX };
    Ok(Packet::Connected { has_session, code, receive_max })
}

/// Finds the Receive Maximum among the properties of a CONNACK.
fn receive_max(mut properties: Body) -> Read<u16> {
    let mut receive_max = u16::MAX;
    while !properties.0.is_empty() {
        match properties.byte()? {
            0x21 => receive_max = properties.number()?,
            0x24 | 0x25 | 0x28 | 0x29 | 0x2A => drop(properties.byte()?),
            0x13 | 0x22 => drop(properties.number()?),
            0x11 | 0x27 => drop(properties.take(4)?),
            0x12 | 0x15 | 0x16 | 0x1A | 0x1C | 0x1F => drop(properties.text()?),
            0x26 => {
                properties.text()?;
                properties.text()?;
            }
            _ => return Err(Malformed),
        }
    }
    Ok(receive_max)
}

fn publish(version: Version, first: u8, body: &mut Body) -> Read<Publish> {
    let qos = first >> 1 & 0b11;
    let is_again = first & 0b1000 != 0;
    if qos == 3 || (qos == 0 && is_again) {
        return Err(Malformed);
    }
    let topic = std::str::from_utf8(body.text()?).map_err(|_| Malformed)?.to_owned();
    let id = if qos > 0 { body.id()? } else { 0 };
    // The test asks for no topic aliases, so an empty topic would be a mistake of the broker.
    if topic.is_empty() {
        return Err(Malformed);
    }
    body.skip_properties(version)?;
    Ok(Publish { is_again, qos, retain: first & 1 != 0, topic, id, payload: body.rest().to_vec() })
}

fn exchange(version: Version, step: Step, body: &mut Body) -> Read<Packet> {
    let id = body.id()?;
    let reason = if version == Version::V5 && !body.0.is_empty() { body.byte()? } else { 0 };
    if version == Version::V5 {
        body.rest();
    }
    Ok(Packet::Exchange { step, id, reason })
}

/// Reads a Variable Byte Integer: its value and how many bytes it is.
fn length(bytes: &[u8]) -> Read<Option<(usize, usize)>> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() < 4 { Ok(None) } else { Err(Malformed) }
}

/// What is left of a packet's body.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn take(&mut self, count: usize) -> Read<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Read<u8> {
        self.take(1)?.first().copied().ok_or(Malformed)
    }

    fn number(&mut self) -> Read<u16> {
        let high = self.byte()?;
        Ok(u16::from_be_bytes([high, self.byte()?]))
    }

    /// Reads a packet identifier, which is never 0.
    fn id(&mut self) -> Read<u16> {
        match self.number()? {
            0 => Err(Malformed),
            id => Ok(id),
        }
    }

    fn text(&mut self) -> Read<&'a [u8]> {
        let length = self.number()?;
        self.take(length.into())
    }

    fn properties(&mut self) -> Read<Self> {
        let (count, header) = length(self.0)?.ok_or(Malformed)?;
        self.take(header)?;
        self.take(count).map(Self)
    }

    fn skip_properties(&mut self, version: Version) -> Read<()> {
        if version == Version::V5 {
            self.properties()?;
        }
        Ok(())
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}
