//! Waiting for the writer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use parking_lot::Mutex;

use crate::error::Error;

/// What the writer will answer: a future, or [`wait`](Self::wait) for whoever may block.
///
/// # Cancel safety
///
/// Dropping it changes nothing about what was asked: a batch is committed all the same.
#[derive(Debug)]
pub struct Ticket<T> {
    slot: Arc<Mutex<Slot<T>>>,
}

/// The writer's end. Dropped without an answer it answers that the store is closed.
#[derive(Debug)]
pub(crate) struct Promise<T> {
    slot: Arc<Mutex<Slot<T>>>,
}

#[derive(Debug)]
enum Slot<T> {
    Waiting(Option<Waker>),
    Answered(Result<T, Error>),
    Taken,
}

pub(crate) fn pair<T>() -> (Promise<T>, Ticket<T>) {
    let slot = Arc::new(Mutex::new(Slot::Waiting(None)));
    (Promise { slot: Arc::clone(&slot) }, Ticket { slot })
}

impl<T> Promise<T> {
    pub(crate) fn answer(self, answer: Result<T, Error>) {
        self.set(answer);
    }

    fn set(&self, answer: Result<T, Error>) {
        let mut slot = self.slot.lock();
        let Slot::Waiting(waker) = &mut *slot else { return };
        let waker = waker.take();
        *slot = Slot::Answered(answer);
        drop(slot);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        self.set(Err(Error::Closed));
    }
}

impl<T> Ticket<T> {
    /// Blocks the thread until the answer is there.
    ///
    /// # Errors
    ///
    /// What the operation failed with.
    pub fn wait(mut self) -> Result<T, Error> {
        let waker = Arc::new(Unpark(thread::current())).into();
        let mut context = Context::from_waker(&waker);
        loop {
            match Pin::new(&mut self).poll(&mut context) {
                Poll::Ready(answer) => return answer,
                Poll::Pending => thread::park(),
            }
        }
    }
}

impl<T> Future for Ticket<T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = self.slot.lock();
        match &mut *slot {
            Slot::Waiting(waker) => {
                match waker {
                    Some(known) if known.will_wake(context.waker()) => {}
                    _ => *waker = Some(context.waker().clone()),
                }
                Poll::Pending
            }
            Slot::Answered(_) => match std::mem::replace(&mut *slot, Slot::Taken) {
                Slot::Answered(answer) => Poll::Ready(answer),
                Slot::Waiting(_) | Slot::Taken => Poll::Ready(Err(Error::Closed)),
            },
            Slot::Taken => Poll::Ready(Err(Error::Closed)),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_arrives_before_or_after_the_wait_and_a_dropped_promise_is_one() {
        let (promise, ticket) = pair();
        promise.answer(Ok(1));
        assert_eq!(ticket.wait().unwrap(), 1);
        let (promise, ticket) = pair();
        let answering = thread::spawn(move || promise.answer(Ok(2)));
        assert_eq!(ticket.wait().unwrap(), 2);
        answering.join().unwrap();
        let (promise, ticket) = pair::<u8>();
        drop(promise);
        assert!(matches!(ticket.wait(), Err(Error::Closed)));
    }
}
