//! One line at the bottom of a terminal that says how far a long run is.
//!
//! It is there only while stderr is a terminal. Log lines go above it.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long the line stands at least before it changes.
const EVERY: Duration = Duration::from_millis(100);

/// How many signs a bar has.
const BAR_SIGNS: u64 = 24;

/// Goes to the start of the line and empties it.
const CLEAR: &str = "\r\x1b[K";

/// What stands at the bottom now.
static SHOWN: Mutex<String> = Mutex::new(String::new());

/// The line, until this is dropped.
#[derive(Debug)]
pub(crate) struct ProgressLine {
    changed: Option<Instant>,
    is_terminal: bool,
}

impl ProgressLine {
    pub(crate) fn new() -> Self {
        Self { changed: None, is_terminal: io::stderr().is_terminal() }
    }

    /// Tells whether anybody sees it.
    pub(crate) const fn is_seen(&self) -> bool {
        self.is_terminal
    }

    /// Shows another text, but not too often.
    pub(crate) fn show(&mut self, text: impl FnOnce() -> String) {
        if self.is_terminal && self.changed.is_none_or(|changed| changed.elapsed() >= EVERY) {
            self.changed = Some(Instant::now());
            replace(text());
        }
    }

    /// Takes the line away until something is shown again.
    pub(crate) fn clear(&mut self) {
        if self.changed.take().is_some() {
            replace(String::new());
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Returns a bar for a part of a whole.
pub(crate) fn bar(part: u64, whole: u64) -> String {
    let part = u128::from(part.min(whole));
    let of = |steps: u64| u64::try_from(part * u128::from(steps) / u128::from(whole.max(1))).unwrap_or(steps);
    let full = of(BAR_SIGNS);
    let signs: String = (0..BAR_SIGNS).map(|sign| if sign < full { '#' } else { '.' }).collect();
    format!("[{signs}] {:3} %", of(100))
}

fn replace(text: String) {
    let mut shown = SHOWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    *shown = text;
    // Without a stderr there is nobody to see it.
    write(format_args!("{CLEAR}{shown}")).unwrap_or_default();
}

fn write(text: std::fmt::Arguments<'_>) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    stderr.write_fmt(text)?;
    stderr.flush()
}

/// Stderr for log lines: what stands at the bottom goes away for them and comes back under them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AboveProgress;

impl Write for AboveProgress {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let shown = SHOWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut stderr = io::stderr().lock();
        if shown.is_empty() {
            stderr.write_all(bytes)?;
        } else {
            stderr.write_all(&[CLEAR.as_bytes(), bytes, shown.as_bytes()].concat())?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_full_at_the_end_and_never_beyond() {
        assert_eq!(bar(0, 10), "[........................]   0 %");
        assert_eq!(bar(5, 10), "[############............]  50 %");
        for part in [10, 11, u64::MAX] {
            assert_eq!(bar(part, 10), "[########################] 100 %");
        }
        assert_eq!(bar(0, 0), "[........................]   0 %");
        assert_eq!(bar(u64::MAX, u64::MAX), "[########################] 100 %");
    }
}
