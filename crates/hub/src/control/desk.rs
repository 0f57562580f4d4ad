//! Where what is asked is looked up and done: the same for a hub that runs and for one that has stopped.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crosspoint_protocol::Now;
use crosspoint_store::{Error, State, Store};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::board::Board;
use super::gauge::{Gauge, WaitingFigures};
use super::outboxes::Part;
use super::request::{Answer, Confirmed, Kept, Request};
use super::store_folder::StoreFolder;
use crate::actions::Actions;
use crate::durable;
use crate::environment::Clock;
use crate::environment::Environment;
use crate::intake::Sink;
use crate::kept::KeptSubscriptions;
use crate::outbox::{self, Outbox, OutboxOptions};

/// How many may listen for as long as they like, at the same time.
const LISTENERS_MAX: usize = 32;

/// How a request ends: a count of messages, or the answer that says why it is not done.
pub(super) type Ended = Result<u64, Answer>;

/// What can be asked. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    pub(super) store: Store,
    folder: StoreFolder,
    is_running: bool,
    /// Those that a pump may be at work on; what waits in others is only in the store.
    at_work: Arc<Mutex<BTreeMap<Arc<str>, Sink>>>,
    /// What runs; empty when nothing does.
    board: Arc<Mutex<Board>>,
    environment: Environment,
    /// Those of a hub that runs.
    kept: Option<Arc<KeptSubscriptions>>,
    /// How many more may listen for as long as they like.
    listening: Arc<Semaphore>,
}

/// A connector that is asked about.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) number: u64,
    pub(super) outbox: Outbox,
    /// Where its outbox is.
    pub(super) store: Store,
    /// Whether that is on disk.
    pub(super) is_durable: bool,
}

impl Asked {
    /// Returns the positions between which what waits in a queue stands.
    pub(super) fn ends(&self, queue: u64) -> Range<u64> {
        self.store.queue_status(queue).map_or(0..0, |status| status.head..status.next)
    }
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
        Self::new(store, folder, false)
    }

    /// Returns the desk of a hub that runs in this process. It knows no outbox yet.
    pub(crate) fn of_running(store: Store, data: &Path) -> Self {
        Self::new(store, StoreFolder::of(data), true)
    }

    /// Acts in an environment of the caller's own.
    pub(crate) fn in_environment(self, environment: Environment) -> Self {
        Self { environment, ..self }
    }

    /// Knows the kept subscriptions of a hub that runs.
    pub(crate) fn with_kept(self, kept: Arc<KeptSubscriptions>) -> Self {
        Self { kept: Some(kept), ..self }
    }

    fn new(store: Store, folder: StoreFolder, is_running: bool) -> Self {
        Self {
            store,
            folder,
            is_running,
            at_work: Arc::default(),
            board: Arc::default(),
            environment: Environment::real(),
            kept: None,
            listening: Arc::new(Semaphore::new(LISTENERS_MAX)),
        }
    }

    /// Returns what acts on what runs.
    pub(crate) fn actions(&self) -> Actions {
        Actions::new(self.board.clone(), self.environment.clone(), self.kept.clone())
    }

    /// Returns what the clock shows.
    pub(super) fn now(&self) -> Now {
        (self.environment.now())()
    }

    /// Lets one more listen for as long as he likes.
    pub(super) fn may_listen(&self) -> Option<OwnedSemaphorePermit> {
        self.listening.clone().try_acquire_owned().ok()
    }

    /// Replaces the outboxes that are at work.
    pub(crate) fn set_sinks(&self, sinks: BTreeMap<Arc<str>, Sink>) {
        *self.at_work.lock() = sinks;
    }

    /// Replaces what is shown of what runs.
    pub(crate) fn post(&self, board: Board) {
        *self.board.lock() = board;
    }

    /// Returns what runs.
    pub(super) fn board(&self) -> Board {
        self.board.lock().clone()
    }

    /// Returns what tells how much waits.
    pub(crate) fn gauge(&self) -> Gauge {
        Gauge::new(self.store.clone())
    }

    /// Answers a request; the last of the answers is its end. Whoever [reads](Request::Read) says with `confirmed` what he
    /// has.
    ///
    /// # Cancel safety
    /// Dropped before it is done, nobody knows what was done; nothing is half done.
    pub(super) async fn answer(
        &self,
        request: Request,
        answers: mpsc::Sender<Answer>,
        confirmed: mpsc::Receiver<Confirmed>,
    ) {
        let teller = Teller(answers);
        let ended = match request {
            Request::Status => self.status(&teller).await,
            Request::Overview => self.overview(&teller).await,
            Request::List(Kept::Outbox) => self.list_outboxes(&teller).await,
            Request::List(Kept::Dead) => self.list_dead(&teller).await,
            Request::Show { of, name, from, count, payload_bytes } => {
                let part = Part { from, count, payload_bytes };
                match of {
                    Kept::Outbox | Kept::Archive => self.show_outbox(&teller, &name, of, part).await,
                    Kept::Dead => self.show_dead(&teller, &name, part).await,
                }
            }
            Request::Retry { of: Kept::Outbox, name, .. } => self.retry_outbox(&name).await,
            Request::Retry { of: Kept::Dead, name, which } => self.retry_dead(&teller, &name, &which).await,
            Request::Drop { of: Kept::Outbox, name, which } => self.drop_outbox(&teller, &name, &which).await,
            Request::Drop { of: Kept::Dead, name, which } => self.drop_dead(&teller, &name, &which).await,
            Request::List(Kept::Archive)
            | Request::Retry { of: Kept::Archive, .. }
            | Request::Drop { of: Kept::Archive, .. } => Err(refused(
                "what was sent can be shown and nothing else",
                "show or export it with `crosspoint outbox show NAME --sent`",
            )),
            Request::Edit { name, position, edit } => self.edit_dead(&teller, &name, position, &edit).await,
            Request::Publish { name, message } => self.publish(&name, &message).await,
            Request::PublishNow { name, messages, within } => {
                self.publish_now(&teller, name, messages, within).await
            }
            Request::Subscribe { name, filters, user_properties, within } => {
                self.subscribe(&teller, name, filters, user_properties, within).await
            }
            Request::Ask { name, message, response_topic, within } => {
                self.ask(&teller, name, &message, response_topic, within).await
            }
            Request::Keep { subscription, within } => self.keep(&teller, subscription, within).await,
            Request::KeptSubscriptions => self.list_kept(&teller).await,
            Request::RemoveKept { name, what_waits } => self.remove_kept(&name, what_waits).await,
            Request::Read { name } => self.read(&teller, &name, confirmed).await,
        };
        let last = ended.map_or_else(|failed| failed, Answer::Done);
        // A caller that has gone needs no end.
        teller.0.send(last).await.unwrap_or_default();
    }

    // --- connectors ---

    /// Returns every connector that has ever run on this store.
    pub(super) async fn connectors(&self) -> Result<Vec<(String, Asked)>, Answer> {
        let mut connectors = Vec::new();
        for (name, number) in self.numbers()? {
            let asked = self.asked(&name, number).await?;
            connectors.push((name, asked));
        }
        Ok(connectors)
    }

    /// Returns the connector with this name.
    pub(super) async fn named(&self, name: &str) -> Result<Asked, Answer> {
        let numbers = self.numbers()?;
        if let Some(number) = numbers.get(name) {
            return self.asked(name, *number).await;
        }
        let known: Vec<&str> = numbers.keys().map(String::as_str).collect();
        let mend = match &known[..] {
            [] => "start the hub once, so that it gets to know its connectors".to_owned(),
            known => format!("name one that it knows: {}", known.join(", ")),
        };
        Err(Answer::NotThere { cause: format!("the hub knows no connector {name}"), mend })
    }

    fn numbers(&self) -> Result<BTreeMap<String, u64>, Answer> {
        durable::numbers(&self.store).map_err(newer)
    }

    /// Returns the outbox of a connector: the one at work, or as the store has kept it.
    async fn asked(&self, name: &str, number: u64) -> Result<Asked, Answer> {
        let at_work = self.at_work.lock().get(name).cloned();
        let (store, is_durable) = match at_work.as_ref().and_then(|sink| sink.memory.clone()) {
            Some(memory) => (memory, false),
            None => (self.store.clone(), true),
        };
        let outbox = match at_work {
            Some(sink) => sink.outbox,
            None => {
                let (connector, policy, clock) = (name.into(), Arc::default(), Arc::new(now));
                let options = OutboxOptions { number, connector, policy, clock };
                outbox::open(store.clone(), options).await.map_err(newer)?.0
            }
        };
        Ok(Asked { number, outbox, store, is_durable })
    }

    /// Tells whether anything is sent.
    pub(super) const fn is_running(&self) -> bool {
        self.is_running
    }

    /// Returns the clock of whatever is looked at.
    pub(super) fn clock(&self) -> Clock {
        if self.is_running { self.environment.now() } else { Arc::new(now) }
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
            ("kept".to_owned(), json!(waiting.kept)),
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

fn newer(cause: String) -> Answer {
    refused(cause, "use the `crosspoint` that wrote it")
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
