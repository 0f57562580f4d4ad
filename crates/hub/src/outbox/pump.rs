//! The task of an outbox: sends what waits, and settles what the other side has confirmed.

use std::time::Duration;

use crosspoint_broker::LocalClient;
use crosspoint_client::{
    Client, Publication, PublishError, PublishResult, Publisher, ReasonCode, TryPublishError,
};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::in_flight::InFlight;
use super::{Backlog, Item, Waiting};

/// How many messages are with the client before the first is confirmed.
pub(crate) const IN_FLIGHT_MAX: usize = 4_096;

/// How many confirmations are handled in one go.
const CONFIRMATIONS_AT_ONCE: usize = 256;

/// How often a message is sent again that was refused for the moment, before it is given up.
const REFUSALS_MAX: u8 = 10;

/// The wait after the first refusal for the moment; it doubles up to its bound.
const REFUSED_WAIT_MIN: Duration = Duration::from_secs(1);
const REFUSED_WAIT_MAX: Duration = Duration::from_secs(30);

/// Hands messages to the embedded broker until it is told to stop.
pub(super) async fn pump_local(backlog: &mut Backlog, client: &LocalClient, mut stop: oneshot::Receiver<()>) {
    loop {
        let waiting = tokio::select! {
            biased;
            _ = &mut stop => return,
            waiting = backlog.next() => waiting,
        };
        let Some(Waiting { item, .. }) = waiting else { return };
        match client.publish_message(&item.message, item.qos, item.retain) {
            Ok(_) => backlog.confirm(item),
            Err(reason) => backlog.bury(item, &reason.to_string()),
        }
    }
}

/// Sends through a client until it is told to stop.
///
/// Then it takes nothing more and goes on until everything in flight has its outcome, which the client's closing
/// brings about: whoever stops the pump closes the client too.
pub(super) async fn pump_remote(backlog: &mut Backlog, client: &Client, mut stop: oneshot::Receiver<()>) {
    let (publisher, mut confirmations) = client.publisher();
    let mut sending =
        Sending { backlog, publisher: Some(publisher), in_flight: InFlight::default(), pause: None };
    let mut outcomes = Vec::new();
    loop {
        let (takes, pause) = (sending.takes(), sending.pause());
        tokio::select! {
            biased;
            count = confirmations.next_many(&mut outcomes, CONFIRMATIONS_AT_ONCE) => {
                if count == 0 {
                    break;
                }
                outcomes.drain(..).for_each(|(cookie, outcome)| sending.settle(cookie, outcome));
            }
            _ = &mut stop, if sending.publisher.is_some() => sending.publisher = None,
            () = sleep_until(pause.unwrap_or_else(Instant::now)), if pause.is_some() => sending.go_on(),
            waiting = sending.backlog.next(), if takes => sending.send(waiting),
        }
    }
    // What has not been confirmed goes first when somebody pumps again.
    sending.in_flight.give_back(&mut sending.backlog.unfinished);
}

/// A pump of a remote connector at work.
struct Sending<'a> {
    backlog: &'a mut Backlog,
    /// `None` once nothing more is to be sent. The outcomes end when this is gone and all have been told.
    publisher: Option<Publisher>,
    in_flight: InFlight,
    /// The broker has refused something for the moment: until then nothing is sent.
    pause: Option<Instant>,
}

impl Sending<'_> {
    fn takes(&self) -> bool {
        self.publisher.is_some() && self.pause.is_none() && self.in_flight.open() < IN_FLIGHT_MAX
    }

    /// Returns when to go on after a refusal: not before everything else in flight has its outcome (C5).
    fn pause(&self) -> Option<Instant> {
        self.pause.filter(|_| self.in_flight.open() == 0 && self.publisher.is_some())
    }

    fn go_on(&mut self) {
        self.pause = None;
        self.in_flight.give_back(&mut self.backlog.unfinished);
    }

    fn send(&mut self, waiting: Option<Waiting>) {
        let (Some(waiting), Some(publisher)) = (waiting, &self.publisher) else {
            self.publisher = None;
            return;
        };
        let publication = publication_of(&waiting.item);
        let cookie = self.in_flight.put(waiting);
        let Err(error) = publisher.try_send(publication, cookie) else { return };
        if let Some(waiting) = self.in_flight.take_newest() {
            self.backlog.unfinished.push_front(waiting);
        }
        match error {
            // Its queue holds as many as are in flight, so something else is in it: try again in a moment.
            TryPublishError::Full(_) => self.pause = Some(Instant::now() + Duration::from_millis(10)),
            _ => self.publisher = None,
        }
    }

    fn settle(&mut self, cookie: u64, outcome: PublishResult) {
        match outcome {
            // The client was closed: the message stays for the next one.
            Err(PublishError::Closed) => drop(self.in_flight.keep(cookie)),
            Err(PublishError::Unconfirmed) => {
                if let Some(waiting) = self.in_flight.keep(cookie) {
                    waiting.may_be_there = true;
                }
            }
            Err(PublishError::Refused(reason)) if is_for_the_moment(reason) => self.refused(cookie, reason),
            Err(error) => {
                if let Some(Waiting { item, .. }) = self.in_flight.take(cookie) {
                    match error {
                        PublishError::Expired => self.backlog.expire(item),
                        _ => self.backlog.bury(item, &error.to_string()),
                    }
                }
            }
            Ok(receipt) => {
                if let Some(Waiting { item, may_be_there, .. }) = self.in_flight.take(cookie) {
                    self.backlog.count_maybe_twice(receipt.may_be_duplicate || may_be_there);
                    self.backlog.confirm(item);
                }
            }
        }
    }

    /// Keeps a message to be sent again after a wait, unless that has been tried too often.
    fn refused(&mut self, cookie: u64, reason: ReasonCode) {
        let Some(refusals) = self.in_flight.look_at(cookie).map(|waiting| waiting.refusals) else { return };
        if refusals == REFUSALS_MAX {
            if let Some(Waiting { item, .. }) = self.in_flight.take(cookie) {
                self.backlog.bury(item, &reason.to_string());
            }
            return;
        }
        if let Some(waiting) = self.in_flight.keep(cookie) {
            waiting.refusals += 1;
        }
        let wait = (REFUSED_WAIT_MIN * (1 << refusals.min(5))).min(REFUSED_WAIT_MAX);
        let until = Instant::now() + wait;
        self.pause = Some(self.pause.map_or(until, |pause| pause.max(until)));
        if let Some(messages) = self.backlog.refused.note(1) {
            let connector = &*self.backlog.connector;
            warn!(connector, %reason, messages, "The broker refuses messages for the moment: they are sent again.");
        }
    }
}

/// Tells whether the same message may well be taken a little later.
const fn is_for_the_moment(reason: ReasonCode) -> bool {
    matches!(reason, ReasonCode::QuotaExceeded | ReasonCode::PacketIdentifierInUse)
}

fn publication_of(item: &Item) -> Publication {
    Publication::of_message(item.message.clone()).qos(item.qos).retain(item.retain)
}
