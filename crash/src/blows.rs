//! When a program is struck, drawn from the seed.

use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::Outcome;
use crate::books::Books;
use crate::progress::Phase;
use crate::server::{Server, Way};

/// The longest time between two blows that are given by time.
const DELAY_MAX_MS: u64 = 400;

/// The longest time between the end of a program and its next start.
const PAUSE_MAX_MS: u64 = 40;

/// The longest time from a start to the blow that hits its recovery.
const RECOVERY_MAX_MS: u64 = 60;

/// The moment of a blow.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// When as many acknowledgements and arrivals were read since the phase began.
    Events(u64),
    /// When this time has passed since the last blow, or since the phase began.
    Delay(Duration),
}

/// One blow and the start after it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blow {
    moment: Moment,
    pause: Duration,
    /// Another blow, so long after the start.
    again: Option<Duration>,
}

/// Draws blows that fall while `events` acknowledgements and arrivals are read, in their order.
pub(crate) fn among(rng: &mut Rng, count: usize, events: u64) -> Vec<Blow> {
    let mut places: Vec<u64> = (0..count).map(|_| rng.u64(0..=events)).collect();
    places.sort_unstable();
    let moment = |rng: &mut Rng, place| match rng.u8(..3) {
        0 => Moment::Delay(millis(rng, DELAY_MAX_MS)),
        _ => Moment::Events(place),
    };
    places.into_iter().map(|place| Blow { moment: moment(rng, place), ..at_once(rng) }).collect()
}

/// Draws a blow that falls within the first moments of a phase.
pub(crate) fn soon(rng: &mut Rng) -> Blow {
    Blow { moment: Moment::Delay(millis(rng, RECOVERY_MAX_MS)), ..at_once(rng) }
}

/// Draws a blow without waiting.
pub(crate) fn at_once(rng: &mut Rng) -> Blow {
    let pause = millis(rng, PAUSE_MAX_MS);
    let again = (rng.u8(..3) == 0).then(|| millis(rng, RECOVERY_MAX_MS));
    Blow { moment: Moment::Delay(Duration::ZERO), pause, again }
}

fn millis(rng: &mut Rng, max: u64) -> Duration {
    Duration::from_micros(rng.u64(0..=max * 1_000))
}

/// Strikes a program at its moments while a phase goes on, and watches that it does not end by itself.
///
/// Returns how often it was struck.
pub(crate) fn deal(server: &Server, blows: &[Blow], books: &Books, phase: &Phase) -> Outcome<u64> {
    let begun = books.progress.events();
    let mut struck = 0;
    for blow in blows {
        if !wait(server, blow.moment, begun, books, phase)? {
            return Ok(struck);
        }
        struck += strike(server, *blow)?;
    }
    while !phase.is_over() {
        server.check()?;
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(struck)
}

/// Strikes a program and starts it again; returns how often it was struck.
pub(crate) fn strike(server: &Server, blow: Blow) -> Outcome<u64> {
    server.strike()?;
    std::thread::sleep(blow.pause);
    server.start()?;
    // Whoever is only to be stopped is not asked to stop before it listens.
    let Some(again) = blow.again.filter(|_| server.way == Way::Kill) else { return Ok(1) };
    std::thread::sleep(again);
    server.strike()?;
    server.start()?;
    Ok(2)
}

/// Waits for a moment; `false` when the phase was over before.
fn wait(server: &Server, moment: Moment, begun: u64, books: &Books, phase: &Phase) -> Outcome<bool> {
    let since = Instant::now();
    loop {
        let has_come = match moment {
            Moment::Events(events) => books.progress.events() >= begun + events,
            Moment::Delay(delay) => since.elapsed() >= delay,
        };
        if has_come || phase.is_over() {
            return Ok(has_come);
        }
        server.check()?;
        match moment {
            Moment::Events(events) => books.progress.wait_a_while(begun + events),
            Moment::Delay(delay) => {
                std::thread::sleep(delay.saturating_sub(since.elapsed()).min(Duration::from_millis(5)));
            }
        }
    }
}
