//! Wills: what a client that dies leaves to be published is published once, and at its time, whatever the broker goes
//! through meanwhile.
//!
//! In each cycle clients with a Will connect; some cut their connection, some say farewell, the others are there when the
//! broker is killed, and then come back or do not. One subscriber reads all the time.
//!
//! ```text
//!  dies ──── delay ────► published        (the broker is killed meanwhile: not before the grace after its start)
//!  stays ── killed ── start ── grace, or its delay if that is longer ──► published
//!  returns ─ killed ── start ── back ──► never
//!  leaves ──► never
//! ```

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::{NO_CONSOLE, Programs, Report, listener, report};
use crate::Outcome;
use crate::books::Books;
use crate::client::{Client, Halt, until_done};
use crate::connection::Connection;
use crate::message::Stamp;
use crate::phase;
use crate::progress::Phase;
use crate::server::{Port, Server};
use crate::subscriber::{Subscriber, topic};
use crate::wire::{self, Version, Will};

/// How many crashes are followed to their end in a round.
const CYCLES: u64 = 2;

/// How many clients have a Will.
const MORTALS: usize = 30;

/// What the broker is told to wait for the clients that it has lost.
const GRACE: Duration = Duration::from_secs(2);

/// How long a blow takes at most.
const SPARE: Duration = Duration::from_millis(300);

/// The longest delay of a Will, longer than the grace.
const DELAY_MAX_S: u32 = 4;

/// By how much a Will may be late: the test shares its machine with others.
const LATE_MAX: Duration = Duration::from_secs(10);

/// By how much clocks that count in milliseconds may be ahead.
const EARLY_MAX: Duration = Duration::from_millis(20);

/// How long before the end of the broker a farewell must have been said to be known of after it: nobody acknowledges it.
const FAREWELL_KEPT: Duration = Duration::from_secs(1);

/// How long what must not come is waited for.
const QUIET: Duration = Duration::from_millis(700);

const PREFIX: &str = "w";

/// Runs a round.
pub(super) fn run(programs: &Programs, folder: &Path, mut rng: Rng) -> Outcome<Report> {
    let port = Port::reserve()?;
    let broker = format!("will_grace_s = {}\n[broker.listener.main]", GRACE.as_secs());
    let project = listener(&port).replace("[broker.listener.main]", &broker);
    let server =
        Server::crosspoint("broker", &programs.crosspoint, folder, &format!("{project}{NO_CONSOLE}"))?;
    let mut mortals: Vec<Mortal> =
        (0..MORTALS).map(|index| Mortal::new(index, port.number, &mut rng)).collect();
    let qos: Vec<u8> = mortals.iter().map(|mortal| mortal.qos).collect();
    let books = Books::new(&qos, 1);
    let struck = cycles(&server, &port, &mut mortals, &mut rng, &books);
    Ok(report(&books, struck))
}

fn cycles(
    server: &Server,
    port: &Port,
    mortals: &mut [Mortal],
    rng: &mut Rng,
    books: &Books,
) -> Outcome<u64> {
    let heir = Client::lasting("heir".to_owned(), port.number, Version::V5);
    let mut heir = Subscriber::new(heir, 0, PREFIX, 0, rng.fork());
    let phase = &Phase::default();
    server.start()?;
    until_done(|| heir.live(books, phase, &|| true))?;
    thread::scope(|scope| {
        let reading = scope.spawn(move || until_done(|| heir.live(books, phase, &|| false)));
        let mut struck = 0;
        let mut all = || -> Outcome {
            for _ in 0..CYCLES {
                struck += cycle(server, mortals, rng, books, phase)?;
            }
            Ok(())
        };
        let outcome = all();
        phase.end();
        let read = phase::joined(reading);
        outcome.and(read).map(|()| struck)
    })
}

/// Lets everybody connect and meet their fate, kills the broker, and waits for what must come and must not.
fn cycle(
    server: &Server,
    mortals: &mut [Mortal],
    rng: &mut Rng,
    books: &Books,
    phase: &Phase,
) -> Outcome<u64> {
    for mortal in mortals.iter_mut() {
        mortal.live(rng, books, phase)?;
    }
    rng.shuffle(mortals);
    for mortal in mortals.iter_mut() {
        thread::sleep(Duration::from_micros(rng.u64(..8_000)));
        mortal.meet_fate(books, phase)?;
    }
    thread::sleep(Duration::from_millis(rng.u64(..2_500)));
    let mut struck = 1;
    server.strike()?;
    let killed_at = Instant::now();
    let mut started_at = restart(server)?;
    return_all(mortals, books, phase)?;
    if rng.u8(..3) == 0 {
        thread::sleep(Duration::from_millis(rng.u64(..1_200)));
        // Within the grace: later some of what is due has come.
        if started_at.elapsed() + SPARE < GRACE {
            struck += 1;
            server.strike()?;
            started_at = restart(server)?;
            return_all(mortals, books, phase)?;
        }
    }
    let ended = Ended { killed_at, started_at };
    wait_for(mortals, ended, books, phase)?;
    mortals.iter_mut().for_each(|mortal| mortal.judge(ended, books));
    Ok(struck)
}

fn restart(server: &Server) -> Outcome<Instant> {
    let started_at = Instant::now();
    server.start()?;
    Ok(started_at)
}

fn return_all(mortals: &mut [Mortal], books: &Books, phase: &Phase) -> Outcome {
    let mut returning = mortals.iter_mut().filter(|mortal| mortal.fate == Fate::Returns);
    returning.try_for_each(|mortal| mortal.come_back(books, phase))
}

/// Waits until everything has come that must, and then for what must not; or until it is too late.
fn wait_for(mortals: &[Mortal], ended: Ended, books: &Books, phase: &Phase) -> Outcome {
    let due = mortals.iter().filter_map(|mortal| mortal.due(ended)).max();
    let too_late = due.unwrap_or(ended.started_at) + LATE_MAX;
    let is_missing = |mortal: &Mortal| mortal.due(ended).is_some() && mortal.came_at(books).is_none();
    while mortals.iter().any(is_missing) && Instant::now() < too_late && !phase.is_over() {
        // Nothing need happen for so long.
        books.progress.touch();
        thread::sleep(Duration::from_millis(10));
    }
    thread::sleep(QUIET);
    Ok(())
}

/// When the broker went, and when it came for good.
#[derive(Clone, Copy, Debug)]
struct Ended {
    killed_at: Instant,
    started_at: Instant,
}

/// What becomes of a client with a Will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is there when the broker is killed, and does not come back.
    Stays,
    /// The same, and it comes back.
    Returns,
    /// It cut its connection, then.
    Died(Instant),
    /// It said farewell, and then the broker closed.
    Left(Instant),
}

/// A client with a Will, a new one for each connection.
#[derive(Debug)]
struct Mortal {
    client: Client,
    index: usize,
    qos: u8,
    /// How many Wills it has made.
    wills: u64,
    connection: Option<Connection>,
    fate: Fate,
}

impl Mortal {
    fn new(index: usize, port: u16, rng: &mut Rng) -> Self {
        let version = if rng.u8(..4) > 0 { Version::V5 } else { Version::V311 };
        let name = format!("mortal-{index}");
        let mut client = Client::lasting(name, port, version);
        client.is_clean = rng.u8(..4) == 0;
        Self { client, index, qos: rng.u8(1..=2), wills: 0, connection: None, fate: Fate::Stays }
    }

    /// Begins a life with a fate.
    fn live(&mut self, rng: &mut Rng, books: &Books, phase: &Phase) -> Outcome {
        let now = Instant::now();
        self.fate = match rng.u8(..5) {
            0 | 1 => Fate::Stays,
            2 => Fate::Returns,
            3 => Fate::Died(now),
            _ => Fate::Left(now),
        };
        let delay_s = if rng.bool() { 0 } else { rng.u32(1..=DELAY_MAX_S) };
        self.connect(delay_s, books, phase)
    }

    /// Connects with a Will of its own.
    fn connect(&mut self, delay_s: u32, books: &Books, phase: &Phase) -> Outcome {
        self.connection = None;
        let stamp = Stamp { publisher: self.index, number: self.wills };
        self.wills += 1;
        books.sent(stamp);
        let payload = stamp.payload(0);
        self.client.will = Some(Will { topic: topic(PREFIX, stamp), payload, qos: self.qos, delay_s });
        match self.client.connect(books, phase) {
            Ok(connected) => {
                self.connection = Some(connected.connection);
                books.count_acknowledged();
                Ok(())
            }
            Err(Halt::Failed(failure)) => Err(failure),
            Err(halt) => Err(format!("a client with a will does not connect: {halt:?}").into()),
        }
    }

    /// Comes back to a broker that it has lost.
    fn come_back(&mut self, books: &Books, phase: &Phase) -> Outcome {
        let delay_s = self.delay_s();
        self.connect(delay_s, books, phase)
    }

    fn meet_fate(&mut self, books: &Books, phase: &Phase) -> Outcome {
        match &mut self.fate {
            Fate::Stays | Fate::Returns => {}
            Fate::Died(at) => {
                *at = Instant::now();
                self.connection = None;
            }
            Fate::Left(at) => {
                if let Some(connection) = &mut self.connection {
                    wire::disconnect(&mut connection.out);
                    connection.flush().map_err(|ended| ended.0)?;
                    // The broker closes when it has read the farewell.
                    while connection.next().is_ok() {
                        if self.client.go_on(books, phase, "a farewell is not heard").is_err() {
                            return Err("a farewell is not heard".into());
                        }
                    }
                }
                *at = Instant::now();
                self.connection = None;
            }
        }
        Ok(())
    }

    fn delay_s(&self) -> u32 {
        self.client.will.as_ref().map_or(0, |will| will.delay_s)
    }

    /// Returns how long its Will waits once its connection has ended.
    fn delay(&self) -> Duration {
        // Before MQTT 5 there is no delay, and none outlives the session.
        let has_delay = self.client.version == Version::V5 && !self.client.is_clean;
        Duration::from_secs(if has_delay { self.delay_s().into() } else { 0 })
    }

    /// Returns before which moment its Will must not come, if it must come.
    fn due(&self, ended: Ended) -> Option<Instant> {
        let after_start = ended.started_at + GRACE;
        match self.fate {
            Fate::Stays => Some(after_start.max(ended.started_at + self.delay())),
            // Whether the broker has published it before it went is its own affair.
            Fate::Died(at) if at + self.delay() <= ended.killed_at => Some(at + self.delay()),
            Fate::Died(at) => Some(after_start.max(at + self.delay())),
            Fate::Returns | Fate::Left(_) => None,
        }
    }

    fn last(&self) -> Stamp {
        Stamp { publisher: self.index, number: self.wills.saturating_sub(1) }
    }

    fn came_at(&self, books: &Books) -> Option<Instant> {
        books.came_at(0, self.last())
    }

    fn judge(&mut self, ended: Ended, books: &Books) {
        let came_at = self.came_at(books);
        if let Some(due) = self.due(ended) {
            // Unless it comes it is lost.
            books.acknowledged(self.last());
            let latest = due.max(ended.started_at + GRACE) + LATE_MAX;
            if let Some(at) = came_at.filter(|at| *at + EARLY_MAX < due || *at > latest) {
                self.untimely(books, &format!("due {:?}, came {:?}", since(ended, due), since(ended, at)));
            }
        }
        let is_forbidden = match self.fate {
            Fate::Returns => true,
            Fate::Left(at) => at + FAREWELL_KEPT < ended.killed_at,
            Fate::Stays | Fate::Died(_) => false,
        };
        if let Some(at) = came_at.filter(|_| is_forbidden) {
            self.untimely(books, &format!("came {:?}", since(ended, at)));
        }
        let earlier = (0..self.last().number).map(|number| Stamp { number, ..self.last() });
        for stamp in earlier.filter(|_| self.fate == Fate::Returns) {
            if let Some(at) = books.came_at(0, stamp).filter(|at| *at > ended.started_at) {
                self.untimely(books, &format!("number {} came {:?}", stamp.number, since(ended, at)));
            }
        }
        self.connection = None;
    }

    fn untimely(&self, books: &Books, what: &str) {
        let Self { index, fate, client, wills, .. } = self;
        let (delay, is_clean) = (self.delay(), client.is_clean);
        let detail = format!(
            "will {wills} of client {index} (clean {is_clean}, delay {delay:?}, {fate:?}): {what} after the start"
        );
        books.find(|figures| figures.untimely += 1, detail);
    }
}

/// Returns how long after the last start of the broker a moment is, in seconds.
fn since(ended: Ended, at: Instant) -> f64 {
    let after = at.saturating_duration_since(ended.started_at).as_secs_f64();
    after - ended.started_at.saturating_duration_since(at).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Judges a client that connected 10 s before the broker was killed, and whose Will came some time after its start.
    fn judged(fate: impl Fn(Instant) -> Fate, delay_s: u32, came_after_s: Option<u64>) -> (u64, u64) {
        let killed_at = Instant::now() - Duration::from_secs(100);
        let ended = Ended { killed_at, started_at: killed_at + Duration::from_secs(1) };
        let mut mortal = Mortal::new(0, 0, &mut Rng::with_seed(1));
        (mortal.client.version, mortal.client.is_clean, mortal.wills) = (Version::V5, false, 1);
        mortal.client.will =
            Some(Will { topic: String::new(), payload: Vec::new(), qos: mortal.qos, delay_s });
        mortal.fate = fate(killed_at);
        let books = Books::new(&[mortal.qos], 1);
        books.sent(mortal.last());
        if let Some(seconds) = came_after_s {
            let at = ended.started_at + Duration::from_secs(seconds);
            books.arrived_at(0, Some(mortal.last()), mortal.qos, at);
        }
        mortal.judge(ended, &books);
        let figures = books.close().0;
        (figures.lost, figures.untimely)
    }

    #[test]
    fn a_will_waits_for_the_grace_or_its_delay_whichever_is_longer() {
        assert_eq!(judged(|_| Fate::Stays, 0, None), (1, 0));
        assert_eq!(judged(|_| Fate::Stays, 0, Some(1)), (0, 1));
        assert_eq!(judged(|_| Fate::Stays, 0, Some(2)), (0, 0));
        assert_eq!(judged(|_| Fate::Stays, 4, Some(2)), (0, 1));
        assert_eq!(judged(|_| Fate::Stays, 4, Some(4)), (0, 0));
        assert_eq!(judged(|_| Fate::Stays, 4, Some(15)), (0, 1), "too late");
        let died = |killed_at: Instant| Fate::Died(killed_at - Duration::from_secs(1));
        assert_eq!(judged(died, 1, Some(2)), (0, 0), "due before the end, and not published then");
        assert_eq!(judged(died, 4, Some(1)), (0, 1));
        assert_eq!(judged(died, 4, Some(2)), (0, 0));
    }

    #[test]
    fn a_client_that_is_back_or_has_left_leaves_nothing() {
        assert_eq!(judged(|_| Fate::Returns, 0, None), (0, 0));
        assert_eq!(judged(|_| Fate::Returns, 0, Some(3)), (0, 1));
        let left = |seconds| move |killed_at: Instant| Fate::Left(killed_at - Duration::from_secs(seconds));
        assert_eq!(judged(left(2), 0, Some(3)), (0, 1));
        assert_eq!(judged(left(0), 0, Some(3)), (0, 0), "it may not have been written down");
    }
}
