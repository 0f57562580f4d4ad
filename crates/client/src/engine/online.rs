//! One connection, from CONNECT to its end.

mod asking;
mod authenticating;
mod ending;
mod events;
mod returning;
mod watching;

use std::{
    io,
    sync::Arc,
    task::{Context, Poll},
};

use crosspoint_net::Spoken;
use crosspoint_protocol::{
    Now, ReasonCode, Version,
    connection::{ClientConnection, Delta, End, Output},
    packet::{ConnAck, Disconnect},
};

pub(super) use self::authenticating::{Authenticating, Hashed};
use self::{returning::Returning, watching::AckDeadline};
use super::{
    Engine, Link,
    arrivals::Room,
    dialling::has_exactly_once,
    wire::{Moved, Wire},
};
use crate::{
    BridgeBit, ByteStream, Cause, NO_COOKIE, SaveReceipt, SessionChange, offers::Decision, shared::Inbox,
    version_choice::Dialect,
};

/// Bytes waiting for a server that does not read, at which the connection ends.
const TRANSMIT_BYTES_MAX: usize = 16 << 20;

/// How often it is looked whether a due step to a higher version can be made, in milliseconds.
const UPWARD_CHECK_MS: u64 = 1_000;

/// One connection.
pub(super) struct Online {
    core: ClientConnection,
    wire: Wire,
    server: String,
    version: Version,
    /// CONNECT had the bridge bit.
    is_bridge: bool,
    /// When CONNACK said yes.
    connected_ms: Option<u64>,
    /// The core's next deadline.
    deadline_ms: Option<u64>,
    /// The number of the last delta that the core gave.
    sequence: u64,
    /// Reading is paused for the program's sake, but the server's answer to a ping is awaited.
    is_probing: bool,
    /// What was read last was read although the delivery queue was full, for an answer that was awaited.
    is_crowded: bool,
    /// Our own name for why it ends, where the core knows less.
    cause: Option<Cause>,
    refusal: Option<Box<ConnAck>>,
    /// What the server's first bytes look like, when they are not MQTT.
    spoken: Option<Spoken>,
    has_read: bool,
    end: Option<End>,
    /// Until when the last bytes may leave, once it has ended.
    last_bytes_by_ms: Option<u64>,
    stream_error: Option<io::Error>,
    /// The stream is gone: nothing can leave any more.
    is_gone: bool,
    upward_check_ms: u64,
    returning: Returning,
    acks: AckDeadline,
    /// Reading has paused since the canary last went out.
    has_paused: bool,
    pub(super) authenticating: Option<Box<Authenticating>>,
}

impl Online {
    pub(super) fn new(
        core: ClientConnection,
        stream: Box<dyn ByteStream>,
        server: String,
        Dialect { version, is_bridge }: Dialect,
        ack_deadline_ms: u64,
    ) -> Self {
        Self {
            core,
            wire: Wire::new(stream),
            server,
            version,
            is_bridge,
            connected_ms: None,
            deadline_ms: None,
            sequence: 0,
            is_probing: false,
            is_crowded: false,
            cause: None,
            refusal: None,
            spoken: None,
            has_read: false,
            end: None,
            last_bytes_by_ms: None,
            stream_error: None,
            is_gone: false,
            upward_check_ms: 0,
            returning: Returning::No,
            acks: AckDeadline::new(ack_deadline_ms),
            has_paused: false,
            authenticating: None,
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        self.core.is_open()
    }

    pub(super) const fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Tells whether nothing more can be done with it.
    pub(super) fn is_over(&self, now: Now) -> bool {
        self.has_ended()
            && (self.is_gone || self.last_bytes_by_ms.is_none_or(|by_ms| by_ms <= now.monotonic_ms))
    }

    pub(super) fn deadline_ms(
        &self,
        upward_at_ms: Option<u64>,
        look_due_ms: Option<u64>,
        canary_due_ms: Option<u64>,
    ) -> Option<u64> {
        if self.has_ended() {
            return self.last_bytes_by_ms;
        }
        let upward_ms = upward_at_ms.filter(|_| self.is_open()).map(|at_ms| at_ms.max(self.upward_check_ms));
        let return_ms = self.return_due_ms(look_due_ms).filter(|_| self.is_open());
        [
            self.deadline_ms,
            upward_ms,
            return_ms,
            self.acks.due_ms(),
            canary_due_ms,
            self.authentication_due_ms(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub(super) fn poll_move(&mut self, cx: &mut Context<'_>, may_read: bool) -> Poll<Moved> {
        let is_last = self.has_ended();
        self.has_paused |= !may_read;
        self.wire.poll_move(cx, self.core.transmit(), may_read && !is_last, is_last)
    }

    /// Brings what the stream did to the core.
    ///
    /// `is_crowded` says whether the delivery queue was full before.
    pub(super) fn on_moved(&mut self, moved: Moved, is_crowded: bool, now: Now) {
        match moved {
            Moved::Bytes { read, has_written } => {
                if has_written {
                    self.core.handle_sent(now);
                }
                if let Some(chunk) = read {
                    if !std::mem::replace(&mut self.has_read, true) {
                        self.spoken = Spoken::guess(&chunk);
                    }
                    self.is_probing = false;
                    self.is_crowded = is_crowded;
                    self.core.handle_input(chunk, now);
                }
            }
            Moved::End | Moved::Shut => {
                self.is_gone = true;
                self.core.handle_eof();
            }
            Moved::Failed(error) => {
                self.is_gone = true;
                self.stream_error = Some(error);
                self.core.handle_eof();
            }
        }
    }

    /// Ends the connection for a reason of ours.
    fn end_for(&mut self, cause: Cause, reason: ReasonCode) {
        self.cause.get_or_insert(cause);
        self.core.disconnect(Disconnect::new(reason));
    }
}

impl Engine {
    /// Tells whether the stream may be read now.
    ///
    /// It pauses while the program does not take its deliveries, but never while we wait for an answer ourselves:
    /// the answer may stand behind the messages, and the program may wait for it (C8).
    pub(super) fn may_read(&self) -> bool {
        let Link::Online(online) = &self.link else { return true };
        if !online.is_open()
            || online.is_probing
            || online.is_authenticating()
            || self.subscriptions.awaits_answer()
            || self.sending.len() > 0
        {
            return true;
        }
        let is_full = self.arrivals.room(&self.shared.offers) != Room::Free;
        if is_full {
            self.arrivals.wake_at_half(&self.shared.offers);
        }
        !is_full && !self.arrivals.has_too_many_undecided()
    }

    pub(super) fn take_online(&mut self, inbox: Inbox, online: &mut Online, now: Now) {
        online.core.set_in_flight_maximum(self.in_flight_max(online.version));
        for decision in inbox.decisions {
            match decision {
                Decision::Accept(token) => {
                    online.core.accept(token);
                    self.arrivals.on_decided();
                }
                Decision::Reject(token, reason) => {
                    online.core.reject(token, reason);
                    self.arrivals.on_decided();
                }
                Decision::Again(offer) => self.arrivals.on_dropped(offer, &self.shared, now),
            }
        }
        for saved in inbox.saved {
            if saved.epoch != self.epoch {
                continue;
            }
            if saved.is_durable {
                online.core.handle_persisted(saved.sequence, now);
            } else {
                online.end_for(Cause::Store, ReasonCode::ImplementationSpecificError);
            }
        }
        for id in inbox.given_up.into_iter().filter_map(|cookie| self.sending.take_aside(cookie)) {
            online.core.give_up(id, NO_COOKIE);
        }
        self.take_requests(inbox.requests);
        self.authenticate_again(online, now);
    }

    pub(super) fn turn_online(&mut self, online: &mut Online, now: Now) {
        self.arrivals.offer_again(&self.shared, now);
        self.close_online(online, now);
        self.step_up(online, now);
        self.drop_bridge_bit(online);
        self.look_at_first(online, now);
        self.keep_alive(online, now);
        loop {
            self.drain(online, now);
            self.return_to_first(online);
            if online.has_ended() || !(self.ask(online) | self.pump(online, now)) {
                break;
            }
        }
        self.watch_acks(online, now);
        self.watch_canary(online, now);
        self.watch_authentication(online, now);
        self.sending.tell(online.wire.flushed, &self.shared.counters);
        for (cookie, outcome) in self.sending.take_restored() {
            self.store.ended(cookie, outcome);
        }
        // That may have been the last that closing waits for, and nothing else might wake us to notice.
        self.close_online(online, now);
        self.drain(online, now);
        if online.core.transmit().len() > TRANSMIT_BYTES_MAX.max(2 * self.options.packet_bytes_max as usize)
            && !online.has_ended()
        {
            online.cause = Some(Cause::ServerDoesNotRead);
            online.is_gone = true;
            online.core.handle_eof();
            self.drain(online, now);
        }
    }

    fn close_online(&mut self, online: &mut Online, now: Now) {
        if !online.has_ended() && self.is_done_closing(now) {
            online.core.disconnect(Disconnect::new(ReasonCode::Success));
        }
    }

    fn step_up(&mut self, online: &mut Online, now: Now) {
        let is_due = self.attempts.upward_at_ms().is_some_and(|at_ms| at_ms <= now.monotonic_ms);
        if !is_due || !online.is_open() || self.close_by_ms.is_some() {
            return;
        }
        online.upward_check_ms = now.monotonic_ms + UPWARD_CHECK_MS;
        if !has_exactly_once(online.core.session()) {
            online.end_for(Cause::VersionUpward, ReasonCode::Success);
        }
    }

    /// Ends a connection that a server keeps our own messages from, when that is no longer wanted.
    fn drop_bridge_bit(&self, online: &mut Online) {
        if online.is_bridge && online.is_open() && self.bridge_bit() == BridgeBit::Never {
            online.end_for(Cause::WithoutBridgeBit, ReasonCode::Success);
        }
    }

    fn keep_alive(&self, online: &mut Online, now: Now) {
        let is_due = online.deadline_ms.is_some_and(|deadline_ms| deadline_ms <= now.monotonic_ms);
        if is_due {
            online.core.handle_timeout(now);
            // While reading is paused the answer would not be seen: read on until something came.
            online.is_probing = true;
        }
    }

    /// Drains the core, and gives what it wants stored to the store.
    fn drain(&mut self, online: &mut Online, now: Now) {
        loop {
            match online.core.poll_output(now) {
                Output::Persist(sequence, delta) => {
                    online.sequence = sequence;
                    if watching::is_answer(&delta) {
                        online.acks.on_progress();
                    }
                    self.changes.push(SessionChange::Exchange(self.with_cookie(delta)));
                }
                Output::Event(event) => self.on_event(online, event, now),
                Output::Wait(deadline_ms) => {
                    online.deadline_ms = deadline_ms;
                    if !self.save(online, now) {
                        return;
                    }
                }
                Output::Closed => {
                    online.deadline_ms = None;
                    self.save(online, now);
                    return;
                }
            }
        }
    }

    /// Gives changes to the store; returns whether they are durable at once.
    fn save(&mut self, online: &mut Online, now: Now) -> bool {
        if let Some(subscriptions) = self.subscriptions.take_changed() {
            self.changes.push(SessionChange::Subscriptions(subscriptions));
        }
        if self.changes.is_empty() {
            return false;
        }
        let receipt = SaveReceipt::new(Arc::clone(&self.shared), self.epoch, online.sequence);
        match self.store.save(std::mem::take(&mut self.changes), receipt) {
            Some(receipt) => {
                online.core.handle_persisted(receipt.into_saved().sequence, now);
                true
            }
            None => false,
        }
    }

    /// Puts the cookie of the publication into a delta, in the place of our own.
    fn with_cookie(&self, delta: Delta) -> Delta {
        match delta {
            Delta::Assigned { id, cookie } => Delta::Assigned { id, cookie: self.sending.cookie(cookie) },
            Delta::Finished { id, cookie } => Delta::Finished { id, cookie: self.sending.cookie(cookie) },
            other => other,
        }
    }

    fn pump(&mut self, online: &mut Online, now: Now) -> bool {
        online.is_open()
            && self.sending.pump(&mut online.core, online.wire.written, now, &self.shared.counters)
    }
}
