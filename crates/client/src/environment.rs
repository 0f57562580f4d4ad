//! Where an engine gets its clock, its randomness and its byte streams from (C14).

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::SystemTime};

use crosspoint_net::{DialError, DialOptions, Subprotocol};
use crosspoint_protocol::{Now, Version};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

/// A future on the heap.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A byte stream, whatever carries it.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// Opens a byte stream to a server that will be spoken to in this version.
pub type Dial =
    Arc<dyn Fn(&DialOptions, Version) -> BoxFuture<Result<Box<dyn ByteStream>, DialFailure>> + Send + Sync>;

/// What a dial waits for first: its turn, or why it gets none now.
pub type Turn = Arc<dyn Fn() -> BoxFuture<Result<(), DialFailure>> + Send + Sync>;

/// Why a dial came to nothing: in plain words, and as the network said it where it was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what}")]
pub struct DialFailure {
    what: String,
    next_step: String,
    error: Option<Arc<DialError>>,
}

impl DialFailure {
    /// Makes a failure that is not the network's, of what went wrong and what to do next.
    pub fn new(what: impl Into<String>, next_step: impl Into<String>) -> Self {
        Self { what: what.into(), next_step: next_step.into(), error: None }
    }

    /// Returns what to do next.
    pub fn next_step(&self) -> &str {
        &self.next_step
    }

    /// Returns what the network said; `None` when it was not asked.
    pub fn error(&self) -> Option<&DialError> {
        self.error.as_deref()
    }
}

impl PartialEq for DialFailure {
    /// Compares what is said: it names the target, the stage and the fault.
    fn eq(&self, other: &Self) -> bool {
        (&self.what, &self.next_step) == (&other.what, &other.next_step)
    }
}

impl From<DialError> for DialFailure {
    fn from(error: DialError) -> Self {
        Self { what: error.to_string(), next_step: error.hint().to_owned(), error: Some(Arc::new(error)) }
    }
}

/// The clock, the randomness and the transport of an engine.
#[derive(Clone)]
pub struct Environment {
    pub(crate) clock: Arc<dyn Fn() -> Now + Send + Sync>,
    pub(crate) random: fastrand::Rng,
    pub(crate) dial: Dial,
}

impl Environment {
    /// Returns the real world: this machine's clocks and the network.
    pub fn real() -> Self {
        let start = Instant::now();
        let clock = move || Now {
            monotonic_ms: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
            wall_ms: SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)),
        };
        Self { clock: Arc::new(clock), random: fastrand::Rng::new(), dial: Arc::new(dial_network) }
    }

    /// Sets the clock. Its monotonic part must run like [`tokio::time`], on whose timers the engine sleeps.
    /// Default: the machine's.
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> Now + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Sets the seed of what is random: the waits between attempts, and a made-up client id. Default: a random one.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.random = fastrand::Rng::with_seed(seed);
        self
    }

    /// Sets how byte streams are opened. Default: [`crosspoint_net::dial`].
    #[must_use]
    pub fn dial(mut self, dial: Dial) -> Self {
        self.dial = dial;
        self
    }

    /// Lets every dial wait for its turn first, in whatever way dials are made by now. The wait is a part of the attempt, and
    /// so of its deadline.
    #[must_use]
    pub fn dial_in_turn(mut self, turn: Turn) -> Self {
        let dial = self.dial;
        self.dial = Arc::new(move |server, version| {
            let (turn, dial, server) = (turn(), Arc::clone(&dial), server.clone());
            Box::pin(async move {
                turn.await?;
                dial(&server, version).await
            })
        });
        self
    }
}

impl Default for Environment {
    fn default() -> Self {
        Self::real()
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}

fn dial_network(
    server: &DialOptions,
    version: Version,
) -> BoxFuture<Result<Box<dyn ByteStream>, DialFailure>> {
    let subprotocol = if version == Version::V3_1 { Subprotocol::MqttV31 } else { Subprotocol::Mqtt };
    let server = server.clone().ws_subprotocol(subprotocol);
    Box::pin(async move {
        let stream = crosspoint_net::dial(&server).await?;
        Ok(Box::new(stream) as Box<dyn ByteStream>)
    })
}
