//! What happened in a run: a hash of all of it, and the last lines to read.

use std::collections::VecDeque;
use std::fmt::Arguments;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How many lines are kept to be read.
const LINES_MAX: usize = 60;

/// The notes of one run. Clones write into the same ones.
#[derive(Debug, Clone)]
pub(super) struct Trace(Arc<Mutex<Notes>>);

#[derive(Debug)]
struct Notes {
    start: Instant,
    hash: u64,
    lines: VecDeque<String>,
    is_verbose: bool,
}

impl Trace {
    /// Begins the notes of a run; a verbose one is printed as it happens, with every detail.
    pub(super) fn start(is_verbose: bool) -> Self {
        let notes = Notes { start: Instant::now(), hash: FNV_OFFSET, lines: VecDeque::new(), is_verbose };
        Self(Arc::new(Mutex::new(notes)))
    }

    /// Notes what somebody who reads a failure wants to know.
    pub(super) fn note(&self, what: Arguments<'_>) {
        let mut notes = self.0.lock();
        let line = notes.hashed(what);
        if notes.is_verbose {
            eprintln!("{line}");
        }
        if notes.lines.len() == LINES_MAX {
            notes.lines.pop_front();
        }
        notes.lines.push_back(line);
    }

    /// Notes what only a verbose run tells; it counts for the hash all the same.
    pub(super) fn detail(&self, what: Arguments<'_>) {
        let mut notes = self.0.lock();
        let line = notes.hashed(what);
        if notes.is_verbose {
            eprintln!("{line}");
        }
    }

    /// Returns the hash of everything that was noted.
    pub(super) fn hash(&self) -> u64 {
        self.0.lock().hash
    }

    /// Returns the last lines.
    pub(super) fn lines(&self) -> Vec<String> {
        self.0.lock().lines.iter().cloned().collect()
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

impl Notes {
    fn hashed(&mut self, what: Arguments<'_>) -> String {
        let line = format!("{:>9} {what}", self.start.elapsed().as_millis());
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
        }
        line
    }
}
