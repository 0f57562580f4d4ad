//! The socket and the timer.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use crosspoint_protocol::Now;
use tokio::io::AsyncWrite;

use super::{Connection, Farewell, Stage};
use crate::{counters::count, turn::READ_BYTES, workspace::Workspace};

/// The most slices that one write takes.
const SLICES_MAX: usize = 64;

impl Connection {
    /// Reads into the thread's buffer.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        workspace: &mut Workspace,
    ) -> Poll<io::Result<usize>> {
        let buffer = &mut workspace.read_buffer;
        if buffer.capacity() - buffer.len() < READ_BYTES / 2 {
            buffer.reserve(READ_BYTES);
        }
        tokio_util::io::poll_read_buf(Pin::new(&mut self.stream), cx, buffer)
    }

    /// Writes what there is. While it is pending the socket wakes the task.
    pub(super) fn write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let transmit = self.core.transmit();
        while !transmit.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let filled = transmit.io_slices(&mut slices);
            let slices = slices.get(..filled).unwrap_or_default();
            let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            count(&self.shared.counters(self.worker).bytes_sent, written);
            transmit.advance(written);
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Asks for the timer. One that is set for earlier stays: what is due is asked again when it fires.
    pub(super) fn want_timer(&mut self, deadline_ms: Option<u64>) {
        let Some(deadline_ms) = deadline_ms else { return };
        if deadline_ms < self.timer_at_ms {
            self.set_timer(deadline_ms);
        }
    }

    pub(super) fn set_timer(&mut self, at_ms: u64) {
        let instant = self.shared.clock.instant(at_ms);
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(instant),
            None => self.timer = Some(Box::pin(tokio::time::sleep_until(instant))),
        }
        self.timer_at_ms = at_ms;
    }

    /// Does what has come due, and leaves the timer waiting for what is due next.
    pub(super) fn poll_deadlines(&mut self, cx: &mut Context<'_>, workspace: &mut Workspace, mut now: Now) {
        while let Some(at_ms) = self.poll_timer(cx) {
            // The clock was read when the turn began; the timer knows that it has gone on.
            now = now.plus_ms(at_ms.saturating_sub(now.monotonic_ms));
            if let Stage::Ending(farewell) = &mut self.stage {
                *farewell = Farewell::Late;
                return;
            }
            if self.is_undrained {
                // What came in time waits behind us, not behind the client: judge it when it has been handled.
                return;
            }
            self.core.handle_timeout(now);
            self.handle_outputs(cx, workspace, now);
        }
    }

    /// Returns for when the timer was set if it has fired.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Option<u64> {
        let timer = self.timer.as_mut().filter(|_| self.timer_at_ms != u64::MAX)?;
        timer.as_mut().poll(cx).is_ready().then(|| std::mem::replace(&mut self.timer_at_ms, u64::MAX))
    }
}
