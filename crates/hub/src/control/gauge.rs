//! How much waits, at a glance.

use crosspoint_store::Store;

use crate::durable;

/// Tells how much waits in the store of a hub that runs. Cheap to clone, and good until the hub stops.
#[derive(Debug, Clone)]
pub struct Gauge(Store);

/// How many messages wait for whom.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaitingFigures {
    /// For sessions of the embedded broker.
    pub sessions: u64,
    /// In outboxes. What a connector has sent a moment ago may still be among them.
    pub outboxes: u64,
    /// For whoever reads kept subscriptions.
    pub kept: u64,
    /// Dead letters.
    pub dead: u64,
    /// Sent, and archived.
    pub archived: u64,
}

impl Gauge {
    pub(crate) const fn new(store: Store) -> Self {
        Self(store)
    }

    /// Returns how much waits now.
    pub fn waiting(&self) -> WaitingFigures {
        WaitingFigures::of(&self.0)
    }
}

impl WaitingFigures {
    /// Counts by the numbers of the queues: `docs/formats/records.md`, "Queues".
    pub(super) fn of(store: &Store) -> Self {
        let mut figures = Self::default();
        // Rows of a newer form are refused when the hub starts.
        let kept = durable::kept_numbers(store).unwrap_or_default();
        for queue in store.queues() {
            let kind = match queue % 8 {
                1 if kept.contains(&(queue / 8)) => &mut figures.kept,
                0 => &mut figures.sessions,
                1 => &mut figures.outboxes,
                3 => &mut figures.dead,
                5 => &mut figures.archived,
                _ => continue,
            };
            *kind += store.queue_status(queue).map_or(0, |status| status.waiting);
        }
        figures
    }
}
