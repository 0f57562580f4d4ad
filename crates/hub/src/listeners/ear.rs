//! What waits for one listener.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crosspoint_client::{Message, QoS};
use crosspoint_protocol::PacketId;
use tokio::sync::mpsc::{self, Receiver, Sender, error::TrySendError};

use super::Came;

/// How many messages may wait for a listener.
pub(super) const MESSAGES_MAX: usize = 1_024;

/// How many bytes of them, unless one alone is larger.
pub(super) const BYTES_MAX: usize = 16 << 20;

/// Where messages for one listener go in.
#[derive(Debug)]
pub(super) struct Ear {
    heard: Sender<Heard>,
    load: Arc<Load>,
}

/// A message on its way to a listener.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) message: Message,
    pub(crate) packet_id: Option<PacketId>,
}

/// Where they come out.
#[derive(Debug)]
pub(super) struct Hearing {
    heard: Receiver<Heard>,
    load: Arc<Load>,
}

#[derive(Debug, Default)]
struct Load {
    bytes: AtomicUsize,
    missed: AtomicU64,
}

pub(super) fn pair() -> (Ear, Hearing) {
    let (sender, receiver) = mpsc::channel(MESSAGES_MAX);
    let load = Arc::<Load>::default();
    (Ear { heard: sender, load: load.clone() }, Hearing { heard: receiver, load })
}

impl Ear {
    /// Takes a message, as one at no more than this QoS; counts it when there is no room.
    pub(super) fn hear(&self, came: &Came<'_>, qos_max: QoS) {
        let bytes = came.message.len();
        let waiting = self.load.bytes.fetch_add(bytes, Ordering::Relaxed);
        let has_room = waiting == 0 || waiting.saturating_add(bytes) <= BYTES_MAX;
        let heard = Heard { message: as_asked(came, qos_max), packet_id: came.packet_id };
        let taken = if has_room { self.heard.try_send(heard) } else { Err(TrySendError::Full(heard)) };
        if let Err(error) = taken {
            self.load.bytes.fetch_sub(bytes, Ordering::Relaxed);
            if matches!(error, TrySendError::Full(_)) {
                self.load.missed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Hearing {
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Option<Heard> {
        let heard = self.heard.recv().await?;
        self.load.bytes.fetch_sub(heard.message.len(), Ordering::Relaxed);
        Some(heard)
    }

    /// Returns how many messages had no room since the last call.
    pub(super) fn take_missed(&self) -> u64 {
        self.load.missed.swap(0, Ordering::Relaxed)
    }
}

/// Returns the message as a subscription of the listener's own would have brought it.
fn as_asked(came: &Came<'_>, qos_max: QoS) -> Message {
    let message = came.message;
    // A copy that bears the identifier of a flow has the retain flag as it was published: it is a live one.
    let is_live = !came.subscription_ids.is_empty() && !came.is_for_listeners();
    let (qos, retain) = (message.qos().min(qos_max), message.retain() && !is_live);
    if (qos, retain) == (message.qos(), message.retain()) {
        return message.clone();
    }
    Message::from_parts(&message.parts(), qos, retain)
}
