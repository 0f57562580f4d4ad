use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::super::hashing::HashingOptions;
use super::super::login::{Authenticating, Authenticator, LoginRequest, Refusal};
use super::super::password::Hash;
use super::super::users::{User, Users};
use super::{DEADLINE, accounts, begin, finish, hashed, login, refusal, wait_until};
use Refusal::{BadUserNameOrPassword, Busy};

/// Users whose hashes begin when the test says so, or at once when the gate is gone.
struct Gated {
    // Goes first: dropping the users waits for the hashes behind it.
    gate: Mutex<Option<Sender<()>>>,
    users: Users,
    most_at_once: Arc<AtomicUsize>,
}

impl Gated {
    fn new(options: HashingOptions) -> Self {
        let (gate, passes) = channel();
        let passes: Mutex<Receiver<()>> = Mutex::new(passes);
        let at_once = AtomicUsize::new(0);
        let most_at_once = Arc::new(AtomicUsize::new(0));
        let most = most_at_once.clone();
        let verify = move |hash: &Hash, password: &[u8]| {
            most.fetch_max(at_once.fetch_add(1, SeqCst) + 1, SeqCst);
            _ = passes.lock().unwrap().recv_timeout(DEADLINE);
            let is_right = hash.verify(password);
            at_once.fetch_sub(1, SeqCst);
            is_right
        };
        let all = vec![hashed("alice", "right"), hashed("bob", "right")];
        let users = Users::with_verify(accounts(all, vec![]), options, Box::new(verify)).unwrap();
        Self { gate: Mutex::new(Some(gate)), users, most_at_once }
    }

    /// Starts a login; it is in the line afterwards, or refused.
    fn start(&self, request: LoginRequest) -> Result<Authenticating<'_>, Refusal> {
        let mut attempt = self.users.authenticate(request);
        match begin(&mut attempt) {
            None => Ok(attempt),
            Some(answer) => Err(answer.expect_err("nothing is let in before its hash")),
        }
    }

    /// Lets all hashes begin.
    fn open(&self) {
        self.gate.lock().unwrap().take();
    }

    /// Starts a login that keeps the only thread busy.
    fn occupy(&self) -> Authenticating<'_> {
        let attempt = self.start(login("bob", "occupying")).unwrap();
        wait_until("a thread takes the login", || self.most_at_once.load(SeqCst) == 1);
        attempt
    }
}

fn one_thread() -> HashingOptions {
    HashingOptions::default().threads(1)
}

fn from(address: &str, mut request: LoginRequest) -> LoginRequest {
    request.peer = Some(address.parse().unwrap());
    request
}

#[tokio::test]
async fn a_right_password_is_hashed_once() {
    let alice = hashed("alice", "right");
    let bob = User { name: "bob".to_owned(), ..alice.clone() };
    let users = Users::new(vec![alice, bob], vec![]).unwrap();
    for _ in 0..3 {
        assert_eq!(refusal(&users, login("alice", "right")).await, None);
    }
    assert_eq!((users.hashing().hashed, users.hashing().remembered), (1, 2));
    assert_eq!(refusal(&users, login("bob", "right")).await, None);
    assert_eq!(
        users.hashing().hashed,
        2,
        "what is remembered of one user lets in no other, even with the same hash"
    );
}

#[tokio::test]
async fn a_wrong_password_is_never_remembered() {
    let users = Users::new(vec![hashed("alice", "right")], vec![]).unwrap();
    for attempt in 1..=3 {
        assert_eq!(refusal(&users, login("alice", "wrong")).await, Some(BadUserNameOrPassword));
        assert_eq!(users.hashing().hashed, attempt);
    }
    assert_eq!(refusal(&users, login("alice", "right")).await, None);
    assert_eq!(refusal(&users, login("alice", "wrong")).await, Some(BadUserNameOrPassword));
    assert_eq!((users.hashing().hashed, users.hashing().remembered), (5, 0));
}

#[tokio::test]
async fn with_no_time_to_remember_every_login_is_hashed() {
    let options = HashingOptions::default().remembered_for(Duration::ZERO);
    let users = Users::with_options(vec![hashed("alice", "right")], vec![], options).unwrap();
    for attempt in 1..=2 {
        assert_eq!(refusal(&users, login("alice", "right")).await, None);
        assert_eq!(users.hashing().hashed, attempt);
    }
}

#[tokio::test]
async fn the_line_is_bounded() {
    let gated = Gated::new(one_thread().waiting_max(3));
    let first = gated.occupy();
    let waiting: Vec<_> = ["alice", "bob", "nobody"]
        .into_iter()
        .map(|name| gated.start(login(name, "right")).unwrap())
        .collect();
    for name in ["alice", "bob", "somebody"] {
        assert_eq!(gated.start(login(name, "right")).err(), Some(Busy), "{name}");
    }
    let counts = gated.users.hashing();
    assert_eq!((counts.waiting, counts.refused), (3, 3));
    drop((first, waiting));
    gated.open();
    let users = &gated.users;
    wait_until("the line empties", || users.hashing().waiting == 0);
    assert_eq!(refusal(users, login("alice", "right")).await, None, "and then there is room again");
}

#[tokio::test]
async fn a_flood_on_one_name_leaves_places_to_the_others() {
    let gated = Gated::new(one_thread().waiting_max(100).waiting_per_name_max(2));
    let _first = gated.occupy();
    let flood = || from("10.0.0.1", login("alice", "guess"));
    let _guesses = [gated.start(flood()).unwrap(), gated.start(flood()).unwrap()];
    assert_eq!(gated.start(flood()).err(), Some(Busy));
    assert!(gated.start(from("10.0.0.1", login("bob", "right"))).is_ok(), "another name from there");
    assert!(gated.start(from("10.0.0.2", login("alice", "right"))).is_ok(), "the same name from elsewhere");
}

#[tokio::test]
async fn a_flood_of_names_from_one_address_leaves_places_to_the_others() {
    let gated = Gated::new(one_thread().waiting_max(100).waiting_per_address_max(2));
    let _first = gated.occupy();
    let _guesses = ["n1", "n2"].map(|name| gated.start(from("10.0.0.1", login(name, "guess"))).unwrap());
    assert_eq!(gated.start(from("10.0.0.1", login("n3", "guess"))).err(), Some(Busy));
    assert!(gated.start(from("10.0.0.2", login("alice", "right"))).is_ok());
}

#[tokio::test]
async fn a_known_and_an_unknown_name_are_refused_alike_in_a_full_line() {
    let gated = Gated::new(one_thread().waiting_per_name_max(1));
    let _first = gated.occupy();
    for name in ["alice", "nobody"] {
        let _waiting = gated.start(login(name, "guess")).unwrap();
        assert_eq!(gated.start(login(name, "guess")).err(), Some(Busy), "{name}");
    }
}

#[tokio::test]
async fn those_who_wait_with_the_same_right_password_share_one_hash() {
    let gated = Gated::new(one_thread());
    let first = gated.occupy();
    let fleet: Vec<_> = (0..10).map(|_| gated.start(login("alice", "right")).unwrap()).collect();
    gated.open();
    assert_eq!(finish(first).await.err(), Some(BadUserNameOrPassword));
    for device in fleet {
        assert!(finish(device).await.is_ok());
    }
    let counts = gated.users.hashing();
    assert_eq!((counts.hashed, counts.remembered), (2, 9));
}

#[tokio::test]
async fn who_goes_away_is_not_hashed() {
    let gated = Gated::new(one_thread());
    let first = gated.occupy();
    drop((0..10).map(|_| gated.start(login("alice", "guess")).unwrap()).collect::<Vec<_>>());
    let last = gated.start(login("alice", "right")).unwrap();
    gated.open();
    assert_eq!(finish(first).await.err(), Some(BadUserNameOrPassword));
    assert!(finish(last).await.is_ok());
    assert_eq!(gated.users.hashing().hashed, 2);
}

#[tokio::test]
async fn a_login_that_was_checked_against_a_replaced_password_is_refused() {
    let gated = Gated::new(one_thread());
    let waiting = gated.start(login("alice", "right")).unwrap();
    gated.users.replace(accounts(vec![hashed("alice", "new")], vec![])).unwrap();
    gated.open();
    assert_eq!(finish(waiting).await.err(), Some(BadUserNameOrPassword));
}

#[tokio::test]
async fn no_more_are_hashed_at_once_than_there_are_threads() {
    let gated = Gated::new(HashingOptions::default().threads(2));
    let guesses: Vec<_> = (0..8).map(|_| gated.start(login("alice", "guess")).unwrap()).collect();
    wait_until("both threads are busy", || gated.most_at_once.load(SeqCst) == 2);
    gated.open();
    for guess in guesses {
        assert_eq!(finish(guess).await.err(), Some(BadUserNameOrPassword));
    }
    assert_eq!(gated.most_at_once.load(SeqCst), 2);
    assert_eq!(gated.users.hashing().hashed, 8);
}

#[tokio::test]
async fn dropping_the_users_joins_the_threads() {
    let running = Arc::new(());
    let held = running.clone();
    let verify = move |hash: &Hash, password: &[u8]| {
        _ = &held;
        hash.verify(password)
    };
    let users = Users::with_verify(
        accounts(vec![hashed("alice", "right")], vec![]),
        HashingOptions::default(),
        Box::new(verify),
    );
    let users = users.unwrap();
    assert_eq!(refusal(&users, login("alice", "right")).await, None);
    assert_eq!(Arc::strong_count(&running), 2);
    drop(users);
    assert_eq!(Arc::strong_count(&running), 1, "no thread is left that holds the function");
}

#[tokio::test]
async fn a_hash_that_panics_refuses_its_login_and_no_other() {
    let calls = AtomicUsize::new(0);
    let verify = move |hash: &Hash, password: &[u8]| {
        assert!(calls.fetch_add(1, SeqCst) > 0, "the first hash fails, on purpose");
        hash.verify(password)
    };
    let users =
        Users::with_verify(accounts(vec![hashed("alice", "right")], vec![]), one_thread(), Box::new(verify))
            .unwrap();
    assert_eq!(refusal(&users, login("alice", "right")).await, Some(Busy));
    assert_eq!(refusal(&users, login("alice", "right")).await, None);
}
