//! Where what is asked is looked up and done: the same for a hub that runs and for one that has stopped.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use crosspoint_protocol::Now;
use crosspoint_store::{Error, State, Store};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::gauge::WaitingFigures;
use super::outboxes::Part;
use super::request::{Answer, Kept, Request};
use super::store_folder::StoreFolder;
use crate::outbox::durable::{self as outbox, Outbox, OutboxOptions};

/// The table of connectors: `docs/formats/records.md`.
const CONNECTOR_TABLE: u32 = 16;

/// The form of its values.
const CONNECTOR_FORM: u8 = 1;

/// How a request ends: a count of messages, or the answer that says why it is not done.
pub(super) type Ended = Result<u64, Answer>;

/// What can be asked. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    pub(super) store: Store,
    folder: StoreFolder,
    is_running: bool,
    /// Those that a pump may be at work on; what waits in others is only in the store.
    outboxes: Arc<Mutex<BTreeMap<Arc<str>, Outbox>>>,
}

/// Where the parts of an answer go. A caller that has gone is an end like any other.
#[derive(Debug)]
pub(super) struct Teller(mpsc::Sender<Answer>);

impl Teller {
    /// Gives a part of the answer.
    pub(super) async fn row(&self, row: Value) -> Result<(), Answer> {
        match row {
            Value::Object(row) => self.give(Answer::Row(row)).await,
            _ => Ok(()),
        }
    }

    /// Says how far it is.
    pub(super) async fn progress(&self, part: u64, whole: u64) -> Result<(), Answer> {
        self.give(Answer::Progress(part, whole)).await
    }

    async fn give(&self, answer: Answer) -> Result<(), Answer> {
        self.0.send(answer).await.map_err(|_| refused("nobody listens any more", "ask again"))
    }
}

impl Desk {
    /// Returns the desk of a hub that has stopped.
    pub(super) fn of_stopped(store: Store, folder: StoreFolder) -> Self {
        Self { store, folder, is_running: false, outboxes: Arc::default() }
    }

    /// Returns the desk of a hub that runs in this process. It knows no outbox yet.
    pub(crate) fn of_running(store: Store, data: &Path) -> Self {
        Self { store, folder: StoreFolder::of(data), is_running: true, outboxes: Arc::default() }
    }

    /// Replaces the outboxes that are at work.
    pub(crate) fn set_outboxes(&self, outboxes: BTreeMap<Arc<str>, Outbox>) {
        *self.outboxes.lock() = outboxes;
    }

    /// Answers a request; the last of the answers is its end.
    ///
    /// # Cancel safety
    /// Dropped before it is done, nobody knows what was done; nothing is half done.
    pub(super) async fn answer(&self, request: Request, answers: mpsc::Sender<Answer>) {
        let teller = Teller(answers);
        let ended = match request {
            Request::Status => self.status(&teller).await,
            Request::List(Kept::Outbox) => self.list_outboxes(&teller).await,
            Request::List(Kept::Dead) => self.list_dead(&teller).await,
            Request::Show { of, name, from, count, payload_bytes } => {
                let part = Part { from, count, payload_bytes };
                match of {
                    Kept::Outbox => self.show_outbox(&teller, &name, part).await,
                    Kept::Dead => self.show_dead(&teller, &name, part).await,
                }
            }
            Request::Retry { of: Kept::Outbox, name, .. } => self.retry_outbox(&name).await,
            Request::Retry { of: Kept::Dead, name, which } => self.retry_dead(&teller, &name, &which).await,
            Request::Drop { of: Kept::Outbox, name, which } => self.drop_outbox(&teller, &name, &which).await,
            Request::Drop { of: Kept::Dead, name, which } => self.drop_dead(&teller, &name, &which).await,
            Request::Edit { name, position, edit } => self.edit_dead(&teller, &name, position, &edit).await,
            Request::Publish { name, message } => self.publish(&name, &message).await,
        };
        let last = ended.map_or_else(|failed| failed, Answer::Done);
        // A caller that has gone needs no end.
        teller.0.send(last).await.unwrap_or_default();
    }

    // --- connectors ---

    /// Returns every connector that has ever run on this store, with its number.
    pub(super) fn connectors(&self) -> Result<Vec<(String, u64)>, Answer> {
        let rows = self.store.scan(CONNECTOR_TABLE, None, usize::MAX);
        let connector = |(key, value): (Bytes, Bytes)| {
            let number = value.strip_prefix(&[CONNECTOR_FORM])?.first_chunk()?;
            Some((String::from_utf8_lossy(&key).into_owned(), u64::from_le_bytes(*number)))
        };
        rows.into_iter().map(connector).collect::<Option<_>>().ok_or_else(|| {
            refused("the store was written by a newer version", "use the `crosspoint` that wrote it")
        })
    }

    /// Returns the number of a connector.
    fn number(&self, name: &str) -> Result<u64, Answer> {
        let connectors = self.connectors()?;
        if let Some((_, number)) = connectors.iter().find(|(known, _)| known == name) {
            return Ok(*number);
        }
        let known: Vec<&str> = connectors.iter().map(|(name, _)| name.as_str()).collect();
        let mend = match &known[..] {
            [] => "start the hub once, so that it gets to know its connectors".to_owned(),
            known => format!("name one that it knows: {}", known.join(", ")),
        };
        Err(Answer::NotThere { cause: format!("the hub knows no connector {name}"), mend })
    }

    /// Returns the outbox of a connector: the one at work, or as the store has kept it.
    pub(super) async fn outbox(&self, name: &str, number: u64) -> Result<Outbox, Answer> {
        let at_work = self.outboxes.lock().get(name).cloned();
        if let Some(outbox) = at_work {
            return Ok(outbox);
        }
        let options =
            OutboxOptions { number, connector: name.into(), policy: Arc::default(), clock: Arc::new(now) };
        let opened = outbox::open(self.store.clone(), options).await;
        let unreadable = |cause| refused(cause, "use the `crosspoint` that wrote it");
        opened.map(|(outbox, _)| outbox).map_err(unreadable)
    }

    /// Returns the connector with this name: its number and its outbox.
    pub(super) async fn named(&self, name: &str) -> Result<(u64, Outbox), Answer> {
        let number = self.number(name)?;
        self.outbox(name, number).await.map(|outbox| (number, outbox))
    }

    /// Returns the positions between which what waits in a queue stands.
    pub(super) fn ends(&self, queue: u64) -> Range<u64> {
        self.store.queue_status(queue).map_or(0..0, |status| status.head..status.next)
    }

    /// Tells whether anything is sent.
    pub(super) const fn is_running(&self) -> bool {
        self.is_running
    }

    async fn status(&self, teller: &Teller) -> Ended {
        let folder = self.folder.clone();
        let sizes = tokio::task::spawn_blocking(move || folder.sizes()).await;
        let sizes = sizes.ok().and_then(Result::ok).unwrap_or_default();
        let waiting = WaitingFigures::of(&self.store);
        let row = [
            ("store".to_owned(), json!(self.folder.path().display().to_string())),
            ("process".to_owned(), json!(self.is_running.then(std::process::id))),
            ("state".to_owned(), json!(state(&self.store))),
            ("bytes".to_owned(), json!(sizes.total_bytes())),
            ("segments".to_owned(), json!(sizes.segments)),
            ("segment_bytes".to_owned(), json!(sizes.segment_bytes)),
            ("checkpoint_bytes".to_owned(), json!(sizes.checkpoint_bytes)),
            ("reserve_bytes".to_owned(), json!(sizes.reserve_bytes)),
            ("sessions".to_owned(), json!(waiting.sessions)),
            ("outboxes".to_owned(), json!(waiting.outboxes)),
            ("dead".to_owned(), json!(waiting.dead)),
            ("archived".to_owned(), json!(waiting.archived)),
        ];
        teller.row(Value::Object(row.into_iter().collect())).await?;
        Ok(1)
    }
}

/// Returns what the clock of this machine shows, for an outbox at which nothing is at work.
pub(super) fn now() -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { monotonic_ms: 0, wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX) }
}

fn state(store: &Store) -> String {
    match store.state() {
        State::Open => "open".to_owned(),
        State::Full => "full".to_owned(),
        State::Poisoned(error) => format!("out of order: {error}"),
        _ => "unknown".to_owned(),
    }
}

/// Returns the end of what cannot be done.
pub(super) fn refused(cause: impl Into<String>, mend: impl Into<String>) -> Answer {
    Answer::Failed { cause: cause.into(), mend: mend.into() }
}

/// Returns the end of what the store did not take.
pub(super) fn failed(error: &Error) -> Answer {
    match error {
        Error::Full => refused("the disk is full", "free some space on the disk of the store"),
        other => refused(other.to_string(), "see the log of the hub, and whether the disk is well"),
    }
}
