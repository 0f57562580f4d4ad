//! A stretch of network that a test can break.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What happens to bytes on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passage {
    Open,
    /// Nothing passes and nobody is told.
    Stalled,
    /// What the server says does not arrive; what the client says does.
    HalfOpen,
}

pub(crate) struct Proxy {
    port: u16,
    passage: watch::Sender<Passage>,
    /// Counts the cuts; each connection ends with the one after its beginning.
    cuts: watch::Sender<u64>,
    connections: Arc<AtomicU64>,
    _task: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (passage, cuts) = (watch::Sender::new(Passage::Open), watch::Sender::new(0));
        let connections = Arc::<AtomicU64>::default();
        let mut task = JoinSet::new();
        let (open, cut, count) = (passage.subscribe(), cuts.subscribe(), connections.clone());
        task.spawn(async move {
            let mut pairs = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                count.fetch_add(1, Relaxed);
                pairs.spawn(join(client, server, open.clone(), cut.clone()));
            }
        });
        Self { port, passage, cuts, connections, _task: task }
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Returns how many connections there have been.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Relaxed)
    }

    /// Cuts every connection. New ones may come.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    pub(crate) fn set(&self, passage: Passage) {
        self.passage.send_replace(passage);
    }
}

async fn join(
    client: TcpStream,
    server: SocketAddr,
    open: watch::Receiver<Passage>,
    mut cut: watch::Receiver<u64>,
) {
    cut.mark_unchanged();
    let Ok(server) = TcpStream::connect(server).await else { return };
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let up = carry(from_client, to_server, open.clone(), &[Passage::Open, Passage::HalfOpen]);
    let down = carry(from_server, to_client, open, &[Passage::Open]);
    tokio::select! {
        _ = up => {}
        _ = down => {}
        _ = cut.changed() => {}
    }
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut open: watch::Receiver<Passage>,
    passes_when: &[Passage],
) -> Option<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = from.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        open.wait_for(|passage| passes_when.contains(passage)).await.ok()?;
        to.write_all(&buffer[..count]).await.ok()?;
    }
}
