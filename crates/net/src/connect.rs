//! Connects to the first address that answers, after RFC 8305 ("happy eyeballs").
//!
//! Addresses of both families take turns, version 6 first. Each attempt gets a head start of 250 ms; then the
//! next one starts beside it, or at once when one fails. The first connection wins and the others are dropped.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

const HEAD_START: Duration = Duration::from_millis(250);

/// One attempt to connect that came to nothing.
#[derive(Debug)]
pub struct Attempt {
    /// The address that was tried.
    pub address: SocketAddr,
    /// What became of it; an attempt that was still under way at the deadline is `TimedOut`.
    pub error: io::Error,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.address, self.outcome())
    }
}

impl Attempt {
    /// Returns what became of it, in plain words.
    pub(crate) fn outcome(&self) -> String {
        plain(&self.error)
    }
}

/// Connects to one of the addresses before the deadline, or tells what became of each.
///
/// # Cancel safety
/// Dropping the future ends all attempts.
pub(crate) async fn connect_any(
    addresses: Vec<SocketAddr>,
    deadline: Instant,
) -> Result<(TcpStream, SocketAddr), Vec<Attempt>> {
    let mut waiting = interleave(addresses);
    let mut under_way = Vec::new();
    let mut failed = Vec::new();
    let mut attempts = JoinSet::new();
    loop {
        if let Some(address) = waiting.pop_front() {
            under_way.push(address);
            attempts.spawn(async move { (address, TcpStream::connect(address).await) });
        }
        let head_start =
            if waiting.is_empty() { deadline } else { deadline.min(Instant::now() + HEAD_START) };
        match timeout_at(head_start, attempts.join_next()).await {
            Ok(Some(Ok((address, Ok(stream))))) => return Ok((stream, address)),
            Ok(Some(Ok((address, Err(error))))) => {
                under_way.retain(|other| *other != address);
                failed.push(Attempt { address, error });
            }
            Ok(Some(Err(_))) => {}
            Ok(None) => return Err(failed),
            Err(_) if Instant::now() >= deadline => break,
            Err(_) => {}
        }
    }
    let timed_out = |address| Attempt { address, error: io::ErrorKind::TimedOut.into() };
    failed.extend(under_way.into_iter().chain(waiting).map(timed_out));
    Err(failed)
}

fn interleave(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let (mut v6, mut v4): (VecDeque<_>, VecDeque<_>) = addresses.into_iter().partition(SocketAddr::is_ipv6);
    let mut turns = VecDeque::with_capacity(v6.len() + v4.len());
    while !(v6.is_empty() && v4.is_empty()) {
        turns.extend(v6.pop_front());
        turns.extend(v4.pop_front());
    }
    turns
}

/// Says what happened without the number of the system error, which differs from system to system.
fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "refused".to_owned(),
        io::ErrorKind::TimedOut => "no answer".to_owned(),
        io::ErrorKind::HostUnreachable => "host unreachable".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network unreachable".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Socket, Type};

    /// Listens without ever accepting, its queue full: further attempts to connect get no answer at all.
    struct DeadAddress {
        address: SocketAddr,
        _listener: Socket,
        _queued: Vec<Socket>,
    }

    fn dead_address() -> DeadAddress {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let queue = |_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            // In progress is all that is wanted: the queue holds one, the rest stay without an answer.
            socket.connect(&address.into()).unwrap_err();
            socket
        };
        let queued = (0..8).map(queue).collect();
        DeadAddress { address, _listener: listener, _queued: queued }
    }

    fn refusing_address() -> SocketAddr {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    fn within(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    #[test]
    fn families_take_turns_version_6_first() {
        let parse = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (a, b, c) = (parse("1.1.1.1:1"), parse("2.2.2.2:1"), parse("[::3]:1"));
        assert_eq!(interleave(vec![a, b, c]), [c, a, b]);
    }

    #[tokio::test]
    async fn a_dead_first_address_costs_only_the_head_start() {
        let dead = dead_address();
        let alive = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let alive = alive.local_addr().map(|address| (alive, address)).unwrap();
        let before = Instant::now();
        let (stream, address) = connect_any(vec![dead.address, alive.1], within(20)).await.unwrap();
        assert_eq!((stream.peer_addr().unwrap(), address), (alive.1, alive.1));
        assert!(before.elapsed() >= HEAD_START);
    }

    #[tokio::test]
    async fn a_refused_address_is_followed_at_once_by_the_next() {
        let alive = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = alive.local_addr().unwrap();
        let (_, won) = connect_any(vec![refusing_address(), address], within(20)).await.unwrap();
        assert_eq!(won, address);
    }

    #[tokio::test]
    async fn every_failure_is_reported() {
        let dead = dead_address();
        let refusing = refusing_address();
        let deadline = Instant::now() + Duration::from_millis(700);
        let failed = connect_any(vec![dead.address, refusing], deadline).await.unwrap_err();
        let of = |address| failed.iter().find(|attempt| attempt.address == address).unwrap().error.kind();
        assert_eq!(of(dead.address), io::ErrorKind::TimedOut);
        assert_eq!(of(refusing), io::ErrorKind::ConnectionRefused);
        assert_eq!(failed.len(), 2);
    }
}
