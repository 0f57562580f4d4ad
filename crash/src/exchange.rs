//! A client's own state of its session: what it has sent and received and not yet finished.
//!
//! It lives in the test, which does not crash, and so it survives every crash of the broker. No socket is known here.

use std::collections::{HashMap, VecDeque};

/// How far an exchange of ours has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// PUBLISH is sent; PUBACK or PUBREC is to come.
    Published,
    /// PUBREC has come and PUBREL is sent; PUBCOMP is to come.
    Released,
}

/// One unfinished exchange of ours.
#[derive(Debug)]
pub(crate) struct Exchange<M> {
    pub(crate) id: u16,
    pub(crate) message: M,
    pub(crate) stage: Stage,
}

/// What a client has sent and the broker has not finished, in the order of sending.
///
/// An identifier that is free again is the next to be used, so that whatever the broker has not quite forgotten about
/// it comes to light.
#[derive(Debug)]
pub(crate) struct Outgoing<M> {
    unfinished: VecDeque<Exchange<M>>,
    free: Vec<u16>,
    used_max: u16,
}

impl<M> Outgoing<M> {
    pub(crate) const fn new() -> Self {
        Self { unfinished: VecDeque::new(), free: Vec::new(), used_max: 0 }
    }

    /// Begins an exchange and returns its identifier.
    pub(crate) fn begin(&mut self, message: M) -> u16 {
        let id = self.free.pop().unwrap_or_else(|| {
            self.used_max += 1;
            self.used_max
        });
        self.unfinished.push_back(Exchange { id, message, stage: Stage::Published });
        id
    }

    /// Notes a PUBACK; returns the message that is acknowledged.
    pub(crate) fn on_puback(&mut self, id: u16) -> Option<M> {
        self.end(id, Stage::Published)
    }

    /// Notes a PUBREC; returns the message when this acknowledges it, and not when it was acknowledged before.
    pub(crate) fn on_pubrec(&mut self, id: u16) -> Option<&M> {
        let exchange = self.unfinished.iter_mut().find(|exchange| exchange.id == id)?;
        let is_first = exchange.stage == Stage::Published;
        exchange.stage = Stage::Released;
        is_first.then_some(&exchange.message)
    }

    /// Notes a PUBCOMP; returns the message whose exchange it ends.
    pub(crate) fn on_pubcomp(&mut self, id: u16) -> Option<M> {
        self.end(id, Stage::Released)
    }

    /// Returns what must be sent again on a new connection, in order.
    pub(crate) fn unfinished(&self) -> impl Iterator<Item = &Exchange<M>> {
        self.unfinished.iter()
    }

    /// Returns how many exchanges are unfinished.
    pub(crate) fn len(&self) -> usize {
        self.unfinished.len()
    }

    fn end(&mut self, id: u16, stage: Stage) -> Option<M> {
        let place =
            self.unfinished.iter().position(|exchange| exchange.id == id && exchange.stage == stage)?;
        self.free.push(id);
        self.unfinished.remove(place).map(|exchange| exchange.message)
    }
}

/// What a PUBLISH at QoS 2 is to its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receipt {
    /// A message to take over.
    New,
    /// The same again, before its PUBREL: taken over already.
    Again,
    /// Another message under an identifier that was not released. By the specification the receiver takes it for the
    /// one before, so it is lost.
    Clash,
}

/// Which messages at QoS 2 a client has taken over whose PUBREL has not come.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    unreleased: HashMap<u16, (usize, u64)>,
}

impl Incoming {
    /// Notes a PUBLISH at QoS 2 with what tells its message from others.
    pub(crate) fn on_publish(&mut self, id: u16, message: (usize, u64)) -> Receipt {
        match self.unreleased.get(&id) {
            None => {
                self.unreleased.insert(id, message);
                Receipt::New
            }
            Some(held) if *held == message => Receipt::Again,
            Some(_) => Receipt::Clash,
        }
    }

    /// Notes a PUBREL.
    pub(crate) fn on_pubrel(&mut self, id: u16) {
        self.unreleased.remove(&id);
    }

    /// Forgets everything, as a client must whose session the broker has forgotten.
    pub(crate) fn forget(&mut self) {
        self.unreleased.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(outgoing: &Outgoing<char>) -> Vec<(u16, char, Stage)> {
        outgoing.unfinished().map(|exchange| (exchange.id, exchange.message, exchange.stage)).collect()
    }

    #[test]
    fn what_is_unfinished_stays_in_the_order_of_sending() {
        let mut outgoing = Outgoing::new();
        let ids = ['a', 'b', 'c', 'd'].map(|message| outgoing.begin(message));
        assert_eq!(ids, [1, 2, 3, 4]);
        assert_eq!(outgoing.on_pubrec(3), Some(&'c'));
        assert_eq!(outgoing.on_puback(2), Some('b'));
        assert_eq!(
            state(&outgoing),
            [(1, 'a', Stage::Published), (3, 'c', Stage::Released), (4, 'd', Stage::Published)]
        );
    }

    #[test]
    fn an_identifier_is_used_again_at_once_and_not_before_its_end() {
        let mut outgoing = Outgoing::new();
        outgoing.begin('a');
        outgoing.begin('b');
        outgoing.on_pubrec(1);
        assert_eq!(outgoing.begin('c'), 3);
        assert_eq!(outgoing.on_pubcomp(1), Some('a'));
        assert_eq!(outgoing.begin('d'), 1);
        assert_eq!(state(&outgoing).last(), Some(&(1, 'd', Stage::Published)));
    }

    #[test]
    fn a_message_is_acknowledged_once() {
        let mut outgoing = Outgoing::new();
        outgoing.begin('a');
        assert_eq!(outgoing.on_pubrec(1), Some(&'a'));
        assert_eq!(outgoing.on_pubrec(1), None);
        // A PUBACK of an exchange at QoS 2 ends nothing, nor does a PUBCOMP that comes too early.
        assert_eq!(outgoing.on_puback(1), None);
        outgoing.begin('b');
        assert_eq!(outgoing.on_pubcomp(2), None);
        assert_eq!(outgoing.len(), 2);
    }

    #[test]
    fn the_same_before_its_release_is_no_new_message() {
        let mut incoming = Incoming::default();
        assert_eq!(incoming.on_publish(7, (0, 1)), Receipt::New);
        assert_eq!(incoming.on_publish(7, (0, 1)), Receipt::Again);
        assert_eq!(incoming.on_publish(7, (0, 2)), Receipt::Clash);
        incoming.on_pubrel(7);
        assert_eq!(incoming.on_publish(7, (0, 2)), Receipt::New);
        incoming.forget();
        assert_eq!(incoming.on_publish(7, (0, 2)), Receipt::New);
    }
}
