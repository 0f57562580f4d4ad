//! Finds an outbox as the store has kept it.

use std::sync::Arc;

use crosspoint_store::{QueueStatus, Store};

use super::entry::{FlowNames, Item};
use super::figures::{Aside, Kept, OutboxFigures};
use super::gone;
use super::shared::{FIGURES_TABLE, Shared, rows};
use super::state::State;
use super::{Backlog, Outbox, OutboxOptions};

/// How much is read at once.
const READ_ENTRIES: usize = 1_024;
const READ_BYTES: usize = 4 << 20;

/// Opens the outbox of a connector: its two ends, with everything that waits in it.
///
/// # Errors
/// A row was written by another program or a newer one, or the store cannot be read.
pub(crate) async fn open(store: Store, options: OutboxOptions) -> Result<(Outbox, Backlog), String> {
    let queue = 8 * options.number + 1;
    let status = store.queue_status(queue).unwrap_or(QueueStatus { head: 0, next: 0, waiting: 0 });
    let mut state = State::new(options.policy.clone(), status.head);
    state.set_policy(options.policy.clone());
    let mut live = read_figures(&store, options.number, &mut state)?;
    let gone = read_gone(&store, options.number, &mut state, &mut live)?;
    live.accepted += status.next;
    // A queue whose front was lost with the disk has fewer entries than positions.
    let missing = (status.next - status.head).saturating_sub(status.waiting);
    live.damaged += missing;
    live.waiting_bytes = match status.waiting.saturating_sub(gone) {
        0 => 0,
        _ => read_entries(&store, queue, status, &mut state).await?,
    };
    live.replaced += std::mem::take(&mut state.live.replaced);
    state.front.reset(status.head, status.next, live.waiting_bytes);
    let last_aside = state.folded.iter().copied().max().unwrap_or(0);
    state.begin(live, last_aside);
    let shared = Shared::new(store, options, state);
    let backlog = Backlog { shared: Arc::clone(&shared) };
    Ok((Outbox { shared }, backlog))
}

/// Returns what is counted of what has left and of what never had a position.
fn read_figures(store: &Store, number: u64, state: &mut State) -> Result<OutboxFigures, String> {
    for (key, value) in rows(store, FIGURES_TABLE, number) {
        let unknown = || "the figures of an outbox have a form that this version does not know".to_owned();
        let id = key.get(8..).and_then(<[u8]>::first_chunk).map(|id| u64::from_be_bytes(*id));
        match id.ok_or_else(unknown)? {
            // The first in the order of the keys.
            0 => state.kept = Kept::decode(&value).ok_or_else(unknown)?,
            super::archive::BYTES_ROW => {}
            id => state.fold(Aside::decode(&value).ok_or_else(unknown)?, Some(id)),
        }
    }
    Ok(state.kept.figures)
}

/// Counts what has left before older ones; returns how many positions that is.
fn read_gone(store: &Store, number: u64, state: &mut State, live: &mut OutboxFigures) -> Result<u64, String> {
    let mut count = 0;
    for (key, value) in rows(store, gone::TABLE, number) {
        let unknown = || "a mark in an outbox has a form that this version does not know".to_owned();
        let (first, (length, end)) = gone::decode(&key, &value).ok_or_else(unknown)?;
        let passed = state.queue.head().saturating_sub(first).min(length);
        live.count(end, length - passed);
        count += length - passed;
        state.gone.restore(first, (length, end));
    }
    Ok(count)
}

/// Returns how many bytes wait: what the figures say, and what came after they were written.
///
/// Where only the newest message of a topic is wanted everything is read, to know which that is.
async fn read_entries(
    store: &Store,
    queue: u64,
    status: QueueStatus,
    state: &mut State,
) -> Result<u64, String> {
    let is_whole = state.latest.is_on();
    let (mut from, mut bytes) = match (is_whole, state.kept.bytes_until) {
        (false, until) if until >= status.head => (until, state.kept.figures.waiting_bytes),
        _ => (status.head, 0),
    };
    let mut flows = FlowNames::default();
    while from < status.next {
        let entries = match store.read(queue, from, READ_ENTRIES, READ_BYTES).await {
            Ok(entries) => entries,
            // The pump finds it too, when its turn comes.
            Err(crosspoint_store::Error::Corrupt(_)) => {
                from += 1;
                continue;
            }
            Err(error) => return Err(error.to_string()),
        };
        let Some(last) = entries.last() else { break };
        from = last.position + 1;
        for entry in &entries {
            let item = Item::decode(&entry.message, entry.flags, &mut flows);
            let Some(item) = item.filter(|_| state.gone.at(entry.position).is_none()) else { continue };
            bytes += item.bytes();
            if is_whole {
                bytes -= state.find_replaced(item.message.topic(), entry.position, item.bytes());
            }
        }
    }
    Ok(bytes)
}
