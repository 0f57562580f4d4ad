use std::collections::HashMap;

use rustc_hash::FxBuildHasher;

use super::IncomingId;
use crate::ReasonCode;

/// Names one incoming PUBLISH at QoS 1 or 2 until it is accepted or rejected. Unique within a session, also across
/// its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(u64);

/// The unfinished incoming exchanges at QoS 2.
#[derive(Debug, Default)]
pub struct Incoming {
    held: HashMap<IncomingId, Held, FxBuildHasher>,
    tokens: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    /// Offered to the driver, which has not decided.
    Offered(Token),
    /// Accepted; PUBREC may have been sent.
    Recorded,
}

/// How an incoming PUBLISH at QoS 2 is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// It is new: deliver it.
    New(Token),
    /// It is being decided already: do not deliver it again, answer when that decision comes.
    Pending(Token),
    /// It was accepted before: do not deliver it again, answer PUBREC.
    Known,
}

impl Incoming {
    /// Notes that an identifier was recorded before a restart.
    pub fn restore(&mut self, id: IncomingId) {
        self.held.insert(id, Held::Recorded);
    }

    /// Decides an offered PUBLISH whose connection has ended. A token that is not known is ignored.
    ///
    /// While a connection owns the session, decide with that connection's `accept` and `reject` instead.
    pub fn decide(&mut self, token: Token, reason: ReasonCode) {
        let offered = self.held.iter().find(|(_, held)| **held == Held::Offered(token)).map(|(id, _)| *id);
        match offered {
            Some(id) if reason.is_error() => self.reject(id, token),
            Some(id) => self.accept(id, token),
            None => {}
        }
    }

    pub(crate) fn accept(&mut self, id: IncomingId, token: Token) {
        if let Some(held) = self.held.get_mut(&id)
            && *held == Held::Offered(token)
        {
            *held = Held::Recorded;
        }
    }

    /// Frees the identifier of a PUBLISH that was not accepted.
    pub(crate) fn reject(&mut self, id: IncomingId, token: Token) {
        if self.held.get(&id) == Some(&Held::Offered(token)) {
            self.held.remove(&id);
        }
    }

    /// Returns how many exchanges are unfinished.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Tells whether none is unfinished.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Returns the identifiers that have been accepted and not released, in no order.
    pub fn recorded(&self) -> impl Iterator<Item = IncomingId> + '_ {
        self.held.iter().filter(|(_, held)| **held == Held::Recorded).map(|(id, _)| *id)
    }

    pub(crate) const fn new_token(&mut self) -> Token {
        self.tokens += 1;
        Token(self.tokens)
    }

    pub(crate) fn offer(&mut self, id: IncomingId) -> Offer {
        match self.held.get(&id) {
            Some(Held::Offered(token)) => Offer::Pending(*token),
            Some(Held::Recorded) => Offer::Known,
            None => {
                let token = self.new_token();
                self.held.insert(id, Held::Offered(token));
                Offer::New(token)
            }
        }
    }

    /// Forgets an identifier at PUBREL and tells whether it was known.
    pub(crate) fn release(&mut self, id: IncomingId) -> bool {
        self.held.remove(&id).is_some()
    }

    /// Forgets what was offered and never decided: the session is lost.
    pub(crate) fn clear(&mut self) {
        self.held.clear();
    }
}
