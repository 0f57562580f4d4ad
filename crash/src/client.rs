//! What publishers and subscribers share: how they come by a connection, and how they give up.

use std::time::{Duration, Instant};

use crate::books::Books;
use crate::connection::{Connection, Ended};
use crate::progress::Phase;
use crate::wire::{Connect, Packet, Version, Will};
use crate::{Failure, Outcome};

/// How long the whole round may stand still before it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How long CONNACK is waited for on one connection.
const CONNACK_MAX: Duration = Duration::from_secs(5);

/// How long a client waits before it tries to connect again.
const RETRY: Duration = Duration::from_millis(4);

/// Why a client's work on a connection ended.
#[derive(Debug)]
pub(crate) enum Halt {
    /// The connection is over; the next one may work.
    Ended(String),
    /// The phase is over, because another client failed.
    Over,
    /// A promise is broken in a way that leaves nothing to go on with, or nothing happens any more.
    Failed(Failure),
}

impl From<Ended> for Halt {
    fn from(ended: Ended) -> Self {
        Self::Ended(ended.0)
    }
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Halt {
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self::Failed(text.into().into())
    }
}

/// What the broker says about the session of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Session {
    /// It is new, and so it should be.
    New,
    /// It is there.
    Resumed,
    /// It was acknowledged and is gone.
    Forgotten,
}

/// A connection that the broker has accepted.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) connection: Connection,
    pub(crate) session: Session,
    /// How many messages at QoS 1 and 2 the broker takes at once.
    pub(crate) receive_max: u16,
}

/// Who a client is, and what the broker has promised about its session.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) version: Version,
    pub(crate) is_clean: bool,
    /// Asked of the broker (MQTT 5).
    pub(crate) receive_max: Option<u16>,
    pub(crate) will: Option<Will>,
    /// Whether a CONNACK for a lasting session was read.
    pub(crate) has_session: bool,
}

impl Client {
    /// Describes a client with a lasting session.
    pub(crate) fn lasting(name: String, port: u16, version: Version) -> Self {
        Self { name, port, version, is_clean: false, receive_max: None, will: None, has_session: false }
    }

    /// Describes a client whose session ends with its connection.
    pub(crate) fn clean(name: String, port: u16) -> Self {
        Self { is_clean: true, ..Self::lasting(name, port, Version::V5) }
    }

    /// Connects, trying again until the broker is there.
    pub(crate) fn connect(&mut self, books: &Books, phase: &Phase) -> Result<Connected, Halt> {
        loop {
            match self.try_connect(books, phase) {
                Err(Halt::Ended(reason)) => self.go_on(books, phase, &reason)?,
                other => return other,
            }
            if !phase.may_connect() {
                return Err(Halt::Over);
            }
            std::thread::sleep(RETRY);
        }
    }

    fn try_connect(&mut self, books: &Books, phase: &Phase) -> Result<Connected, Halt> {
        let wanted = Connect {
            client_id: &self.name,
            is_clean: self.is_clean,
            receive_max: self.receive_max,
            will: self.will.as_ref(),
        };
        let mut connection = Connection::open(self.port, self.version, &wanted)?;
        let begun = Instant::now();
        loop {
            self.go_on(books, phase, "no CONNACK")?;
            match connection.next()? {
                Some(Packet::Connected { has_session, code: 0, receive_max }) => {
                    books.progress.touch();
                    let session = self.on_connected(has_session, books);
                    return Ok(Connected { connection, session, receive_max });
                }
                Some(other) => return Err(Halt::Ended(format!("CONNECT was answered with {other:?}"))),
                None if begun.elapsed() > CONNACK_MAX => {
                    return Err(Halt::Ended("CONNECT was not answered".to_owned()));
                }
                None => {}
            }
        }
    }

    fn on_connected(&mut self, has_session: bool, books: &Books) -> Session {
        let was_promised = std::mem::replace(&mut self.has_session, !self.is_clean);
        match (was_promised, has_session) {
            (_, true) => Session::Resumed,
            (false, false) => Session::New,
            (true, false) => {
                books.forgotten_session(&self.name);
                Session::Forgotten
            }
        }
    }

    /// Fails when the phase is over or nothing has happened for too long, of which `reason` may be the cause.
    pub(crate) fn go_on(&self, books: &Books, phase: &Phase, reason: &str) -> Result<(), Halt> {
        if phase.is_over() {
            return Err(Halt::Over);
        }
        if books.progress.idle() > PATIENCE {
            let seconds = PATIENCE.as_secs();
            return Err(Halt::failed(format!(
                "nothing happened for {seconds} s, seen by {}: {reason}",
                self.name
            )));
        }
        Ok(())
    }
}

/// Repeats a client's work on one connection after another until it is done.
pub(crate) fn until_done(mut live: impl FnMut() -> Result<(), Halt>) -> Outcome {
    loop {
        match live() {
            Ok(()) | Err(Halt::Over) => return Ok(()),
            Err(Halt::Ended(_)) => {}
            Err(Halt::Failed(failure)) => return Err(failure),
        }
    }
}
