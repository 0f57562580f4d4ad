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
    /// How many of the exchanges count against our Receive Maximum.
    counted: usize,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    stage: HeldStage,
    /// Whether its PUBLISH came on this connection: only those count against our Receive Maximum.
    is_counted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HeldStage {
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

/// What a PUBREL meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Release {
    /// The message was accepted.
    Recorded,
    /// The message was offered and is not decided, so PUBREC has not been sent.
    Undecided,
    /// Nothing has this identifier.
    Unknown,
}

impl Incoming {
    /// Notes that an identifier was recorded before a restart.
    pub fn restore(&mut self, id: IncomingId) {
        self.held.insert(id, Held { stage: HeldStage::Recorded, is_counted: false });
    }

    /// Decides an offered PUBLISH whose connection has ended. A token that is not known is ignored.
    ///
    /// While a connection owns the session, decide with that connection's `accept` and `reject` instead.
    pub fn decide(&mut self, token: Token, reason: ReasonCode) {
        let offered =
            self.held.iter().find(|(_, held)| held.stage == HeldStage::Offered(token)).map(|(id, _)| *id);
        if let Some(id) = offered {
            self.decide_id(id, token, reason);
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
        self.held.iter().filter(|(_, held)| held.stage == HeldStage::Recorded).map(|(id, _)| *id)
    }

    /// Decides the PUBLISH that was offered under this identifier and token; the identifier of a rejected one is
    /// free again.
    pub(crate) fn decide_id(&mut self, id: IncomingId, token: Token, reason: ReasonCode) {
        let Some(held) = self.held.get_mut(&id).filter(|held| held.stage == HeldStage::Offered(token)) else {
            return;
        };
        if reason.is_error() {
            self.release(id);
        } else {
            held.stage = HeldStage::Recorded;
        }
    }

    pub(crate) const fn new_token(&mut self) -> Token {
        self.tokens += 1;
        Token(self.tokens)
    }

    /// Forgets what counted on the connection before.
    pub(crate) fn begin_connection(&mut self) {
        self.counted = 0;
        for held in self.held.values_mut() {
            held.is_counted = false;
        }
    }

    /// Returns how many exchanges count against our Receive Maximum.
    pub(crate) const fn counted(&self) -> usize {
        self.counted
    }

    pub(crate) fn offer(&mut self, id: IncomingId) -> Offer {
        if let Some(held) = self.held.get_mut(&id) {
            self.counted += usize::from(!held.is_counted);
            held.is_counted = true;
            return match held.stage {
                HeldStage::Offered(token) => Offer::Pending(token),
                HeldStage::Recorded => Offer::Known,
            };
        }
        let token = self.new_token();
        self.held.insert(id, Held { stage: HeldStage::Offered(token), is_counted: true });
        self.counted += 1;
        Offer::New(token)
    }

    /// Tells what a PUBREL with this identifier meets.
    pub(crate) fn ask_release(&self, id: IncomingId) -> Release {
        match self.held.get(&id).map(|held| held.stage) {
            Some(HeldStage::Recorded) => Release::Recorded,
            Some(HeldStage::Offered(_)) => Release::Undecided,
            None => Release::Unknown,
        }
    }

    /// Forgets an identifier.
    pub(crate) fn release(&mut self, id: IncomingId) {
        if let Some(held) = self.held.remove(&id) {
            self.counted -= usize::from(held.is_counted);
        }
    }

    /// Forgets everything: the session is lost.
    pub(crate) fn clear(&mut self) {
        self.held.clear();
        self.counted = 0;
    }
}
