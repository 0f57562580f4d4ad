//! How a command ends: an exit code, and on failure one cause and one next step on stderr.

use std::{fmt::Display, io::Write, process::ExitCode};

use crate::logging;

/// What `--help` says about exit codes.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0   done
  1   refused by the broker, or failed
  2   wrong usage; nothing was sent
  27  the time of -W is over";

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// What was asked for is done.
    Done,
    /// The broker refused, or something else failed.
    Failed,
    /// The command line is wrong; nothing was sent.
    Usage,
    /// What is kept on disk is damaged.
    Damaged,
    /// The time that the user gave is over; the code is that of `mosquitto_sub`.
    TimedOut,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Damaged => 3,
            Exit::TimedOut => 27,
        })
    }
}

/// Why a command failed: one cause, one next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    cause: String,
    next_step: String,
}

impl Failure {
    /// Returns a failure of the network, the broker or this machine.
    pub(crate) fn new(cause: impl Display, next_step: impl Display) -> Self {
        Self { exit: Exit::Failed, cause: cause.to_string(), next_step: next_step.to_string() }
    }

    /// Returns a fault of the command line.
    pub(crate) fn usage(cause: impl Display, next_step: impl Display) -> Self {
        Self { exit: Exit::Usage, ..Self::new(cause, next_step) }
    }

    /// Returns what happens when something on disk is not what it must be.
    pub(crate) fn damaged(cause: impl Display, next_step: impl Display) -> Self {
        Self { exit: Exit::Damaged, ..Self::new(cause, next_step) }
    }

    pub(crate) fn cause(&self) -> &str {
        &self.cause
    }

    pub(crate) fn next_step(&self) -> &str {
        &self.next_step
    }

    /// Returns what happens when the time of `-W` is over.
    pub(crate) fn timed_out(cause: impl Display, next_step: impl Display) -> Self {
        Self { exit: Exit::TimedOut, ..Self::new(cause, next_step) }
    }
}

/// What a command says on stderr while it runs and when it fails.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Voice {
    verbosity: Verbosity,
    is_coloured: bool,
}

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verbosity {
    /// Nothing but faults of the command line.
    Quiet,
    /// Failures and warnings.
    Normal,
    /// What happens with the connection as well.
    Debug,
}

impl Voice {
    pub(crate) fn new(verbosity: Verbosity) -> Self {
        Self { verbosity, is_coloured: logging::is_coloured(&std::io::stderr()) }
    }

    /// Says why the command failed.
    pub(crate) fn fail(&self, failure: &Failure) {
        if self.verbosity > Verbosity::Quiet || failure.exit == Exit::Usage {
            self.say("error", "31", &failure.cause);
            self.say(" next", "36", &failure.next_step);
        }
    }

    /// Says what went wrong while the command goes on.
    pub(crate) fn warn(&self, what: impl Display) {
        if self.verbosity > Verbosity::Quiet {
            self.say("warning", "33", what);
        }
    }

    /// Says what was done.
    pub(crate) fn note(&self, what: impl Display) {
        if self.verbosity > Verbosity::Quiet {
            self.say("done", "32", what);
        }
    }

    /// Says what happens, to who asked for it with `-d`.
    pub(crate) fn debug(&self, what: impl Display) {
        if self.verbosity == Verbosity::Debug {
            self.say("debug", "2", what);
        }
    }

    fn say(&self, label: &str, colour: &str, what: impl Display) {
        let line = match self.is_coloured {
            true => format!("\x1b[{colour}m{label}:\x1b[0m {what}\n"),
            false => format!("{label}: {what}\n"),
        };
        // Without a stderr there is nobody left to tell.
        drop(std::io::stderr().lock().write_all(line.as_bytes()));
    }
}
