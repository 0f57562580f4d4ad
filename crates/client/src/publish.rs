//! What a program holds while its messages are on their way.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use crosspoint_protocol::ReasonCode;
use tokio::sync::{mpsc, oneshot};

use crate::{
    Publication,
    sending::{Reply, Submission},
    shared::Handle,
};

/// How a publication went.
pub type PublishResult = Result<Receipt, PublishError>;

/// Says that a publication is with the server: at QoS 0 that its bytes were handed to the system, at QoS 1 that
/// PUBACK came, at QoS 2 that PUBCOMP came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// What the server said; "no matching subscribers" is no error.
    pub reason: ReasonCode,
    /// Whether the server may have the message twice, even at QoS 2: it lost the session while the message was on
    /// its way, and the message was published anew.
    pub may_be_duplicate: bool,
}

/// Why a publication did not reach the server, or may not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The client was closed before it took the message: it was not sent.
    #[error("the client is closed, the message was not sent")]
    Closed,
    /// The client was closed before the server confirmed: the message may have reached it.
    #[error("the client was closed before the server confirmed the message")]
    Unconfirmed,
    /// The server refused the message.
    #[error("the server refused the message: {0}")]
    Refused(ReasonCode),
    /// The message is larger than the server accepts.
    #[error("the message needs a packet of {bytes} bytes and the server accepts {max}")]
    TooLarge {
        /// The size of the packet.
        bytes: usize,
        /// What the server accepts.
        max: usize,
    },
    /// The server does not accept this QoS.
    #[error("the server does not accept this quality of service")]
    QosNotSupported,
    /// The server keeps no retained messages.
    #[error("the server does not accept retained messages")]
    RetainNotSupported,
    /// The message expired before it could be sent.
    #[error("the message expired before it could be sent")]
    Expired,
}

/// Why a publication was not taken.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TryPublishError {
    /// The queue to the engine is full. Here it is back.
    #[error("the queue of publications is full")]
    Full(Publication),
    /// The client is closed. Here it is back.
    #[error("the client is closed")]
    Closed(Publication),
}

/// The outcome of one publication, to be awaited.
///
/// # Cancel safety
/// Dropping it does not take the publication back.
#[derive(Debug)]
pub struct Confirmation {
    pub(crate) outcome: oneshot::Receiver<PublishResult>,
}

impl Future for Confirmation {
    type Output = PublishResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<PublishResult> {
        Pin::new(&mut self.outcome).poll(cx).map(|outcome| outcome.unwrap_or(Err(PublishError::Unconfirmed)))
    }
}

/// Publishes many messages without a future each: every one carries a cookie, and its outcome comes with it from
/// [`Confirmations`]. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Publisher {
    handle: Arc<Handle>,
    outcomes: mpsc::UnboundedSender<(u64, PublishResult)>,
}

/// The outcomes of what a [`Publisher`] sent.
#[derive(Debug)]
pub struct Confirmations {
    outcomes: mpsc::UnboundedReceiver<(u64, PublishResult)>,
}

pub(crate) fn publisher(handle: Arc<Handle>) -> (Publisher, Confirmations) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Publisher { handle, outcomes: sender }, Confirmations { outcomes: receiver })
}

impl Publisher {
    /// Puts a publication into the queue to the engine, and waits while that is full.
    ///
    /// Calls one after the other reach the wire in their order. The outcome comes from [`Confirmations`] with
    /// `cookie`, which also stands in the [`Delta`](crate::Delta)s of a session store.
    ///
    /// # Errors
    /// The client is closed.
    ///
    /// # Cancel safety
    /// Dropped before it is done, the publication was not taken.
    pub async fn send(&self, publication: Publication, cookie: u64) -> Result<(), PublishError> {
        let submission = self.submission(publication, cookie);
        self.handle.submissions.send(submission).await.map_err(|_| PublishError::Closed)
    }

    /// Puts a publication into the queue to the engine if there is room.
    ///
    /// # Errors
    /// The queue is full, or the client is closed.
    pub fn try_send(&self, publication: Publication, cookie: u64) -> Result<(), TryPublishError> {
        match self.handle.submissions.try_reserve() {
            Ok(permit) => {
                permit.send(self.submission(publication, cookie));
                Ok(())
            }
            Err(mpsc::error::TrySendError::Full(())) => Err(TryPublishError::Full(publication)),
            Err(mpsc::error::TrySendError::Closed(())) => Err(TryPublishError::Closed(publication)),
        }
    }

    fn submission(&self, publication: Publication, cookie: u64) -> Submission {
        let reply = Reply::Ticket { cookie, outcomes: self.outcomes.clone() };
        Submission::new(publication, self.handle.now(), reply)
    }
}

impl Confirmations {
    /// Returns the next outcome; `None` when every [`Publisher`] is gone and all has been told.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<(u64, PublishResult)> {
        self.outcomes.recv().await
    }

    /// Appends up to `max` outcomes to `out`, at least one, and returns how many; 0 as `next` returns `None`.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next_many(&mut self, out: &mut Vec<(u64, PublishResult)>, max: usize) -> usize {
        self.outcomes.recv_many(out, max).await
    }
}
