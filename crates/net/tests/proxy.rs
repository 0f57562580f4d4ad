//! Through a proxy on every transport, and what is said when it does not let us through.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails, in its helpers too"
)]

mod common;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Site, soon};
use crosspoint_net::{DialError, DialOptions, Proxy, ProxyFault, ProxyKind, Stage, Transport, dial};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const NETWORK: [Transport; 4] = [Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss];
const KINDS: [ProxyKind; 3] = [ProxyKind::Http, ProxyKind::Socks5, ProxyKind::Socks5Hostname];

/// A proxy that speaks one kind and takes every name for this machine. It ends when it is dropped.
struct TestProxy {
    address: SocketAddr,
    /// What it was asked to connect to.
    asked: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

impl TestProxy {
    /// `login` is the user name and password that it wants.
    async fn start(kind: ProxyKind, login: Option<(&'static str, &'static str)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let notes = Arc::clone(&asked);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let notes = Arc::clone(&notes);
                connections.spawn(async move {
                    let served = match kind {
                        ProxyKind::Http => http(stream, login, &notes).await,
                        _ => socks(stream, login, &notes).await,
                    };
                    // Whoever hangs up early has its reasons; the test looks at its own end.
                    drop(served);
                });
            }
        });
        Self { address, asked, _serving: serving }
    }

    fn proxy(&self, kind: ProxyKind) -> Proxy {
        Proxy::new(kind, "127.0.0.1", self.address.port())
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn http(
    mut stream: TcpStream,
    login: Option<(&str, &str)>,
    notes: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.strip_prefix("CONNECT ").unwrap().split(' ').next().unwrap().to_owned();
    // "me:secret" in base64, by hand.
    let expected = login.map(|_| "Proxy-Authorization: Basic bWU6c2VjcmV0\r\n");
    if expected.is_some_and(|expected| !head.contains(expected)) {
        return stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await;
    }
    notes.lock().unwrap().push(target.clone());
    let port: u16 = target.rsplit(':').next().unwrap().parse().unwrap();
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else {
        return stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").await;
    };
    stream.write_all(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n").await?;
    copy_bidirectional(&mut stream, &mut server).await.map(drop)
}

async fn socks(
    mut stream: TcpStream,
    login: Option<(&str, &str)>,
    notes: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    assert_eq!(stream.read_u8().await?, 5);
    let mut methods = vec![0; usize::from(stream.read_u8().await?)];
    stream.read_exact(&mut methods).await?;
    let method = if login.is_some() { 2 } else { 0 };
    if !methods.contains(&method) {
        return stream.write_all(&[5, 0xFF]).await;
    }
    stream.write_all(&[5, method]).await?;
    if let Some((username, password)) = login {
        assert_eq!(stream.read_u8().await?, 1);
        let given = (read_text(&mut stream).await?, read_text(&mut stream).await?);
        let is_right = given == (username.to_owned(), password.to_owned());
        stream.write_all(&[1, u8::from(!is_right)]).await?;
        if !is_right {
            return Ok(());
        }
    }
    let mut request = [0; 4];
    stream.read_exact(&mut request).await?;
    assert_eq!(request[..3], [5, 1, 0]);
    let host = match request[3] {
        1 => std::net::Ipv4Addr::from(stream.read_u32().await?).to_string(),
        3 => read_text(&mut stream).await?,
        4 => std::net::Ipv6Addr::from(stream.read_u128().await?).to_string(),
        other => panic!("an address of kind {other}"),
    };
    let port = stream.read_u16().await?;
    notes.lock().unwrap().push(format!("{host}:{port}"));
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else {
        return stream.write_all(&[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]).await;
    };
    // A name as the bound address, which is the longest form.
    stream.write_all(b"\x05\x00\x00\x03\x04here\x00\x01").await?;
    copy_bidirectional(&mut stream, &mut server).await.map(drop)
}

async fn read_text(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut bytes = vec![0; usize::from(stream.read_u8().await?)];
    stream.read_exact(&mut bytes).await?;
    Ok(String::from_utf8(bytes).unwrap())
}

async fn refused(options: &DialOptions) -> (ProxyFault, String) {
    match soon(dial(options)).await {
        Err(error) => {
            assert_eq!(error.stage(), Some(Stage::Proxy), "{error}");
            let shown = format!("{error}; {}", error.hint());
            let DialError::Proxy { fault, .. } = error else { panic!("{error}") };
            (fault, shown)
        }
        Ok(_) => panic!("it lets us through"),
    }
}

#[tokio::test]
async fn every_transport_goes_through_every_kind_of_proxy() {
    for kind in KINDS {
        for (transport, login) in NETWORK.into_iter().zip([None, Some(("me", "secret"))].into_iter().cycle())
        {
            let site = Site::new(transport).await;
            let proxy = TestProxy::start(kind, login).await;
            let through = match login {
                Some((username, password)) => proxy.proxy(kind).login(username, password),
                None => proxy.proxy(kind),
            };
            let options = site.dial.clone().proxy(through);
            let (client, server) = soon(async { tokio::join!(dial(&options), site.open()) }).await;
            let (mut client, mut server) = (client.unwrap(), server.unwrap());
            let mut read = [0; 4];
            client.write_all(b"ping").await.unwrap();
            client.flush().await.unwrap();
            soon(server.read_exact(&mut read)).await.unwrap();
            server.write_all(b"pong").await.unwrap();
            server.flush().await.unwrap();
            soon(client.read_exact(&mut read)).await.unwrap();
            assert_eq!(&read, b"pong", "{kind:?} {transport}");
            assert!(!proxy.asked().is_empty(), "{kind:?} {transport}: it went past the proxy");
        }
    }
}

#[tokio::test]
async fn who_resolves_the_name_is_as_the_kind_says() {
    let site = Site::new(Transport::Tcp).await;
    let port = site.address().port();
    let of = |kind, proxy: &TestProxy| {
        DialOptions::new(Transport::Tcp, "broker.invalid", port).proxy(proxy.proxy(kind))
    };
    for kind in [ProxyKind::Http, ProxyKind::Socks5Hostname] {
        let proxy = TestProxy::start(kind, None).await;
        let options = of(kind, &proxy);
        let (client, server) = soon(async { tokio::join!(dial(&options), site.open()) }).await;
        client.unwrap();
        server.unwrap();
        assert_eq!(proxy.asked(), [format!("broker.invalid:{port}")]);
    }
    let proxy = TestProxy::start(ProxyKind::Socks5, None).await;
    let error = soon(dial(&of(ProxyKind::Socks5, &proxy))).await.unwrap_err();
    assert!(matches!(&error, DialError::Resolve { host, .. } if host == "broker.invalid"), "{error}");
    assert!(proxy.asked().is_empty());
}

#[tokio::test]
async fn a_proxy_that_wants_a_login_says_so_and_a_wrong_one_is_not_taken() {
    for kind in KINDS {
        let proxy = TestProxy::start(kind, Some(("me", "secret"))).await;
        let to = |through| DialOptions::new(Transport::Tcp, "127.0.0.1", 1).proxy(through);
        let (fault, shown) = refused(&to(proxy.proxy(kind))).await;
        let is_asked_for = matches!(
            fault,
            ProxyFault::Refused { status: 407, has_login: false, .. }
                | ProxyFault::WantsLogin { has_login: false }
        );
        assert!(is_asked_for && shown.contains("set `proxy.username`"), "{shown}");
        let options = to(proxy.proxy(kind).login("me", "hunter2"));
        let (fault, shown) = refused(&options).await;
        let is_refused = matches!(
            fault,
            ProxyFault::Refused { status: 407, has_login: true, .. } | ProxyFault::LoginRefused
        );
        assert!(is_refused && shown.contains("check `proxy.username`"), "{shown}");
        assert!(!format!("{options:?}{shown}").contains("hunter2"), "{options:?}{shown}");
        assert!(proxy.asked().is_empty(), "nobody without a login gets to connect");
    }
}

#[tokio::test]
async fn a_server_that_the_proxy_cannot_reach_is_told_from_a_proxy_that_we_cannot_reach() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    for kind in KINDS {
        let proxy = TestProxy::start(kind, None).await;
        let options = DialOptions::new(Transport::Tcp, "127.0.0.1", closed).proxy(proxy.proxy(kind));
        let (fault, shown) = refused(&options).await;
        let is_behind =
            matches!(fault, ProxyFault::Refused { status: 502, .. } | ProxyFault::Failed { code: 5 });
        assert!(is_behind && shown.contains("does not get to the server"), "{shown}");

        let nowhere = Proxy::new(kind, "127.0.0.1", closed);
        let (fault, shown) = refused(&DialOptions::new(Transport::Tcp, "127.0.0.1", 1).proxy(nowhere)).await;
        assert!(matches!(fault, ProxyFault::Unreachable(_)), "{shown}");
        assert!(shown.contains("cannot be used") && shown.contains(&closed.to_string()), "{shown}");
    }
}

#[tokio::test]
async fn what_is_no_proxy_is_named() {
    for (kind, answer) in [
        (ProxyKind::Http, &b"\x05\xff\x00\x00\x00\x00"[..]),
        (ProxyKind::Http, b"HTTP/1.1 200 OK\r\n\r\nand more"),
        (ProxyKind::Socks5, b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        (ProxyKind::Socks5, b"\x05\x02"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::new(kind, "127.0.0.1", listener.local_addr().unwrap().port());
        let options = DialOptions::new(Transport::Tcp, "127.0.0.1", 1).proxy(proxy);
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(answer).await.unwrap();
            stream.flush().await.unwrap();
            // Until the other side is done with it.
            let mut rest = Vec::new();
            drop(stream.read_to_end(&mut rest).await);
        };
        let ((fault, shown), ()) = soon(async { tokio::join!(refused(&options), server) }).await;
        assert!(matches!(fault, ProxyFault::Other(_)), "{shown}");
        assert!(shown.contains("http:// or socks5://"), "{shown}");
    }
}

#[tokio::test]
async fn a_proxy_that_says_nothing_is_left_at_the_deadline_with_its_stage() {
    for kind in KINDS {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::new(kind, "127.0.0.1", listener.local_addr().unwrap().port());
        let options = DialOptions::new(Transport::Tcp, "127.0.0.1", 1)
            .proxy(proxy)
            .connect_timeout(Duration::from_millis(200));
        let error = soon(dial(&options)).await.unwrap_err();
        assert!(matches!(error, DialError::TimedOut { stage: Stage::Proxy, .. }), "{error}");
    }
}
