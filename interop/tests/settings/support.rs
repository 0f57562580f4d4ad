//! A hub with one connector, and a relay between it and mosquitto that keeps what goes through and can be closed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crosspoint_hub::config::{Diagnostic, parse};
use crosspoint_hub::{DataDir, Hub, OutboxFigures};
use interop::{Mosquitto, OurClient, client_options, soon};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How often what tells nobody of a change is looked at.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A mosquitto that lets everybody in and logs every packet.
pub(crate) async fn mosquitto() -> Option<Mosquitto> {
    Mosquitto::start_talking("allow_anonymous true", &[]).await
}

/// A hub with a data directory that goes when it goes.
pub(crate) struct Running {
    pub(crate) hub: Hub,
    _data: TempDir,
}

impl Running {
    /// Starts a hub with an embedded broker on a free port.
    pub(crate) async fn start(project: &str) -> Self {
        let project = format!("[broker.listener.main]\nbind = \"127.0.0.1:0\"\n{project}");
        let (plan, _) = parse(&project, "crosspoint.toml", None).unwrap_or_else(|findings| {
            panic!("{}", findings.iter().map(Diagnostic::to_string).collect::<Vec<_>>().join("\n"))
        });
        let data = tempfile::tempdir().unwrap();
        let hub = Hub::start(plan, DataDir::open(data.path().join("data")).unwrap()).await.unwrap();
        Self { hub, _data: data }
    }

    /// Starts a hub with the connector `a` to a port of this machine, and a flow to it from the embedded broker.
    pub(crate) async fn writing_to(port: u16, lines: &str) -> Self {
        Self::start(&format!(
            "[flow.f]\nfrom = {{ connector = \"broker\", topics = \"in/#\" }}\nto = {{ connector = \"a\" }}\n{}",
            connector(port, lines)
        ))
        .await
    }

    /// Starts a hub with the connector `a`, and a flow from it to the embedded broker.
    pub(crate) async fn reading_from(port: u16, lines: &str) -> Self {
        Self::start(&format!(
            "[flow.f]\nfrom = {{ connector = \"a\", topics = \"in/#\" }}\nto = {{ connector = \"broker\" }}\n{}",
            connector(port, lines)
        ))
        .await
    }

    /// Returns a client of the embedded broker.
    pub(crate) async fn device(&self) -> OurClient {
        OurClient::connect(client_options(self.hub.listening()[0].address.port())).await
    }

    pub(crate) fn figures(&self) -> OutboxFigures {
        self.hub.status()["a"].outbox
    }

    /// Waits until the hub is as it should be.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Hub) -> bool) {
        soon(what, async {
            while !is_so(&self.hub) {
                tokio::time::sleep(LOOK_AGAIN).await; // pace: figures tell nobody that they have changed
            }
        })
        .await;
    }

    pub(crate) async fn stop(self) {
        soon("the hub to stop", self.hub.stop(Duration::from_secs(5))).await;
    }
}

/// Returns a section of the connector `a` that comes back quickly.
fn connector(port: u16, lines: &str) -> String {
    let pauses = match lines.contains("reconnect_min_ms") {
        true => "",
        false => "reconnect_min_ms = 100\nreconnect_max_ms = 100\n",
    };
    let place =
        if lines.contains("url = ") { String::new() } else { format!("url = \"mqtt://127.0.0.1:{port}\"\n") };
    format!("[connector.a]\n{place}{pauses}{lines}\n")
}

/// What stands between a hub and mosquitto.
pub(crate) struct Relay {
    pub(crate) port: u16,
    /// What the hub has sent, all connections together.
    sent: Arc<Mutex<Vec<u8>>>,
    state: watch::Sender<State>,
    _tasks: JoinSet<()>,
}

/// What a relay does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Ends every connection.
    Closed,
    Open,
    /// Keeps what mosquitto says from the connections that there are; new ones are as when it is open.
    Deaf,
}

impl Relay {
    pub(crate) async fn start(to: u16, state: State) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sent, state) = (Arc::new(Mutex::new(Vec::new())), watch::Sender::new(state));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, to, sent.clone(), state.subscribe()));
        Self { port, sent, state, _tasks: tasks }
    }

    pub(crate) fn set(&self, state: State) {
        self.state.send_replace(state);
    }

    pub(crate) fn sent(&self) -> Vec<u8> {
        self.sent.lock().unwrap().clone()
    }
}

async fn accept(listener: TcpListener, to: u16, sent: Arc<Mutex<Vec<u8>>>, state: watch::Receiver<State>) {
    let mut connections = JoinSet::new();
    loop {
        let (hub, _) = listener.accept().await.unwrap();
        if *state.borrow() != State::Closed {
            connections.spawn(carry(hub, to, sent.clone(), state.clone()));
        }
    }
}

async fn carry(mut hub: TcpStream, to: u16, sent: Arc<Mutex<Vec<u8>>>, mut state: watch::Receiver<State>) {
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", to)).await else { return };
    let born = *state.borrow_and_update();
    let (mut from_hub, mut to_hub) = hub.split();
    let (mut from_server, mut to_server) = server.split();
    let mut deaf = state.clone();
    let is_deaf = move || born == State::Open && *deaf.borrow_and_update() == State::Deaf;
    tokio::select! {
        () = copy(&mut from_hub, &mut to_server, |bytes| { sent.lock().unwrap().extend_from_slice(bytes); true }) => {}
        () = copy(&mut from_server, &mut to_hub, { let mut is_deaf = is_deaf; move |_| !is_deaf() }) => {}
        _ = state.wait_for(|state| *state == State::Closed) => {}
    }
}

/// Copies bytes until one side ends; `passes` is asked about each part.
async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    mut passes: impl FnMut(&[u8]) -> bool,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if passes(&buffer[..length]) && to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
