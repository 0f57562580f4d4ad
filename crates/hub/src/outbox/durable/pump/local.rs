//! The pump of the connector to the embedded broker.

use std::sync::Arc;
use std::time::Duration;

use crosspoint_broker::LocalClient;
use crosspoint_client::QoS;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::{Ahead, Pumping, answer};
use crate::outbox::durable::figures::End;
use crate::outbox::durable::keeper::Keeper;
use crate::outbox::durable::queue::{Next, Queue};
use crate::outbox::durable::shared::Shared;

/// How many messages are handed over before anything else is looked at.
const AT_ONCE: usize = 256;

/// Hands messages to the embedded broker until it is told to stop.
pub(in crate::outbox::durable) async fn run(
    shared: &Arc<Shared>,
    queue: &mut Queue,
    client: &LocalClient,
    mut stop: oneshot::Receiver<()>,
) {
    let mut pumping = Pumping::new(shared, queue, Vec::new());
    let mut keeper = Keeper::new(shared);
    let began = (Instant::now(), shared.now().monotonic_ms);
    shared.state().is_connected = true;
    loop {
        hand_over(&mut pumping, client);
        pumping.bury_doomed();
        keeper.turn(pumping.queue, &mut pumping.tally, shared.now().monotonic_ms);
        let due_ms = keeper.due_ms();
        let due = began.0 + Duration::from_millis(due_ms.unwrap_or_default().saturating_sub(began.1));
        tokio::select! {
            biased;
            _ = &mut stop => break,
            result = answer(&mut pumping.reading) => {
                if let Some((wanted, _)) = pumping.reading.take() {
                    pumping.on_read(wanted, result);
                }
            }
            result = answer(&mut pumping.burying) => {
                pumping.on_buried(&result, shared.now().monotonic_ms);
            }
            result = keeper.written() => keeper.on_written(result, shared.now().monotonic_ms),
            () = shared.work.notified() => {}
            () = sleep_until(due), if due_ms.is_some() => {}
        }
    }
    shared.state().is_connected = false;
    if pumping.burying.is_some() {
        let result = answer(&mut pumping.burying).await;
        pumping.on_buried(&result, 0);
    }
    keeper.finish(pumping.queue, &mut pumping.tally).await;
}

fn hand_over(pumping: &mut Pumping<'_>, client: &LocalClient) {
    let now = pumping.shared.now();
    pumping.make_room(now.wall_ms);
    for _ in 0..AT_ONCE {
        let direct = pumping.shared.state().direct.pop_front();
        if let Some(item) = direct {
            match client.publish_message(&item.message, item.qos, item.retain) {
                Ok(_) => pumping.end_direct(End::Sent, &item),
                Err(reason) => pumping.bury_direct(&item, &reason.to_string()),
            }
            continue;
        }
        let position = match pumping.queue.next(now.monotonic_ms) {
            Next::Again(position) => {
                pumping.queue.sent_again(position);
                position
            }
            Next::Take => {
                let Ahead::Message(position) = pumping.look_ahead(now.wall_ms) else { return };
                let Some(item) = pumping.take_next(position) else { continue };
                pumping.queue.take(item);
                position
            }
            Next::Wait(_) | Next::Rest => return,
        };
        let Some(item) = pumping.queue.item(position) else { return };
        let end = if item.qos == QoS::AtMostOnce { End::Sent } else { End::Confirmed };
        let verdict = match client.publish_message(&item.message, item.qos, item.retain) {
            Ok(_) => pumping.queue.end_in_flight(position, end),
            Err(reason) => pumping.queue.bury(position, reason.to_string()),
        };
        pumping.settle(position, verdict);
    }
    // There may be more: come back after a look at what else has happened.
    pumping.shared.work.notify_one();
}
