//! One task a device: drives the server's end of one connection.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    io::IoSlice,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::BytesMut;
use crosspoint_net::Stream;
use crosspoint_protocol::{
    Message, Now, QoS, ReasonCode,
    connection::{AcceptConnect, End, EndCause, IncomingPublish, Output, ServerConnection, ServerEvent},
    packet::{Connect, Subscribe, Unsubscribe, Will},
    session::{Outgoing, SessionState},
};
use smallvec::SmallVec;
use tokio::{
    io::AsyncWrite,
    time::Sleep,
};
use tracing::{debug, info};

use crate::{
    access::{Permissions, Subscribing},
    admission::{Admission, Admitted, Refused},
    counters::count,
    mailbox::{Command, Entry},
    router::NewSubscription,
    session::Session,
    sessions::CloseSession,
    shared::Shared,
    turn::{Published, READ_BYTES, Turn, Workspace},
};

/// No more is taken from the mailbox while so much waits for the socket, in bytes.
const TRANSMIT_FULL_BYTES: usize = 256 * 1024;

/// Nothing is read while so many answers wait for a peer that does not read them, in bytes.
const TRANSMIT_STALLED_BYTES: usize = 4 * 1024 * 1024;

/// How long an ended connection may take to hand over its last words.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The most slices that one write takes.
const SLICES_MAX: usize = 64;

/// A connection of one device. Boxed by its task, whose future stays small.
pub(crate) struct Connection {
    shared: Arc<Shared>,
    worker: usize,
    stream: Stream,
    core: ServerConnection,
    stage: Stage,
    /// Retained messages that a new Subscription is still to be sent. What is in the mailbox waits behind them.
    backlog: VecDeque<Backlog>,
    timer: Option<Pin<Box<Sleep>>>,
    timer_at_ms: u64,
    anonymous_allowed: bool,
}

enum Stage {
    /// CONNECT is awaited.
    Greeting,
    /// CONNECT is being decided.
    Admitting(Admission),
    /// The client is in.
    Open(Box<Member>),
    /// The connection has ended; its last words are being sent.
    Ending { is_shut: bool },
}

/// A client that has been let in.
struct Member {
    session: Arc<Session>,
    permissions: Arc<Permissions>,
    will: Option<Box<Will>>,
    session_expiry_s: u32,
    is_bridge: bool,
}

struct Backlog {
    messages: std::vec::IntoIter<Message>,
    qos: QoS,
    id: u32,
}

/// Why a turn ended.
enum Progress {
    /// Everything there was has been handled.
    Idle,
    /// There is more to do, after others have had their turn.
    Spent,
    /// The stream is closed.
    Closed,
}

impl Connection {
    pub(crate) fn new(shared: Arc<Shared>, worker: usize, stream: Stream, anonymous_allowed: bool) -> Box<Self> {
        let now = shared.clock.now();
        Box::new(Self {
            core: ServerConnection::new(shared.options.server, now),
            shared,
            worker,
            stream,
            stage: Stage::Greeting,
            backlog: VecDeque::new(),
            timer: None,
            timer_at_ms: u64::MAX,
            anonymous_allowed,
        })
    }

    /// Serves the device until its connection has ended.
    pub(crate) async fn run(mut self: Box<Self>) {
        poll_fn(|cx| Workspace::with(|workspace| self.poll(cx, workspace))).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>, workspace: &mut Workspace) -> Poll<()> {
        let now = self.shared.clock.now();
        match self.turn(cx, workspace, now) {
            Progress::Idle => Poll::Pending,
            Progress::Spent => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Progress::Closed => Poll::Ready(()),
        }
    }

    /// One turn: read and handle at most 64 KiB, take what others have left, write once.
    fn turn(&mut self, cx: &mut Context<'_>, workspace: &mut Workspace, now: Now) -> Progress {
        workspace.lend(self.core.transmit());
        self.poll_admission(cx, now);
        let mut is_spent = self.read_and_handle(cx, workspace, now);
        if let Stage::Open(_) = self.stage {
            is_spent |= self.take_mailbox(cx, workspace, now);
            // What the mailbox gave may have ended the connection, or changed the session.
            self.handle_outputs(workspace, now);
        }
        if self.poll_timer(cx, now) {
            self.handle_outputs(workspace, now);
            self.poll_timer(cx, now);
        }
        let progress = match self.write(cx, now) {
            Poll::Ready(Err(_)) => self.lose_stream(workspace, now),
            Poll::Ready(Ok(())) if matches!(self.stage, Stage::Ending { .. }) => self.shut_down(cx),
            Poll::Ready(Ok(())) if is_spent => Progress::Spent,
            // A full mailbox was left because the socket was full, and now it is not.
            Poll::Ready(Ok(())) | Poll::Pending => Progress::Idle,
        };
        workspace.reclaim(self.core.transmit());
        progress
    }

    // --- reading ---

    /// Reads and handles until nothing is there or the turn is spent, and tells whether it is spent.
    fn read_and_handle(&mut self, cx: &mut Context<'_>, workspace: &mut Workspace, now: Now) -> bool {
        let mut turn_bytes = 0;
        while self.core.wants_input() && self.core.transmit().len() < TRANSMIT_STALLED_BYTES {
            if turn_bytes >= READ_BYTES {
                return true;
            }
            match poll_read(&mut self.stream, cx, &mut workspace.read_buffer) {
                Poll::Pending => return false,
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => {
                    self.core.handle_eof();
                    self.handle_outputs(workspace, now);
                    return false;
                }
                Poll::Ready(Ok(bytes)) => {
                    turn_bytes += bytes;
                    count(&self.shared.counters(self.worker).bytes_received, bytes);
                    let chunk = workspace.read_buffer.split().freeze();
                    self.core.handle_input(chunk, now);
                    if self.handle_outputs(workspace, now) {
                        return true;
                    }
                    self.poll_admission(cx, now);
                }
            }
        }
        false
    }

    /// Drains what the core has to tell, and says whether it delivered as much as one turn may.
    fn handle_outputs(&mut self, workspace: &mut Workspace, now: Now) -> bool {
        let shared = self.shared.clone();
        let mut turn = Turn::new(&shared, self.worker, workspace, now);
        loop {
            match self.core.poll_output(now) {
                Output::Event(event) => self.on_event(event, &mut turn, now),
                // Nothing of this broker is on disk: what it holds, it holds in memory.
                Output::Persist(sequence, _) => self.core.handle_persisted(sequence, now),
                Output::Wait(deadline_ms) => {
                    self.want_timer(deadline_ms);
                    break;
                }
                Output::Closed => break,
            }
        }
        let is_spent = turn.is_spent();
        turn.end();
        is_spent
    }

    fn on_event(&mut self, event: ServerEvent, turn: &mut Turn<'_>, now: Now) {
        match event {
            ServerEvent::Publish(incoming) => self.on_publish(&incoming, turn),
            ServerEvent::Acknowledged { .. } => {}
            ServerEvent::Connect(connect) => self.on_connect(connect),
            ServerEvent::Subscribe(subscribe) => self.on_subscribe(&subscribe, turn, now),
            ServerEvent::Unsubscribe(unsubscribe) => self.on_unsubscribe(&unsubscribe, turn),
            // No method of enhanced authentication is offered: CONNECT with one was refused.
            ServerEvent::Auth(_) => self.core.disconnect(ReasonCode::BadAuthenticationMethod),
            ServerEvent::Ended(end) => {
                turn.release_table();
                self.on_ended(end, now);
            }
        }
    }

    fn on_publish(&mut self, incoming: &IncomingPublish, turn: &mut Turn<'_>) {
        let (Stage::Open(member), Some(topic)) = (&self.stage, &incoming.publish.topic) else { return };
        let counters = self.shared.counters(self.worker);
        count(&counters.messages_received, 1);
        let decision = if !may_publish(member, topic.as_str()) {
            count(&counters.dropped_not_authorized, 1);
            Err(ReasonCode::NotAuthorized)
        } else {
            match turn.publish(topic, &incoming.publish, member.session.key) {
                Published::Delivered => Ok(ReasonCode::Success),
                Published::Unwanted => Ok(ReasonCode::NoMatchingSubscribers),
                Published::RetainedFull => Err(ReasonCode::QuotaExceeded),
            }
        };
        match (incoming.token, decision) {
            (Some(token), Ok(reason)) => self.core.accept_with(token, reason),
            (Some(token), Err(reason)) => self.core.reject(token, reason),
            (None, _) => {}
        }
    }

    fn on_connect(&mut self, connect: Box<Connect>) {
        let admission = Admission::begin(self.shared.clone(), connect, self.stream.peer(), self.anonymous_allowed);
        self.stage = Stage::Admitting(admission);
    }

    fn poll_admission(&mut self, cx: &mut Context<'_>, now: Now) {
        let Stage::Admitting(admission) = &mut self.stage else { return };
        let Poll::Ready(result) = Pin::new(admission).poll(cx) else { return };
        match result {
            Ok(admitted) => self.admit(admitted, now),
            Err(Refused { reason, properties, client_id }) => {
                count(&self.shared.counters(self.worker).connections_refused, 1);
                info!(%client_id, peer = %self.stream.peer().address(), %reason, "A client was refused.");
                self.stage = Stage::Greeting;
                self.core.reject_connect(reason, *properties);
            }
        }
    }

    fn admit(&mut self, admitted: Admitted, now: Now) {
        let Admitted { opened, permissions, will, session_expiry_s, is_bridge, properties } = admitted;
        count(&self.shared.counters(self.worker).connections_accepted, 1);
        debug!(client_id = %opened.session.client_id, version = %self.core.version(), "A client came in.");
        self.stage =
            Stage::Open(Box::new(Member { session: opened.session, permissions, will, session_expiry_s, is_bridge }));
        self.stream.set_ws_message_bytes_max(self.shared.options.server.packet_bytes_max as usize);
        let accept =
            AcceptConnect { session: opened.exchanges, session_present: opened.is_present, properties: *properties };
        self.core.accept_connect(accept, now);
    }

    fn on_subscribe(&mut self, subscribe: &Subscribe, turn: &mut Turn<'_>, now: Now) {
        turn.release_table();
        let Stage::Open(member) = &self.stage else { return };
        let id = subscribe.properties.subscription_id.unwrap_or(0);
        let mut reasons = Vec::with_capacity(subscribe.filters.len());
        let mut state = member.session.state.lock();
        let mut router = self.shared.router.write();
        for wanted in &subscribe.filters {
            let only = match member.permissions.may_subscribe(&wanted.filter) {
                Subscribing::Granted => None,
                Subscribing::Filtered => Some(member.permissions.clone()),
                Subscribing::Denied => {
                    reasons.push(ReasonCode::NotAuthorized);
                    continue;
                }
            };
            let mut options = wanted.options;
            // A bridge of 3.1.1 gets what MQTT 5 has options for.
            options.no_local |= member.is_bridge;
            options.retain_as_published |= member.is_bridge;
            let new = NewSubscription { filter: &wanted.filter, options, id, only };
            let retained = router.subscribe(&member.session, new, now);
            if !state.filters.contains(&wanted.filter) {
                state.filters.insert(wanted.filter.compact());
            }
            if !retained.is_empty() {
                self.backlog.push_back(Backlog { messages: retained.into_iter(), qos: options.qos, id });
            }
            reasons.push(ReasonCode::granted(options.qos));
        }
        drop(router);
        drop(state);
        self.core.suback(subscribe.packet_id, reasons);
    }

    fn on_unsubscribe(&mut self, unsubscribe: &Unsubscribe, turn: &mut Turn<'_>) {
        turn.release_table();
        let Stage::Open(member) = &self.stage else { return };
        let mut state = member.session.state.lock();
        let mut router = self.shared.router.write();
        let mut reasons = Vec::with_capacity(unsubscribe.filters.len());
        for filter in &unsubscribe.filters {
            state.filters.remove(filter);
            let was_there = router.unsubscribe(member.session.key, filter);
            reasons.push(if was_there { ReasonCode::Success } else { ReasonCode::NoSubscriptionExisted });
        }
        drop(router);
        // What was left before the table changed goes out before UNSUBACK, or not at all: nothing arrives after it.
        let is_wanted = |topic: &str| state.filters.iter().any(|filter| filter.matches(topic));
        {
            let mut mailbox = member.session.mailbox.lock();
            self.core.transmit().append(&mut mailbox.direct);
            mailbox.retain(|entry| is_wanted(entry.message.topic()));
        }
        for backlog in &mut self.backlog {
            let wanted: Vec<_> = backlog.messages.by_ref().filter(|message| is_wanted(message.topic())).collect();
            backlog.messages = wanted.into_iter();
        }
        drop(state);
        self.core.unsuback(unsubscribe.packet_id, reasons);
    }

    // --- what others have left ---

    /// Takes what others have left, as far as window and socket allow, and tells whether more could be taken.
    fn take_mailbox(&mut self, cx: &mut Context<'_>, workspace: &mut Workspace, now: Now) -> bool {
        let Stage::Open(member) = &self.stage else { return false };
        let session = member.session.clone();
        let mut entries = std::mem::take(&mut workspace.entries);
        self.send_backlog(now);
        let is_behind = !self.backlog.is_empty();
        let quota = if is_behind { 0 } else { self.core.send_quota() };
        let mut bytes = self.core.transmit().len();
        let (command, mut direct) = {
            let mut mailbox = session.mailbox.lock();
            let direct = if is_behind || bytes >= TRANSMIT_FULL_BYTES {
                Default::default()
            } else {
                std::mem::take(&mut mailbox.direct)
            };
            bytes += direct.len();
            while entries.len() < quota
                && bytes < TRANSMIT_FULL_BYTES
                && let Some(entry) = mailbox.pop()
            {
                bytes += entry.message.len();
                entries.push(entry);
            }
            mailbox.settle(cx.waker());
            (mailbox.command.take(), direct)
        };
        self.core.transmit().append(&mut direct);
        workspace.reclaim(&mut direct);
        for entry in entries.drain(..) {
            self.send(entry, now);
        }
        workspace.entries = entries;
        if let Some(Command::Disconnect(reason)) = command {
            self.core.disconnect(reason);
        }
        is_behind && self.core.transmit().is_empty() && self.core.send_quota() != 0
    }

    fn send_backlog(&mut self, now: Now) {
        while let Some(backlog) = self.backlog.front_mut() {
            if self.core.transmit().len() >= TRANSMIT_FULL_BYTES {
                return;
            }
            let Some(message) = backlog.messages.as_slice().first() else {
                self.backlog.pop_front();
                continue;
            };
            let qos = message.qos().min(backlog.qos);
            if qos != QoS::AtMostOnce && self.core.send_quota() == 0 {
                return;
            }
            let mut subscription_ids = SmallVec::new();
            if backlog.id != 0 {
                subscription_ids.push(backlog.id);
            }
            let Some(message) = backlog.messages.next() else { return };
            count(&self.shared.counters(self.worker).messages_sent, 1);
            self.send(Entry { message, subscription_ids, qos, retain: true }, now);
        }
    }

    fn send(&mut self, entry: Entry, now: Now) {
        let counters = self.shared.counters(self.worker);
        if entry.message.is_expired(now) {
            count(&counters.dropped_expired, 1);
            return;
        }
        let Entry { message, subscription_ids, qos, retain } = entry;
        let outgoing = Outgoing { message, subscription_ids, cookie: 0, qos, retain };
        if self.core.publish(outgoing, now).is_err() {
            // Quota was asked for before; what is left is a packet that the client does not accept.
            count(&counters.dropped_too_large, 1);
        }
    }

    // --- writing ---

    fn write(&mut self, cx: &mut Context<'_>, _now: Now) -> Poll<std::io::Result<()>> {
        let transmit = self.core.transmit();
        while !transmit.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let filled = transmit.io_slices(&mut slices);
            let slices = slices.get(..filled).unwrap_or_default();
            let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices))?;
            if written == 0 {
                return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
            }
            count(&self.shared.counters(self.worker).bytes_sent, written);
            transmit.advance(written);
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    // --- deadlines ---

    /// Asks for the timer. One that is set for earlier stays: what is due is asked again when it fires.
    fn want_timer(&mut self, deadline_ms: Option<u64>) {
        let Some(deadline_ms) = deadline_ms else { return };
        if deadline_ms >= self.timer_at_ms {
            return;
        }
        self.set_timer(deadline_ms);
    }

    fn set_timer(&mut self, at_ms: u64) {
        let instant = self.shared.clock.instant(at_ms);
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(instant),
            None => self.timer = Some(Box::pin(tokio::time::sleep_until(instant))),
        }
        self.timer_at_ms = at_ms;
    }

    /// Tells whether the timer has fired, and lets the core look at its deadlines.
    fn poll_timer(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        let Some(timer) = &mut self.timer else { return false };
        if self.timer_at_ms == u64::MAX || timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        self.timer_at_ms = u64::MAX;
        if let Stage::Ending { is_shut } = &mut self.stage {
            // The peer does not take our last words: they are dropped.
            self.core.transmit().clear();
            *is_shut = true;
        }
        self.core.handle_timeout(now);
        true
    }

    // --- the end ---

    fn on_ended(&mut self, end: End, now: Now) {
        let stage = std::mem::replace(&mut self.stage, Stage::Ending { is_shut: false });
        let peer = self.stream.peer().address();
        match (&end.cause, &stage) {
            (EndCause::Violation(violation), Stage::Open(member)) => {
                info!(client_id = %member.session.client_id, %peer, %violation, "A client was cut off.");
            }
            (EndCause::Violation(violation), _) => info!(%peer, %violation, "A connection was cut off."),
            (EndCause::Local(reason), Stage::Open(member)) => {
                info!(client_id = %member.session.client_id, %peer, %reason, "A client was disconnected.");
            }
            (cause, Stage::Open(member)) => {
                debug!(client_id = %member.session.client_id, ?cause, "A client left.");
            }
            _ => {}
        }
        if let Stage::Open(member) = stage {
            self.close_session(*member, &end, now);
        }
        // A timer for something else must not cut the last words short.
        let at_ms = now.monotonic_ms + LAST_WORDS.as_millis() as u64;
        self.set_timer(at_ms);
    }

    fn close_session(&mut self, member: Member, end: &End, now: Now) {
        let max_s = self.shared.options.session_expiry_max_s;
        let expiry_s = end.session_expiry_s.map_or(member.session_expiry_s, |seconds| seconds.min(max_s));
        if expiry_s != 0 {
            self.keep_backlog(&member.session);
        }
        let core = std::mem::replace(&mut self.core, ServerConnection::new(self.shared.options.server, now));
        let exchanges = self.take_exchanges(core);
        let will = if end.publish_will { member.will } else { None };
        self.shared.close_session(&member.session, CloseSession { exchanges, will, expiry_s }, now);
        count(&self.shared.counters(self.worker).connections_closed, 1);
    }

    /// Takes the session out of a core that has ended, and leaves its last words to be sent.
    fn take_exchanges(&mut self, mut core: ServerConnection) -> SessionState {
        self.core.handle_eof();
        let last_words = std::mem::take(core.transmit());
        *self.core.transmit() = last_words;
        core.into_session()
    }

    /// Keeps the retained messages that the client has not been sent yet: it will not subscribe again.
    fn keep_backlog(&mut self, session: &Arc<Session>) {
        let mut mailbox = session.mailbox.lock();
        while let Some(backlog) = self.backlog.pop_back() {
            let ids: SmallVec<[u32; 2]> = if backlog.id == 0 { SmallVec::new() } else { SmallVec::from_slice(&[backlog.id]) };
            for message in backlog.messages.rev() {
                let qos = message.qos().min(backlog.qos);
                if qos != QoS::AtMostOnce {
                    mailbox.push_front(Entry { message, subscription_ids: ids.clone(), qos, retain: true });
                }
            }
        }
    }

    fn lose_stream(&mut self, workspace: &mut Workspace, now: Now) -> Progress {
        self.core.transmit().clear();
        self.core.handle_eof();
        self.handle_outputs(workspace, now);
        Progress::Closed
    }

    /// Closes our side and waits, for a bounded time, until the peer has closed its own: a peer that still sends
    /// would otherwise get a reset, which can overtake our last words.
    fn shut_down(&mut self, cx: &mut Context<'_>) -> Progress {
        let Stage::Ending { is_shut } = &mut self.stage else { return Progress::Idle };
        if !*is_shut {
            match Pin::new(&mut self.stream).poll_shutdown(cx) {
                Poll::Pending => return Progress::Idle,
                Poll::Ready(Err(_)) => return Progress::Closed,
                Poll::Ready(Ok(())) => *is_shut = true,
            }
        } else if self.timer_at_ms == u64::MAX {
            return Progress::Closed;
        }
        let mut scrap = BytesMut::new();
        match poll_read(&mut self.stream, cx, &mut scrap) {
            Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => Progress::Closed,
            Poll::Ready(Ok(_)) => Progress::Spent,
            Poll::Pending => Progress::Idle,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // A task that is dropped in its middle, as when a runtime stops, still gives its session back.
        let stage = std::mem::replace(&mut self.stage, Stage::Ending { is_shut: true });
        if let Stage::Open(member) = stage {
            let end = End { cause: EndCause::Transport, publish_will: false, session_expiry_s: None };
            self.close_session(*member, &end, self.shared.clock.now());
        }
    }
}

fn may_publish(member: &Member, topic: &str) -> bool {
    !topic.starts_with("$SYS/") && member.permissions.may_publish(topic)
}

fn poll_read(stream: &mut Stream, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<std::io::Result<usize>> {
    if buffer.capacity() - buffer.len() < READ_BYTES / 2 {
        buffer.reserve(READ_BYTES);
    }
    tokio_util::io::poll_read_buf(Pin::new(stream), cx, buffer)
}
