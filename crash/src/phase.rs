//! A phase of a round: some clients at work, and whoever strikes the servers meanwhile.

use std::thread::{self, ScopedJoinHandle};

use crate::Outcome;
use crate::blows::{self, Blow};
use crate::books::Books;
use crate::progress::Phase;
use crate::server::Server;

/// What one client does in a phase.
pub(crate) type Part<'a> = Box<dyn FnOnce(&Phase) -> Outcome + Send + 'a>;

/// Runs all parts to their end under the blows of each server; whatever fails ends the others.
///
/// Returns how often the servers were struck.
pub(crate) fn run(
    servers: &[Server],
    blows: Vec<Vec<Blow>>,
    books: &Books,
    parts: Vec<Part>,
) -> Outcome<u64> {
    let phase = &Phase::default();
    books.progress.touch();
    thread::scope(|scope| {
        let strikers: Vec<_> = servers
            .iter()
            .zip(blows)
            .map(|(server, blows)| {
                scope.spawn(move || ending(phase, blows::deal(server, &blows, books, phase)))
            })
            .collect();
        let clients: Vec<_> =
            parts.into_iter().map(|part| scope.spawn(move || ending(phase, part(phase)))).collect();
        let outcomes: Vec<Outcome> = clients.into_iter().map(joined).collect();
        phase.end();
        let struck: Vec<Outcome<u64>> = strikers.into_iter().map(joined).collect();
        // That a server ended by itself explains what its clients say.
        let struck: Vec<u64> = struck.into_iter().collect::<Outcome<_>>()?;
        outcomes.into_iter().collect::<Outcome>()?;
        Ok(struck.iter().sum())
    })
}

/// Waits for a thread; that it panicked is a failure like others.
pub(crate) fn joined<T>(thread: ScopedJoinHandle<'_, Outcome<T>>) -> Outcome<T> {
    thread.join().unwrap_or_else(|_| Err("a thread of the test panicked".into()))
}

/// Ends the phase when something has failed.
fn ending<T>(phase: &Phase, outcome: Outcome<T>) -> Outcome<T> {
    if outcome.is_err() {
        phase.end();
    }
    outcome
}
