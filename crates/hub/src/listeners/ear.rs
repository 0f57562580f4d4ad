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

    /// Returns the next message if one waits.
    #[cfg(test)]
    pub(super) fn waiting(&mut self) -> Option<Heard> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::pin!(self.next()).poll(&mut context) {
            std::task::Poll::Ready(heard) => heard,
            std::task::Poll::Pending => None,
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::message;

    const MIB: usize = 1 << 20;

    fn hear(ear: &Ear, bytes: usize) {
        let message = message("t", &vec![b'x'; bytes], QoS::AtMostOnce);
        ear.hear(&Came { message: &message, subscription_ids: &[], packet_id: None }, QoS::AtMostOnce);
    }

    /// Takes all that waits.
    fn take(hearing: &mut Hearing) -> usize {
        std::iter::from_fn(|| hearing.waiting()).count()
    }

    #[test]
    fn what_waits_is_bounded_by_its_count() {
        let (ear, mut hearing) = pair();
        (0..MESSAGES_MAX + 10).for_each(|_| hear(&ear, 1));
        assert_eq!((take(&mut hearing), hearing.take_missed(), hearing.take_missed()), (MESSAGES_MAX, 10, 0));
    }

    #[test]
    fn what_waits_is_bounded_by_its_bytes_and_room_comes_back() {
        let (ear, mut hearing) = pair();
        for round in 0..3 {
            // Each is a little longer than its payload.
            (0..20).for_each(|_| hear(&ear, MIB));
            assert_eq!((take(&mut hearing), hearing.take_missed()), (15, 5), "{round}");
        }
    }

    #[test]
    fn one_that_is_longer_than_all_may_waits_alone() {
        let (ear, mut hearing) = pair();
        hear(&ear, BYTES_MAX + 1);
        hear(&ear, 1);
        assert!(hearing.waiting().is_some_and(|heard| heard.message.len() > BYTES_MAX));
        assert_eq!((take(&mut hearing), hearing.take_missed()), (0, 1));
    }
}
