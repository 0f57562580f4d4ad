//! Our broker, on all its transports.

use std::sync::Arc;

use crosspoint_broker::access::{Password, User, Users, hash_password};
use crosspoint_broker::{Broker, ListenerOptions};
use crosspoint_net::{ListenOptions, Pem, TlsServerOptions, Transport};

use crate::Authority;

/// Our broker with a TCP, a TLS, a WebSocket and a WebSocket-over-TLS listener on loopback.
#[derive(Debug)]
pub struct OurBroker {
    broker: Broker,
    /// Who signed its certificate.
    pub authority: Authority,
}

impl OurBroker {
    /// Starts it for everybody.
    pub async fn start() -> Self {
        Self::with(None).await
    }

    /// Starts it for one user only, whose password it knows as an Argon2id hash only.
    ///
    /// # Panics
    /// When the password cannot be hashed.
    pub async fn for_user(name: &str, password: &str) -> Self {
        let hash = hash_password(password.as_bytes()).unwrap();
        let password = Password::argon2id(&hash).unwrap();
        let user = User { name: name.to_owned(), password, roles: Vec::new() };
        Self::with(Some(Users::new(vec![user], Vec::new()).unwrap())).await
    }

    /// Starts it for these users only.
    pub async fn of_users(users: Users) -> Self {
        Self::with(Some(users)).await
    }

    async fn with(users: Option<Users>) -> Self {
        let authority = Authority::new();
        let identity = authority.sign("broker");
        let anonymous = users.is_none();
        let mut builder = Broker::builder().access(Arc::new(users.unwrap_or_default()));
        for (name, transport) in LISTENERS {
            let tls = TlsServerOptions::new(Pem::file(&identity.certificate), Pem::file(&identity.key));
            let any_port: std::net::SocketAddr = ([127, 0, 0, 1], 0).into();
            let listen = ListenOptions::new(transport, any_port).tls(tls);
            builder = builder.listener(ListenerOptions::new(name, listen).anonymous(anonymous));
        }
        Self { broker: builder.start().await.unwrap(), authority }
    }

    /// Returns the port of a transport.
    ///
    /// # Panics
    /// It has none for this transport.
    pub fn port(&self, transport: Transport) -> u16 {
        let name = LISTENERS.iter().find(|(_, listening)| *listening == transport).unwrap().0;
        self.broker.address(name).unwrap().port()
    }

    /// Returns how many subscriptions it has.
    pub fn subscriptions(&self) -> u64 {
        self.broker.statistics().subscriptions
    }

    /// Stops it.
    pub async fn stop(self) {
        self.broker.stop().await;
    }
}

const LISTENERS: [(&str, Transport); 4] =
    [("tcp", Transport::Tcp), ("tls", Transport::Tls), ("ws", Transport::Ws), ("wss", Transport::Wss)];
