//! The way to the server as far as TCP: its addresses, or a proxy that knows the way.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::Dialling;
use crate::connect::{Attempt, connect_any};
use crate::dial_error::{DialError, Stage};
use crate::peer::{Peer, PeerAddress};
use crate::proxy::{Goal, Proxy, ProxyFault, ProxyKind};

/// So many probes without an answer end a connection.
const KEEPALIVE_PROBES: u32 = 3;

impl Dialling<'_> {
    /// Connects to the server, or through the proxy to it.
    pub(super) async fn tcp(&self) -> Result<(TcpStream, Peer), DialError> {
        let options = self.options;
        let (tcp, address) = match &options.proxy {
            None => self.connect(&options.host, options.port).await?,
            Some(proxy) => self.through(proxy).await?,
        };
        tcp.set_nodelay(true).map_err(|source| self.io(Stage::Connect, source))?;
        if let Some(idle) = options.tcp_keepalive {
            keep_alive(&tcp, idle).map_err(|source| self.io(Stage::Connect, source))?;
        }
        Ok((tcp, Peer::new(PeerAddress::Ip(address), options.transport)))
    }

    async fn through(&self, proxy: &Proxy) -> Result<(TcpStream, SocketAddr), DialError> {
        let (host, port) = (self.options.host.as_str(), self.options.port);
        match (proxy.kind(), host.parse::<IpAddr>()) {
            (ProxyKind::Socks5 | ProxyKind::Socks5Hostname, Ok(address)) => {
                self.ask(proxy, Goal::Address(SocketAddr::new(address, port))).await
            }
            (ProxyKind::Http | ProxyKind::Socks5Hostname, _) => self.ask(proxy, Goal::Name(host, port)).await,
            (ProxyKind::Socks5, Err(_)) => {
                let mut last = None;
                for address in self.resolve(host, port).await? {
                    match self.ask(proxy, Goal::Address(address)).await {
                        Ok(reached) => return Ok(reached),
                        Err(error) => last = Some(error),
                    }
                }
                Err(last.unwrap_or_else(|| no_address(host)))
            }
        }
    }

    async fn ask(&self, proxy: &Proxy, goal: Goal<'_>) -> Result<(TcpStream, SocketAddr), DialError> {
        let failed = |fault| DialError::Proxy { proxy: proxy.target(), target: self.options.target(), fault };
        let reaching = self.connect(proxy.host(), proxy.port()).await;
        let (mut tcp, address) =
            reaching.map_err(|error| failed(ProxyFault::Unreachable(Box::new(error))))?;
        self.before_deadline(Stage::Proxy, proxy.ask(&mut tcp, goal)).await?.map_err(failed)?;
        Ok((tcp, address))
    }

    async fn connect(&self, host: &str, port: u16) -> Result<(TcpStream, SocketAddr), DialError> {
        let addresses = self.resolve(host, port).await?;
        let target = super::target(host, port);
        connect_any(addresses, self.deadline).await.map_err(|attempts| self.not_connected(target, attempts))
    }

    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, DialError> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let found = self.before_deadline(Stage::Resolve, tokio::net::lookup_host((host, port))).await?;
        let found = found.map_err(|source| DialError::Resolve { host: host.to_owned(), source })?;
        let addresses: Vec<SocketAddr> = found.collect();
        if addresses.is_empty() { Err(no_address(host)) } else { Ok(addresses) }
    }

    fn not_connected(&self, target: String, attempts: Vec<Attempt>) -> DialError {
        let all = |kind| attempts.iter().all(|attempt| attempt.error.kind() == kind);
        if all(io::ErrorKind::ConnectionRefused) {
            DialError::Refused { target, attempts }
        } else if Instant::now() >= self.deadline {
            let after = self.options.connect_timeout;
            DialError::TimedOut { target, stage: Stage::Connect, after, attempts }
        } else {
            DialError::Unreachable { target, attempts }
        }
    }
}

fn no_address(host: &str) -> DialError {
    let source = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    DialError::Resolve { host: host.to_owned(), source }
}

/// Lets the system probe the other side after so much silence, and end the connection when three probes, a third of
/// that time apart, stay without an answer: so within twice the time.
fn keep_alive(tcp: &TcpStream, idle: Duration) -> io::Result<()> {
    let interval = (idle / KEEPALIVE_PROBES).max(Duration::from_secs(1));
    let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval);
    let socket = SockRef::from(tcp);
    socket.set_tcp_keepalive(&with_probes(keepalive))
}

// Where the number of probes is the system's own, it stays so.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "macos", windows))]
fn with_probes(keepalive: TcpKeepalive) -> TcpKeepalive {
    keepalive.with_retries(KEEPALIVE_PROBES)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "macos", windows)))]
fn with_probes(keepalive: TcpKeepalive) -> TcpKeepalive {
    keepalive
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use crate::dial::DialOptions;
    use crate::stream::Transport;

    async fn keepalive_of(options: impl FnOnce(DialOptions) -> DialOptions) -> Option<[u64; 3]> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let options = options(DialOptions::new(Transport::Tcp, "127.0.0.1", port));
        let deadline = Instant::now() + Duration::from_secs(20);
        let (tcp, _) = Dialling { options: &options, deadline }.tcp().await.unwrap();
        let socket = SockRef::from(&tcp);
        let seconds = |duration: io::Result<Duration>| duration.unwrap().as_secs();
        socket.keepalive().unwrap().then(|| {
            let probes = u64::from(socket.tcp_keepalive_retries().unwrap());
            [seconds(socket.tcp_keepalive_time()), seconds(socket.tcp_keepalive_interval()), probes]
        })
    }

    #[tokio::test]
    async fn the_system_is_told_to_probe_exactly_when_it_is_asked_to() {
        assert_eq!(keepalive_of(|options| options).await, None);
        let of = |seconds| move |options: DialOptions| options.tcp_keepalive(Duration::from_secs(seconds));
        assert_eq!(keepalive_of(of(30)).await, Some([30, 10, 3]));
        assert_eq!(keepalive_of(of(1)).await, Some([1, 1, 3]));
    }
}
