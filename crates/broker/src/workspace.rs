//! What a thread lends to the connection that has its turn: buffers, lists and encoded messages to be used again.

use std::{cell::RefCell, task::Waker};

use bytes::BytesMut;
use crosspoint_protocol::{
    Now, Transmit,
    message::{MessageParts, PublishHead},
};

use crate::{durable::Changes, mailbox::Entry};

/// Buffers larger than this are not kept for reuse, in bytes.
const BUFFER_KEPT_BYTES_MAX: usize = 256 * 1024;

/// The size at which a new output buffer starts, in bytes.
const BUFFER_BYTES: usize = 4 * 1024;

/// How many buffers a thread keeps for reuse.
const BUFFERS_KEPT_MAX: usize = 256;

/// What a thread lends to whichever connection has its turn, so that an idle one holds none of it.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    pub(crate) read_buffer: BytesMut,
    buffers: Vec<Vec<u8>>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) wakers: Vec<Waker>,
    pub(crate) layouts: Layouts,
    pub(crate) properties: Vec<u8>,
    pub(crate) changes: Changes,
}

thread_local! {
    static WORKSPACE: RefCell<Workspace> = RefCell::default();
}

impl Workspace {
    /// Calls `f` with this thread's workspace. A call within a call gets an empty one of its own.
    pub(crate) fn with<R>(f: impl FnOnce(&mut Self) -> R) -> R {
        let mut workspace = WORKSPACE.with(|cell| cell.try_borrow_mut().map(|mut w| std::mem::take(&mut *w)));
        let result = match &mut workspace {
            Ok(workspace) => f(workspace),
            Err(_) => f(&mut Self::default()),
        };
        if let Ok(workspace) = workspace {
            WORKSPACE.with(|cell| {
                if let Ok(mut place) = cell.try_borrow_mut() {
                    *place = workspace;
                }
            });
        }
        result
    }

    /// Lends a buffer to write into.
    pub(crate) fn lend(&mut self, transmit: &mut Transmit) {
        if !transmit.has_buffer() {
            transmit.lend(self.buffers.pop().unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES)));
        }
    }

    /// Takes a buffer back that is empty.
    pub(crate) fn reclaim(&mut self, transmit: &mut Transmit) {
        if let Some(buffer) = transmit.reclaim()
            && buffer.capacity() <= BUFFER_KEPT_BYTES_MAX
            && self.buffers.len() < BUFFERS_KEPT_MAX
        {
            self.buffers.push(buffer);
        }
    }
}

/// A PUBLISH at QoS 0 in each of its layouts, encoded when first needed.
#[derive(Debug, Default)]
pub(crate) struct Layouts([Vec<u8>; 4]);

impl Layouts {
    pub(crate) fn reset(&mut self) {
        self.0.iter_mut().for_each(Vec::clear);
    }

    pub(crate) fn encoded(&mut self, head: &PublishHead<'_>, parts: &MessageParts<'_>, now: Now) -> &[u8] {
        let place = usize::from(head.version.is_v5()) * 2 + usize::from(head.retain);
        let Some(layout) = self.0.get_mut(place) else { return &[] };
        if layout.is_empty() {
            parts.encode(head, now, layout);
        }
        layout
    }
}
