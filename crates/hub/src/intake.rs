//! One task a source connector: runs its flows and hands their outputs to the outboxes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crosspoint_broker::{LocalClient, LocalDelivery};
use crosspoint_client::{Deliveries, Delivery, Message, QoS};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tracing::{debug, error, warn};

use crate::flow::{Failure, Flows};
use crate::outbox::{Item, Outbox};
use crate::pace::Pace;
use crate::receipt::{Promise, Receipt, Returned, Share};

/// What an intake works with; replaced as a whole when the project changes.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    pub(crate) flows: Flows,
    pub(crate) outboxes: BTreeMap<Arc<str>, Outbox>,
}

/// Where messages come from.
#[derive(Debug)]
pub(crate) enum Source {
    Remote(Deliveries),
    Local(Arc<LocalClient>, Arc<Returned>),
}

/// One message with what its source waits for.
struct Arrived {
    message: Message,
    qos: QoS,
    promise: Promise,
}

/// Runs until the source has ended or it is told to stop.
pub(crate) async fn run(
    mut source: Source,
    mut routes: watch::Receiver<Arc<Routes>>,
    mut stop: oneshot::Receiver<()>,
) {
    let began = Instant::now();
    let mut pace = Pace::default();
    loop {
        let arrived = tokio::select! {
            biased;
            _ = &mut stop => return,
            arrived = source.next() => arrived,
        };
        let Some(arrived) = arrived else { return };
        let now_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let current = routes.borrow_and_update().clone();
        tokio::select! {
            biased;
            _ = &mut stop => return,
            () = take(arrived, &current, now_ms, &mut pace) => {}
        }
    }
}

impl Source {
    async fn next(&mut self) -> Option<Arrived> {
        match self {
            Self::Remote(deliveries) => deliveries.next().await.map(|delivery| {
                let Delivery { message, ack, .. } = delivery;
                Arrived { qos: message.qos(), message, promise: Promise::Remote(ack) }
            }),
            Self::Local(client, returned) => {
                let (place, delivery) = next_local(client, returned).await?;
                let (message, qos) = (delivery.message.clone(), delivery.qos);
                let (returned, delivery) = (returned.clone(), Box::new(delivery));
                Some(Arrived { message, qos, promise: Promise::Local { returned, place, delivery } })
            }
        }
    }
}

/// Returns the next message of the embedded broker: first what came back.
///
/// # Cancel safety
/// Dropping the future loses nothing.
async fn next_local(client: &LocalClient, returned: &Returned) -> Option<(u64, LocalDelivery)> {
    loop {
        // Were it to come back at once again and again, others would never have their turn.
        tokio::task::coop::consume_budget().await;
        if let Some(again) = returned.take() {
            return Some(again);
        }
        tokio::select! {
            biased;
            () = returned.came() => {}
            delivery = client.next() => return Some((returned.next_place(), delivery.ok()?)),
        }
    }
}

/// Runs the flows on one message and appends what they made.
///
/// # Cancel safety
/// Dropped in its middle, the shares that were not appended break the promise: the message comes again.
async fn take(arrived: Arrived, routes: &Routes, now_ms: u64, pace: &mut Pace) {
    let (outputs, failures) = routes.flows.run(&arrived.message, arrived.qos, now_ms);
    report(pace, &failures, arrived.message.topic());
    let is_promised = arrived.qos != QoS::AtMostOnce;
    // At QoS 0 nothing is promised: what is dropped must not come again.
    let parts = if is_promised { outputs.len() } else { 0 };
    let mut shares = Receipt::divide(arrived.promise, parts).into_iter();
    for output in outputs {
        let share = shares.next().unwrap_or_else(Share::of_nothing);
        let Some(outbox) = routes.outboxes.get(&output.connector) else {
            debug!(connector = %output.connector, "A flow names a connector that is not there any more.");
            share.settle();
            continue;
        };
        let item = Item {
            message: output.message,
            qos: output.qos,
            retain: output.retain,
            flow: output.flow,
            share,
        };
        if is_promised {
            outbox.append(item).await;
        } else {
            outbox.append_or_drop(item);
        }
    }
}

/// Says what a flow could not do. The message is not held up for it: it would fail again.
fn report(pace: &mut Pace, failures: &[Failure], topic: &str) {
    for Failure { flow, reason, .. } in failures.iter().filter(|failure| failure.stops_flow) {
        error!(flow = %flow, topic, reason, "A flow is stopped.");
    }
    let mut others = failures.iter().filter(|failure| !failure.stops_flow);
    let Some(Failure { flow, reason, .. }) = others.next() else { return };
    if let Some(failures) = pace.note(failures.len()) {
        warn!(flow = %flow, topic, reason, failures, "A flow made nothing of a message.");
    }
}

#[cfg(test)]
mod tests;
