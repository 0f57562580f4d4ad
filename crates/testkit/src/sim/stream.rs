//! One byte stream of the simulated network: bytes that take their time, and may never arrive.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes};
use fastrand::Rng;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::trace::Trace;
use super::windows::Watch;

/// How a connection behaves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quality {
    /// How long a byte takes.
    pub(super) latency: Duration,
    /// By how much more, at random.
    pub(super) jitter_ms: u64,
    /// How many bytes may be on their way in one direction before a write waits.
    pub(super) window_bytes: usize,
    /// How fast bytes go.
    pub(super) bytes_per_s: u64,
}

/// A connection, as the network sees it.
#[derive(Debug)]
pub(super) struct Wire {
    number: u64,
    quality: Quality,
    rng: Rng,
    trace: Trace,
    /// What goes from the dialling side, and what goes to it.
    ways: [Way; 2],
    /// Both sides hear of it at once.
    is_reset: bool,
    /// Nothing arrives any more, and nobody is told.
    is_silent: bool,
    /// The process on this side is no more: what it does on it has no effect.
    is_dead: [bool; 2],
    watch: Watch,
    /// Counts, for the whole network, the ends at which last words may have been lost.
    cut_short: Arc<AtomicU64>,
    /// What is wrong with what was written.
    pub(super) wrong: Option<String>,
}

/// One direction.
#[derive(Debug, Default)]
struct Way {
    chunks: VecDeque<(Instant, Bytes)>,
    /// Bytes that have been written and not read.
    bytes: usize,
    last_at: Option<Instant>,
    /// When the end arrives.
    end_at: Option<Instant>,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// The reading side has closed: whoever writes is told.
    is_unread: bool,
}

impl Way {
    fn wake(&mut self) {
        self.reader.take().into_iter().chain(self.writer.take()).for_each(Waker::wake);
    }
}

impl Wire {
    pub(super) fn new(
        number: u64,
        quality: Quality,
        rng: Rng,
        watch: Watch,
        cut_short: Arc<AtomicU64>,
        trace: Trace,
    ) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self {
            number,
            quality,
            rng,
            trace,
            ways: [Way::default(), Way::default()],
            is_reset: false,
            is_silent: false,
            is_dead: [false; 2],
            watch,
            cut_short,
            wrong: None,
        }))
    }

    /// Ends the connection for both at once; what was on its way is lost.
    pub(super) fn reset(&mut self) {
        self.is_reset = true;
        self.ways.iter_mut().for_each(Way::wake);
    }

    /// Lets nothing through from now on: each side believes that the other is slow.
    pub(super) fn silence(&mut self) {
        self.is_silent = true;
        self.ways.iter_mut().for_each(|way| way.chunks.clear());
    }

    /// Sets how fast bytes go from now on.
    pub(super) fn set_speed(&mut self, bytes_per_s: u64) {
        self.quality.bytes_per_s = bytes_per_s;
    }

    /// Ends the process on one side; the system it ran on says farewell for it.
    pub(super) fn kill(&mut self, side: usize) {
        self.close(side);
        self.abandon(side);
    }

    /// Ends the machine on one side; nobody says farewell.
    pub(super) fn abandon(&mut self, side: usize) {
        if let Some(is_dead) = self.is_dead.get_mut(side) {
            *is_dead = true;
        }
        self.silence_from(side);
        self.ways.iter_mut().for_each(Way::wake);
    }

    /// What the other side sends arrives nowhere; what this side has sent before still does.
    fn silence_from(&mut self, side: usize) {
        if let Some(way) = self.ways.get_mut(1 - side) {
            way.chunks.clear();
        }
    }

    fn is_over(&self, side: usize) -> bool {
        self.is_reset || self.is_dead.get(side).copied().unwrap_or(true)
    }

    fn close(&mut self, side: usize) {
        if self.is_over(side) {
            return;
        }
        let unread = self.ways.get(1 - side).is_some_and(|way| !way.chunks.is_empty());
        if unread && self.rng.bool() && !self.is_silent {
            // What a system does with a socket that is closed before all has been read.
            self.cut_short.fetch_add(1, Relaxed);
            return self.reset();
        }
        self.end(side);
        if let Some(way) = self.ways.get_mut(1 - side) {
            way.is_unread = true;
            way.wake();
        }
    }

    fn end(&mut self, side: usize) {
        let at = self.arrival(side, 0);
        if let Some(way) = self.ways.get_mut(side)
            && way.end_at.is_none()
            && !self.is_silent
        {
            way.end_at = Some(at);
            way.wake();
        }
    }

    /// Returns when bytes that are sent now arrive: never before those that were sent earlier.
    fn arrival(&mut self, side: usize, bytes: usize) -> Instant {
        let Quality { latency, jitter_ms, bytes_per_s, .. } = self.quality;
        let jitter = Duration::from_millis(self.rng.u64(0..=jitter_ms));
        let travel = Duration::from_micros((bytes as u64).saturating_mul(1_000_000) / bytes_per_s.max(1));
        let earliest = Instant::now() + latency + jitter;
        let before = self.ways.get(side).and_then(|way| way.last_at);
        before.map_or(earliest, |before| before.max(earliest)) + travel
    }

    fn poll_write(&mut self, side: usize, waker: &Waker, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_over(side) {
            return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
        }
        let room = self.ways.get(side).map_or(0, |way| self.quality.window_bytes.saturating_sub(way.bytes));
        if room == 0 {
            if let Some(way) = self.ways.get_mut(side) {
                way.writer = Some(waker.clone());
            }
            return Poll::Pending;
        }
        let mut count = bytes.len().min(room);
        if count > 1 && self.rng.u8(0..8) == 0 {
            count = self.rng.usize(1..count);
        }
        let at = self.arrival(side, count);
        let (number, is_silent) = (self.number, self.is_silent);
        let Some(way) = self.ways.get_mut(side) else { return Poll::Ready(Ok(0)) };
        if way.is_unread && !is_silent {
            // Whoever is told so may not read any more what the other side has said at last.
            self.cut_short.fetch_add(1, Relaxed);
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        let wrong = self.watch.saw(side, bytes.get(..count).unwrap_or_default());
        if self.watch.is_sick {
            self.trace.note(format_args!("wire {}: poison", self.number));
            self.reset();
            return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
        }
        way.bytes += count;
        if !is_silent {
            way.last_at = Some(at);
            way.chunks.push_back((at, Bytes::copy_from_slice(bytes.get(..count).unwrap_or_default())));
            way.reader.take().into_iter().for_each(Waker::wake);
        }
        self.wrong = self.wrong.take().or(wrong.map(|wrong| format!("wire {number}.{side}: {wrong}")));
        self.trace.detail(format_args!("wire {number}.{side} {count} bytes"));
        Poll::Ready(Ok(count))
    }

    /// Reads what has arrived; otherwise returns when to look again, if that is known.
    fn read(&mut self, side: usize, waker: &Waker, buf: &mut ReadBuf<'_>) -> Result<bool, Option<Instant>> {
        if self.is_reset || self.is_over(side) {
            return Ok(false);
        }
        let now = Instant::now();
        let Some(way) = self.ways.get_mut(1 - side) else { return Ok(false) };
        let next_at = way.chunks.front().map(|(at, _)| *at).or(way.end_at);
        match (next_at.is_some_and(|at| at <= now), way.chunks.front_mut()) {
            (true, Some((_, chunk))) => {
                let count = chunk.len().min(buf.remaining());
                buf.put_slice(&chunk.split_to(count));
                if !chunk.has_remaining() {
                    way.chunks.pop_front();
                }
                way.bytes = way.bytes.saturating_sub(count);
                way.writer.take().into_iter().for_each(Waker::wake);
                Ok(true)
            }
            (true, None) => Ok(true),
            (false, _) => {
                way.reader = Some(waker.clone());
                Err(next_at)
            }
        }
    }
}

/// One end of a connection.
pub(super) struct SimulatedStream {
    wire: Arc<Mutex<Wire>>,
    side: usize,
    timer: Option<Pin<Box<Sleep>>>,
}

impl SimulatedStream {
    /// Returns both ends: the dialling one first.
    pub(super) fn pair(wire: &Arc<Mutex<Wire>>) -> (Self, Self) {
        let end = |side| Self { wire: wire.clone(), side, timer: None };
        (end(0), end(1))
    }
}

impl AsyncRead for SimulatedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let read = self.wire.lock().read(self.side, cx.waker(), buf);
            match read {
                Ok(true) => return Poll::Ready(Ok(())),
                Ok(false) => return Poll::Ready(Err(ErrorKind::ConnectionReset.into())),
                Err(None) => return Poll::Pending,
                Err(Some(at)) => {
                    let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
                    if timer.deadline() != at {
                        timer.as_mut().reset(at);
                    }
                    if timer.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

impl AsyncWrite for SimulatedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.wire.lock().poll_write(self.side, cx.waker(), bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut wire = self.wire.lock();
        if wire.is_over(self.side) {
            return Poll::Ready(Err(ErrorKind::NotConnected.into()));
        }
        wire.end(self.side);
        Poll::Ready(Ok(()))
    }
}

impl Drop for SimulatedStream {
    fn drop(&mut self) {
        self.wire.lock().close(self.side);
    }
}

impl fmt::Debug for SimulatedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedStream").field("side", &self.side).finish_non_exhaustive()
    }
}
