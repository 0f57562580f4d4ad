//! One task a source connector: runs its flows and hands their outputs to the outboxes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crosspoint_broker::{LocalClient, LocalDelivery};
use crosspoint_client::{Deliveries, Delivery, Message, QoS};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::flow::{Failure, Flows};
use crate::outbox::{Item, Outbox};
use crate::receipt::{Promise, Receipt, Share};

/// How long failures are gathered before they are told again, in milliseconds.
const REPORT_EVERY_MS: u64 = 10_000;

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
    Local(Arc<LocalClient>),
}

/// One message with what its source waits for.
struct Arrived {
    message: Message,
    qos: QoS,
    promise: Promise,
}

/// Runs until the source has ended or it is told to stop.
pub(crate) async fn run(mut source: Source, mut routes: watch::Receiver<Arc<Routes>>, mut stop: oneshot::Receiver<()>) {
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
            Self::Local(client) => {
                let delivery: LocalDelivery = client.next().await.ok()?;
                let (message, qos) = (delivery.message.clone(), delivery.qos);
                Some(Arrived { message, qos, promise: Promise::Local(client.clone(), Box::new(delivery)) })
            }
        }
    }
}

/// Runs the flows on one message and appends what they made.
///
/// # Cancel safety
/// Dropped in its middle, the shares that were not appended break the promise: the message comes again.
async fn take(arrived: Arrived, routes: &Routes, now_ms: u64, pace: &mut Pace) {
    let (outputs, failures) = routes.flows.run(&arrived.message, arrived.qos, now_ms);
    pace.report(&failures, arrived.message.topic(), now_ms);
    let is_promised = arrived.qos != QoS::AtMostOnce;
    let mut shares = Receipt::divide(arrived.promise, outputs.len()).into_iter();
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

/// Says what a flow could not do: the first time at once, then once in a while with how many there were. The message
/// is not held up for it: it would fail again.
#[derive(Debug, Default)]
struct Pace {
    next_ms: u64,
    unsaid: usize,
}

impl Pace {
    fn report(&mut self, failures: &[Failure], topic: &str, now_ms: u64) {
        let Some(Failure { flow, reason }) = failures.first() else { return };
        self.unsaid += failures.len();
        if now_ms < self.next_ms {
            return;
        }
        warn!(flow = %flow, topic, reason, failures = self.unsaid, "A flow made nothing of a message.");
        self.unsaid = 0;
        self.next_ms = now_ms + REPORT_EVERY_MS;
    }
}
