//! One round of numbered messages from publishers to subscribers, while what lies between them is struck.

use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::Outcome;
use crate::blows::{self, Blow};
use crate::books::{Books, FENCE, PROBE};
use crate::client::{Client, until_done};
use crate::message::Stamp;
use crate::phase::{self, Part};
use crate::publisher::{Feed, Numbered, Publisher, Work};
use crate::server::{Port, Server, Way};
use crate::subscriber::{Subscriber, topic};
use crate::wire::Version;

/// How many subscribers there are: one a version.
pub(crate) const SUBSCRIBERS: usize = 2;

/// What publishers publish under.
const IN: &str = "in";

/// What subscribers subscribe to when a flow is between.
const OUT: &str = "out";

/// The largest window of a publisher.
const WINDOW_MAX: usize = 64;

/// The most messages of a publisher.
const MESSAGES_MAX: u64 = 2_500;

/// The same in a long round, where more waits than is held in memory.
const LONG_MESSAGES_MAX: u64 = 15_000;

/// The same in a heavy round, where the log grows beyond one file.
const HEAVY_MESSAGES_MAX: u64 = 5_000;

/// How many bytes more each message of a heavy round has.
const HEAVY_BYTES: usize = 8_192;

/// One in how many packets makes a client cut its own connection, where clients do.
const CUT_ONE_IN: u32 = 1_500;

/// How long nothing more comes behind the fence before what is missing is lost.
const QUIET: Duration = Duration::from_millis(1_500);

/// How often a probe is published until it has come through.
const PROBE_EVERY: Duration = Duration::from_millis(50);

/// How often the fence is published until everybody has read it.
const FENCE_EVERY: Duration = Duration::from_millis(500);

/// What lies between the publishers and the subscribers, and how they behave.
#[derive(Debug)]
pub(crate) struct Course {
    pub(crate) servers: Vec<Server>,
    /// The port that is published to.
    pub(crate) source: Port,
    /// The port that is subscribed at, when a flow is between.
    pub(crate) destination: Option<Port>,
    /// Whether subscribers are away while it is published.
    pub(crate) is_away: bool,
    /// Whether clients cut their own connections now and then, and take only a few messages at once. Mosquitto 2.0.11
    /// does not keep the order through a stop for who takes fewer than there are.
    pub(crate) is_difficult: bool,
    /// How many messages may be on their way.
    pub(crate) ahead_max: Option<u64>,
}

/// The clients of a round.
struct Clients {
    publishers: Vec<(Publisher, Stream)>,
    subscribers: Vec<Subscriber>,
    /// Publishes probes and fences.
    beacon: Publisher,
}

/// The messages of one publisher.
struct Stream {
    publisher: usize,
    qos: u8,
    next: u64,
    count: u64,
    /// How many bytes more its messages have.
    extra: usize,
}

impl Course {
    /// Runs the round: the servers start, are struck in every phase, and run at the end.
    ///
    /// `qos` has that of each publisher, in the books as well. Returns how often the servers were struck.
    pub(crate) fn run(&self, rng: &mut Rng, qos: &[u8], books: &Books) -> Outcome<u64> {
        let mut clients = self.clients(rng, qos);
        self.servers.iter().try_for_each(Server::start)?;
        let mut struck = self.subscribe(rng, &mut clients, books)?;
        if self.destination.is_some() {
            self.probe(&mut clients, books)?;
        }
        struck += self.publish(rng, &mut clients, books)?;
        if rng.u8(..4) > 0 {
            struck += self.see_again(rng, &mut clients, books)?;
        }
        Ok(struck)
    }

    fn clients(&self, rng: &mut Rng, qos: &[u8]) -> Clients {
        let source = self.source.number;
        let destination = self.destination.as_ref().unwrap_or(&self.source).number;
        let (messages_max, extra) = match rng.u8(..20) {
            0 if self.is_difficult => (HEAVY_MESSAGES_MAX, HEAVY_BYTES),
            1 | 2 if self.is_difficult => (LONG_MESSAGES_MAX, 0),
            _ => (MESSAGES_MAX, 0),
        };
        let publishers = (0..).zip(qos).map(|(index, qos)| {
            let version = if rng.bool() { Version::V5 } else { Version::V311 };
            let client = Client::lasting(format!("publisher-{index}"), source, version);
            let count = rng.u64(200..=messages_max);
            let stream = Stream { publisher: index, qos: *qos, next: 0, count, extra };
            let cut = if self.is_difficult && rng.bool() { CUT_ONE_IN } else { 0 };
            // One message at a time costs a sync each: that is for rounds of the usual length.
            let window_min = if messages_max > HEAVY_MESSAGES_MAX { WINDOW_MAX / 4 } else { 1 };
            (Publisher::new(client, rng.usize(window_min..=WINDOW_MAX), cut, rng.fork()), stream)
        });
        let publishers = publishers.collect();
        let prefix = if self.destination.is_some() { OUT } else { IN };
        let subscribers = (0..SUBSCRIBERS).map(|index| {
            let version = if index == 0 { Version::V311 } else { Version::V5 };
            let mut client = Client::lasting(format!("subscriber-{index}"), destination, version);
            client.receive_max = (self.is_difficult && rng.bool()).then(|| rng.u16(1..=100));
            let cut = if self.is_difficult && rng.bool() { CUT_ONE_IN } else { 0 };
            Subscriber::new(client, index, prefix, cut, rng.fork())
        });
        let subscribers = subscribers.collect();
        let beacon = Client::lasting("beacon".to_owned(), source, Version::V5);
        Clients { publishers, subscribers, beacon: Publisher::new(beacon, 1, 0, rng.fork()) }
    }

    /// Lets all subscribers subscribe, sometimes under blows.
    fn subscribe(&self, rng: &mut Rng, clients: &mut Clients, books: &Books) -> Outcome<u64> {
        let blows = self.servers.iter().map(|server| match (server.way, rng.u8(..3)) {
            (Way::Kill, 0) => vec![blows::soon(rng)],
            _ => Vec::new(),
        });
        let blows = blows.collect();
        let parts = reading(&mut clients.subscribers, books, |_| true);
        phase::run(&self.servers, blows, books, parts)
    }

    /// Waits until the flow listens: until then it has promised nothing.
    fn probe(&self, clients: &mut Clients, books: &Books) -> Outcome<u64> {
        let mut parts = reading(&mut clients.subscribers, books, |_| books.has_flowed());
        let stamp = Stamp { publisher: PROBE, number: 0 };
        parts.push(beaming(&mut clients.beacon, books, stamp, PROBE_EVERY, || books.has_flowed()));
        phase::run(&self.servers, self.no_blows(), books, parts)
    }

    /// Publishes everything and reads it, under blows.
    fn publish(&self, rng: &mut Rng, clients: &mut Clients, books: &Books) -> Outcome<u64> {
        let messages: u64 = clients.publishers.iter().map(|(_, stream)| stream.count).sum();
        let arrivals = messages * SUBSCRIBERS as u64;
        let Clients { publishers, subscribers, beacon } = clients;
        if self.is_away {
            let blows = self.blows(rng, messages);
            let ahead_max = self.ahead_max;
            let publish: Part = Box::new(move |phase| publishing(publishers, books, phase, ahead_max));
            let struck = phase::run(&self.servers, blows, books, vec![publish])?;
            let blows = self.blows(rng, arrivals);
            let mut parts = reading(subscribers, books, move |index| is_read(books, index, 0));
            parts.push(fencing(beacon, books, 0));
            return Ok(struck + phase::run(&self.servers, blows, books, parts)?);
        }
        let blows = self.blows(rng, messages + arrivals);
        let mut parts = reading(subscribers, books, move |index| is_read(books, index, 0));
        let ahead_max = self.ahead_max;
        parts.push(Box::new(move |phase| {
            publishing(publishers, books, phase, ahead_max)?;
            fencing(beacon, books, 0)(phase)
        }));
        phase::run(&self.servers, blows, books, parts)
    }

    /// Strikes everything once more when all is read, and sees that nothing comes again.
    fn see_again(&self, rng: &mut Rng, clients: &mut Clients, books: &Books) -> Outcome<u64> {
        let mut struck = 0;
        for server in &self.servers {
            struck += blows::strike(server, blows::at_once(rng))?;
        }
        let mut parts = reading(&mut clients.subscribers, books, move |index| is_read(books, index, 1));
        parts.push(fencing(&mut clients.beacon, books, 1));
        phase::run(&self.servers, self.no_blows(), books, parts)?;
        Ok(struck)
    }

    fn blows(&self, rng: &mut Rng, events: u64) -> Vec<Vec<Blow>> {
        let count = |rng: &mut Rng, server: &Server| match (server.way, self.servers.len()) {
            (Way::Kill, 1) => rng.usize(1..=3),
            (Way::Kill, _) => rng.usize(0..=2),
            (Way::Stop, 1) => rng.usize(1..=2),
            (Way::Stop, _) => rng.usize(0..=1),
        };
        let drawn = self.servers.iter().map(|server| {
            let count = count(rng, server);
            blows::among(rng, count, events)
        });
        drawn.collect()
    }

    fn no_blows(&self) -> Vec<Vec<Blow>> {
        vec![Vec::new(); self.servers.len()]
    }
}

/// Returns whether a subscriber has read up to a fence, and everything, or nothing more comes.
fn is_read(books: &Books, subscriber: usize, fence: u64) -> bool {
    books.is_fenced(subscriber, fence) && (books.is_drained(subscriber) || books.progress.idle() > QUIET)
}

/// Every subscriber reads until `is_done` says so for its number.
fn reading<'a>(
    subscribers: &'a mut [Subscriber],
    books: &'a Books,
    is_done: impl Fn(usize) -> bool + Copy + Send + 'a,
) -> Vec<Part<'a>> {
    let part = move |(index, subscriber): (usize, &'a mut Subscriber)| -> Part<'a> {
        Box::new(move |phase| until_done(|| subscriber.live(books, phase, &|| is_done(index))))
    };
    subscribers.iter_mut().enumerate().map(part).collect()
}

/// All publishers publish everything they have.
fn publishing(
    publishers: &mut [(Publisher, Stream)],
    books: &Books,
    phase: &crate::progress::Phase,
    ahead_max: Option<u64>,
) -> Outcome {
    thread::scope(|scope| {
        let running: Vec<_> = publishers
            .iter_mut()
            .map(|(publisher, stream)| {
                scope.spawn(move || {
                    let mut work = Numbers { stream, books, ahead_max };
                    until_done(|| publisher.live(books, phase, &mut work))
                })
            })
            .collect();
        running.into_iter().try_for_each(phase::joined)
    })
}

fn fencing<'a>(beacon: &'a mut Publisher, books: &'a Books, fence: u64) -> Part<'a> {
    let stamp = Stamp { publisher: FENCE, number: fence };
    let is_read = move || (0..SUBSCRIBERS).all(|subscriber| books.is_fenced(subscriber, fence));
    beaming(beacon, books, stamp, FENCE_EVERY, is_read)
}

/// Publishes one message again and again until it has been seen.
fn beaming<'a>(
    beacon: &'a mut Publisher,
    books: &'a Books,
    stamp: Stamp,
    every: Duration,
    is_seen: impl Fn() -> bool + Send + 'a,
) -> Part<'a> {
    Box::new(move |phase| {
        let mut work = Beam { stamp, every, last: None, is_seen };
        until_done(|| beacon.live(books, phase, &mut work))
    })
}

/// The numbers of a stream, entered in the books.
struct Numbers<'a> {
    stream: &'a mut Stream,
    books: &'a Books,
    ahead_max: Option<u64>,
}

impl Work for Numbers<'_> {
    fn next(&mut self) -> Feed {
        let Stream { publisher, qos, next, count, extra } = &mut *self.stream;
        if next == count {
            return Feed::End;
        }
        if self.ahead_max.is_some_and(|max| self.books.ahead() >= max) {
            return Feed::Later;
        }
        let stamp = Stamp { publisher: *publisher, number: *next };
        *next += 1;
        self.books.sent(stamp);
        Feed::Next(Numbered::new(stamp, topic(IN, stamp), *qos, *extra))
    }

    fn acknowledged(&mut self, stamp: Stamp) {
        self.books.acknowledged(stamp);
    }
}

/// One message, again and again.
struct Beam<F> {
    stamp: Stamp,
    every: Duration,
    last: Option<Instant>,
    is_seen: F,
}

impl<F: Fn() -> bool> Work for Beam<F> {
    fn next(&mut self) -> Feed {
        if (self.is_seen)() {
            return Feed::End;
        }
        if self.last.is_some_and(|last| last.elapsed() < self.every) {
            return Feed::Later;
        }
        self.last = Some(Instant::now());
        Feed::Next(Numbered::new(self.stamp, topic(IN, self.stamp), 1, 0))
    }

    fn acknowledged(&mut self, _: Stamp) {}
}
