//! The simulated network: hosts that can be dialled, and connections that suffer.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crosspoint_client::{ByteStream, Dial, DialFailure};
use crosspoint_net::Stream;
use fastrand::Rng;
use parking_lot::Mutex;
use tokio::time::sleep;

use super::scenario::HUB;
use super::stream::{Quality, SimulatedStream, Wire};
use super::trace::Trace;
use super::windows::{Watch, Windows};

/// What serves the streams that arrive at a host.
type Accept = Arc<dyn Fn(Stream) + Send + Sync>;

/// Nothing limits how fast bytes go but how long they take.
pub(super) const FAST_BYTES_PER_S: u64 = 1 << 30;

/// Whether a host can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    Open,
    /// Dialling it fails at once.
    Refused,
    /// Dialling it comes to nothing.
    Silent,
}

/// All hosts and all connections between them. Clones are the same network.
#[derive(Clone)]
pub(super) struct Network {
    map: Arc<Mutex<Map>>,
    trace: Trace,
}

struct Map {
    rng: Rng,
    hosts: BTreeMap<String, Host>,
    connections: Vec<Connection>,
    connected: u64,
    /// How many connections were ended before all had been read, which may take last words with it.
    cut_short: Arc<AtomicU64>,
    /// How often each host has dialled.
    dials: BTreeMap<String, u64>,
    /// Whether hosts can bear every message, where that is not always so.
    bears: BTreeMap<String, Arc<AtomicBool>>,
    /// By who dials and whom.
    windows: BTreeMap<(String, String), Windows>,
}

struct Host {
    accept: Option<Accept>,
    reach: Reach,
}

struct Connection {
    ends: [String; 2],
    wire: Arc<Mutex<Wire>>,
}

/// A process that has connections: it dials from a host, and is dead at once when it is told.
#[derive(Debug, Clone)]
pub(super) struct Process {
    network: Network,
    host: String,
    is_dead: Arc<AtomicBool>,
}

impl Network {
    pub(super) fn new(rng: Rng, trace: Trace) -> Self {
        let map = Map {
            rng,
            hosts: BTreeMap::new(),
            connections: Vec::new(),
            connected: 0,
            bears: BTreeMap::new(),
            windows: BTreeMap::new(),
            dials: BTreeMap::new(),
            cut_short: Arc::default(),
        };
        Self { map: Arc::new(Mutex::new(map)), trace }
    }

    /// Sets which windows hold where one host dials another.
    pub(super) fn set_windows(&self, from: &str, to: &str, windows: Windows) {
        self.map.lock().windows.insert((from.to_owned(), to.to_owned()), windows);
    }

    /// Sets whether a host can bear every message that the hub sends it; otherwise it ends the connection.
    pub(super) fn set_bears(&self, host: &str, bears: bool) {
        let mut map = self.map.lock();
        map.bears.entry(host.to_owned()).or_default().store(bears, Relaxed);
    }

    /// Returns how many connections were ended before all had been read, which may take last words with it.
    pub(super) fn cut_short(&self) -> u64 {
        self.map.lock().cut_short.load(Relaxed)
    }

    /// Returns how many connections a host has made.
    pub(super) fn dials(&self, from: &str) -> u64 {
        self.map.lock().dials.get(from).copied().unwrap_or_default()
    }

    /// Returns what is wrong with what was written to a connection.
    pub(super) fn wrong(&self) -> Option<String> {
        self.map.lock().connections.iter().find_map(|connection| connection.wire.lock().wrong.take())
    }

    /// Begins a process on a host.
    pub(super) fn process(&self, host: &str) -> Process {
        Process { network: self.clone(), host: host.to_owned(), is_dead: Arc::default() }
    }

    /// Lets a host serve what is dialled to it.
    pub(super) fn listen(&self, host: &str, accept: impl Fn(Stream) + Send + Sync + 'static) {
        self.map.lock().host(host).accept = Some(Arc::new(accept));
    }

    /// Ends that: dialling the host is refused.
    pub(super) fn stop_listening(&self, host: &str) {
        self.map.lock().host(host).accept = None;
    }

    pub(super) fn set_reach(&self, host: &str, reach: Reach) {
        self.trace.note(format_args!("{host} is {reach:?}"));
        self.map.lock().host(host).reach = reach;
    }

    /// Resets every connection of a host.
    pub(super) fn cut(&self, host: &str) {
        self.each_of(host, "cut", |wire, _| wire.reset());
    }

    /// Lets every connection of a host fall silent without an end.
    pub(super) fn silence(&self, host: &str) {
        self.each_of(host, "silenced", |wire, _| wire.silence());
    }

    /// Sets how fast the bytes on every connection of a host go.
    pub(super) fn set_speed(&self, host: &str, bytes_per_s: u64) {
        self.each_of(host, "slowed or freed", |wire, _| wire.set_speed(bytes_per_s));
    }

    fn each_of(&self, host: &str, what: &str, change: impl Fn(&mut Wire, usize)) {
        let mut count = 0;
        for connection in &self.map.lock().connections {
            if let Some(side) = connection.ends.iter().position(|end| end == host) {
                change(&mut connection.wire.lock(), side);
                count += 1;
            }
        }
        self.trace.note(format_args!("{count} connections of {host} {what}"));
    }

    async fn dial(self, from: String, to: String) -> Result<SimulatedStream, DialFailure> {
        let wait_ms = self.map.lock().rng.u64(0..20);
        sleep(Duration::from_millis(wait_ms)).await;
        let (reach, accept) = {
            let mut map = self.map.lock();
            let host = map.host(&to);
            (host.reach, host.accept.clone())
        };
        let accept = match (reach, accept) {
            (Reach::Open, Some(accept)) => accept,
            (Reach::Silent, _) => return std::future::pending().await,
            _ => return Err(refused()),
        };
        let (near, far) = self.map.lock().connect(from, to, &self.trace);
        accept(Stream::given(far, SocketAddr::from(([10, 0, 0, 1], 1_883))));
        Ok(near)
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}

impl Map {
    fn host(&mut self, name: &str) -> &mut Host {
        let unknown = || Host { accept: None, reach: Reach::Open };
        self.hosts.entry(name.to_owned()).or_insert_with(unknown)
    }

    fn connect(&mut self, from: String, to: String, trace: &Trace) -> (SimulatedStream, SimulatedStream) {
        // Whoever holds none of its ends any more has forgotten it.
        self.connections.retain(|connection| Arc::strong_count(&connection.wire) > 1);
        self.connected += 1;
        *self.dials.entry(from.clone()).or_default() += 1;
        let quality = self.quality();
        trace.note(format_args!(
            "wire {}: {from} -> {to}, {} ms",
            self.connected,
            quality.latency.as_millis()
        ));
        let windows = self.windows.get(&(from.clone(), to.clone())).copied().unwrap_or([u16::MAX; 2]);
        let always = || Arc::new(AtomicBool::new(true));
        let bears = self.bears.get(&to).filter(|_| from == HUB).cloned().unwrap_or_else(always);
        let wire = Wire::new(
            self.connected,
            quality,
            self.rng.fork(),
            Watch::new(windows, bears),
            self.cut_short.clone(),
            trace.clone(),
        );
        let pair = SimulatedStream::pair(&wire);
        self.connections.push(Connection { ends: [from, to], wire });
        pair
    }

    /// Every connection has a latency of its own, so that what goes over two of them arrives in any order.
    fn quality(&mut self) -> Quality {
        let rng = &mut self.rng;
        Quality {
            latency: Duration::from_millis(rng.u64(0..30)),
            jitter_ms: if rng.bool() { 0 } else { rng.u64(0..20) },
            window_bytes: if rng.u8(0..4) == 0 { rng.usize(200..2_000) } else { 64 * 1024 },
            bytes_per_s: FAST_BYTES_PER_S,
        }
    }
}

impl Process {
    /// Returns how the clients of this process dial.
    pub(super) fn dial(&self) -> Dial {
        let process = self.clone();
        Arc::new(move |server, _| {
            let target = server.target();
            let host = target.split(':').next().unwrap_or_default().to_owned();
            let process = process.clone();
            Box::pin(async move {
                if process.is_dead.load(Relaxed) {
                    return std::future::pending().await;
                }
                let stream = process.network.clone().dial(process.host.clone(), host).await?;
                if process.is_dead.load(Relaxed) {
                    return std::future::pending().await;
                }
                Ok(Box::new(stream) as Box<dyn ByteStream>)
            })
        })
    }

    /// Ends the process: its system closes what it had open.
    pub(super) fn kill(&self) {
        self.end();
        self.network.each_of(&self.host, "closed by the system", Wire::kill);
    }

    /// Ends the machine: nobody says farewell.
    pub(super) fn power_off(&self) {
        self.end();
        self.network.each_of(&self.host, "left behind", Wire::abandon);
    }

    fn end(&self) {
        self.is_dead.store(true, Relaxed);
        self.network.stop_listening(&self.host);
    }
}

fn refused() -> DialFailure {
    DialFailure::new("connection refused", "start it")
}
