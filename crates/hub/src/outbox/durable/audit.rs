//! Whether an outbox is as it says: what it counts against what is there, and every limit (C8, C9).

use super::Outbox;
use super::queue::{IN_FLIGHT_MAX, SPAN_MAX};
use super::shared::DIRECT_MAX;
use super::state::{MEMORY_BYTES_MAX, MEMORY_ENTRIES_MAX, State};

impl Outbox {
    /// Returns what is not as it must be, in words.
    pub(crate) fn audit(&self) -> Vec<String> {
        let state = self.shared.state();
        state.unaccounted().into_iter().chain(state.excess()).collect()
    }
}

impl State {
    /// Compares what the figures say to wait with what is there, counted one by one.
    fn unaccounted(&self) -> Option<String> {
        let (told, ended) = (self.live.waiting(), self.live.ended());
        let end = self.queue.end();
        // What is marked stays in its place until that is passed.
        let behind = self.front.len() + u64::from(self.peeked.is_some());
        let behind = behind.saturating_sub(self.gone.from(end));
        let direct = (self.direct.len() + self.direct_open) as u64;
        let there = self.queue.waiting() + behind + direct;
        if self.live.accepted < ended || told != there {
            return Some(format!("{there} messages wait where the figures say {told}: {:?}", self.live));
        }
        let (messages, _) = self.used();
        (messages < told).then(|| format!("{told} messages wait in the room of {messages}"))
    }

    /// Finds a limit that is not held, of those that no setting moves.
    fn excess(&self) -> Option<String> {
        let (entries, bytes) = (self.front.in_memory(), self.front.memory_bytes());
        if entries > MEMORY_ENTRIES_MAX || (bytes > MEMORY_BYTES_MAX && entries > 1) {
            return Some(format!("{entries} messages of {bytes} bytes are held in memory"));
        }
        if self.direct.len() > DIRECT_MAX {
            return Some(format!("{} messages go past the queue", self.direct.len()));
        }
        let (open, span) = (self.queue.open(), self.queue.end() - self.queue.head());
        let is_beyond = open > IN_FLIGHT_MAX || span > (SPAN_MAX + IN_FLIGHT_MAX) as u64;
        is_beyond
            .then(|| format!("{open} messages are with the client, and {span} between the head and the next"))
    }
}
