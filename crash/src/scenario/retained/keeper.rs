//! A client whose session must keep its subscriptions.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::answer;
use crate::books::Books;
use crate::client::{Client, Connected, Halt, Session};
use crate::connection::Connection;
use crate::message::Stamp;
use crate::progress::Phase;
use crate::publisher::{Feed, Numbered, Work};
use crate::wire::{self, Packet, Step, Version};

/// How many filters are subscribed to and unsubscribed from.
pub(super) const FILTERS: usize = 40;

/// The filter that is always subscribed to: what comes on it ends a hearing.
const FENCE: usize = FILTERS;

/// How often the questions end with a fence until it has been heard.
const FENCE_EVERY: Duration = Duration::from_millis(300);

/// The QoS of a subscription, or none.
type Granted = Option<u8>;

/// The client, and what the broker has acknowledged to it.
#[derive(Debug)]
pub(super) struct Keeper {
    client: Client,
    /// By filter.
    acknowledged: Vec<Granted>,
    /// A change that was asked for and not acknowledged before the broker was killed.
    pending: Option<(usize, Granted)>,
    rng: Rng,
}

impl Keeper {
    pub(super) fn new(port: u16, version: Version, rng: Rng) -> Self {
        let client = Client::lasting("keeper".to_owned(), port, version);
        Self { client, acknowledged: vec![None; FILTERS + 1], pending: None, rng }
    }

    /// Changes one subscription after the other until the connection ends.
    pub(super) fn change(&mut self, books: &Books, phase: &Phase) -> Result<(), Halt> {
        let Connected { mut connection, session, .. } = self.client.connect(books, phase)?;
        self.on_session(session);
        for number in 0_u16.. {
            let filter = self.rng.usize(..FILTERS);
            let wanted = (self.rng.u8(..4) > 0).then(|| self.rng.u8(..3));
            // The same identifier again at once, so that two are never mixed up.
            self.ask_for(&mut connection, number % 2 + 1, filter, wanted, books, phase)?;
        }
        Ok(())
    }

    /// Hears what comes on which filter until the fence of this cycle, and compares.
    ///
    /// Says when it listens: before that a message at QoS 0 may pass it by.
    pub(super) fn hear(
        &mut self,
        cycle: u64,
        is_listening: &AtomicBool,
        books: &Books,
        phase: &Phase,
    ) -> Result<(), Halt> {
        let Connected { mut connection, session, .. } = self.client.connect(books, phase)?;
        self.on_session(session);
        if self.acknowledged.last() == Some(&None) {
            self.ask_for(&mut connection, 1, FENCE, Some(2), books, phase)?;
        }
        is_listening.store(true, Ordering::Release);
        let mut heard: HashMap<usize, u8> = HashMap::new();
        while !heard.contains_key(&FENCE) {
            connection.flush()?;
            self.client.go_on(books, phase, "the keeper waits for its fence")?;
            match connection.next()? {
                Some(Packet::Publish(publish)) => {
                    answer(&mut connection.out, &publish);
                    let stamp = Stamp::read(&publish.payload).filter(|stamp| stamp.number == cycle);
                    if let Some(stamp) = stamp {
                        heard.insert(stamp.publisher, publish.qos);
                    }
                }
                other => self.on_other(&mut connection, other)?,
            }
        }
        connection.flush()?;
        self.compare(&heard, books);
        Ok(())
    }

    fn on_session(&mut self, session: Session) {
        if session == Session::Forgotten {
            self.acknowledged.fill(None);
            self.pending = None;
        }
    }

    /// Asks for one change and waits until it is acknowledged.
    fn ask_for(
        &mut self,
        connection: &mut Connection,
        id: u16,
        filter: usize,
        wanted: Granted,
        books: &Books,
        phase: &Phase,
    ) -> Result<(), Halt> {
        match wanted {
            Some(qos) => wire::subscribe(&mut connection.out, self.client.version, id, &name(filter), qos),
            None => wire::unsubscribe(&mut connection.out, self.client.version, id, &name(filter)),
        }
        // The fence is asked for while another change may still be open.
        if filter != FENCE {
            self.pending = Some((filter, wanted));
        }
        loop {
            connection.flush()?;
            self.client.go_on(books, phase, "the keeper waits for SUBACK")?;
            match connection.next()? {
                Some(Packet::Subscribed { id: answered, codes })
                    if answered == id && wanted.is_some_and(|qos| codes == [qos]) =>
                {
                    break;
                }
                Some(Packet::Unsubscribed { id: answered }) if answered == id && wanted.is_none() => break,
                Some(Packet::Publish(publish)) => answer(&mut connection.out, &publish),
                other => self.on_other(connection, other)?,
            }
        }
        if filter != FENCE {
            self.pending = None;
        }
        if let Some(granted) = self.acknowledged.get_mut(filter) {
            *granted = wanted;
        }
        books.progress.event();
        books.count_acknowledged();
        Ok(())
    }

    fn on_other(&self, connection: &mut Connection, packet: Option<Packet>) -> Result<(), Halt> {
        match packet {
            None => Ok(()),
            Some(Packet::Exchange { step: Step::Rel, id, .. }) => {
                wire::acknowledge(&mut connection.out, Step::Comp, id);
                Ok(())
            }
            Some(Packet::Disconnected { reason }) => Err(Halt::Ended(format!("DISCONNECT {reason:#04x}"))),
            Some(other) => Err(Halt::failed(format!("the keeper was sent {other:?}"))),
        }
    }

    /// Compares, and takes what was found for the truth from here on.
    fn compare(&mut self, heard: &HashMap<usize, u8>, books: &Books) {
        let pending = self.pending.take();
        for (filter, acknowledged) in self.acknowledged.iter_mut().enumerate() {
            let found = heard.get(&filter).copied();
            let may_be = pending.filter(|(changed, _)| *changed == filter).map(|(_, wanted)| wanted);
            if found != *acknowledged && may_be != Some(found) {
                let detail =
                    format!("filter {filter}: acknowledged was {acknowledged:?}, there is {found:?}");
                books.find(|figures| figures.lost += 1, detail);
            }
            *acknowledged = found;
        }
    }
}

fn name(filter: usize) -> String {
    format!("s/{filter}")
}

/// A message to every filter and then fences, until they were heard.
pub(super) struct Questions<F> {
    cycle: u64,
    next: usize,
    filters: usize,
    last: Option<Instant>,
    is_heard: F,
}

impl<F: Fn() -> bool> Questions<F> {
    pub(super) const fn new(cycle: u64, filters: usize, is_heard: F) -> Self {
        Self { cycle, next: 0, filters, last: None, is_heard }
    }
}

impl<F: Fn() -> bool> Work for Questions<F> {
    fn next(&mut self) -> Feed {
        let filter = self.next.min(self.filters);
        if filter < self.filters {
            self.next += 1;
        } else if (self.is_heard)() {
            return Feed::End;
        } else if self.last.is_some_and(|last| last.elapsed() < FENCE_EVERY) {
            return Feed::Later;
        } else {
            self.last = Some(Instant::now());
        }
        let stamp = Stamp { publisher: filter, number: self.cycle };
        Feed::Next(Numbered::new(stamp, name(filter), 2, 0))
    }

    fn acknowledged(&mut self, _: Stamp) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(acknowledged: Granted, pending: Option<Granted>, found: Granted) -> u64 {
        let mut keeper = Keeper::new(0, Version::V5, Rng::with_seed(1));
        keeper.acknowledged[3] = acknowledged;
        keeper.pending = pending.map(|wanted| (3, wanted));
        let books = Books::new(&[], 0);
        keeper.compare(&found.map(|qos| (3, qos)).into_iter().collect(), &books);
        books.close().0.lost
    }

    #[test]
    fn a_subscription_is_as_it_was_acknowledged_or_as_it_was_asked_for_since() {
        assert_eq!(compared(Some(1), None, Some(1)), 0);
        assert_eq!(compared(Some(1), Some(None), None), 0);
        assert_eq!(compared(Some(1), Some(Some(2)), Some(1)), 0);
        assert_eq!(compared(Some(1), None, None), 1);
        assert_eq!(compared(Some(1), None, Some(2)), 1);
        assert_eq!(compared(None, None, Some(0)), 1);
        assert_eq!(compared(Some(1), Some(Some(2)), None), 1);
    }

    #[test]
    fn the_questions_end_when_a_fence_was_heard() {
        let mut asked = Questions::new(7, 2, || false);
        let topic = |feed| match feed {
            Feed::Next(numbered) => Some(numbered.publish.topic),
            _ => None,
        };
        assert_eq!(
            [asked.next(), asked.next(), asked.next()].map(topic),
            ["s/0", "s/1", "s/2"].map(|t| Some(t.to_owned()))
        );
        assert!(matches!(asked.next(), Feed::Later));
        let mut heard = Questions::new(7, 0, || true);
        assert!(matches!(heard.next(), Feed::End));
    }
}
