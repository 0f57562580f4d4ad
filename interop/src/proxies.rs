//! Proxies that others wrote. Each wants a login.

use crate::Peer;
use crate::server::Server;

/// Tinyproxy, which speaks HTTP and lets `CONNECT` through for `me` with the password `secret`.
#[derive(Debug)]
pub struct Tinyproxy(Server<1>);

impl Tinyproxy {
    /// Starts it. Where `port` is given, it connects to no other.
    pub async fn start(port: Option<u16>) -> Option<Self> {
        let server = Server::start_by(Peer::Tinyproxy, |folder, [own]| {
            let file = folder.join("tinyproxy.conf").to_str().unwrap().to_owned();
            let only = port.map(|port| format!("ConnectPort {port}\n")).unwrap_or_default();
            let lines = format!(
                "Port {own}\nListen 127.0.0.1\nAllow 127.0.0.1\nTimeout 60\nMaxClients 10\nLogLevel Info\n\
                 BasicAuth me secret\n{only}"
            );
            std::fs::write(&file, lines).unwrap();
            ["-d", "-c", &file].map(str::to_owned).to_vec()
        });
        server.await.map(Self)
    }

    /// Returns its port.
    pub const fn port(&self) -> u16 {
        self.0.ports()[0]
    }

    /// Waits for a line of its log that holds a text, and returns it.
    ///
    /// # Panics
    /// When it does not come in time.
    pub async fn logged(&self, text: &str) -> String {
        self.0.logged(text).await
    }
}

/// Microsocks, which speaks SOCKS5 and lets `me` through with the password `secret`.
#[derive(Debug)]
pub struct Microsocks(Server<1>);

impl Microsocks {
    /// Starts it.
    pub async fn start() -> Option<Self> {
        let server = Server::start_by(Peer::Microsocks, |_, [own]| {
            let port = own.to_string();
            ["-i", "127.0.0.1", "-p", &port, "-u", "me", "-P", "secret"].map(str::to_owned).to_vec()
        });
        server.await.map(Self)
    }

    /// Returns its port.
    pub const fn port(&self) -> u16 {
        self.0.ports()[0]
    }

    /// Waits for a line of its log that holds a text, and returns it.
    ///
    /// # Panics
    /// When it does not come in time.
    pub async fn logged(&self, text: &str) -> String {
        self.0.logged(text).await
    }
}
