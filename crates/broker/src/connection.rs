//! One task a device: drives the server's end of one connection.
//!
//! Here is the turn and what comes in. [`authenticating`] is AUTH. [`subscribing`] changes the routing table, [`mail`] sends what others have
//! left, [`owed`] is what waits for the disk, [`wire`] has the socket and the timer, [`ending`] gives the session back.
//!
//! Invariant: a turn that leaves something undone either has a waker that continues it or asks for the next turn.

mod authenticating;
mod ending;
mod mail;
mod owed;
mod subscribing;
mod wire;

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use crosspoint_net::{FirstBytes, Stream};
use crosspoint_protocol::{
    Now, PacketId, ReasonCode,
    connection::{AcceptConnect, Delta, IncomingPublish, Output, ServerConnection, ServerEvent},
    packet::Connect,
};
use tokio::time::Sleep;
use tracing::{debug, info};

use crate::{
    access::Permissions,
    admission::{Admission, Admitted, Challenged, Refused, Verdict},
    counters::count,
    is_reserved,
    listener::{Durability, Entrance},
    session::Session,
    shared::Shared,
    turn::{Published, READ_BYTES, Turn},
    will::Testament,
    workspace::Workspace,
};
use authenticating::Reauthentication;
use ending::Farewell;
use mail::Backlog;
use owed::{Answer, Owed};

/// Nothing is read while so many answers wait for a peer that does not read them, in bytes.
const TRANSMIT_STALLED_BYTES: usize = 4 * 1024 * 1024;

/// How much a client may send before its CONNECT is complete, in bytes: five fields of 64 KiB and two blocks of
/// properties fit.
const GREETING_BYTES_MAX: usize = 1024 * 1024;

/// A connection of one device. Boxed by its task, whose future stays small.
pub(crate) struct Connection {
    shared: Arc<Shared>,
    worker: usize,
    stream: Stream,
    core: ServerConnection,
    stage: Stage,
    /// Whether the core may have more to tell than it was asked for.
    is_undrained: bool,
    entrance: Entrance,
    /// Retained messages that a new Subscription is still to be sent. What is in the mailbox waits behind them.
    backlog: VecDeque<Backlog>,
    /// Answers to UNSUBSCRIBE that wait behind the backlog, because what was left before them does.
    unsubacks: Vec<(PacketId, Vec<ReasonCode>)>,
    /// What waits for the disk.
    owed: Option<Box<Owed>>,
    /// The client is authenticating again.
    reauthentication: Option<Box<Reauthentication>>,
    timer: Option<Pin<Box<Sleep>>>,
    timer_at_ms: u64,
}

enum Stage {
    /// CONNECT is awaited; so many bytes of it have come, and these first.
    Greeting { bytes: usize, first: FirstBytes },
    /// CONNECT is being decided.
    Admitting(Admission),
    /// The answer to a challenge is awaited; so many bytes of it have come.
    Challenged { challenged: Box<Challenged>, bytes: usize },
    /// The client is in.
    Open(Box<Member>),
    /// The connection has ended.
    Ending(Farewell),
}

/// A client that has been let in.
struct Member {
    session: Arc<Session>,
    permissions: Arc<Permissions>,
    will: Option<Arc<Testament>>,
    session_expiry_s: u32,
    is_bridge: bool,
}

/// What a turn has left to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// Nothing, until somebody wakes the task.
    Nothing,
    /// There is more, as soon as the socket has taken what there is.
    Room,
    /// There is more, after others have had their turn.
    Turn,
}

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Everything there was has been handled, or waits for the socket.
    Idle,
    /// There is more to do, after others have had their turn.
    Spent,
    /// The stream is closed.
    Closed,
}

impl Connection {
    pub(crate) fn new(shared: Arc<Shared>, worker: usize, stream: Stream, entrance: Entrance) -> Box<Self> {
        let now = shared.clock.now();
        Box::new(Self {
            core: ServerConnection::new(shared.options.server, now),
            shared,
            worker,
            stream,
            stage: Stage::Greeting { bytes: 0, first: FirstBytes::default() },
            // The core has a deadline to tell before the first byte comes.
            is_undrained: true,
            entrance,
            backlog: VecDeque::new(),
            unsubacks: Vec::new(),
            owed: None,
            reauthentication: None,
            timer: None,
            timer_at_ms: u64::MAX,
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
        self.pay(now);
        let unread = self.read_and_handle(cx, workspace, now);
        let untaken = self.take_mailbox(cx, workspace, now);
        if self.is_open() && !self.is_undrained {
            // What the mailbox gave may have ended the connection, or changed the session.
            self.handle_outputs(cx, workspace, now);
        }
        self.poll_deadlines(cx, workspace, now);
        let progress = match (self.write(cx), &self.stage) {
            (Poll::Ready(Err(_)), _) if unread == Rest::Turn || self.is_undrained => {
                // What the peer sent before it went still counts, its DISCONNECT above all.
                self.core.transmit().clear();
                Progress::Spent
            }
            (Poll::Ready(Err(_)), _) => self.lose_stream(cx, workspace, now),
            (_, Stage::Ending(Farewell::Late)) => Progress::Closed,
            (Poll::Ready(Ok(())), Stage::Ending(_)) => self.shut_down(cx, workspace),
            _ if unread == Rest::Turn || untaken == Rest::Turn || self.is_undrained => Progress::Spent,
            (Poll::Ready(Ok(())), _) if unread == Rest::Room || untaken == Rest::Room => Progress::Spent,
            // Whatever waits for room goes on when the socket takes more: it wakes the task.
            _ => Progress::Idle,
        };
        workspace.reclaim(self.core.transmit());
        progress
    }

    /// Reads and handles until nothing is there or the turn is spent.
    fn read_and_handle(&mut self, cx: &mut Context<'_>, workspace: &mut Workspace, now: Now) -> Rest {
        let mut turn_bytes = 0;
        loop {
            if self.is_undrained {
                self.handle_outputs(cx, workspace, now);
            }
            if self.is_undrained {
                return Rest::Turn;
            }
            if self.poll_admission(cx, now) || self.poll_reauthentication(cx) {
                // Behind CONNECT there may be packets already.
                self.is_undrained = true;
                continue;
            }
            if !self.core.wants_input() {
                return Rest::Nothing;
            }
            if self.core.transmit().len() >= TRANSMIT_STALLED_BYTES {
                return Rest::Room;
            }
            if turn_bytes >= READ_BYTES {
                return Rest::Turn;
            }
            match self.poll_read(cx, workspace) {
                Poll::Pending => return Rest::Nothing,
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => self.core.handle_eof(),
                Poll::Ready(Ok(bytes)) => {
                    turn_bytes += bytes;
                    self.check_greeting(&workspace.read_buffer);
                    count(&self.shared.counters(self.worker).bytes_received, bytes);
                    self.core.handle_input(workspace.read_buffer.split().freeze(), now);
                }
            }
            self.is_undrained = true;
        }
    }

    /// Ends a connection whose CONNECT, or AUTH before it is let in, is longer than any that means something: a
    /// stranger's bytes are held only so far.
    fn check_greeting(&mut self, read: &[u8]) {
        if let Stage::Greeting { bytes: 0, first } = &mut self.stage {
            *first = FirstBytes::of(read);
        }
        let (Stage::Greeting { bytes, .. } | Stage::Challenged { bytes, .. }) = &mut self.stage else {
            return;
        };
        *bytes += read.len();
        if *bytes > GREETING_BYTES_MAX {
            self.core.disconnect(ReasonCode::PacketTooLarge);
        }
    }

    /// Drains what the core has to tell, as far as one turn goes.
    fn handle_outputs(&mut self, cx: &mut Context<'_>, workspace: &mut Workspace, now: Now) {
        let shared = self.shared.clone();
        let mut turn = Turn::new(&shared, self.worker, workspace, now);
        turn.set_urgency(self.entrance.durability.urgency());
        self.is_undrained = true;
        while !turn.is_spent() {
            match self.core.poll_output(now) {
                Output::Event(event) => self.on_event(event, &mut turn, now),
                Output::Persist(sequence, delta) => self.on_delta(sequence, delta, &mut turn, now),
                Output::Wait(deadline_ms) => {
                    self.is_undrained = false;
                    self.want_timer(deadline_ms);
                    break;
                }
                Output::Closed => {
                    self.is_undrained = false;
                    break;
                }
            }
        }
        let commit = turn.end();
        if let Some(owed) = &mut self.owed {
            owed.depend_on(commit, cx.waker());
            self.settle_finished();
        }
    }

    fn on_event(&mut self, event: ServerEvent, turn: &mut Turn<'_>, now: Now) {
        match event {
            ServerEvent::Publish(incoming) => self.on_publish(&incoming, turn),
            ServerEvent::Acknowledged { .. } => {}
            ServerEvent::Connect(connect) => self.on_connect(connect),
            ServerEvent::Subscribe(subscribe) => self.on_subscribe(&subscribe, turn, now),
            ServerEvent::Unsubscribe(unsubscribe) => self.on_unsubscribe(&unsubscribe, turn),
            ServerEvent::Auth(auth) => self.on_auth(*auth),
            ServerEvent::Ended(end) => {
                self.on_ended(end, turn, now);
            }
        }
    }

    fn on_publish(&mut self, incoming: &IncomingPublish, turn: &mut Turn<'_>) {
        let (Stage::Open(member), Some(topic)) = (&self.stage, &incoming.publish.topic) else { return };
        let counters = self.shared.counters(self.worker);
        count(&counters.messages_received, 1);
        let before = turn.changed();
        let decision = if !may_publish(member, topic.as_str()) {
            count(&counters.dropped_not_authorized, 1);
            Err(ReasonCode::NotAuthorized)
        } else {
            match turn.publish(topic, &incoming.publish, member.session.key) {
                Published::Delivered => Ok(ReasonCode::Success),
                Published::Unwanted => Ok(ReasonCode::NoMatchingSubscribers),
                Published::RetainedFull | Published::StoreFull => Err(ReasonCode::QuotaExceeded),
            }
        };
        if let (Some(number), Some(Delta::Offered { id })) = (member.session.number, incoming.delta())
            && decision.is_ok()
        {
            turn.changes().put_incoming(number, id.packet_id());
            turn.changes().hurry();
        }
        let is_stored = turn.changed() != before;
        match (incoming.token, decision) {
            (Some(token), Ok(reason)) if is_stored && self.waits_for_disk() => {
                self.owe(Answer::Accept(token, reason));
            }
            (Some(token), Ok(reason)) => self.core.accept_with(token, reason),
            (Some(token), Err(reason)) => self.core.reject(token, reason),
            (None, _) => {}
        }
    }

    fn on_connect(&mut self, connect: Box<Connect>) {
        let admission = Admission::begin(self.shared.clone(), connect, self.stream.peer(), &self.entrance);
        self.stage = Stage::Admitting(admission);
    }

    /// Lets the client in or refuses it, once that is decided; tells whether it has been now.
    fn poll_admission(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        let Stage::Admitting(admission) = &mut self.stage else { return false };
        let Poll::Ready(result) = Pin::new(admission).poll(cx) else { return false };
        match result {
            Ok(Verdict::Admitted(admitted)) => self.admit(*admitted, now),
            Ok(Verdict::Challenged(challenged)) => {
                self.core.challenge(challenged.challenge());
                self.stage = Stage::Challenged { challenged, bytes: 0 };
            }
            Err(Refused { reason, properties, client_id }) => {
                count(&self.shared.counters(self.worker).connections_refused, 1);
                info!(%client_id, peer = %self.stream.peer().address(), %reason, "A client was refused.");
                self.stage = Stage::Greeting { bytes: 0, first: FirstBytes::default() };
                self.core.reject_connect(reason, *properties);
            }
        }
        true
    }

    fn admit(&mut self, admitted: Admitted, now: Now) {
        let Admitted { opened, permissions, will, session_expiry_s, is_bridge, properties } = admitted;
        count(&self.shared.counters(self.worker).connections_accepted, 1);
        debug!(client_id = %opened.session.client_id, version = %self.core.version(), "A client came in.");
        self.stage = Stage::Open(Box::new(Member {
            session: opened.session,
            permissions,
            will,
            session_expiry_s,
            is_bridge,
        }));
        self.stream.set_ws_message_bytes_max(self.shared.options.server.packet_bytes_max as usize);
        let accept = AcceptConnect {
            session: opened.exchanges,
            session_present: opened.is_present,
            properties: *properties,
        };
        let is_resumed = accept.session_present;
        self.core.accept_connect(accept, now);
        if is_resumed && self.shared.durable.is_some() {
            self.note_in_flight();
        }
    }

    /// Tells whether what is promised here has to be on disk before.
    fn waits_for_disk(&self) -> bool {
        self.entrance.durability != Durability::Memory
    }

    const fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open(_))
    }
}

fn may_publish(member: &Member, topic: &str) -> bool {
    !is_reserved(topic) && member.permissions.may_publish(topic)
}
