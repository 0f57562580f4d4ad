//! How much room an outbox has, who waits for some, and what is said about how full it is.

use std::sync::Arc;

use parking_lot::MutexGuard;
use tracing::{info, warn};

use super::entry::Item;
use super::shared::Shared;
use super::state::State;
use crate::config::plan::{OutboxPlan, WhenFull};

/// The room of an outbox.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Messages and bytes that wait or have been promised room.
    used: (u64, u64),
    fill: Fill,
    /// The flow whose message waits for room, and what that takes.
    blocked: Option<(Arc<str>, u64)>,
}

/// What has been said about how full it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Fill {
    #[default]
    Low,
    High,
    Full,
}

impl Shared {
    /// Takes room for a message if there is some, and says how full it is when that has changed.
    pub(super) fn take_room(&self, item: &Item, bytes: u64) -> bool {
        let mut state = self.state();
        let has_room = state.room.has(bytes, &state.policy);
        if has_room {
            state.room.take(bytes);
        }
        let fill = state.look_at_fill(!has_room);
        let ((messages, _), when_full) = (state.room.used(), state.policy.when_full);
        drop(state);
        let (connector, flow) = (&*self.connector, &*item.flow);
        match fill {
            Some(Fill::High) => warn!(connector, messages, "The outbox is 80 % full."),
            Some(Fill::Full) => {
                let becomes = match when_full {
                    WhenFull::Block => "QoS 1 and 2 wait at their source, QoS 0 is dropped",
                    WhenFull::DropOldest => "the oldest messages are dropped",
                    WhenFull::DropNewest => "new messages are dropped",
                };
                warn!(connector, flow, messages, becomes, "The outbox is full.");
            }
            Some(Fill::Low) | None => {}
        }
        has_room
    }

    /// Gives room back.
    pub(super) fn give_room(&self, messages: u64, bytes: u64) {
        let mut state = self.state();
        state.give_room(messages, bytes);
        self.tell_room(state);
    }

    /// Tells whoever waits for room that there is more, and says so when it was full.
    pub(super) fn tell_room(&self, mut state: MutexGuard<'_, State>) {
        let fill = state.look_at_fill(false);
        let (messages, _) = state.room.used();
        drop(state);
        self.room.notify_waiters();
        if fill == Some(Fill::Low) {
            info!(connector = &*self.connector, messages, "The outbox has room again.");
        }
    }

    /// Notes the flow whose message waits for room, and what that takes.
    pub(super) fn set_blocked(&self, blocked: Option<(Arc<str>, u64)>) {
        self.state().room.blocked = blocked;
    }

    /// Returns the flow whose message waits for room.
    pub(super) fn blocked(&self) -> Option<Arc<str>> {
        self.state().room.blocked.as_ref().map(|(flow, _)| flow.clone())
    }
}

impl State {
    /// Returns whether something has to go: somebody waits for room, or the limits have been lowered.
    pub(super) fn needs_room(&self) -> bool {
        self.room.is_needed(&self.policy)
    }

    fn look_at_fill(&mut self, is_full: bool) -> Option<Fill> {
        self.room.look_at_fill(&self.policy, is_full)
    }
}

impl Room {
    /// Begins with what waits already.
    pub(super) fn used_by(messages: u64, bytes: u64) -> Self {
        Self { used: (messages, bytes), ..Self::default() }
    }

    fn take(&mut self, bytes: u64) {
        self.used = (self.used.0 + 1, self.used.1 + bytes);
    }

    pub(super) const fn give(&mut self, messages: u64, bytes: u64) {
        self.used = (self.used.0.saturating_sub(messages), self.used.1.saturating_sub(bytes));
        // What a crash has made uncertain ends here.
        if self.used.0 == 0 {
            self.used.1 = 0;
        }
    }

    fn is_needed(&self, policy: &OutboxPlan) -> bool {
        let is_over =
            self.used.0 > 1 && (self.used.0 > policy.messages_max || self.used.1 > policy.bytes_max);
        is_over || self.blocked.as_ref().is_some_and(|(_, bytes)| !self.has(*bytes, policy))
    }

    pub(super) const fn used(&self) -> (u64, u64) {
        self.used
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.used.0 == 0
    }

    const fn has(&self, bytes: u64, policy: &OutboxPlan) -> bool {
        let fits = self.used.0 < policy.messages_max && self.used.1 + bytes <= policy.bytes_max;
        fits || self.used.0 == 0
    }

    /// Returns what has to be said about how full it is, once for each time that it is so.
    fn look_at_fill(&mut self, policy: &OutboxPlan, is_full: bool) -> Option<Fill> {
        let is_above = |percent: u64| {
            let above = |used: u64, max: u64| u128::from(used) * 100 >= u128::from(max) * u128::from(percent);
            above(self.used.0, policy.messages_max) || above(self.used.1, policy.bytes_max)
        };
        let fill = match self.fill {
            _ if is_full => Fill::Full,
            Fill::Low if is_above(80) => Fill::High,
            Fill::High if !is_above(70) => {
                self.fill = Fill::Low;
                return None;
            }
            Fill::Full if !is_above(50) => Fill::Low,
            same => same,
        };
        (std::mem::replace(&mut self.fill, fill) != fill).then_some(fill)
    }
}
