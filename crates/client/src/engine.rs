//! The engine: the one task of a client, and the only place that drives a `ClientConnection`.
//!
//! A turn is synchronous: it takes everything that was asked since the last, brings it to the core, drains the core's
//! output and leaves bytes to write. Between turns the engine waits in one `select!`, in [`Engine::run`]. Reading
//! never waits for writing, and neither waits for the program (C8).

mod arrivals;
mod dialling;
mod online;
mod wire;

use std::{
    future::{pending, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use crosspoint_protocol::{
    Now,
    session::{Outgoing, SessionState},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};

use self::{
    arrivals::{Arrivals, Room},
    dialling::Dialling,
    online::{Hashed, Online},
    wire::Moved,
};
use crate::{
    ByteStream, Cause, ClientOptions, DialFailure, Environment, Left, NO_COOKIE, OptionsError, Pace,
    Password, ReauthenticateError, SessionChange, SessionStore, State,
    attempts::{Attempts, Next},
    canary::CanaryWatch,
    counters::count,
    offers::Decision,
    sending::{Sending, Submission},
    shared::{Inbox, Reauthenticated, Request, Shared},
    subscriptions::Subscriptions,
};

/// How many publications the engine holds ready beyond the queue to it.
const READY_MAX: usize = 256;

/// Runs a client: dials, keeps the connection, sends and receives, until the client is closed or nobody holds it.
pub struct Engine {
    options: Arc<ClientOptions>,
    environment: Environment,
    shared: Arc<Shared>,
    state: watch::Sender<State>,
    submissions: mpsc::Receiver<Submission>,
    /// Whether somebody can still publish.
    has_publishers: bool,
    taken: Vec<Submission>,
    sending: Sending,
    subscriptions: Subscriptions,
    arrivals: Arrivals,
    canary: Option<CanaryWatch>,
    store: Box<dyn SessionStore>,
    /// What is to be taken back when there is no connection.
    withdrawn: Vec<u64>,
    /// Made by the core and not yet given to the store.
    changes: Vec<SessionChange>,
    attempts: Attempts,
    /// While no connection owns it.
    session: SessionState,
    link: Link,
    /// The number of the connection.
    epoch: u64,
    /// When what is in flight is given up, once the client is to close.
    close_by_ms: Option<u64>,
    /// What is published last, once the client is to close.
    last: Option<Submission>,
    /// The program wants to authenticate again, with this password.
    asked_again: Option<(Password, oneshot::Sender<Reauthenticated>)>,
}

/// Where the engine is on its way to a server.
enum Link {
    /// It waits until this time before it dials.
    Idle {
        until_ms: u64,
    },
    Dialling(Box<Dialling>),
    Online(Box<Online>),
    Stopped,
}

/// What ended the wait between two turns.
enum Happened {
    /// Something was asked, or time has come.
    Woken,
    Submitted(usize),
    Dialled(Result<Box<dyn ByteStream>, DialFailure>),
    /// It is known whether a stream to the first server can be opened.
    Looked(Result<Box<dyn ByteStream>, DialFailure>),
    /// The password is hashed.
    Hashed(Hashed),
    Moved(Moved),
}

impl Engine {
    pub(crate) fn new(
        mut options: ClientOptions,
        mut store: Box<dyn SessionStore>,
        mut environment: Environment,
        shared: Arc<Shared>,
        submissions: mpsc::Receiver<Submission>,
    ) -> Result<(Self, watch::Receiver<State>), OptionsError> {
        if options.client_id.is_empty() {
            // At most the 23 characters that every server accepts.
            let suffix: String = (0..12).map(|_| environment.random.alphanumeric()).collect();
            options.client_id = format!("crosspoint-{suffix}");
        }
        let stored = store.load().map_err(OptionsError::Store)?;
        let mut sending = Sending::default();
        let mut session = SessionState::default();
        for (id, stage, outgoing) in stored.outgoing {
            let outgoing: Outgoing = sending.restore(outgoing);
            if !session.outgoing.restore(id, stage, outgoing) {
                return Err(OptionsError::Store("its identifiers are not in order".to_owned()));
            }
        }
        for id in stored.incoming {
            session.incoming.restore(id);
        }
        let server = options.servers.first().map(|server| server.target()).unwrap_or_default();
        let version = options.spoken().fixed().unwrap_or(crosspoint_protocol::Version::V5);
        let (state, watched) = watch::channel(State::Connecting { attempt: 1, server, version });
        let canary = options.take_canary(&mut environment.random)?;
        let engine = Self {
            subscriptions: Subscriptions::new(&options.subscriptions, stored.subscriptions),
            canary,
            arrivals: Arrivals::new(&options),
            attempts: Attempts::new(&options),
            options: Arc::new(options),
            environment,
            shared,
            state,
            submissions,
            has_publishers: true,
            taken: Vec::new(),
            sending,
            store,
            withdrawn: Vec::new(),
            changes: Vec::new(),
            session,
            link: Link::Idle { until_ms: 0 },
            epoch: 0,
            close_by_ms: None,
            last: None,
            asked_again: None,
        };
        Ok((engine, watched))
    }

    /// Runs the client until it is closed, or until nobody holds it.
    ///
    /// # Cancel safety
    /// Dropping the future ends the client without a DISCONNECT: the server publishes the will.
    pub async fn run(mut self) {
        let mut timer = pin!(sleep_until(Instant::now()));
        loop {
            let now = self.now();
            self.turn(now);
            if matches!(self.link, Link::Stopped) {
                return;
            }
            let deadline_ms = self.deadline_ms();
            if let Some(deadline_ms) = deadline_ms {
                let wait = Duration::from_millis(deadline_ms.saturating_sub(now.monotonic_ms));
                timer.as_mut().reset(Instant::now() + wait);
            }
            let may_read = self.may_read();
            let wants_submissions = self.wants_submissions();
            let happened = tokio::select! {
                biased;
                happened = happened(&mut self.link, may_read) => happened,
                count = self.submissions.recv_many(&mut self.taken, READY_MAX), if wants_submissions => {
                    Happened::Submitted(count)
                }
                () = self.shared.woken() => Happened::Woken,
                () = &mut timer, if deadline_ms.is_some() => Happened::Woken,
            };
            self.on_happened(happened);
        }
    }

    /// Returns how many messages at QoS 1 and 2 may be in flight with a server of this version.
    fn in_flight_max(&self, version: crosspoint_protocol::Version) -> u16 {
        let max = self.options.in_flight_max_with(version);
        self.shared.in_flight_limit().map_or(max, |limit| max.min(limit))
    }

    fn now(&self) -> Now {
        (self.environment.clock)()
    }

    // --- what happened between two turns ---

    fn on_happened(&mut self, happened: Happened) {
        match happened {
            Happened::Woken => {}
            Happened::Submitted(count) => self.on_submitted(count),
            Happened::Dialled(result) => self.on_dialled(result),
            Happened::Looked(result) => self.on_looked(result),
            Happened::Hashed(hashed) => {
                if let Link::Online(online) = &mut self.link {
                    online.on_hashed(hashed);
                }
            }
            Happened::Moved(moved) => {
                let now = self.now();
                let is_crowded = self.arrivals.room(&self.shared.offers) != Room::Free;
                if let Link::Online(online) = &mut self.link {
                    online.on_moved(moved, is_crowded, now);
                }
            }
        }
    }

    fn on_submitted(&mut self, number: usize) {
        self.has_publishers = number > 0;
        for submission in self.taken.drain(..) {
            count(&self.shared.counters.accepted);
            self.sending.accept(submission);
        }
    }

    /// Takes what is in the queue already, so that it cannot starve behind a busy stream.
    fn take_submissions(&mut self) {
        while self.wants_submissions()
            && let Ok(submission) = self.submissions.try_recv()
        {
            count(&self.shared.counters.accepted);
            self.sending.accept(submission);
        }
    }

    /// While there is no connection publications stay in the bounded queue. A client that closes takes what is left
    /// there: it was accepted.
    fn wants_submissions(&self) -> bool {
        let is_wanted =
            self.close_by_ms.is_some() || matches!(&self.link, Link::Online(online) if online.is_open());
        // Without a connection nobody else would notice that the last publisher has gone.
        let must_watch = self.shared.offers.is_abandoned();
        self.has_publishers && (is_wanted || must_watch) && self.sending.ready_len() < READY_MAX
    }

    // --- a turn ---

    fn turn(&mut self, now: Now) {
        self.take_submissions();
        let mut inbox = self.shared.take_inbox();
        self.withdrawn.append(&mut inbox.withdrawn);
        self.last = inbox.last.take().or(self.last.take());
        self.note_closing(&inbox, now);
        self.take_last();
        let link = std::mem::replace(&mut self.link, Link::Stopped);
        self.link = match link {
            Link::Online(mut online) => {
                self.take_online(inbox, &mut online, now);
                self.turn_online(&mut online, now);
                if online.is_over(now) { self.leave(*online, now) } else { Link::Online(online) }
            }
            link => {
                self.take_offline(inbox, now);
                self.turn_offline(link, now)
            }
        };
        if self.arrivals.take_has_new() {
            self.shared.offers.announce();
        }
        self.subscriptions.answer_waiters();
        if let Some(mut news) = self.subscriptions.take_news() {
            let own = self.canary.as_ref().map(CanaryWatch::filter);
            news.retain(|status| Some(&status.filter) != own);
            self.shared.set_subscriptions(news);
        }
    }

    fn note_closing(&mut self, inbox: &Inbox, now: Now) {
        let nobody_holds_it = !self.has_publishers && self.shared.offers.is_abandoned();
        let within = match inbox.close_within {
            Some(within) => within,
            None if nobody_holds_it && self.close_by_ms.is_none() => Duration::ZERO,
            None => return,
        };
        if self.close_by_ms.is_none() {
            self.submissions.close();
            self.arrivals.close(&self.shared.offers);
        }
        let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        let by_ms = now.monotonic_ms.saturating_add(within_ms);
        self.close_by_ms = Some(self.close_by_ms.map_or(by_ms, |old| old.min(by_ms)));
    }

    /// Takes what is published last when it is its turn: nothing can be taken behind it.
    fn take_last(&mut self) {
        let is_turn = self.close_by_ms.is_some() && !self.has_queued();
        if is_turn
            && matches!(&self.link, Link::Online(online) if online.is_open())
            && let Some(last) = self.last.take()
        {
            count(&self.shared.counters.accepted);
            self.sending.accept(last);
        }
    }

    fn take_offline(&mut self, inbox: Inbox, now: Now) {
        for decision in inbox.decisions {
            match decision {
                Decision::Accept(token) => {
                    self.session.incoming.decide(token, crosspoint_protocol::ReasonCode::Success);
                    self.arrivals.on_decided();
                }
                Decision::Reject(token, reason) => {
                    self.session.incoming.decide(token, reason);
                    self.arrivals.on_decided();
                }
                Decision::Again(offer) => self.arrivals.on_dropped(offer, &self.shared, now),
            }
        }
        // What was saved concerns a connection that is gone.
        drop(inbox.saved);
        for cookie in std::mem::take(&mut self.withdrawn) {
            self.sending.withdraw(cookie, &mut self.session, &self.shared.counters);
        }
        for id in inbox.given_up.into_iter().filter_map(|cookie| self.sending.take_aside(cookie)) {
            self.session.outgoing.give_up(id, NO_COOKIE);
        }
        self.take_requests(inbox.requests);
        if let Some((_, reply)) = self.asked_again.take() {
            drop(reply.send(Err(ReauthenticateError::NotConnected)));
        }
    }

    fn take_requests(&mut self, requests: Vec<Request>) {
        for request in requests {
            match request {
                Request::Subscribe(filters, user_properties, reply) => {
                    self.subscriptions.subscribe(filters, &user_properties, reply);
                }
                Request::Unsubscribe(filters, user_properties, reply) => {
                    self.subscriptions.unsubscribe(filters, &user_properties, reply);
                }
                Request::Reauthenticate(_, reply) if self.asked_again.is_some() => {
                    drop(reply.send(Err(ReauthenticateError::Busy)));
                }
                Request::Reauthenticate(password, reply) => self.asked_again = Some((password, reply)),
            }
        }
    }

    fn turn_offline(&mut self, link: Link, now: Now) -> Link {
        self.arrivals.offer_again(&self.shared, now);
        if self.is_done_closing(now) {
            return self.stop();
        }
        match link {
            Link::Idle { until_ms } if until_ms <= now.monotonic_ms => self.dial(now),
            Link::Dialling(dialling) => self.turn_dialling(dialling, now),
            link => link,
        }
    }

    /// Tells whether the client is to close and nothing is left to wait for.
    fn is_done_closing(&self, now: Now) -> bool {
        let Some(by_ms) = self.close_by_ms else { return false };
        let is_idle = self.sending.len() == 0 && !self.has_queued() && self.arrivals.undecided() == 0;
        is_idle || by_ms <= now.monotonic_ms
    }

    fn has_queued(&self) -> bool {
        !self.submissions.is_empty()
    }

    fn stop(&mut self) -> Link {
        while let Ok(submission) = self.submissions.try_recv() {
            count(&self.shared.counters.accepted);
            self.sending.accept(submission);
        }
        if let Some(last) = self.last.take() {
            count(&self.shared.counters.accepted);
            self.sending.accept(last);
        }
        let left = Left {
            unconfirmed: self.sending.give_up(&self.shared.counters),
            undecided: self.arrivals.undecided(),
        };
        self.shared.shut();
        self.state.send_replace(State::Stopped(left));
        Link::Stopped
    }

    // --- deadlines ---

    fn deadline_ms(&self) -> Option<u64> {
        let link = match &self.link {
            Link::Idle { until_ms } => Some(*until_ms),
            Link::Dialling(dialling) => Some(dialling.deadline_ms),
            Link::Online(online) => {
                online.deadline_ms(self.attempts.upward_at_ms(), self.look_due_ms(), self.canary_due_ms())
            }
            Link::Stopped => None,
        };
        let is_over = matches!(&self.link, Link::Online(online) if online.has_ended());
        let close_by_ms = if is_over { None } else { self.close_by_ms };
        [link, self.arrivals.due_ms(), close_by_ms].into_iter().flatten().min()
    }

    // --- between connections ---

    /// Waits for the next attempt, or begins it.
    fn wait(&mut self, cause: Cause, next: Next, now: Now) -> Link {
        let (wait_ms, pace) = match next {
            Next::AtOnce => (0, Pace::Normal),
            Next::After(wait_ms, pace) => (wait_ms, pace),
        };
        let until_wall_ms = now.wall_ms.saturating_add(wait_ms);
        let server = match self.state.borrow().clone() {
            State::Connecting { server, .. } => server,
            State::Connected(connected) => connected.server.clone(),
            _ => String::new(),
        };
        tracing::debug!(
            %server, client_id = %self.options.client_id, cause = %cause, next_step = %cause.next_step(), wait_ms,
            "Not connected."
        );
        self.state.send_replace(match pace {
            Pace::Refused => State::Refused { cause, next_try_wall_ms: until_wall_ms },
            Pace::Normal | Pace::Contended => State::BackingOff { cause, until_wall_ms },
        });
        Link::Idle { until_ms: now.monotonic_ms.saturating_add(wait_ms) }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Whoever waits for the engine must not wait for ever.
        self.shared.shut();
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("client_id", &self.options.client_id).finish_non_exhaustive()
    }
}

/// Waits until something happens on the way to the server.
async fn happened(link: &mut Link, may_read: bool) -> Happened {
    match link {
        Link::Dialling(dialling) => Happened::Dialled((&mut dialling.stream).await),
        Link::Online(online) => {
            poll_fn(|cx| match online.poll_look(cx) {
                Poll::Ready(result) => Poll::Ready(Happened::Looked(result)),
                Poll::Pending => match online.poll_hash(cx) {
                    Poll::Ready(hashed) => Poll::Ready(Happened::Hashed(hashed)),
                    Poll::Pending => online.poll_move(cx, may_read).map(Happened::Moved),
                },
            })
            .await
        }
        Link::Idle { .. } | Link::Stopped => pending().await,
    }
}
