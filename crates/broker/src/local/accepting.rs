//! Waiting for a publication to be on disk.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use crosspoint_protocol::ReasonCode;

use crate::durable::{Commit, Ended, Outcome};

/// Answers when a publication, and what was changed with it, is durable: whether anybody wanted the message.
///
/// # Errors
/// [`NotAccepted`] when it is not, and will not be.
///
/// # Cancel safety
/// Dropping it changes nothing about what was published.
#[derive(Debug)]
#[must_use = "until it has answered, nothing is known to be on disk"]
pub struct Accepting(Waiting);

#[derive(Debug)]
enum Waiting {
    Decided(Result<bool, NotAccepted>),
    For { is_wanted: bool, ended: Ended },
}

/// Why a publication was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAccepted {
    /// The broker refused the message: as many retained messages are kept as may be, or the disk is full.
    #[error("the broker refused the message: {0}")]
    Refused(ReasonCode),
    /// The disk is full: nothing was kept.
    #[error("the disk is full")]
    Full,
    /// The store has failed: only the next start knows what was kept.
    #[error("the store has failed")]
    Broken,
    /// There is no store to keep the changes in.
    #[error("the broker has no store")]
    NoStore,
}

impl Accepting {
    pub(super) fn of(is_wanted: bool, commit: Option<Arc<Commit>>) -> Self {
        Self(match commit {
            Some(commit) => Waiting::For { is_wanted, ended: Ended(commit) },
            None => Waiting::Decided(Ok(is_wanted)),
        })
    }

    pub(super) const fn refused(why: NotAccepted) -> Self {
        Self(Waiting::Decided(Err(why)))
    }
}

impl Future for Accepting {
    type Output = Result<bool, NotAccepted>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Waiting::Decided(answer) => Poll::Ready(*answer),
            Waiting::For { is_wanted, ended } => Poll::Ready(match ready!(Pin::new(ended).poll(cx)) {
                Outcome::Durable => Ok(*is_wanted),
                Outcome::Full => Err(NotAccepted::Full),
                Outcome::Broken => Err(NotAccepted::Broken),
            }),
        }
    }
}
