//! Whether both ends of a connection keep to the window that the other one has given: read off the wire.

use std::collections::BTreeSet;

/// How many messages at QoS 1 and 2 the dialling side may have unfinished, and how many the other one.
pub(super) type Windows = [u16; 2];

/// What a watcher of one connection knows.
#[derive(Debug)]
pub(super) struct Watch {
    windows: Windows,
    /// What each side has written and is no whole packet yet.
    begun: [Vec<u8>; 2],
    /// The identifiers of what each side has published, and the other one has not written the end of.
    open: [BTreeSet<u16>; 2],
}

impl Watch {
    pub(super) fn new(windows: Windows) -> Self {
        Self { windows, begun: Default::default(), open: Default::default() }
    }

    /// Takes what a side writes; tells what is wrong with it.
    ///
    /// A side may hear later of the end of a message than it was written, never before: so there are never fewer open
    /// than are counted here.
    pub(super) fn saw(&mut self, side: usize, bytes: &[u8]) -> Option<String> {
        self.begun.get_mut(side)?.extend_from_slice(bytes);
        let mut wrong = None;
        while let Some(packet) = self.begun.get_mut(side).and_then(take_packet) {
            wrong = wrong.or(self.on_packet(side, &packet));
        }
        wrong
    }

    fn on_packet(&mut self, side: usize, packet: &Packet) -> Option<String> {
        let Packet { first, body } = packet;
        let number = |at: usize| {
            let bytes = body.get(at..)?.first_chunk::<2>()?;
            Some(u16::from_be_bytes(*bytes))
        };
        let other = 1 - side;
        match first >> 4 {
            3 if first & 0b110 != 0 => {
                let id = number(2 + usize::from(number(0)?))?;
                let open = self.open.get_mut(side)?;
                open.insert(id);
                let (count, max) = (open.len(), usize::from(*self.windows.get(side)?));
                return (count > max).then(|| format!("{count} messages are in flight where {max} may be"));
            }
            4 | 7 => _ = self.open.get_mut(other)?.remove(&number(0)?),
            // A PUBREC that refuses is the end.
            5 if body.get(2).is_some_and(|reason| *reason >= 0x80) => {
                _ = self.open.get_mut(other)?.remove(&number(0)?);
            }
            _ => {}
        }
        None
    }
}

struct Packet {
    first: u8,
    body: Vec<u8>,
}

/// Takes the next packet that is whole.
fn take_packet(bytes: &mut Vec<u8>) -> Option<Packet> {
    let first = *bytes.first()?;
    let (mut length, mut header) = (0, 1);
    loop {
        let digit = *bytes.get(header)?;
        length |= usize::from(digit & 0x7f) << (7 * (header - 1));
        header += 1;
        if digit & 0x80 == 0 {
            break;
        }
    }
    let body = bytes.get(header..header + length)?.to_vec();
    bytes.drain(..header + length);
    Some(Packet { first, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(id: u8) -> [u8; 7] {
        [0x32, 5, 0, 1, b'a', 0, id]
    }

    #[test]
    fn what_is_open_is_what_was_not_ended_however_it_is_cut() {
        let mut watch = Watch::new([2, 1]);
        assert_eq!(watch.saw(0, &publish(1)[..3]), None);
        assert_eq!(watch.saw(0, &publish(1)[3..]), None);
        assert_eq!(watch.saw(0, &publish(1)), None, "the same again");
        assert_eq!(watch.saw(0, &publish(2)), None);
        assert_eq!(watch.saw(1, &publish(1)), None, "the other way is another window");
        assert_eq!(watch.saw(1, &[0x40, 2, 0, 1]), None);
        assert_eq!(watch.saw(0, &publish(3)), None);
        assert!(watch.saw(0, &publish(4)).unwrap().starts_with("3 messages"));
    }

    #[test]
    fn a_pubrec_ends_nothing_unless_it_refuses() {
        let mut watch = Watch::new([1, 1]);
        watch.saw(0, &publish(1));
        watch.saw(1, &[0x50, 2, 0, 1]);
        assert!(watch.saw(0, &publish(2)).is_some());
        let mut watch = Watch::new([1, 1]);
        watch.saw(0, &publish(1));
        watch.saw(1, &[0x50, 4, 0, 1, 0x97, 0]);
        assert!(watch.saw(0, &publish(2)).is_none());
    }
}
