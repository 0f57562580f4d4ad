//! What the tests of this room share: a listener with its echo, authorities and their certificates.
#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crosspoint_net::{
    Acceptor, BindAddress, DialOptions, ListenOptions, Listener, OpenError, Pem, Stream, TlsClientOptions,
    TlsServerOptions, Transport, dial,
};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose as Usage, IsCa, Issuer, KeyPair,
};
use tokio::time::{Instant, timeout};

/// The time that anything in these tests may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Fails the test when it takes too long.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(DEADLINE, work).await.expect("the test took too long")
}

pub(crate) fn deadline() -> Instant {
    Instant::now() + DEADLINE
}

pub(crate) fn any_port() -> BindAddress {
    BindAddress::Ip("127.0.0.1:0".parse().unwrap())
}

/// A certificate authority and what it signs.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key, in PEM form.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    /// Makes an authority with a name that no other in this process has.
    pub(crate) fn new() -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        Self::named(&format!("authority {}", MADE.fetch_add(1, Ordering::Relaxed)))
    }

    pub(crate) fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    pub(crate) fn pem(&self) -> Pem {
        Pem::inline(&self.pem)
    }

    pub(crate) fn sign(&self, name: &str, edit: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![Usage::ServerAuth, Usage::ClientAuth];
        edit(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { certificate, key: key.serialize_pem() }
    }

    pub(crate) fn server(&self, name: &str) -> TlsServerOptions {
        self.sign(name, |_| {}).server()
    }

    pub(crate) fn client(&self) -> TlsClientOptions {
        TlsClientOptions::default().authority(self.pem())
    }
}

impl Identity {
    pub(crate) fn server(&self) -> TlsServerOptions {
        TlsServerOptions::new(Pem::inline(&self.certificate), Pem::inline(&self.key))
    }
}

/// A listener of one transport on loopback, and the way to dial it.
pub(crate) struct Site {
    pub(crate) listener: Listener,
    pub(crate) acceptor: Arc<Acceptor>,
    pub(crate) authority: Authority,
    pub(crate) dial: DialOptions,
    _folder: Option<tempfile::TempDir>,
}

impl Site {
    pub(crate) async fn new(transport: Transport) -> Self {
        Self::with(transport, |options| options).await
    }

    pub(crate) async fn with(
        transport: Transport,
        edit: impl FnOnce(ListenOptions) -> ListenOptions,
    ) -> Self {
        let authority = Authority::new();
        let folder = (transport == Transport::Unix).then(|| tempfile::tempdir().unwrap());
        let options = match &folder {
            Some(folder) => ListenOptions::unix(folder.path().join("socket")),
            None => ListenOptions::new(transport, any_port()).tls(authority.server("localhost")),
        };
        let listener = Listener::bind(&edit(options)).await.unwrap();
        let dial = match listener.local_addr() {
            BindAddress::Ip(address) => DialOptions::new(transport, "localhost", address.port()),
            BindAddress::Unix(path) => DialOptions::unix(path),
        };
        let dial = dial.tls(authority.client()).connect_timeout(DEADLINE);
        Self { acceptor: listener.acceptor(), listener, authority, dial, _folder: folder }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match self.listener.local_addr() {
            BindAddress::Ip(address) => *address,
            BindAddress::Unix(path) => panic!("{} is a path", path.display()),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        match self.listener.local_addr() {
            BindAddress::Ip(address) => panic!("{address} is no path"),
            BindAddress::Unix(path) => path.clone(),
        }
    }

    /// Accepts one connection and opens it.
    pub(crate) async fn open(&self) -> Result<Stream, OpenError> {
        let incoming = soon(self.listener.accept()).await.unwrap();
        soon(incoming.open(&self.acceptor, deadline())).await
    }

    /// Returns both ends of a connection.
    pub(crate) async fn pair(&self) -> (Stream, Stream) {
        let (client, server) = tokio::join!(dial(&self.dial), self.open());
        (client.unwrap(), server.unwrap())
    }
}
