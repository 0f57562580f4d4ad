//! The promise to a source, shared by everything that one of its messages became.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crosspoint_broker::LocalDelivery;
use crosspoint_client::Ack;
use tokio::sync::Notify;

/// What a source waits for.
#[derive(Debug)]
pub(crate) enum Promise {
    /// A remote broker waits for PUBACK or PUBREC.
    Remote(Ack),
    /// The embedded broker has handed the message over for good: not accepted, it comes back to this hub's own list,
    /// at the place that it had.
    Local { returned: Arc<Returned>, place: u64, delivery: Box<LocalDelivery> },
    /// A test watches what becomes of it.
    #[cfg(test)]
    Watched(Watched),
}

impl Promise {
    fn keep(self) {
        match self {
            Self::Remote(ack) => ack.accept(),
            Self::Local { .. } => {}
            #[cfg(test)]
            Self::Watched(watched) => watched.note("kept"),
        }
    }

    fn break_off(self) {
        match self {
            // Dropped undecided: the client offers the message again.
            Self::Remote(ack) => drop(ack),
            Self::Local { returned, place, delivery } => returned.put(place, *delivery),
            #[cfg(test)]
            Self::Watched(watched) => watched.note("broken"),
        }
    }
}

/// Messages of the embedded broker that were taken and not accepted, in the order in which they came, whatever the
/// order in which they come back. It outlives the connection to the broker.
#[derive(Debug, Default)]
pub(crate) struct Returned {
    list: Mutex<List>,
    came: Notify,
}

#[derive(Debug, Default)]
struct List {
    deliveries: BTreeMap<u64, LocalDelivery>,
    places: u64,
}

impl Returned {
    /// Returns the place of a message that comes now.
    pub(crate) fn next_place(&self) -> u64 {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.places += 1;
        list.places
    }

    /// Takes the oldest message that came back.
    pub(crate) fn take(&self) -> Option<(u64, LocalDelivery)> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).deliveries.pop_first()
    }

    /// Waits until something has come back since the last time.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn came(&self) {
        self.came.notified().await;
    }

    fn put(&self, place: u64, delivery: LocalDelivery) {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).deliveries.insert(place, delivery);
        self.came.notify_one();
    }
}

/// One share in the promise to a source. The promise is kept when every share has been settled; a share that is
/// dropped unsettled breaks it, and the message comes again (C4).
#[derive(Debug, Clone)]
pub(crate) struct Receipt(Arc<Shares>);

#[derive(Debug)]
struct Shares {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    promise: Option<Promise>,
    unsettled: usize,
}

impl Receipt {
    /// Divides a promise into so many shares; with none it is kept at once.
    pub(crate) fn divide(promise: Promise, shares: usize) -> Vec<Share> {
        if shares == 0 {
            promise.keep();
            return Vec::new();
        }
        let state = Mutex::new(State { promise: Some(promise), unsettled: shares });
        let receipt = Self(Arc::new(Shares { state }));
        (0..shares).map(|_| Share(Some(receipt.clone()))).collect()
    }

    fn settle(&self) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.unsettled = state.unsettled.saturating_sub(1);
        if state.unsettled > 0 {
            return;
        }
        let promise = state.promise.take();
        drop(state);
        promise.into_iter().for_each(Promise::keep);
    }

    fn break_off(&self) {
        let promise = self.0.state.lock().unwrap_or_else(PoisonError::into_inner).promise.take();
        promise.into_iter().for_each(Promise::break_off);
    }
}

/// One share, held by what has to be done before the promise can be kept.
#[derive(Debug)]
pub(crate) struct Share(Option<Receipt>);

impl Share {
    /// A share in nothing: for messages at QoS 0, whose source waits for nothing.
    pub(crate) const fn of_nothing() -> Self {
        Self(None)
    }

    /// Says that its part is done.
    pub(crate) fn settle(mut self) {
        if let Some(receipt) = self.0.take() {
            receipt.settle();
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(receipt) = self.0.take() {
            receipt.break_off();
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
use tests::Watched;
