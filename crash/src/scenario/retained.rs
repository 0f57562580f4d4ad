//! Retained messages and subscriptions: what was acknowledged is there after a crash.
//!
//! In each cycle publishers change retained messages and one client its subscriptions until the broker is killed; what
//! is found after the restart must not be older than what was acknowledged. Nothing happens between crash and check, so
//! that no later change hides what was lost.

mod keeper;
mod shelf;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use fastrand::Rng;

use self::keeper::{FILTERS, Keeper, Questions};
use self::shelf::{PUBLISHERS, Shelf, TOPICS};
use super::{NO_CONSOLE, Programs, Report, listener, report};
use crate::Outcome;
use crate::blows;
use crate::books::Books;
use crate::client::{self, Client, Connected, Halt};
use crate::message::Stamp;
use crate::phase::{self, Part};
use crate::progress::Phase;
use crate::publisher::{Feed, Numbered, Publisher, Work};
use crate::server::{Port, Server};
use crate::wire::{self, Packet, Publish, Step, Version};

/// How many crashes there are in a round.
const CYCLES: u64 = 4;

/// The most changes between two crashes, of retained messages and of subscriptions together.
const CHANGES_MAX: u64 = 2_000;

/// The largest window of a publisher.
const WINDOW_MAX: usize = 32;

/// Runs a round against a broker of ours.
pub(super) fn run(programs: &Programs, folder: &Path, rng: Rng) -> Outcome<Report> {
    let port = Port::reserve()?;
    let server = Server::crosspoint(
        "broker",
        &programs.crosspoint,
        folder,
        &format!("{}{NO_CONSOLE}", listener(&port)),
    )?;
    Ok(run_against(&server, &port, Kept::FromPubrec, rng))
}

/// From when on a retained message at QoS 2 must be there for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// Ours publishes what it acknowledges.
    FromPubrec,
    /// Others may publish it at PUBREL, and until then it waits with its publisher's session.
    FromPubcomp,
}

/// Runs a round against whatever broker.
pub(super) fn run_against(server: &Server, port: &Port, kept: Kept, mut rng: Rng) -> Report {
    let books = Books::new(&[], 0);
    let struck = cycles(server, port.number, kept, &mut rng, &books);
    report(&books, struck)
}

fn cycles(server: &Server, port: u16, kept: Kept, rng: &mut Rng, books: &Books) -> Outcome<u64> {
    let mut publishers: Vec<Publisher> = (0..PUBLISHERS).map(|index| publisher(index, port, rng)).collect();
    let mut keeper = Keeper::new(port, if rng.bool() { Version::V5 } else { Version::V311 }, rng.fork());
    let shelf = Shelf::new(kept);
    let mut struck = 0;
    server.start()?;
    for cycle in 0..CYCLES {
        let at = books.progress.events() + rng.u64(1..=CHANGES_MAX);
        change(server, &mut publishers, &mut keeper, &shelf, rng, books, at)?;
        struck += 1;
        thread::sleep(Duration::from_micros(rng.u64(..40_000)));
        server.start()?;
        if rng.u8(..3) == 0 {
            thread::sleep(Duration::from_micros(rng.u64(..60_000)));
            struck += blows::strike(server, blows::at_once(rng))?;
        }
        let check: Part = Box::new(|phase| {
            read_shelf(port, &shelf, books, phase)?;
            ask(port, &mut keeper, cycle, books, phase)
        });
        phase::run(std::slice::from_ref(server), vec![Vec::new()], books, vec![check])?;
    }
    Ok(struck)
}

fn publisher(index: usize, port: u16, rng: &mut Rng) -> Publisher {
    let version = if rng.bool() { Version::V5 } else { Version::V311 };
    let client = Client::lasting(format!("publisher-{index}"), port, version);
    Publisher::new(client, rng.usize(1..=WINDOW_MAX), 0, rng.fork())
}

/// Lets everybody change what they have until the broker is killed, when this event is reached.
fn change(
    server: &Server,
    publishers: &mut [Publisher],
    keeper: &mut Keeper,
    shelf: &Shelf,
    rng: &mut Rng,
    books: &Books,
    at: u64,
) -> Outcome {
    let phase = &Phase::default();
    books.progress.touch();
    thread::scope(|scope| {
        let mut running = Vec::new();
        for (index, publisher) in publishers.iter_mut().enumerate() {
            let mut work = Changes { shelf, publisher: index, rng: rng.fork(), books };
            running.push(scope.spawn(move || until_killed(publisher.live(books, phase, &mut work))));
        }
        running.push(scope.spawn(move || until_killed(keeper.change(books, phase))));
        while books.progress.events() < at && !running.iter().any(thread::ScopedJoinHandle::is_finished) {
            books.progress.wait_a_while(at);
        }
        let killed = server.strike();
        phase.end_connecting();
        let outcomes: Vec<Outcome> = running.into_iter().map(phase::joined).collect();
        killed?;
        outcomes.into_iter().collect()
    })
}

/// The end of a connection is the end of the work: the broker was killed.
fn until_killed(halt: Result<(), Halt>) -> Outcome {
    match halt {
        Ok(()) | Err(Halt::Over | Halt::Ended(_)) => Ok(()),
        Err(Halt::Failed(failure)) => Err(failure),
    }
}

/// Changes of one publisher's retained messages, without end.
struct Changes<'a> {
    shelf: &'a Shelf,
    publisher: usize,
    rng: Rng,
    books: &'a Books,
}

impl Work for Changes<'_> {
    fn next(&mut self) -> Feed {
        let topic = self.publisher + PUBLISHERS * self.rng.usize(..TOPICS / PUBLISHERS);
        let change = self.shelf.change(topic);
        let mut numbered = Numbered::new(change.stamp, shelf::topic(topic), shelf::qos(topic), 0);
        numbered.publish.retain = true;
        if change.is_removal {
            numbered.publish.payload.clear();
        }
        Feed::Next(numbered)
    }

    fn acknowledged(&mut self, stamp: Stamp) {
        self.shelf.acknowledged(stamp);
        self.books.progress.event();
        self.books.count_acknowledged();
    }

    fn completed(&mut self, stamp: Stamp) {
        self.shelf.completed(stamp);
    }
}

/// Reads everything that is retained, as a new client, and compares.
fn read_shelf(port: u16, shelf: &Shelf, books: &Books, phase: &Phase) -> Outcome {
    let mut client = Client::clean("reader".to_owned(), port);
    let found = loop {
        match retained(&mut client, books, phase) {
            Ok(found) => break found,
            Err(Halt::Ended(_)) => {}
            Err(Halt::Over) => return Ok(()),
            Err(Halt::Failed(failure)) => return Err(failure),
        }
    };
    shelf.compare(&found, books);
    Ok(())
}

fn retained(client: &mut Client, books: &Books, phase: &Phase) -> Result<Vec<Publish>, Halt> {
    let Connected { mut connection, .. } = client.connect(books, phase)?;
    wire::subscribe(&mut connection.out, client.version, 1, "r/#", 2);
    let mut found = Vec::new();
    let mut is_over = false;
    while !is_over {
        connection.flush()?;
        client.go_on(books, phase, "a reader waits for retained messages")?;
        match connection.next()? {
            // What is not retained is the reader's own fence: retained messages go before it.
            Some(Packet::Publish(publish)) => {
                answer(&mut connection.out, &publish);
                books.progress.touch();
                if publish.topic == "r/fence" {
                    is_over = true;
                } else {
                    found.push(publish);
                }
            }
            Some(Packet::Exchange { step: Step::Rel, id, .. }) => {
                wire::acknowledge(&mut connection.out, Step::Comp, id);
            }
            Some(Packet::Subscribed { codes, .. }) if codes == [2] => {
                let fence = Publish {
                    is_again: false,
                    qos: 1,
                    retain: false,
                    topic: "r/fence".to_owned(),
                    id: 2,
                    payload: b"fence".to_vec(),
                };
                wire::publish(&mut connection.out, client.version, &fence);
            }
            Some(Packet::Exchange { step: Step::Ack, .. }) | None => {}
            Some(other) => return Err(Halt::failed(format!("a reader was sent {other:?}"))),
        }
    }
    Ok(found)
}

fn answer(out: &mut Vec<u8>, publish: &Publish) {
    match publish.qos {
        0 => {}
        1 => wire::acknowledge(out, Step::Ack, publish.id),
        _ => wire::acknowledge(out, Step::Rec, publish.id),
    }
}

/// Publishes to every filter once the keeper listens, and lets it see which of them it is subscribed to.
fn ask(port: u16, keeper: &mut Keeper, cycle: u64, books: &Books, phase: &Phase) -> Outcome {
    let is_listening = &AtomicBool::new(false);
    let mut publisher = Publisher::new(Client::clean("asker".to_owned(), port), 8, 0, Rng::with_seed(cycle));
    thread::scope(|scope| {
        let hearing =
            scope.spawn(move || client::until_done(|| keeper.hear(cycle, is_listening, books, phase)));
        while !is_listening.load(Ordering::Acquire) && !hearing.is_finished() {
            thread::sleep(Duration::from_millis(1));
        }
        let mut questions = Questions::new(cycle, FILTERS, || hearing.is_finished());
        let asked = client::until_done(|| publisher.live(books, phase, &mut questions));
        if asked.is_err() {
            phase.end();
        }
        let heard = phase::joined(hearing);
        asked.and(heard)
    })
}
