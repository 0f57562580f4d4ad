//! Where what is asked is looked up and done: the same for a hub that runs and for one that has stopped.

use std::path::Path;

use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use crosspoint_store::{State, Store};

use super::request::{Answer, Request};
use super::store_folder::StoreFolder;

/// How a request ends: a count of messages, or the answer that says why it is not done.
pub(super) type Ended = Result<u64, Answer>;

/// What can be asked. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    pub(super) store: Store,
    folder: StoreFolder,
    is_running: bool,
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

    async fn give(&self, answer: Answer) -> Result<(), Answer> {
        self.0.send(answer).await.map_err(|_| refused("nobody listens any more", "ask again"))
    }
}

impl Desk {
    /// Returns the desk of a hub that has stopped.
    pub(super) fn of_stopped(store: Store, folder: StoreFolder) -> Self {
        Self { store, folder, is_running: false }
    }

    /// Returns the desk of a hub that runs in this process.
    pub(crate) fn of_running(store: Store, data: &Path) -> Self {
        Self { store, folder: StoreFolder::of(data), is_running: true }
    }

    /// Answers a request; the last of the answers is its end.
    ///
    /// # Cancel safety
    /// Dropped before it is done, nobody knows what was done; nothing is half done.
    pub(super) async fn answer(&self, request: Request, answers: mpsc::Sender<Answer>) {
        let teller = Teller(answers);
        let ended = match request {
            Request::Status => self.status(&teller).await,
            _ => Err(refused("outboxes cannot be asked yet", "look with `crosspoint store status`")),
        };
        let last = ended.map_or_else(|failed| failed, Answer::Done);
        // A caller that has gone needs no end.
        teller.0.send(last).await.unwrap_or_default();
    }

    async fn status(&self, teller: &Teller) -> Ended {
        let folder = self.folder.clone();
        let sizes = tokio::task::spawn_blocking(move || folder.sizes()).await;
        let sizes = sizes.ok().and_then(Result::ok).unwrap_or_default();
        let mut row = waiting(&self.store);
        row.extend([
            ("store".to_owned(), json!(self.folder.path().display().to_string())),
            ("process".to_owned(), json!(self.is_running.then(std::process::id))),
            ("state".to_owned(), json!(state(&self.store))),
            ("bytes".to_owned(), json!(sizes.total_bytes())),
            ("segments".to_owned(), json!(sizes.segments)),
            ("segment_bytes".to_owned(), json!(sizes.segment_bytes)),
            ("checkpoint_bytes".to_owned(), json!(sizes.checkpoint_bytes)),
            ("reserve_bytes".to_owned(), json!(sizes.reserve_bytes)),
        ]);
        teller.row(Value::Object(row)).await?;
        Ok(1)
    }
}

/// Returns how many messages wait for whom: `docs/formats/records.md`, "Queues".
fn waiting(store: &Store) -> Map<String, Value> {
    let [mut sessions, mut outboxes, mut dead, mut archived] = [0_u64; 4];
    for queue in store.queues() {
        let waiting = store.queue_status(queue).map_or(0, |status| status.waiting);
        let kind = match queue % 8 {
            0 => &mut sessions,
            1 => &mut outboxes,
            3 => &mut dead,
            5 => &mut archived,
            _ => continue,
        };
        *kind += waiting;
    }
    let row = [("sessions", sessions), ("outboxes", outboxes), ("dead", dead), ("archived", archived)];
    row.into_iter().map(|(key, count)| (key.to_owned(), json!(count))).collect()
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
