//! The promise to a source, shared by everything that one of its messages became.

use std::sync::{Arc, Mutex, PoisonError};

use crosspoint_broker::{LocalClient, LocalDelivery};
use crosspoint_client::Ack;

/// What a source waits for.
#[derive(Debug)]
pub(crate) enum Promise {
    /// A remote broker waits for PUBACK or PUBREC.
    Remote(Ack),
    /// The embedded broker takes the message back if it was not accepted.
    Local(Arc<LocalClient>, Box<LocalDelivery>),
}

impl Promise {
    fn keep(self) {
        match self {
            Self::Remote(ack) => ack.accept(),
            Self::Local(..) => {}
        }
    }

    fn break_off(self) {
        match self {
            // Dropped undecided: the client offers the message again.
            Self::Remote(ack) => drop(ack),
            Self::Local(client, delivery) => client.put_back(*delivery),
        }
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
