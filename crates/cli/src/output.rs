//! Messages on stdout: at once on a terminal, in batches otherwise.

use std::io::{self, IsTerminal};

use tokio::io::{AsyncWriteExt, Stdout};

/// How many bytes are gathered before they are written.
const BATCH_BYTES: usize = 64 * 1_024;

/// Bytes on their way to stdout.
#[derive(Debug)]
pub(crate) struct Output {
    stdout: Stdout,
    pending: Vec<u8>,
    /// How many of the pending bytes stdout has taken.
    written: usize,
    batch_bytes: usize,
}

impl Output {
    pub(crate) fn new() -> Self {
        let batch_bytes = if io::stdout().is_terminal() { 0 } else { BATCH_BYTES };
        Self { stdout: tokio::io::stdout(), pending: Vec::new(), written: 0, batch_bytes }
    }

    /// Returns where to append what is to be written.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.pending
    }

    /// Writes and flushes what is pending.
    ///
    /// # Cancel safety
    /// Dropped before it is done, the next call goes on where it stopped.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        while let Some(rest) = self.pending.get(self.written..).filter(|rest| !rest.is_empty()) {
            self.written += self.stdout.write(rest).await?;
        }
        self.stdout.flush().await?;
        self.pending.clear();
        self.written = 0;
        Ok(())
    }

    /// Tells whether nothing is pending.
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Tells whether what is pending should be written before more is appended.
    pub(crate) fn is_due(&self) -> bool {
        self.pending.len() > self.batch_bytes
    }
}
