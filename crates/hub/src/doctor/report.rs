//! What an examination found.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use super::{Found, Patient};
use crate::config::plan::Address;
use crate::diagnosis::{Diagnosis, Fault};

/// What a connection goes through, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Stage {
    /// Finding the address of the host.
    Name,
    /// Connecting to the port.
    Tcp,
    /// Letting the proxy connect to the broker; name and port before it are those of the proxy.
    Proxy,
    /// The TLS handshake.
    Tls,
    /// The WebSocket upgrade.
    WebSocket,
    /// CONNECT, and a ping.
    Connect,
    /// What the broker allows, beside what the connector asks for.
    Limits,
    /// SUBSCRIBE.
    Subscribe,
    /// PUBLISH.
    Publish,
    /// A message to ourselves.
    RoundTrip,
    /// A message to ourselves, as large as was asked for.
    Size,
    /// What should be live, and whether it is.
    Topics,
    /// Retained messages.
    Retained,
    /// Sessions that outlive their connection.
    Session,
    /// What the hub says that runs the connector.
    Hub,
}

impl Stage {
    /// Returns the word for programs, such as `round-trip`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Tcp => "tcp",
            Self::Proxy => "proxy",
            Self::Tls => "tls",
            Self::WebSocket => "websocket",
            Self::Connect => "connect",
            Self::Limits => "limits",
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
            Self::RoundTrip => "round-trip",
            Self::Size => "size",
            Self::Topics => "topics",
            Self::Retained => "retained",
            Self::Session => "session",
            Self::Hub => "hub",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// All is well.
    Passed,
    /// It works, and something is not as it should be.
    Warned,
    /// It does not work.
    Failed,
}

/// One step of an examination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What was tried.
    pub stage: Stage,
    /// How it ended.
    pub outcome: Outcome,
    /// What was seen, in plain words.
    pub seen: String,
    /// What is wrong.
    pub diagnoses: Vec<Diagnosis>,
    /// How long it took.
    pub took: Duration,
}

/// What was found at one address of a connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examination {
    /// The name of the connector.
    pub connector: String,
    /// The address, as a URL.
    pub address: String,
    /// What was tried, in its order, up to the first step that failed and made the next ones pointless.
    pub steps: Vec<Step>,
    /// What may make the verdict differ from what the connector would meet.
    pub notes: Vec<String>,
}

impl Examination {
    /// Returns how it ended: as its worst step.
    pub fn outcome(&self) -> Outcome {
        self.steps.iter().map(|step| step.outcome).max().unwrap_or(Outcome::Passed)
    }

    /// Returns the diagnosis that matters most: the first of a step that failed, else the first of all.
    pub fn conclusion(&self) -> Option<&Diagnosis> {
        let failed = self.steps.iter().filter(|step| step.outcome == Outcome::Failed);
        failed.chain(&self.steps).find_map(|step| step.diagnoses.first())
    }

    /// Returns every diagnosis, in the order of the steps.
    pub fn diagnoses(&self) -> impl Iterator<Item = &Diagnosis> {
        self.steps.iter().flat_map(|step| &step.diagnoses)
    }
}

/// Where steps are written down as they happen.
pub(super) struct Chart<'a> {
    steps: Vec<Step>,
    notes: Vec<String>,
    started: Instant,
    told: &'a mut dyn FnMut(&Step),
}

impl<'a> Chart<'a> {
    pub(super) fn new(told: &'a mut dyn FnMut(&Step)) -> Self {
        Self { steps: Vec::new(), notes: Vec::new(), started: Instant::now(), told }
    }

    /// Writes down how a stage ended, and tells whether it passed.
    pub(super) fn found(&mut self, stage: Stage, found: Found) -> bool {
        match found {
            Ok(seen) => {
                self.add(stage, Outcome::Passed, seen, Vec::new());
                true
            }
            Err(diagnosis) => {
                self.add(stage, Outcome::Failed, diagnosis.cause.clone(), vec![diagnosis]);
                false
            }
        }
    }

    /// Writes down a stage that works, with what is not as it should be.
    pub(super) fn warned(&mut self, stage: Stage, seen: String, diagnoses: Vec<Diagnosis>) {
        let outcome = if diagnoses.is_empty() { Outcome::Passed } else { Outcome::Warned };
        self.add(stage, outcome, seen, diagnoses);
    }

    /// Writes down what somebody else says of the connector.
    pub(super) fn said(&mut self, stage: Stage, outcome: Outcome, seen: String, trouble: Option<Diagnosis>) {
        self.add(stage, outcome, seen, trouble.into_iter().collect());
    }

    /// Tells whether a step has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.steps.iter().any(|step| step.outcome == Outcome::Failed)
    }

    /// Tells whether a fault has been found.
    pub(super) fn knows(&self, fault: Fault) -> bool {
        self.steps.iter().flat_map(|step| &step.diagnoses).any(|diagnosis| diagnosis.fault == fault)
    }

    /// Writes down what may make the verdict differ; once, however often it is said.
    pub(super) fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    pub(super) fn finish(self, patient: &Patient, address: &Address) -> Examination {
        Examination {
            connector: patient.name.clone(),
            address: address.to_string(),
            steps: self.steps,
            notes: self.notes,
        }
    }

    #[cfg(test)]
    pub(super) fn into_parts(self) -> (Vec<Step>, Vec<String>) {
        (self.steps, self.notes)
    }

    fn add(&mut self, stage: Stage, outcome: Outcome, seen: String, diagnoses: Vec<Diagnosis>) {
        let now = Instant::now();
        let step = Step { stage, outcome, seen, diagnoses, took: now - self.started };
        self.started = now;
        (self.told)(&step);
        self.steps.push(step);
    }
}
