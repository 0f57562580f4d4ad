//! The pump of the connector to the embedded broker.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crosspoint_broker::{Accepting, LocalClient, NotAccepted};
use crosspoint_client::{PublishError, QoS, ReasonCode};
use crosspoint_store::{Batch, State as StoreState};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::{Ahead, Pumping, answer};
use crate::outbox::durable::entry::Item;
use crate::outbox::durable::figures::End;
use crate::outbox::durable::gone;
use crate::outbox::durable::keeper::Keeper;
use crate::outbox::durable::queue::Next;
use crate::outbox::durable::shared::Shared;

/// How many messages are handed over before anything else is looked at.
const AT_ONCE: usize = 256;

/// Messages that the broker has and that may not be on disk yet, in the order of their commits.
type Handed = VecDeque<(u64, Accepting)>;

/// Hands messages to the embedded broker until it is told to stop.
///
/// What promises something enters its sessions and leaves the outbox in one batch, so that a crash makes it neither
/// lost nor two (C3).
pub(in crate::outbox::durable) async fn run(
    shared: &Arc<Shared>,
    client: &LocalClient,
    mut stop: oneshot::Receiver<()>,
) {
    let mut pumping = Pumping::new(shared, Vec::new());
    let mut keeper = Keeper::new(shared);
    let began = (Instant::now(), shared.now().monotonic_ms);
    let mut handed = Handed::new();
    shared.state().is_connected = true;
    loop {
        let wait_until_ms = hand_over(&mut pumping, client, &mut handed);
        pumping.bury_doomed();
        keeper.turn(&mut pumping.tally, shared.now().monotonic_ms);
        let due_ms = [wait_until_ms, keeper.due_ms()].into_iter().flatten().min();
        let due = began.0 + Duration::from_millis(due_ms.unwrap_or_default().saturating_sub(began.1));
        tokio::select! {
            biased;
            _ = &mut stop => break,
            outcomes = outcomes(&mut handed), if !handed.is_empty() => pumping.on_handed(outcomes),
            result = answer(&mut pumping.reading) => pumping.on_read(result),
            result = answer(&mut pumping.burying) => {
                pumping.on_buried(&result, shared.now().monotonic_ms);
            }
            what = keeper.next() => keeper.take(what, shared.now().monotonic_ms),
            () = shared.work.notified() => {}
            () = sleep_until(due), if due_ms.is_some() => {}
        }
    }
    shared.state().is_connected = false;
    while !handed.is_empty() {
        pumping.on_handed(outcomes(&mut handed).await);
    }
    pumping.bury_doomed();
    pumping.finish_burying().await;
    keeper.finish(&mut pumping.tally).await;
}

/// What became of some that were handed over.
type Outcomes = Vec<(u64, Result<bool, NotAccepted>)>;

/// Waits until the first is decided, and returns all that are.
///
/// # Cancel safety
/// Dropping the future loses nothing.
async fn outcomes(handed: &mut Handed) -> Outcomes {
    poll_fn(|context| poll_outcomes(handed, context)).await
}

fn poll_outcomes(handed: &mut Handed, context: &mut Context<'_>) -> Poll<Outcomes> {
    let mut outcomes = Outcomes::new();
    while let Some((position, accepting)) = handed.front_mut()
        && let Poll::Ready(outcome) = Pin::new(accepting).poll(context)
    {
        outcomes.push((*position, outcome));
        handed.pop_front();
    }
    if outcomes.is_empty() { Poll::Pending } else { Poll::Ready(outcomes) }
}

impl Pumping {
    fn on_handed(&mut self, outcomes: Outcomes) {
        let now = self.shared.now();
        for (position, outcome) in outcomes {
            let is_full = matches!(self.shared.store.state(), StoreState::Full);
            let verdict = {
                let mut state = self.shared.state();
                // What is not to be retained is refused for the disk alone, also when the broker knows of it first.
                let is_full = is_full || state.queue.item(position).is_some_and(|item| !item.retain);
                match outcome {
                    Ok(_) => {
                        state.gone.insert_kept(position, End::Confirmed);
                        state.queue.end_in_flight(position, End::Confirmed)
                    }
                    Err(NotAccepted::Refused(reason)) if !is_full => {
                        state.queue.bury(position, reason.to_string())
                    }
                    Err(NotAccepted::Refused(_) | NotAccepted::Full) => {
                        let refused = Err(PublishError::Refused(ReasonCode::QuotaExceeded));
                        state.queue.on_outcome(position, refused, now.monotonic_ms)
                    }
                    // The store is out of order: what was kept is known when it is opened again.
                    Err(_) => {
                        state.queue.not_sent(position, now.monotonic_ms);
                        continue;
                    }
                }
            };
            self.settle(position, verdict);
        }
    }
}

/// Hands over what waits; returns when to come again, if that is known.
fn hand_over(pumping: &mut Pumping, client: &LocalClient, handed: &mut Handed) -> Option<u64> {
    let now = pumping.shared.now();
    pumping.make_room(now.wall_ms);
    for _ in 0..AT_ONCE {
        if hand_over_direct(pumping, client) {
            continue;
        }
        let (position, item) = match find(pumping, now) {
            Found::Item(position, item) => (position, item),
            Found::Nothing(wait_until_ms) => return wait_until_ms,
        };
        if item.qos != QoS::AtMostOnce {
            let mut batch = Batch::new();
            gone::put(&mut batch, pumping.shared.number, position, End::Confirmed);
            let accepting = client.publish_message_with(batch, &item.message, item.qos, item.retain);
            handed.push_back((position, accepting));
            continue;
        }
        let published = client.publish_message(&item.message, item.qos, item.retain);
        let verdict = {
            let mut state = pumping.shared.state();
            match published {
                Ok(_) => state.queue.end_in_flight(position, End::Sent),
                Err(reason) => state.queue.bury(position, reason.to_string()),
            }
        };
        pumping.settle(position, verdict);
    }
    // There may be more: come back after a look at what else has happened.
    pumping.shared.work.notify_one();
    None
}

enum Found {
    Item(u64, Item),
    /// Nothing now, or not before a time.
    Nothing(Option<u64>),
}

fn find(pumping: &mut Pumping, now: crosspoint_protocol::Now) -> Found {
    let shared = pumping.shared.clone();
    let mut state = shared.state();
    match state.queue.next(now.monotonic_ms) {
        Next::Again(position) => {
            state.queue.sent_again(position);
            state
                .queue
                .item(position)
                .map_or(Found::Nothing(None), |item| Found::Item(position, item.clone()))
        }
        Next::Take => match pumping.look_ahead(&mut state, now.wall_ms) {
            Ahead::Message(position) => match state.take_peeked(position) {
                Some(item) => {
                    state.queue.take(item.clone());
                    Found::Item(position, item)
                }
                None => Found::Nothing(None),
            },
            Ahead::Unread(wanted) => {
                drop(state);
                pumping.read(wanted);
                Found::Nothing(None)
            }
            Ahead::Nothing => Found::Nothing(None),
        },
        Next::Wait(until_ms) => Found::Nothing(Some(until_ms)),
        Next::Rest => Found::Nothing(None),
    }
}

fn hand_over_direct(pumping: &mut Pumping, client: &LocalClient) -> bool {
    let Some(item) = pumping.shared.state().direct.pop_front() else { return false };
    match client.publish_message(&item.message, item.qos, item.retain) {
        Ok(_) => pumping.end_direct(End::Sent, &item),
        Err(reason) => pumping.bury_direct(&item, &reason.to_string()),
    }
    true
}
