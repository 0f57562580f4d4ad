//! Every transport carries bytes both ways, however they are cut.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails, in its helpers too"
)]

mod common;

use std::io::IoSlice;

use common::{Authority, Site, any_port, deadline, soon};
use crosspoint_net::{
    DialError, DialOptions, Incoming, ListenError, ListenOptions, Listener, PeerAddress, Stage, Stream,
    Transport, dial,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const ALL: [Transport; 5] = [Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss, Transport::Unix];

/// Sizes of the pieces that are written: odd, tiny, at and around the borders of frames and TLS records.
const PIECES: [usize; 9] = [1, 7, 125, 126, 4_099, 16_385, 65_535, 65_536, 300_007];

fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

async fn echo(stream: Stream) {
    let (mut read, mut write) = tokio::io::split(stream);
    let mut buffer = vec![0; 10_007];
    loop {
        let len = read.read(&mut buffer).await.unwrap();
        if len == 0 {
            break;
        }
        write.write_all(&buffer[..len]).await.unwrap();
        write.flush().await.unwrap();
    }
    write.shutdown().await.unwrap();
}

async fn send_and_receive(stream: Stream, bytes: &[u8]) -> Vec<u8> {
    let (mut read, mut write) = tokio::io::split(stream);
    let sending = async {
        let mut rest = bytes;
        for size in PIECES.into_iter().cycle() {
            let (piece, behind) = rest.split_at(size.min(rest.len()));
            write.write_all(piece).await.unwrap();
            write.flush().await.unwrap();
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
    };
    let mut received = vec![0; bytes.len()];
    let receiving = read.read_exact(&mut received);
    let ((), result) = tokio::join!(sending, receiving);
    result.unwrap();
    write.shutdown().await.unwrap();
    assert_eq!(read.read(&mut [0]).await.unwrap(), 0);
    received
}

#[tokio::test]
async fn a_mebibyte_in_odd_pieces_comes_back_over_every_transport() {
    for transport in ALL {
        let site = Site::new(transport).await;
        let (client, server) = site.pair().await;
        let bytes = pattern(1 << 20);
        let (received, ()) =
            soon(async { tokio::join!(send_and_receive(client, &bytes), echo(server)) }).await;
        assert!(received == bytes, "{transport}");
    }
}

#[tokio::test]
async fn slices_are_written_together_over_every_transport() {
    for transport in ALL {
        let site = Site::new(transport).await;
        let (mut client, mut server) = site.pair().await;
        let slices = [IoSlice::new(b"one"), IoSlice::new(b""), IoSlice::new(b"two"), IoSlice::new(b"three")];
        assert_eq!(soon(client.write_vectored(&slices)).await.unwrap(), 11);
        soon(client.flush()).await.unwrap();
        let mut received = [0; 11];
        soon(server.read_exact(&mut received)).await.unwrap();
        assert_eq!(&received, b"onetwothree", "{transport}");
    }
}

#[tokio::test]
async fn both_ends_know_each_other() {
    for transport in ALL {
        let site = Site::new(transport).await;
        let (client, server) = site.pair().await;
        for peer in [client.peer(), server.peer()] {
            assert_eq!(peer.transport(), transport);
            assert_eq!(peer.tls().is_some(), transport.is_encrypted());
            assert_eq!(peer.http().is_some(), transport.is_websocket());
            assert_eq!(*peer.address() == PeerAddress::Unix, transport == Transport::Unix);
        }
        if let Some(tls) = server.peer().tls() {
            assert_eq!((tls.server_name(), tls.version()), (Some("localhost"), Some("TLSv1_3")));
            assert!(tls.certificates().is_empty());
        }
        if let Some(http) = server.peer().http() {
            assert_eq!((http.path(), http.origin()), ("/mqtt", None));
            assert_eq!(http.host(), format!("localhost:{}", site.address().port()));
        }
    }
}

#[tokio::test]
async fn an_incoming_socket_lives_in_the_runtime_that_opens_it() {
    for transport in [Transport::Tcp, Transport::Wss] {
        let site = Site::new(transport).await;
        let acceptor = site.acceptor.clone();
        let (client, incoming) = tokio::join!(async { dial(&site.dial).await }, async {
            let incoming = soon(site.listener.accept()).await.unwrap();
            let until = deadline();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(soon(async move {
                    let mut stream = incoming.open(&acceptor, until).await.unwrap();
                    let mut word = [0; 4];
                    stream.read_exact(&mut word).await.unwrap();
                    stream.write_all(&word).await.unwrap();
                    stream.flush().await.unwrap();
                    // Until the client is done; dropping the runtime would cut it off.
                    let _ = stream.read(&mut word).await;
                }));
            })
        });
        let mut client = client.unwrap();
        soon(client.write_all(b"ping")).await.unwrap();
        soon(client.flush()).await.unwrap();
        let mut word = [0; 4];
        soon(client.read_exact(&mut word)).await.unwrap();
        assert_eq!(&word, b"ping");
        drop(client);
        incoming.join().unwrap();
    }
}

#[tokio::test]
async fn nagle_is_off_on_both_sides_and_the_socket_can_be_taken_out() {
    let site = Site::new(Transport::Tcp).await;
    let client = std::net::TcpStream::connect(site.address()).unwrap();
    let server = soon(site.listener.accept()).await.unwrap().into_std().unwrap();
    assert!(server.nodelay().unwrap());
    let again = Incoming::from_std(server).unwrap();
    assert_eq!(again.address(), PeerAddress::Ip(client.local_addr().unwrap()));
}

#[tokio::test]
async fn the_futures_of_opening_and_dialling_are_small() {
    let site = Site::new(Transport::Wss).await;
    let (_client, incoming) =
        tokio::join!(tokio::net::TcpStream::connect(site.address()), site.listener.accept());
    let opening = incoming.unwrap().open(&site.acceptor, deadline());
    assert!(size_of_val(&opening) <= 512, "{}", size_of_val(&opening));
    assert!(size_of_val(&dial(&site.dial)) <= 256, "{}", size_of_val(&dial(&site.dial)));
}

#[tokio::test]
async fn a_peer_that_leaves_at_once_does_not_disturb_the_next() {
    let site = Site::new(Transport::Tls).await;
    for _ in 0..20 {
        let socket = socket2::SockRef::from(&std::net::TcpStream::connect(site.address()).unwrap())
            .set_linger(Some(std::time::Duration::ZERO));
        socket.unwrap();
    }
    let accepting = async {
        loop {
            if let Ok(stream) = site.open().await {
                return stream;
            }
        }
    };
    let (client, mut server) = soon(async { tokio::join!(dial(&site.dial), accepting) }).await;
    let mut client = client.unwrap();
    soon(client.write_all(b"next")).await.unwrap();
    soon(client.flush()).await.unwrap();
    soon(server.read_exact(&mut [0; 4])).await.unwrap();
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let site = Site::new(Transport::Tcp).await;
    let error = Listener::bind(&ListenOptions::new(Transport::Tcp, site.address())).await.unwrap_err();
    assert!(matches!(&error, ListenError::InUse { bind } if *bind == site.address().to_string()), "{error}");
    let encrypted = ListenOptions::new(Transport::Tls, any_port());
    assert!(matches!(Listener::bind(&encrypted).await, Err(ListenError::TlsOptions(_))));
    let mismatch = ListenOptions::new(Transport::Unix, any_port());
    assert!(matches!(Listener::bind(&mismatch).await, Err(ListenError::Mismatch { .. })));
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_of_a_unix_socket_is_replaced_only_when_nobody_listens() {
    let site = Site::new(Transport::Unix).await;
    let options = ListenOptions::unix(site.path());
    assert!(matches!(Listener::bind(&options).await, Err(ListenError::InUse { .. })));

    let folder = tempfile::tempdir().unwrap();
    let left_behind = folder.path().join("left-behind");
    drop(std::os::unix::net::UnixListener::bind(&left_behind).unwrap());
    let listener = Listener::bind(&ListenOptions::unix(&left_behind)).await.unwrap();
    drop(listener);
    assert!(!left_behind.exists());
    let refused = dial(&DialOptions::unix(&left_behind)).await.unwrap_err();
    assert_eq!(refused.stage(), Some(Stage::Connect));

    let a_file = folder.path().join("file");
    std::fs::write(&a_file, "precious").unwrap();
    assert!(matches!(
        Listener::bind(&ListenOptions::unix(&a_file)).await,
        Err(ListenError::NotASocket { .. })
    ));
    assert!(a_file.exists());
}

#[tokio::test]
async fn a_refused_port_is_called_refused() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = soon(dial(&DialOptions::new(Transport::Tcp, "127.0.0.1", port))).await.unwrap_err();
    assert!(matches!(&error, DialError::Refused { attempts, .. } if attempts.len() == 1), "{error}");
    assert_eq!(error.to_string(), format!("127.0.0.1:{port} refuses connections"));
}

#[tokio::test]
async fn a_name_without_an_address_fails_at_resolving() {
    // An empty label is no name to any resolver, so that nothing leaves this machine.
    let error = soon(dial(&DialOptions::new(Transport::Tcp, "no..such", 1883))).await.unwrap_err();
    assert!(matches!(&error, DialError::Resolve { host, .. } if host == "no..such"), "{error}");
}

#[tokio::test]
async fn certificates_are_reloaded_for_new_connections_only() {
    let site = Site::new(Transport::Tls).await;
    let (mut client, mut server) = site.pair().await;
    let other = Authority::new();
    site.acceptor.reload_tls(&other.server("localhost")).unwrap();
    let (refused, _) = tokio::join!(dial(&site.dial), site.open());
    assert!(matches!(refused, Err(DialError::Tls { .. })));
    let trusting = site.dial.clone().tls(other.client());
    let (accepted, _server) = tokio::join!(dial(&trusting), site.open());
    accepted.unwrap();
    soon(client.write_all(b"still here")).await.unwrap();
    soon(client.flush()).await.unwrap();
    soon(server.read_exact(&mut [0; 10])).await.unwrap();
}
