//! Messages become a batch: what is there is taken, its flows run, and its outputs find room in their outboxes.

use std::collections::{BTreeMap, VecDeque};
use std::future::ready;
use std::sync::Arc;

use crosspoint_store::{Batch, Committed};
use tokio::sync::watch;
use tracing::{debug, error, warn};

use super::arrived::Arrived;
use super::{KeptRoute, Routes, Sink, Source};
use crate::config::plan::Durability;
use crate::durable::Session;
use crate::environment::Clock;
use crate::flow::{Failure, Output};
use crate::outbox::{Added, Admission, Item, Outbox};
use crate::pace::Pace;

/// How many messages one batch takes, and about how many bytes of them.
const MESSAGES_MAX: usize = 256;
const BYTES_MAX: usize = 2 << 20;

/// Outputs of one message with so many bytes have a batch of their own, so that no other one is refused with it.
const ALONE_BYTES: usize = 32 << 20;

/// The side of an intake that takes messages.
pub(super) struct Gathering {
    source: Source,
    routes: watch::Receiver<Arc<Routes>>,
    clock: Clock,
    pace: Pace,
    /// What comes before anything of the source: it was gathered already and could not be kept.
    again: VecDeque<Arrived>,
    gathered: Gathered,
    /// A message whose outputs do not all have room yet.
    admitting: Option<Admitting>,
}

/// What one batch is made of.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) batch: Batch,
    pub(super) arrived: Vec<Arrived>,
    /// What it adds to each outbox, by the outbox's number.
    parts: BTreeMap<u64, Part>,
    bytes: usize,
}

/// What a batch adds to one outbox.
#[derive(Debug)]
struct Part {
    sink: Sink,
    added: Added,
    /// For an outbox in memory, which has no part in the batch of the others.
    own: Batch,
}

struct Admitting {
    arrived: Arrived,
    outputs: Vec<(Sink, Item)>,
    admitted: Vec<Admission>,
    failures: Vec<(Sink, Item, String)>,
}

impl Gathering {
    pub(super) fn new(source: Source, routes: watch::Receiver<Arc<Routes>>, clock: Clock) -> Self {
        Self {
            source,
            routes,
            clock,
            pace: Pace::default(),
            again: VecDeque::new(),
            gathered: Gathered::default(),
            admitting: None,
        }
    }

    /// Takes messages until there is a batch that need not wait: all that is there, as many as one batch takes, or all
    /// before one for which there is no room. Returns whether the source may give more.
    ///
    /// # Cancel safety
    /// Dropped in its middle, everything keeps its place for the next call.
    pub(super) async fn gather(&mut self) -> bool {
        while !self.gathered.is_full() {
            if self.admitting.is_none() {
                let next = match self.again.pop_front() {
                    Some(arrived) => Some(arrived),
                    None => self.source.take().await,
                };
                let arrived = match next {
                    Some(arrived) => arrived,
                    None if !self.gathered.is_empty() => return true,
                    None => match self.source.next().await {
                        Some(arrived) => arrived,
                        None => return false,
                    },
                };
                self.begin(arrived);
            }
            let is_alone = self.admitting.as_ref().is_some_and(Admitting::is_large);
            if (is_alone && !self.gathered.is_empty()) || !self.admit().await {
                return true;
            }
        }
        true
    }

    /// Takes what was gathered, if it is anything.
    pub(super) fn take(&mut self) -> Option<Gathered> {
        (!self.gathered.is_empty()).then(|| std::mem::take(&mut self.gathered).finish())
    }

    /// Takes messages back that could not be kept, in their order, before everything that came after them.
    pub(super) fn begin_again(&mut self, refused: Vec<Arrived>) {
        let later = std::mem::take(&mut self.gathered).dissolve();
        let last = self.admitting.take().map(|admitting| admitting.arrived);
        let rest = std::mem::take(&mut self.again);
        self.again = refused.into_iter().chain(later).chain(last).chain(rest).collect();
    }

    /// Runs the flows of a message.
    fn begin(&mut self, arrived: Arrived) {
        let now = (self.clock)();
        let routes = self.routes.borrow_and_update().clone();
        // What is retained and comes for who has begun to listen has been through the flows before.
        let is_new = !arrived.came().is_for_listeners();
        let (outputs, failures) = match is_new {
            true => routes.flows.run(&arrived.message, arrived.qos, now.monotonic_ms),
            false => (Vec::new(), Vec::new()),
        };
        report(&mut self.pace, &failures, arrived.message.topic());
        let mut outputs: Vec<(Sink, Item)> =
            outputs.into_iter().filter_map(|output| to_sink(output, &routes, now.wall_ms)).collect();
        let kept = routes.kept.iter().filter(|kept| is_new && kept.matches(arrived.message.topic()));
        outputs.extend(kept.map(|kept| (kept.sink.clone(), kept.item(&arrived, now.wall_ms))));
        // In one order for all, so that two sources that fill the same outboxes cannot wait for each other.
        outputs.sort_by_key(|(sink, _)| sink.number);
        let failures = failures.into_iter().filter_map(|failure| {
            let sink = routes.sinks.get(&failure.connector)?.clone();
            let item = Item {
                message: arrived.message.clone(),
                qos: arrived.qos,
                retain: arrived.message.retain(),
                flow: failure.flow,
                accepted_wall_ms: now.wall_ms,
            };
            Some((sink, item, failure.reason))
        });
        let failures = failures.collect();
        self.admitting = Some(Admitting { arrived, outputs, admitted: Vec::new(), failures });
    }

    /// Finds room for every output of a message, then adds them. Returns `false` when there is no room now and
    /// something else is gathered, which need not wait for it.
    async fn admit(&mut self) -> bool {
        let Some(admitting) = &mut self.admitting else { return true };
        while let Some((sink, item)) = admitting.outputs.get(admitting.admitted.len()) {
            let admission = if self.gathered.is_empty() {
                sink.outbox.admit(item).await
            } else {
                let now = tokio::select! {
                    biased;
                    admission = sink.outbox.admit(item) => Some(admission),
                    () = ready(()) => None,
                };
                match now {
                    Some(admission) => admission,
                    None => return false,
                }
            };
            admitting.admitted.push(admission);
        }
        if let Some(admitting) = self.admitting.take() {
            self.gathered.add(admitting);
        }
        true
    }
}

impl Gathered {
    fn is_empty(&self) -> bool {
        self.arrived.is_empty()
    }

    fn is_full(&self) -> bool {
        self.arrived.len() >= MESSAGES_MAX || self.bytes >= BYTES_MAX
    }

    /// A batch that only goes to where the operating system's word is enough waits for no sync.
    fn finish(mut self) -> Self {
        let is_written = |part: &Part| part.sink.durability != Durability::Synced;
        if !self.parts.is_empty() && self.parts.values().all(is_written) {
            self.batch.written();
        }
        self
    }

    fn add(&mut self, admitting: Admitting) {
        let Admitting { arrived, outputs, admitted, failures } = admitting;
        for ((sink, item), admission) in outputs.into_iter().zip(admitted) {
            self.bytes += item.message.len();
            self.to(sink, |outbox, batch, added| outbox.add(batch, added, item, admission));
        }
        for (sink, item, reason) in failures {
            self.bytes += item.message.len();
            self.to(sink, |outbox, batch, added| outbox.bury(batch, added, &item, &reason));
        }
        self.arrived.push(arrived);
    }

    fn to(&mut self, sink: Sink, put: impl FnOnce(&Outbox, &mut Batch, &mut Added)) {
        let part = self.parts.entry(sink.number);
        let part = part.or_insert_with(|| Part { sink, added: Added::default(), own: Batch::new() });
        let batch = if part.sink.memory.is_some() { &mut part.own } else { &mut self.batch };
        put(&part.sink.outbox, batch, &mut part.added);
    }

    /// The batch is durable: hands what belongs to outboxes in memory to them, and returns what may be accepted.
    pub(super) async fn keep(self, committed: &Committed) -> Vec<Arrived> {
        for Part { sink, added, own } in self.parts.into_values() {
            match &sink.memory {
                Some(memory) => sink.outbox.settled(added, memory.commit(own).await.ok().as_ref()),
                None => sink.outbox.settled(added, Some(committed)),
            }
        }
        self.arrived
    }

    /// Nothing of the batch was kept: returns what it was made of.
    pub(super) fn dissolve(self) -> Vec<Arrived> {
        for Part { sink, added, .. } in self.parts.into_values() {
            sink.outbox.settled(added, None);
        }
        self.arrived
    }
}

impl Admitting {
    /// Tells whether it is so large that it has a batch of its own.
    fn is_large(&self) -> bool {
        self.outputs.iter().map(|(_, item)| item.message.len()).sum::<usize>() >= ALONE_BYTES
    }
}

impl Source {
    pub(super) fn session(&self) -> Option<Session> {
        match self {
            Self::Remote(_, session) => session.clone(),
            Self::Local(_) => None,
        }
    }

    /// Returns the next message if one is there.
    async fn take(&mut self) -> Option<Arrived> {
        match self {
            Self::Remote(deliveries, _) => deliveries.try_next().map(Arrived::of_remote),
            Self::Local(client) => tokio::select! {
                biased;
                delivery = client.next() => Some(Arrived::of_local(delivery.ok()?, client.queue())),
                () = ready(()) => None,
            },
        }
    }

    /// # Cancel safety
    /// Dropping the future loses nothing.
    async fn next(&mut self) -> Option<Arrived> {
        match self {
            Self::Remote(deliveries, _) => deliveries.next().await.map(Arrived::of_remote),
            Self::Local(client) => Some(Arrived::of_local(client.next().await.ok()?, client.queue())),
        }
    }
}

impl KeptRoute {
    fn item(&self, arrived: &Arrived, wall_ms: u64) -> Item {
        Item {
            message: arrived.message.clone(),
            qos: arrived.qos.min(self.qos),
            retain: arrived.message.retain(),
            flow: self.flow.clone(),
            accepted_wall_ms: wall_ms,
        }
    }
}

/// Returns an output with the outbox that it goes to.
fn to_sink(output: Output, routes: &Routes, wall_ms: u64) -> Option<(Sink, Item)> {
    let Some(sink) = routes.sinks.get(&output.connector) else {
        debug!(connector = %output.connector, "A flow names a connector that is not there any more.");
        return None;
    };
    let item = Item {
        message: output.message,
        qos: output.qos,
        retain: output.retain,
        flow: output.flow,
        accepted_wall_ms: wall_ms,
    };
    Some((sink.clone(), item))
}

/// Says what a flow could not do. The message is not held up for it: it would fail again.
fn report(pace: &mut Pace, failures: &[Failure], topic: &str) {
    for Failure { flow, reason, .. } in failures.iter().filter(|failure| failure.stops_flow) {
        error!(flow = %flow, topic, reason, "A flow is stopped.");
    }
    let mut others = failures.iter().filter(|failure| !failure.stops_flow);
    let Some(Failure { flow, reason, .. }) = others.next() else { return };
    if let Some(failures) = pace.note(failures.len()) {
        warn!(flow = %flow, topic, reason, failures, "A flow made nothing of a message: it is with the dead letters.");
    }
}
