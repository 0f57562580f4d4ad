//! The end: the session goes back, last words are sent, the stream is closed.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use crosspoint_net::FirstBytes;
use crosspoint_protocol::{
    Now,
    connection::{End, EndCause, ServerConnection},
    session::SessionState,
};
use tokio::io::AsyncWrite;
use tracing::{debug, info};

use super::{Connection, Member, Progress, Stage};
use crate::{counters::count, sessions::CloseSession, turn::Turn, workspace::Workspace};

/// How long an ended connection may take to hand over its last words.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How far a connection that has ended is from being closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Farewell {
    /// Our last words are being sent.
    Speaking,
    /// Our side is closed; the peer's is awaited.
    Listening,
    /// The time for both is over.
    Late,
}

impl Connection {
    pub(super) fn on_ended(&mut self, end: End, turn: &mut Turn<'_>, now: Now) {
        turn.release_table();
        let commit = turn.flush();
        if let Some(owed) = &mut self.owed {
            // Nobody waits here any more.
            owed.depend_on(commit, Waker::noop());
            self.settle_finished();
        }
        let stage = std::mem::replace(&mut self.stage, Stage::Ending(Farewell::Speaking));
        self.report(&end.cause, &stage);
        if let Stage::Open(member) = stage {
            self.close_session(*member, &end, now);
        }
        self.backlog = Default::default();
        self.unsubacks = Vec::new();
        self.owed = None;
        self.reauthentication = None;
        // A timer for something else must not cut the last words short.
        self.set_timer(now.monotonic_ms + LAST_WORDS.as_millis() as u64);
    }

    fn report(&self, cause: &EndCause, stage: &Stage) {
        let peer = self.stream.peer().address();
        match (cause, stage) {
            (EndCause::Violation(violation), Stage::Open(member)) => {
                info!(client_id = %member.session.client_id, %peer, %violation, "A client was cut off.");
            }
            (EndCause::Violation(_), Stage::Greeting { first, .. }) if self.is_mistaken(*first) => {}
            (EndCause::Violation(violation), _) => info!(%peer, %violation, "A connection was cut off."),
            (EndCause::Local(reason), Stage::Open(member)) => {
                info!(client_id = %member.session.client_id, %peer, %reason, "A client was disconnected.");
            }
            (cause, Stage::Open(member)) => {
                debug!(client_id = %member.session.client_id, ?cause, "A client left.");
            }
            _ => {}
        }
    }

    /// Tells of a client that speaks something else than MQTT, if it is that.
    fn is_mistaken(&self, first: FirstBytes) -> bool {
        let peer = self.stream.peer().address();
        self.entrance.door.as_ref().is_some_and(|door| door.on_greeting(first, *peer, &self.shared))
    }

    fn close_session(&mut self, member: Member, end: &End, now: Now) {
        let max_s = self.shared.options.session_expiry_max_s;
        let expiry_s = end.session_expiry_s.map_or(member.session_expiry_s, |seconds| seconds.min(max_s));
        if expiry_s != 0 {
            self.keep_backlog(&member.session);
        }
        let exchanges = self.take_exchanges(now);
        let will = if end.publish_will { member.will } else { None };
        let undecided = self.owed.as_mut().map(|owed| owed.take_undecided()).unwrap_or_default();
        let close = CloseSession { exchanges, undecided, will, expiry_s };
        self.shared.close_session(&member.session, close, now);
        count(&self.shared.counters(self.worker).connections_closed, 1);
    }

    /// Takes the session out of the core, which has ended, and leaves its last words to be sent by another one.
    fn take_exchanges(&mut self, now: Now) -> SessionState {
        let mut spare = ServerConnection::new(self.shared.options.server, now);
        spare.handle_eof();
        // It tells that it has ended as well, which nobody needs to hear.
        spare.poll_output(now);
        *spare.transmit() = std::mem::take(self.core.transmit());
        std::mem::replace(&mut self.core, spare).into_session()
    }

    pub(super) fn lose_stream(
        &mut self,
        cx: &mut Context<'_>,
        workspace: &mut Workspace,
        now: Now,
    ) -> Progress {
        self.core.transmit().clear();
        self.core.handle_eof();
        self.handle_outputs(cx, workspace, now);
        Progress::Closed
    }

    /// Closes our side and waits, for a bounded time, until the peer has closed its own: a peer that still sends
    /// would otherwise get a reset, which can overtake our last words.
    pub(super) fn shut_down(&mut self, cx: &mut Context<'_>, workspace: &mut Workspace) -> Progress {
        if let Stage::Ending(farewell @ Farewell::Speaking) = &mut self.stage {
            match Pin::new(&mut self.stream).poll_shutdown(cx) {
                Poll::Pending => return Progress::Idle,
                Poll::Ready(Err(_)) => return Progress::Closed,
                Poll::Ready(Ok(())) => *farewell = Farewell::Listening,
            }
        }
        let read = self.poll_read(cx, workspace);
        workspace.read_buffer.clear();
        match read {
            Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => Progress::Closed,
            Poll::Ready(Ok(_)) => Progress::Spent,
            Poll::Pending => Progress::Idle,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // A task that is cut in its middle still gives its session back; the client has died like any other.
        let stage = std::mem::replace(&mut self.stage, Stage::Ending(Farewell::Late));
        if let Stage::Open(member) = stage {
            let end = End { cause: EndCause::Transport, publish_will: true, session_expiry_s: None };
            self.close_session(*member, &end, self.shared.clock.now());
        }
    }
}
