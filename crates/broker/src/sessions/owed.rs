//! Wills that have left their session and are not on disk: they found it full, or nobody knows yet.
//!
//! Invariant: a Will stands in the table of Wills until it is published for good, whatever becomes of its client; what a
//! later connection of that client has put there stays.

use std::sync::Arc;

use bytestring::ByteString;
use crosspoint_protocol::{Message, Now, QoS};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    durable::{Changes, Commit, Outcome, RETAINED, WILLS},
    session::{Parked, Session},
    shared::{BROKER_ITSELF, Shared},
    turn::Turn,
    will::Testament,
    workspace::Workspace,
};

/// The Wills that are owed.
#[derive(Debug, Default)]
pub(crate) struct Owed {
    wills: Mutex<Vec<OwedWill>>,
    /// There is the first one.
    begun: Notify,
}

/// A Will that is owed.
#[derive(Debug)]
struct OwedWill {
    client_id: ByteString,
    /// Whether the table of Wills has it.
    is_stored: bool,
    stage: Stage,
}

/// How far it has come.
#[derive(Debug)]
enum Stage {
    /// It was due while the disk was full, and its session has ended.
    Due(Arc<Testament>),
    /// It has reached everybody who is served from memory.
    Sent(Sent),
}

/// What is on its way to the disk, to be handed in again if that was full.
#[derive(Debug)]
struct Sent {
    message: Message,
    /// The queues that it goes to.
    changes: Changes,
    commit: Arc<Commit>,
}

impl Owed {
    pub(crate) fn is_empty(&self) -> bool {
        self.wills.lock().is_empty()
    }

    /// Waits until there is one where there was none.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: ask [`is_empty`](Self::is_empty) before waiting.
    pub(crate) async fn begun(&self) {
        self.begun.notified().await;
    }

    fn add(&self, will: OwedWill) {
        let mut wills = self.wills.lock();
        wills.push(will);
        if wills.len() == 1 {
            self.begun.notify_one();
        }
    }
}

impl Shared {
    /// Publishes a Will, and takes it out of the store in the same batch. `state` is the session's: nobody leaves
    /// another Will there meanwhile. Returns whether it was: not while the disk is full.
    pub(super) fn publish_will(
        &self,
        session: &Session,
        state: &mut Parked,
        will: &Testament,
        now: Now,
    ) -> bool {
        let message = will.message(now);
        if message.qos() != QoS::AtMostOnce && self.is_store_full() {
            return false;
        }
        let is_stored = std::mem::take(&mut state.has_stored_will);
        let sent = self.send_will(message, &session.client_id, is_stored, now);
        let owed =
            |sent| OwedWill { client_id: session.client_id.clone(), is_stored, stage: Stage::Sent(sent) };
        sent.map(owed).into_iter().for_each(|will| self.owed.add(will));
        true
    }

    /// Lets a Will be owed for which there is no room, although its session ends.
    pub(super) fn owe_will(&self, session: &Session, state: &mut Parked) {
        let Some(pending) = state.will.take() else { return };
        let is_stored = std::mem::take(&mut state.has_stored_will);
        let client_id = session.client_id.clone();
        self.owed.add(OwedWill { client_id, is_stored, stage: Stage::Due(pending.will) });
    }

    /// Delivers a Will; returns what may be refused of what that changes on disk.
    fn send_will(&self, message: Message, client_id: &ByteString, is_stored: bool, now: Now) -> Option<Sent> {
        let (changes, commit) = Workspace::with(|workspace| {
            let mut turn = Turn::new(self, usize::MAX, workspace, now);
            turn.changes().hurry();
            turn.publish_message(&message, message.qos(), message.retain(), BROKER_ITSELF);
            let changes = turn.changes().clone();
            if is_stored {
                turn.changes().delete(WILLS, client_id.as_bytes().to_vec().into());
            }
            (changes, turn.end())
        });
        let is_kept = message.qos() != QoS::AtMostOnce && (!changes.is_empty() || message.retain());
        is_kept.then_some(commit).flatten().map(|commit| Sent { message, changes, commit })
    }

    /// Looks after the Wills that are owed: to be called now and then while there are any.
    pub(crate) fn pay_wills(&self, now: Now) {
        let wills = std::mem::take(&mut *self.owed.wills.lock());
        let left: Vec<OwedWill> = wills.into_iter().filter_map(|will| self.pay_will(will, now)).collect();
        self.owed.wills.lock().extend(left);
    }

    /// Returns the Will if it is still owed.
    fn pay_will(&self, will: OwedWill, now: Now) -> Option<OwedWill> {
        if let Stage::Sent(sent) = &will.stage {
            match sent.commit.outcome() {
                Some(Outcome::Full) => {}
                // Of what is broken, the next start knows more.
                Some(Outcome::Durable | Outcome::Broken) => return None,
                None => return Some(will),
            }
        }
        if self.is_store_full() {
            return Some(will);
        }
        let OwedWill { client_id, is_stored, stage } = will;
        // Nobody opens a session of that client meanwhile, with a Will of its own.
        let sessions = self.sessions.by_client_id.lock();
        let state = sessions.get(&client_id).map(|session| session.state.lock());
        let is_replaced = state.as_ref().is_some_and(|state| state.has_stored_will);
        let is_stored = is_stored && !is_replaced;
        let sent = match stage {
            Stage::Due(testament) => self.send_will(testament.message(now), &client_id, is_stored, now),
            Stage::Sent(sent) => self.send_again(sent, &client_id, is_stored),
        };
        drop(state);
        drop(sessions);
        sent.map(|sent| OwedWill { client_id, is_stored, stage: Stage::Sent(sent) })
    }

    /// Hands in once more what was refused: whoever is served from memory has it already.
    fn send_again(&self, sent: Sent, client_id: &ByteString, is_stored: bool) -> Option<Sent> {
        let mut changes = sent.changes.clone();
        if is_stored {
            changes.delete(WILLS, client_id.as_bytes().to_vec().into());
        }
        let router = self.router.read();
        let retained = router.retained.lock();
        if sent.message.retain() && retained.is_kept(&sent.message) {
            let mut stored = Vec::new();
            sent.message.to_stored(&mut stored);
            changes.put(RETAINED, sent.message.topic().as_bytes().to_vec().into(), stored);
        }
        let commit = self.commit(&mut changes)?;
        drop(retained);
        drop(router);
        Some(Sent { commit, ..sent })
    }
}
