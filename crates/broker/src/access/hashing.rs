//! Checks password hashes on a few threads of its own.
//!
//! A hash takes tens of milliseconds of a CPU by design. It never runs on the thread of a connection; at most
//! `threads` run at once; those who wait stand in a bounded [`Line`]; and what was found right is remembered for a
//! while, so that a fleet that reconnects is not hashed again.

use std::fmt;
use std::net::IpAddr;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crosspoint_protocol::scram::{self, Iterations, Keys};
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::cache::Cache;
use super::keyed::Tag;
use super::line::{Line, LineFull, LineLimits, Place};
use super::login::Refusal;
use super::password::Hash;
use super::scrammed::SALT_BYTES;
use super::secret::Secret;

/// How many passwords may be hashed at once, may wait, and are remembered.
#[derive(Clone, Debug)]
pub struct HashingOptions {
    threads: usize,
    waiting_max: usize,
    waiting_per_address_max: usize,
    waiting_per_name_max: usize,
    remembered_max: usize,
    remembered_for: Duration,
}

impl Default for HashingOptions {
    fn default() -> Self {
        Self {
            threads: 2,
            waiting_max: 1024,
            waiting_per_address_max: 256,
            waiting_per_name_max: 64,
            remembered_max: 10_000,
            remembered_for: Duration::from_secs(300),
        }
    }
}

impl HashingOptions {
    /// Sets how many passwords are hashed at once, at least 1; default 2. Each takes one CPU and the memory that its
    /// hash asks for, 19 MiB as a rule. The threads start when the first password is to be hashed.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// Sets how many logins may wait for a thread; default 1,024, of at most 5 KiB each. More are refused as busy.
    pub fn waiting_max(mut self, waiting_max: usize) -> Self {
        self.waiting_max = waiting_max;
        self
    }

    /// Sets how many of them may come from one IPv4 address or IPv6 network of 64 bits; default 256.
    pub fn waiting_per_address_max(mut self, waiting_per_address_max: usize) -> Self {
        self.waiting_per_address_max = waiting_per_address_max;
        self
    }

    /// Sets how many of those may give one user name; default 64.
    pub fn waiting_per_name_max(mut self, waiting_per_name_max: usize) -> Self {
        self.waiting_per_name_max = waiting_per_name_max;
        self
    }

    /// Sets how many right passwords are remembered, under a keyed hash; default 10,000, of about 150 bytes each.
    pub fn remembered_max(mut self, remembered_max: usize) -> Self {
        self.remembered_max = remembered_max;
        self
    }

    /// Sets how long a right password is remembered; default 5 minutes. 0 remembers nothing.
    pub fn remembered_for(mut self, remembered_for: Duration) -> Self {
        self.remembered_for = remembered_for;
        self
    }

    fn line_limits(&self) -> LineLimits {
        LineLimits {
            waiting_max: self.waiting_max,
            per_address_max: self.waiting_per_address_max,
            per_name_max: self.waiting_per_name_max,
        }
    }
}

/// What password hashing does, counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HashingCounts {
    /// Logins that wait at this moment.
    pub waiting: usize,
    /// Passwords that were hashed.
    pub hashed: u64,
    /// Logins that were let in from memory, without a hash.
    pub remembered: u64,
    /// Logins that were refused because too many waited.
    pub refused: u64,
}

/// One password to be checked.
pub(super) struct Check<'a> {
    pub(super) hash: &'a Arc<Hash>,
    pub(super) password: &'a [u8],
    pub(super) tag: Tag,
    pub(super) remembering: Remembering,
    pub(super) address: Option<IpAddr>,
    pub(super) name_id: u64,
}

/// Whether a right answer may be remembered: not if the password stands in for that of a user who does not exist.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Remembering {
    Yes,
    No,
}

/// The function that hashes; tests put a slow or counting one in.
pub(super) type Verify = dyn Fn(&Hash, &[u8]) -> bool + Send + Sync;

/// The threads and what they share. Dropping it lets each thread end the hash it is at, and joins it.
pub(super) struct Hashing {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    options: HashingOptions,
    verify: Box<Verify>,
    // Both locks are leaves: never held together, and never while hashing.
    line: Mutex<OpenLine>,
    cache: Mutex<Cache>,
    arrived: Condvar,
    hashed: AtomicU64,
    remembered: AtomicU64,
    refused: AtomicU64,
}

struct OpenLine {
    line: Line<Job>,
    is_closed: bool,
}

/// Keys of SCRAM to be derived from a password.
pub(super) struct Derivation {
    pub(super) password: Arc<scram::Password>,
    pub(super) salt: [u8; SALT_BYTES],
    pub(super) iterations: Iterations,
}

enum Job {
    Check(CheckJob, oneshot::Sender<bool>),
    Derive(Derivation, oneshot::Sender<Keys>),
}

struct CheckJob {
    hash: Arc<Hash>,
    password: Secret,
    /// Under which a right answer is remembered.
    tag: Option<Tag>,
    since: Instant,
}

impl Hashing {
    pub(super) fn new(options: HashingOptions, verify: Box<Verify>) -> Self {
        let shared = Shared {
            verify,
            line: Mutex::new(OpenLine { line: Line::new(options.line_limits()), is_closed: false }),
            cache: Mutex::new(Cache::new(options.remembered_max, options.remembered_for)),
            arrived: Condvar::new(),
            hashed: AtomicU64::new(0),
            remembered: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            options,
        };
        Self { shared: Arc::new(shared), threads: Mutex::new(Vec::new()) }
    }

    /// Tells whether a password is right, from memory or by hashing it.
    ///
    /// # Errors
    /// [`Refusal::Busy`] if too many wait.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the line; a hash that has begun goes on for nobody.
    pub(super) async fn is_right(&self, check: Check<'_>) -> Result<bool, Refusal> {
        let now = Instant::now();
        if check.remembering == Remembering::Yes && self.shared.is_remembered(&check.tag, now) {
            return Ok(true);
        }
        let (answer, receiver) = oneshot::channel();
        let job = CheckJob {
            hash: check.hash.clone(),
            password: Secret::new(check.password),
            tag: (check.remembering == Remembering::Yes).then_some(check.tag),
            since: now,
        };
        self.enqueue(Place::new(check.address, check.name_id), Job::Check(job, answer))?;
        // There is no answer if the threads have gone or the hash panicked.
        receiver.await.map_err(|_| Refusal::Busy)
    }

    /// Derives the keys of SCRAM from a password. They are not remembered: that a name is answered sooner than others would
    /// tell that it is a user's.
    ///
    /// # Errors
    /// [`Refusal::Busy`] if too many wait.
    ///
    /// # Cancel safety
    /// As of [`is_right`](Self::is_right).
    pub(super) async fn derive(
        &self,
        derivation: Derivation,
        address: Option<IpAddr>,
        name_id: u64,
    ) -> Result<Keys, Refusal> {
        let (answer, receiver) = oneshot::channel();
        self.enqueue(Place::new(address, name_id), Job::Derive(derivation, answer))?;
        receiver.await.map_err(|_| Refusal::Busy)
    }

    pub(super) fn counts(&self) -> HashingCounts {
        HashingCounts {
            waiting: self.shared.line.lock().line.len(),
            hashed: self.shared.hashed.load(Relaxed),
            remembered: self.shared.remembered.load(Relaxed),
            refused: self.shared.refused.load(Relaxed),
        }
    }

    fn enqueue(&self, place: Place, job: Job) -> Result<(), Refusal> {
        let pushed = self
            .start_threads()
            .and_then(|()| self.shared.line.lock().line.push(place, job).map_err(|LineFull| Refusal::Busy));
        pushed.inspect_err(|_| _ = self.shared.refused.fetch_add(1, Relaxed))?;
        self.shared.arrived.notify_one();
        Ok(())
    }

    /// Starts the threads that are missing: all of them at first, none later.
    fn start_threads(&self) -> Result<(), Refusal> {
        let mut threads = self.threads.lock();
        while threads.len() < self.shared.options.threads {
            let shared = self.shared.clone();
            match thread::Builder::new().name("passwords".to_owned()).spawn(move || shared.run()) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    tracing::warn!(%error, "A thread that checks passwords does not start.");
                    break;
                }
            }
        }
        if threads.is_empty() { Err(Refusal::Busy) } else { Ok(()) }
    }
}

impl Drop for Hashing {
    fn drop(&mut self) {
        {
            let mut open = self.shared.line.lock();
            open.is_closed = true;
            open.line.clear();
        }
        self.shared.arrived.notify_all();
        for thread in self.threads.get_mut().drain(..) {
            // A panic outside a hash has been reported, and there is nothing left to give back.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Hashing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hashing").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

impl Shared {
    fn run(&self) {
        while let Some(job) = self.next_job() {
            match job {
                Job::Check(job, listener) => answer(listener, || Some(self.check(&job))),
                Job::Derive(derivation, listener) => answer(listener, || self.derive(&derivation)),
            }
        }
    }

    fn next_job(&self) -> Option<Job> {
        let mut open = self.line.lock();
        loop {
            if open.is_closed {
                return None;
            }
            if let Some(job) = open.line.pop() {
                return Some(job);
            }
            self.arrived.wait(&mut open);
        }
    }

    fn derive(&self, derivation: &Derivation) -> Option<Keys> {
        let Derivation { password, salt, iterations } = derivation;
        let keys = Keys::derive(password, salt, *iterations).ok();
        self.hashed.fetch_add(1, Relaxed);
        keys
    }

    fn check(&self, job: &CheckJob) -> bool {
        // A client with the same password may have been in front of this one in the line.
        if job.tag.is_some_and(|tag| self.is_remembered(&tag, job.since)) {
            return true;
        }
        let is_right = (self.verify)(&job.hash, job.password.expose());
        self.hashed.fetch_add(1, Relaxed);
        if let (true, Some(tag)) = (is_right, job.tag) {
            self.cache.lock().insert(tag, job.since);
        }
        is_right
    }

    fn is_remembered(&self, tag: &Tag, now: Instant) -> bool {
        let is_remembered = self.cache.lock().contains(tag, now);
        self.remembered.fetch_add(u64::from(is_remembered), Relaxed);
        is_remembered
    }
}

/// Does the work of a job, unless nobody waits for it any more. A hash that panics refuses its login and no other.
fn answer<T>(listener: oneshot::Sender<T>, work: impl FnOnce() -> Option<T>) {
    if listener.is_closed() {
        return;
    }
    if let Ok(Some(made)) = panic::catch_unwind(AssertUnwindSafe(work)) {
        // Nobody listens any more if the client went away meanwhile.
        drop(listener.send(made));
    }
}
