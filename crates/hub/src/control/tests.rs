//! The channel between a hub and who asks it.
#![cfg(unix)]

mod kept;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use crosspoint_store::{Batch, Directory, Options, Store};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::*;

/// The longest that anything here takes.
const WITHIN: Duration = Duration::from_secs(30);

/// A hub that can be asked, in a data directory of its own.
struct Site {
    _folder: TempDir,
    data: PathBuf,
    store: Store,
    channel: Option<Channel>,
}

impl Site {
    fn running() -> Self {
        Self::running_in("data")
    }

    fn running_in(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join(name);
        let store = open(&data);
        let channel = Channel::open(&data, Desk::of_running(store.clone(), &data)).unwrap();
        Self { _folder: folder, data, store, channel: Some(channel) }
    }

    fn socket(&self) -> PathBuf {
        self.data.join("control.sock")
    }

    /// Puts messages into a queue.
    async fn fill(&self, queue: u64, messages: usize) {
        for _ in 0..messages {
            let mut batch = Batch::new();
            batch.publish(Bytes::from_static(b"x"), [(queue, 0)]);
            self.store.commit(batch).await.unwrap();
        }
    }

    async fn stop(&mut self) {
        let closing = self.channel.take().unwrap().close();
        tokio::time::timeout(WITHIN, closing).await.unwrap();
        self.store.close();
    }
}

fn open(data: &Path) -> Store {
    let directory = Directory::open(data.join("store")).unwrap();
    Store::open(directory, Options::default().reserve_bytes(4_096)).unwrap()
}

async fn status(data: &Path) -> Map<String, Value> {
    let mut rows = Vec::new();
    let mut hub = Control::open(data).await.unwrap();
    let taken = hub.ask(Request::Status, |part| {
        rows.push(part);
        Ok(())
    });
    assert_eq!(tokio::time::timeout(WITHIN, taken).await.unwrap().unwrap(), 1);
    let [Part::Row(row)] = &rows[..] else { panic!("{rows:?}") };
    row.clone()
}

/// Asks by hand and returns the lines that are answered until the end of one answer.
fn by_hand(site: &Site, line: &[u8]) -> std::thread::JoinHandle<Value> {
    let (mut stream, line) = (UnixStream::connect(site.socket()).unwrap(), line.to_owned());
    stream.set_read_timeout(Some(WITHIN)).unwrap();
    std::thread::spawn(move || {
        stream.write_all(&line).unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap()
    })
}

async fn joined(asked: std::thread::JoinHandle<Value>) -> Value {
    tokio::task::spawn_blocking(|| asked.join().unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_hub_answers_the_same_while_it_runs_and_when_it_has_stopped() {
    let mut site = Site::running();
    for (queue, messages) in [(8, 2), (9, 3), (17, 1), (11, 1), (13, 4)] {
        site.fill(queue, messages).await;
    }
    let mut running = status(&site.data).await;
    assert_eq!(running.get("process"), Some(&json!(std::process::id())));
    assert_eq!(Gauge::new(site.store.clone()).waiting().outboxes, 4);
    site.stop().await;
    let mut stopped = status(&site.data).await;
    assert_eq!(stopped.remove("process"), Some(Value::Null));
    running.remove("process");
    for (key, count) in [("sessions", 2), ("outboxes", 4), ("dead", 1), ("archived", 4)] {
        assert_eq!(running.get(key), Some(&json!(count)), "{key}");
    }
    for sized in ["bytes", "segment_bytes", "checkpoint_bytes", "reserve_bytes"] {
        assert!(running.remove(sized).unwrap().as_u64() > Some(0), "{sized}");
        stopped.remove(sized);
    }
    assert_eq!(running, stopped);
}

#[tokio::test]
async fn the_socket_is_its_owners_only_and_goes_when_the_hub_stops() {
    let mut site = Site::running();
    let mode = std::fs::metadata(site.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    site.stop().await;
    assert!(!site.socket().exists());
}

#[tokio::test]
async fn what_a_hub_that_died_left_is_no_hub_and_is_replaced() {
    let mut site = Site::running();
    site.stop().await;
    // As after SIGKILL: a name that nobody listens at.
    drop(std::os::unix::net::UnixListener::bind(site.socket()).unwrap());
    assert!(!Control::open(&site.data).await.unwrap().is_running());
    site.store = open(&site.data);
    let desk = Desk::of_running(site.store.clone(), &site.data);
    site.channel = Some(Channel::open(&site.data, desk).unwrap());
    assert!(Control::open(&site.data).await.unwrap().is_running());
    site.stop().await;
}

#[tokio::test]
async fn a_hub_that_starts_or_stops_is_named_and_not_waited_for() {
    let mut site = Site::running();
    site.channel.take().unwrap().close().await;
    let refused = Control::open(&site.data).await.unwrap_err();
    let said = refused.to_string();
    assert!(said.contains(&format!("process {}", std::process::id())), "{said}");
    assert!(refused.mend().contains("wait until"), "{}", refused.mend());
}

#[tokio::test]
async fn where_no_hub_ever_was_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let refused = Control::open(&folder.path().join("data")).await.unwrap_err();
    assert!(matches!(refused, ControlError::NoStore { .. }), "{refused}");
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
}

#[tokio::test]
async fn a_path_that_is_too_long_for_an_address_works_all_the_same() {
    let mut site = Site::running_in(&"d".repeat(150));
    assert!(status(&site.data).await.contains_key("process"));
    site.stop().await;
}

#[tokio::test]
async fn what_is_not_understood_is_answered_and_what_never_ends_is_cut_off() {
    let mut site = Site::running();
    for line in [&b"\n"[..], b"{}\n", b"\xff\n", b"{\"do\":\"explode\"}\n"] {
        let answer = joined(by_hand(&site, line)).await;
        assert!(answer["failed"].as_str().unwrap().contains("does not understand"), "{answer}");
    }
    let mut endless = UnixStream::connect(site.socket()).unwrap();
    endless.set_read_timeout(Some(WITHIN)).unwrap();
    let cut = tokio::task::spawn_blocking(move || {
        let block = vec![b'a'; 1 << 20];
        // It fails as soon as the hub has had enough.
        let written = (0..300).take_while(|_| endless.write_all(&block).is_ok()).count();
        assert!(written < 300, "it is read for ever");
        let mut answer = String::new();
        endless.read_to_string(&mut answer).map(|_| answer)
    });
    let answer = cut.await.unwrap();
    // The answer may have been lost with the connection, which was reset under what was still being sent.
    assert!(answer.as_deref().unwrap_or("longer than").contains("longer than"), "{answer:?}");
    assert!(status(&site.data).await.contains_key("process"), "it goes on with others");
    site.stop().await;
}

#[tokio::test]
async fn callers_that_say_nothing_hold_up_neither_the_others_nor_the_stop() {
    let mut site = Site::running();
    let silent: Vec<UnixStream> = (0..7).map(|_| UnixStream::connect(site.socket()).unwrap()).collect();
    assert!(status(&site.data).await.contains_key("process"));
    site.stop().await;
    drop(silent);
}

#[tokio::test]
async fn one_connection_is_good_for_many_requests() {
    let mut site = Site::running();
    let mut hub = Control::open(&site.data).await.unwrap();
    for _ in 0..20 {
        assert_eq!(hub.ask(Request::Status, |_| Ok(())).await.unwrap(), 1);
    }
    let stopped = hub.ask(Request::Status, |_| Err(ControlError::Stopped)).await.unwrap_err();
    assert!(matches!(stopped, ControlError::Stopped));
    site.stop().await;
    let mut hub = Control::open(&site.data).await.unwrap();
    assert!(!hub.is_running());
    assert_eq!(hub.ask(Request::Status, |_| Ok(())).await.unwrap(), 1);
}

#[tokio::test]
async fn a_hub_that_ends_in_the_middle_is_no_answer() {
    let mut site = Site::running();
    let mut hub = Control::open(&site.data).await.unwrap();
    hub.ask(Request::Status, |_| Ok(())).await.unwrap();
    site.stop().await;
    let gone = hub.ask(Request::Status, |_| Ok(())).await.unwrap_err();
    assert!(matches!(gone, ControlError::Gone), "{gone}");
}

#[tokio::test]
async fn only_so_many_listen_at_a_time() {
    let site = Site::running();
    let desk = Desk::of_running(site.store.clone(), &site.data);
    let refusal = async |desk: &Desk| {
        let (given, mut taken) = tokio::sync::mpsc::channel(4);
        let request = Request::Subscribe {
            name: "plant".to_owned(),
            filters: Vec::new(),
            user_properties: Vec::new(),
            within: WITHIN,
        };
        desk.answer(request, given, tokio::sync::mpsc::channel(1).1).await;
        format!("{:?}", taken.recv().await.unwrap())
    };
    let mut listening: Vec<_> = (0..32).map(|_| desk.may_listen().unwrap()).collect();
    let refused = refusal(&desk).await;
    assert!(refused.contains("too many listen already"), "{refused}");
    listening.pop();
    let refused = refusal(&desk).await;
    assert!(refused.contains("no connector plant"), "{refused}");
}
