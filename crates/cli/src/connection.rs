//! What happens to the connection while a command runs: what is said about it, and when it is given up.

use crosspoint_client::{Cause, Client, Pace, Protocol, Spoken, State};
use tokio::sync::watch;

use crate::failure::{Failure, Voice};

/// How often a server may close without an answer before it is given up: twice a version tells the client to step
/// down, so one pause for each version.
const SILENT_CLOSES_MAX: u32 = 3;

/// How often `pub` may lose its connection before its message is with the server.
const LOSSES_MAX: u32 = 3;

/// How long a command holds on to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// One attempt for each address, and a few for a connection that is lost.
    OneRound,
    /// One attempt for each address; once it was connected, for ever.
    OnceConnected,
}

/// Watches the connection of a client.
#[derive(Debug)]
pub(crate) struct Connection {
    client: Client,
    state: watch::Receiver<State>,
    patience: Patience,
    protocol: Protocol,
    voice: Voice,
    /// How often the client had been connected when its last failure was seen.
    connected: u64,
    silent_closes: u32,
    losses: u32,
}

impl Connection {
    pub(crate) fn new(client: &Client, patience: Patience, protocol: Protocol, voice: Voice) -> Self {
        Self {
            client: client.clone(),
            state: client.state(),
            patience,
            protocol,
            voice,
            connected: 0,
            silent_closes: 0,
            losses: 0,
        }
    }

    /// Returns when there is no hope left, and why.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn given_up(&mut self) -> Failure {
        // Each state is judged once, also when this is called anew for every message.
        while self.state.changed().await.is_ok() {
            let state = self.state.borrow_and_update().clone();
            if let Some(failure) = self.judge(&state) {
                return failure;
            }
        }
        // The engine is gone without a word, which only a fault of ours can bring about.
        Failure::new("the connection's task has ended", "report it, with what you did")
    }

    fn judge(&mut self, state: &State) -> Option<Failure> {
        match state {
            State::Connecting { server, version, .. } => {
                self.voice.debug(format_args!("connecting to {server} with MQTT {version}"));
                None
            }
            State::Connected(agreed) => {
                let (server, version, client_id) = (&agreed.server, agreed.version, &agreed.client_id);
                let line = format!("connected to {server} with MQTT {version} as {client_id:?}");
                if self.connected > 0 {
                    self.voice.warn(line)
                } else {
                    self.voice.debug(line)
                }
                None
            }
            State::Refused { cause, .. } => Some(failure(cause)),
            State::BackingOff { cause, .. } => self.on_failure(cause),
            _ => None,
        }
    }

    fn on_failure(&mut self, cause: &Cause) -> Option<Failure> {
        let connected = self.client.counters().connected;
        let is_lost = connected > self.connected;
        self.connected = connected;
        let is_hopeless = if is_lost {
            self.on_lost(cause)
        } else if connected > 0 && self.patience == Patience::OnceConnected {
            false
        } else {
            !self.may_be_the_version(cause)
        };
        if is_hopeless {
            return Some(if connected == 0 { first_failure(cause) } else { failure(cause) });
        }
        self.voice.warn(format_args!("{cause}; trying again"));
        None
    }

    /// Tells whether a lost connection is the last one.
    fn on_lost(&mut self, cause: &Cause) -> bool {
        self.losses += 1;
        self.patience == Patience::OneRound && (self.losses >= LOSSES_MAX || cause.pace() != Pace::Normal)
    }

    /// Tells whether another version may help, which the client tries by itself.
    fn may_be_the_version(&mut self, cause: &Cause) -> bool {
        self.silent_closes += 1;
        self.protocol == Protocol::Auto
            && *cause == Cause::ClosedWithoutConnAck
            && self.silent_closes <= SILENT_CLOSES_MAX
    }
}

/// A server that has never let us in and breaks the protocol speaks another one. What to do is said in flags, not in
/// URLs.
fn first_failure(cause: &Cause) -> Failure {
    match cause {
        Cause::OtherProtocol { spoken: Spoken::Tls } => Failure::new(
            cause,
            "add --cafile or --tls-use-os-certs to turn TLS on, or give another port with -p",
        ),
        Cause::OtherProtocol { spoken: Spoken::Http } => {
            Failure::new(cause, "give another port with -p, or add --ws if MQTT is behind it")
        }
        Cause::NotMqtt(_) => Failure::new(
            cause,
            "check the port; if it wants TLS add --cafile or --tls-use-os-certs, if WebSocket --ws",
        ),
        other => failure(other),
    }
}

fn failure(cause: &Cause) -> Failure {
    Failure::new(cause, cause.next_step())
}

/// Returns when the user or the system asks the process to end.
///
/// # Errors
/// The signals cannot be listened for.
pub(crate) fn interruption() -> Result<impl Future<Output = ()>, Failure> {
    let unusable = |error: std::io::Error| {
        Failure::new(format!("signals cannot be listened for: {error}"), "see the system's message")
    };
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).map_err(unusable)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(unusable)?;
        Ok(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
    }
    #[cfg(not(unix))]
    {
        let mut interrupt = tokio::signal::windows::ctrl_c().map_err(unusable)?;
        Ok(async move {
            interrupt.recv().await;
        })
    }
}

/// Returns after a time, or never.
pub(crate) async fn after(time: Option<std::time::Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// Runs a command on a runtime of its own, and does not wait for reads of stdin and writes to stdout that never end.
///
/// # Errors
/// The runtime cannot be made, or the command fails.
pub(crate) fn block_on<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        Failure::new(format!("the runtime cannot be started: {error}"), "see the system's message")
    })?;
    let result = runtime.block_on(command);
    runtime.shutdown_background();
    result
}
