//! Whether both ends of a connection keep to the window that the other one has given: read off the wire.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::device::POISON;

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
    /// Whether the dialled side can bear every message.
    bears: Arc<AtomicBool>,
    /// Whether the dialled side has seen one that it cannot bear.
    pub(super) is_sick: bool,
}

impl Watch {
    pub(super) fn new(windows: Windows, bears: Arc<AtomicBool>) -> Self {
        Self { windows, begun: Default::default(), open: Default::default(), bears, is_sick: false }
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
                self.is_sick |= side == 0 && !self.bears.load(Relaxed) && is_poison(body);
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

fn is_poison(body: &[u8]) -> bool {
    body.windows(POISON.len()).any(|part| part == POISON.as_bytes())
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

    fn watching(windows: Windows) -> Watch {
        Watch::new(windows, Arc::new(AtomicBool::new(true)))
    }

    fn publish(id: u8) -> [u8; 7] {
        [0x32, 5, 0, 1, b'a', 0, id]
    }

    #[test]
    fn what_is_open_is_what_was_not_ended_however_it_is_cut() {
        let mut watch = watching([2, 1]);
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
    fn poison_makes_sick_once_it_is_whole_and_where_it_cannot_be_borne() {
        let poison = [&[0x32, 11, 0, 1, b'a', 0, 1], POISON.as_bytes()].concat();
        for (bears, side) in [(true, 0), (false, 1), (false, 0)] {
            let mut watch = Watch::new([2, 2], Arc::new(AtomicBool::new(bears)));
            watch.saw(side, &poison[..9]);
            assert!(!watch.is_sick);
            watch.saw(side, &poison[9..]);
            assert_eq!(watch.is_sick, !bears && side == 0);
        }
    }

    #[test]
    fn a_pubrec_ends_nothing_unless_it_refuses() {
        let mut watch = watching([1, 1]);
        watch.saw(0, &publish(1));
        watch.saw(1, &[0x50, 2, 0, 1]);
        assert!(watch.saw(0, &publish(2)).is_some());
        let mut watch = watching([1, 1]);
        watch.saw(0, &publish(1));
        watch.saw(1, &[0x50, 4, 0, 1, 0x97, 0]);
        assert!(watch.saw(0, &publish(2)).is_none());
    }
}
