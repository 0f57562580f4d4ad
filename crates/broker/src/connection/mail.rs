//! What others have left for the client, and the retained messages that go before.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    task::Context,
};

use crosspoint_protocol::{Message, Now, QoS, ReasonCode, Transmit, session::Outgoing};

use super::{Connection, Rest, Stage};
use crate::{
    counters::count,
    mailbox::{Command, Entry, UNSTORED},
    session::Session,
    workspace::Workspace,
};

/// No more is taken from the mailbox while so much waits for the socket, in bytes.
const TRANSMIT_FULL_BYTES: usize = 256 * 1024;

/// The retained messages that one Subscription is still to be sent.
pub(super) struct Backlog {
    pub(super) messages: std::vec::IntoIter<Message>,
    pub(super) qos: QoS,
    /// The Subscription Identifier; 0 is none.
    pub(super) id: u32,
}

impl Backlog {
    fn entry(&self, message: Message) -> Entry {
        let qos = message.qos().min(self.qos);
        let subscription_ids = (self.id != 0).then_some(self.id).into_iter().collect();
        Entry { subscription_ids, ..Entry::new(message, qos, true) }
    }
}

impl Connection {
    /// Takes what others have left, as far as window and socket allow. What the window holds back goes on with the
    /// client's next acknowledgement.
    pub(super) fn take_mailbox(&mut self, cx: &mut Context<'_>, workspace: &mut Workspace, now: Now) -> Rest {
        let Stage::Open(member) = &self.stage else { return Rest::Nothing };
        let session = member.session.clone();
        self.poll_reading(cx);
        // SUBACK comes before the messages of its Subscriptions.
        let is_subscribing = self.is_subscribing();
        let mut sent = if is_subscribing { 0 } else { self.send_backlog(now) };
        let is_behind = is_subscribing || !self.backlog.is_empty();
        let mut wanted = None;
        let quota = self.core.send_quota();
        let mut bytes = self.core.transmit().len();
        let mut entries = std::mem::take(&mut workspace.entries);
        let mut mailbox = session.mailbox.lock();
        let mut direct = Transmit::default();
        let takes_direct = !is_behind && bytes < TRANSMIT_FULL_BYTES;
        if takes_direct {
            sent += mailbox.take_direct(&mut direct);
            bytes += direct.len();
        }
        while !is_behind
            && entries.len() < quota
            && bytes < TRANSMIT_FULL_BYTES
            && let Some(entry) = mailbox.take(&mut wanted)
        {
            bytes += entry.message.len();
            entries.push(entry);
        }
        let is_left = is_behind || !mailbox.is_empty();
        let command = mailbox.command.take();
        mailbox.settle(cx.waker());
        drop(mailbox);
        self.core.transmit().append(&mut direct);
        workspace.reclaim(&mut direct);
        if takes_direct {
            self.send_unsubacks();
        }
        let taken = entries.len();
        let given = entries.drain(..).map(|entry| usize::from(self.send(entry, now))).sum::<usize>();
        sent += given;
        workspace.entries = entries;
        self.settle_finished();
        if let Some(wanted) = wanted {
            self.read_back(wanted, cx);
        }
        count(&self.shared.counters(self.worker).messages_sent, sent);
        if let Some(command) = command {
            self.obey(command);
        }
        if bytes >= TRANSMIT_FULL_BYTES && (is_left || !self.unsubacks.is_empty()) {
            return Rest::Room;
        }
        // What was taken and not sent has left its window to what is behind it, and brings no acknowledgement.
        if given < taken && is_left { Rest::Turn } else { Rest::Nothing }
    }

    fn obey(&mut self, command: Command) {
        let Stage::Open(member) = &mut self.stage else { return };
        match command {
            Command::Disconnect(reason) => self.core.disconnect(reason),
            Command::Expel => {
                member.session_expiry_s = 0;
                self.core.disconnect(ReasonCode::NotAuthorized);
            }
            Command::Reauthorize => {
                let session = &member.session;
                let access = &self.shared.access;
                if session.username.is_none() && !self.entrance.anonymous.load(Relaxed) {
                    member.session_expiry_s = 0;
                    return self.core.disconnect(ReasonCode::NotAuthorized);
                }
                if let Some(now) = access.permissions_for(session.username.as_deref(), &session.client_id) {
                    member.permissions = now;
                }
            }
        }
    }

    /// Sends retained messages as far as window and socket allow, and returns how many.
    fn send_backlog(&mut self, now: Now) -> usize {
        let mut sent = 0;
        while let Some(backlog) = self.backlog.front_mut() {
            let Some(message) = backlog.messages.as_slice().first() else {
                self.backlog.pop_front();
                continue;
            };
            let qos = message.qos().min(backlog.qos);
            let is_full = self.core.transmit().len() >= TRANSMIT_FULL_BYTES;
            if is_full || (qos != QoS::AtMostOnce && self.core.send_quota() == 0) {
                break;
            }
            let Some(message) = backlog.messages.next() else { break };
            let entry = backlog.entry(message);
            sent += usize::from(self.send(entry, now));
        }
        sent
    }

    /// Sends a message and tells whether it was one to be sent. There is quota for it.
    fn send(&mut self, entry: Entry, now: Now) -> bool {
        let counters = self.shared.counters(self.worker);
        let Entry { message, subscription_ids, qos, retain, position } = entry;
        if message.is_expired(now) {
            count(&counters.dropped_expired, 1);
            self.drop_stored(position);
            return false;
        }
        let outgoing = Outgoing { message, subscription_ids, cookie: position, qos, retain };
        let is_sent = self.core.publish(outgoing, now).is_ok();
        if !is_sent {
            // Quota was asked for before; what is left is a packet that the client does not accept.
            count(&counters.dropped_too_large, 1);
            self.drop_stored(position);
        }
        is_sent
    }

    fn drop_stored(&mut self, position: u64) {
        if position != UNSTORED {
            self.owed.get_or_insert_default().finish(position);
        }
    }

    /// Sends what others have left encoded, however much it is.
    pub(super) fn send_direct(&mut self, session: &Session) {
        let mut direct = Transmit::default();
        let sent = session.mailbox.lock().take_direct(&mut direct);
        self.core.transmit().append(&mut direct);
        count(&self.shared.counters(self.worker).messages_sent, sent);
    }

    pub(super) fn send_unsubacks(&mut self) {
        for (packet_id, reasons) in std::mem::take(&mut self.unsubacks) {
            self.core.unsuback(packet_id, reasons);
        }
    }

    /// Keeps the retained messages that the client has not been sent yet: it will not subscribe again.
    pub(super) fn keep_backlog(&mut self, session: &Arc<Session>) {
        let mut mailbox = session.mailbox.lock();
        while let Some(mut backlog) = self.backlog.pop_back() {
            while let Some(message) = backlog.messages.next_back() {
                let entry = backlog.entry(message);
                if entry.qos != QoS::AtMostOnce {
                    mailbox.push_front(entry);
                }
            }
        }
    }
}
