//! Room for a message, before it is part of anything.

use std::sync::Arc;

use crosspoint_client::QoS;

use super::entry::Item;
use super::shared::Shared;
use crate::config::plan::WhenFull;

/// The answer to whether a message may wait. It holds the room until it is added or dropped.
#[derive(Debug)]
pub(crate) struct Admission(Option<Held>);

#[derive(Debug)]
struct Held {
    shared: Arc<Shared>,
    bytes: u64,
}

impl Admission {
    /// Gives the room to the message; `false` when there is none.
    pub(super) fn take(mut self) -> bool {
        self.0.take().is_some()
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if let Some(Held { shared, bytes }) = self.0.take() {
            shared.give_room(1, bytes);
        }
    }
}

pub(super) async fn admit(shared: &Arc<Shared>, item: &Item) -> Admission {
    let bytes = item.bytes();
    let granted = || Admission(Some(Held { shared: shared.clone(), bytes }));
    let waits = item.qos != QoS::AtMostOnce && shared.when_full() != WhenFull::DropNewest;
    // Whoever waits already goes first.
    if shared.turn.available_permits() > 0 && shared.take_room(item, bytes) {
        return granted();
    }
    if !waits {
        return if shared.take_room(item, bytes) { granted() } else { Admission(None) };
    }
    let Ok(_turn) = shared.turn.acquire().await else { return Admission(None) };
    let _waiting = Waiting::begin(shared, item);
    loop {
        let freed = shared.room.notified();
        if shared.take_room(item, bytes) {
            return granted();
        }
        freed.await;
    }
}

/// Somebody waits for room, for as long as this lives.
struct Waiting<'a>(&'a Shared);

impl<'a> Waiting<'a> {
    fn begin(shared: &'a Shared, item: &Item) -> Self {
        shared.set_blocked(Some((item.flow.clone(), item.bytes())));
        // With `drop_oldest` it is the pump that makes room.
        shared.work.notify_one();
        Self(shared)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set_blocked(None);
    }
}
