//! What the disk decides: when a message is acknowledged, who may have the folder, what happens when it is full.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crosspoint_hub::{DataDir, Environment, Hub, HubError};
use crosspoint_protocol::QoS;
use crosspoint_store::{Disk, FileName, Options, SimulatedDisk, Store};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::*;

/// A disk whose syncs wait while its gate is shut.
#[derive(Clone)]
struct Gated {
    disk: SimulatedDisk,
    gate: Arc<(Mutex<bool>, Condvar)>,
    is_waiting: Arc<AtomicBool>,
}

impl Gated {
    fn new() -> Self {
        let gate = Arc::new((Mutex::new(true), Condvar::new()));
        Self { disk: SimulatedDisk::new(), gate, is_waiting: Arc::default() }
    }

    fn set_open(&self, is_open: bool) {
        *self.gate.0.lock().unwrap() = is_open;
        self.gate.1.notify_all();
    }
}

impl Disk for Gated {
    fn list(&mut self) -> io::Result<Vec<FileName>> {
        self.disk.list()
    }
    fn create(&mut self, file: FileName) -> io::Result<()> {
        self.disk.create(file)
    }
    fn length(&mut self, file: FileName) -> io::Result<u64> {
        self.disk.length(file)
    }
    fn read_at(&mut self, file: FileName, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.disk.read_at(file, offset, buffer)
    }
    fn write_at(&mut self, file: FileName, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.write_at(file, offset, bytes)
    }
    fn truncate(&mut self, file: FileName, length: u64) -> io::Result<()> {
        self.disk.truncate(file, length)
    }
    fn allocate(&mut self, file: FileName, bytes: u64) -> io::Result<()> {
        self.disk.allocate(file, bytes)
    }
    fn extend(&mut self, file: FileName, length: u64) -> io::Result<()> {
        self.disk.extend(file, length)
    }
    fn sync(&mut self, file: FileName) -> io::Result<()> {
        let guard = self.gate.0.lock().unwrap();
        self.is_waiting.store(!*guard, Ordering::Relaxed);
        drop(self.gate.1.wait_while(guard, |is_open| !*is_open).unwrap());
        self.disk.sync(file)
    }
    fn sync_directory(&mut self) -> io::Result<()> {
        self.disk.sync_directory()
    }
    fn rename(&mut self, from: FileName, to: FileName) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&mut self, file: FileName) -> io::Result<()> {
        self.disk.remove(file)
    }
}

/// A 3.1.1 broker of few words: what it says is written by the test.
struct Peer(TcpStream);

impl Peer {
    /// Takes a connection, with a session or without, and grants what is subscribed.
    async fn accept(listener: &TcpListener) -> Self {
        let mut peer = Self(soon(listener.accept()).await.unwrap().0);
        assert_eq!(peer.packet().await[0] >> 4, 1);
        peer.say(&[0x20, 2, 0, 0]).await;
        let subscribe = peer.packet().await;
        assert_eq!(subscribe[0] >> 4, 8);
        peer.say(&[0x90, 3, subscribe[2], subscribe[3], 2]).await;
        peer
    }

    async fn say(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// Publishes `x` to `in/n`.
    async fn publish(&mut self, qos: u8, id: u8) {
        self.say(&[0x30 | qos << 1, 9, 0, 4, b'i', b'n', b'/', b'n', 0, id, b'x']).await;
    }

    /// Returns the next packet that is no ping, all of it; its length takes one byte.
    async fn packet(&mut self) -> Vec<u8> {
        let mut head = [0; 2];
        soon(self.0.read_exact(&mut head)).await.unwrap();
        let mut packet = head.to_vec();
        packet.resize(2 + usize::from(head[1]), 0);
        soon(self.0.read_exact(&mut packet[2..])).await.unwrap();
        packet
    }
}

#[tokio::test]
async fn acknowledgements_leave_when_the_disk_has_the_message_and_not_before() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let sink = Remote::start().await;
    let project = [
        NO_BROKER,
        &connector("a", port),
        "protocol = \"3.1.1\"\n",
        &connector("b", sink.port()),
        &numbers("a", "b"),
    ]
    .concat();
    let disk = Gated::new();
    let folder = tempfile::tempdir().unwrap();
    let environment = Environment::real().store(Store::open(disk.clone(), Options::default()).unwrap());
    let data = DataDir::open(folder.path().join("data")).unwrap();
    let hub = soon(Hub::start_in(plan(&project), data, environment)).await.unwrap();
    let mut peer = Peer::accept(&listener).await;
    for (qos, acknowledgement) in [(1, 0x40), (2, 0x50)] {
        peer.publish(qos, 1).await;
        assert_eq!(peer.packet().await, [acknowledgement, 2, 0, 1]);
    }
    until(|| sink.count() == 2).await;

    disk.set_open(false);
    let accepted = || hub.status()["b"].outbox.accepted;
    peer.publish(1, 2).await;
    peer.publish(2, 3).await;
    until(|| disk.is_waiting.load(Ordering::Relaxed)).await;
    let early = tokio::time::timeout(Duration::from_millis(200), peer.packet()).await;
    assert!(early.is_err() && accepted() == 2 && sink.count() == 2, "{early:?}");
    disk.set_open(true);
    assert_eq!(peer.packet().await, [0x40, 2, 0, 2]);
    assert_eq!(peer.packet().await, [0x50, 2, 0, 3]);
    until(|| accepted() == 4 && sink.count() == 4).await;
    soon(hub.stop(Duration::ZERO)).await;
}

#[tokio::test]
async fn a_second_hub_on_a_folder_is_refused_and_told_who_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = || DataDir::open(folder.path().join("data")).unwrap();
    let hub = soon(Hub::start(plan(NO_BROKER), data())).await.unwrap();
    let refused = soon(Hub::start(plan(NO_BROKER), data())).await.unwrap_err();
    let process = std::process::id();
    let HubError::Store { cause, mend } = &refused else { panic!("{refused}") };
    assert!(cause.ends_with(&format!("is in use by process {process}")), "{cause}");
    assert!(mend.contains(&format!("kill -TERM {process}")) && mend.contains("--data"), "{mend}");
    soon(hub.stop(Duration::ZERO)).await;
    let hub = soon(Hub::start(plan(NO_BROKER), data())).await.unwrap();
    soon(hub.stop(Duration::ZERO)).await;
}

#[tokio::test]
async fn a_damaged_store_is_refused_with_the_place_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let data = || DataDir::open(folder.path().join("data")).unwrap();
    let hub = soon(Hub::start(plan(&connector("a", 1)), data())).await.unwrap();
    soon(hub.stop(Duration::ZERO)).await;
    let log = folder.path().join("data/store/log-0000000000000001");
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[60] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    let refused = soon(Hub::start(plan(&connector("a", 1)), data())).await.unwrap_err();
    assert!(refused.to_string().contains("log-0000000000000001 at offset 36"), "{refused}");
    assert!(refused.mend().contains("store verify") && refused.mend().contains("store salvage"));
}

#[tokio::test]
async fn on_a_full_disk_the_source_waits_and_all_goes_on_when_there_is_room() {
    let (source, sink) = (Remote::start().await, Remote::start().await);
    let project =
        [NO_BROKER, &connector("a", source.port()), &connector("b", sink.port()), &numbers("a", "b")]
            .concat();
    let disk = SimulatedDisk::new();
    let store = Store::open(disk.clone(), Options::default().room_bytes(0).reserve_bytes(1 << 20)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    log();
    let data = DataDir::open(folder.path().join("data")).unwrap();
    let environment = Environment::real().store(store);
    let hub = soon(Hub::start_in(plan(&project), data, environment)).await.unwrap();
    source.subscribed(1).await;
    source.publish_numbers(0..100, QoS::AtLeastOnce);
    until(|| sink.count() == 100).await;
    disk.set_bytes_max(Some(0));
    source.publish_numbers(100..200, QoS::AtLeastOnce);
    until(|| hub.is_full() && logged().contains("The disk is full")).await;
    source.publish_numbers(200..300, QoS::AtLeastOnce);
    disk.set_bytes_max(None);
    until(|| sink.count() >= 300).await;
    assert_eq!(sink.numbers(), (0..300).collect::<Vec<_>>());
    until(|| logged().contains("There is room on the disk again")).await;
    soon(hub.stop(Duration::ZERO)).await;
}
