//! WebSocket as others see it: raw HTTP, and the frames of another implementation's hands.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails, in its helpers too"
)]

mod common;

use common::{Site, soon};
use crosspoint_net::{
    DialError, DialOptions, OpenError, Refusal, Spoken, Stage, Stream, Subprotocol, Transport, dial,
};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_websockets::{ClientBuilder, Message, WebSocketStream};

fn request(port: u16, path: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

const OFFER: &str = "Sec-WebSocket-Protocol: mqtt\r\n";

/// Sends raw bytes to a WebSocket port; gives what is answered and what became of the server's side.
async fn answer_to(site: &Site, request: &str) -> (String, Result<Stream, OpenError>) {
    let mut tcp = TcpStream::connect(site.address()).await.unwrap();
    tcp.write_all(request.as_bytes()).await.unwrap();
    let server = site.open().await;
    let mut answer = String::new();
    soon(tcp.read_to_string(&mut answer)).await.unwrap();
    (answer, server)
}

/// Upgrades by hand and leaves the frames to another implementation.
async fn foreign_client(site: &Site, behind_the_head: &[u8]) -> (WebSocketStream<TcpStream>, Stream) {
    let mut tcp = TcpStream::connect(site.address()).await.unwrap();
    let mut bytes = request(site.address().port(), "/mqtt", OFFER).into_bytes();
    bytes.extend_from_slice(behind_the_head);
    tcp.write_all(&bytes).await.unwrap();
    let server = site.open().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon(tcp.read_u8()).await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    (ClientBuilder::new().take_over(tcp), server)
}

async fn read_some(stream: &mut Stream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    soon(stream.read_exact(&mut bytes)).await.unwrap();
    bytes
}

#[tokio::test]
async fn a_foreign_origin_is_refused_with_403() {
    let site = Site::with(Transport::Ws, |options| options.ws_origin("https://dash.example")).await;
    let port = site.address().port();
    let (answer, server) = answer_to(&site, &request(port, "/mqtt", "Origin: http://evil.example\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("http://evil.example"), "{answer}");
    assert!(matches!(server, Err(OpenError::Refused(Refusal::ForeignOrigin { .. }))));
    for welcome in [format!("http://127.0.0.1:{port}"), "https://dash.example".to_owned()] {
        let options = site.dial.clone().ws_header("Origin", &welcome);
        let options = if welcome.contains("127") { to_address(&options, port) } else { options };
        let (client, server) = tokio::join!(dial(&options), site.open());
        client.unwrap();
        assert_eq!(server.unwrap().peer().http().unwrap().origin(), Some(welcome.as_str()));
    }
}

fn to_address(options: &DialOptions, port: u16) -> DialOptions {
    DialOptions::new(options.transport(), "127.0.0.1", port)
        .ws_header("Origin", format!("http://127.0.0.1:{port}"))
}

#[tokio::test]
async fn a_wrong_path_and_a_missing_subprotocol_are_answered_with_reasons() {
    let site = Site::new(Transport::Ws).await;
    let port = site.address().port();
    let (answer, server) = answer_to(&site, &request(port, "/other", OFFER)).await;
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("/other"), "{answer}");
    assert!(matches!(server, Err(OpenError::Refused(Refusal::WrongPath { .. }))));
    let (answer, _) = answer_to(&site, &request(port, "/mqtt", "")).await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("offered: none"), "{answer}");
    let (answer, _) = answer_to(&site, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("not a WebSocket upgrade"), "{answer}");

    let (client, _) = tokio::join!(dial(&site.dial), async { site.open().await.unwrap() });
    client.unwrap();
    let wrong = site.dial.clone().path("/other");
    let (client, _) = tokio::join!(dial(&wrong), site.open());
    assert!(matches!(client, Err(DialError::Upgrade { status: 404, .. })), "{client:?}");
}

#[tokio::test]
async fn both_subprotocols_and_the_root_path_are_accepted() {
    let site = Site::new(Transport::Ws).await;
    for subprotocol in [Subprotocol::Mqtt, Subprotocol::MqttV31] {
        let options = site.dial.clone().path("/").ws_subprotocol(subprotocol);
        let (client, server) = tokio::join!(dial(&options), site.open());
        for stream in [client.unwrap(), server.unwrap()] {
            assert_eq!(stream.peer().http().unwrap().subprotocol(), subprotocol);
        }
    }
}

#[tokio::test]
async fn frames_are_one_stream_of_bytes() {
    let site = Site::new(Transport::Ws).await;
    let (mut client, mut server) = foreign_client(&site, b"").await;
    for part in [&b"first h"[..], b"", b"alf", b" and much more"] {
        soon(client.send(Message::binary(part.to_vec()))).await.unwrap();
    }
    assert_eq!(read_some(&mut server, 10).await, b"first half");
    assert_eq!(read_some(&mut server, 14).await, b" and much more");
    soon(server.write_all(b"back")).await.unwrap();
    soon(server.flush()).await.unwrap();
    let message = soon(client.next()).await.unwrap().unwrap();
    assert!(message.is_binary());
    assert_eq!(&message.as_payload()[..], b"back");
}

#[tokio::test]
async fn a_vectored_write_is_one_frame() {
    let site = Site::new(Transport::Ws).await;
    let (mut client, mut server) = foreign_client(&site, b"").await;
    let slices = [&b"one"[..], b"two", b"three"].map(std::io::IoSlice::new);
    soon(server.write_vectored(&slices)).await.unwrap();
    soon(server.flush()).await.unwrap();
    assert_eq!(&soon(client.next()).await.unwrap().unwrap().as_payload()[..], b"onetwothree");
}

#[tokio::test]
async fn fragments_and_bytes_right_behind_the_head_are_not_lost() {
    let site = Site::new(Transport::Ws).await;
    // "ab" and "cd" as two fragments of one binary message, masked with zeros.
    let fragments = [0x02, 0x82, 0, 0, 0, 0, b'a', b'b', 0x80, 0x82, 0, 0, 0, 0, b'c', b'd'];
    let (_client, mut server) = foreign_client(&site, &fragments).await;
    assert_eq!(read_some(&mut server, 4).await, b"abcd");
}

#[tokio::test]
async fn a_text_frame_is_an_error_that_says_so() {
    let site = Site::new(Transport::Ws).await;
    let (mut client, mut server) = foreign_client(&site, b"").await;
    soon(client.send(Message::text("hello"))).await.unwrap();
    let error = soon(server.read(&mut [0; 8])).await.unwrap_err();
    assert_eq!(error.to_string(), "the peer sent a text frame; only binary frames carry bytes");
    let farewell = soon(client.next()).await.unwrap().unwrap();
    assert_eq!(farewell.as_close().map(|(code, _)| u16::from(code)), Some(1003));
}

#[tokio::test]
async fn a_ping_is_answered_and_a_close_is_the_end() {
    let site = Site::new(Transport::Ws).await;
    let (mut client, mut server) = foreign_client(&site, b"").await;
    soon(client.send(Message::ping("are you there"))).await.unwrap();
    soon(client.send(Message::binary("x"))).await.unwrap();
    assert_eq!(read_some(&mut server, 1).await, b"x");
    let pong = soon(client.next()).await.unwrap().unwrap();
    assert!(pong.is_pong() && &pong.as_payload()[..] == b"are you there");
    soon(client.send(Message::close(None, ""))).await.unwrap();
    assert_eq!(soon(server.read(&mut [0; 8])).await.unwrap(), 0);
    assert!(soon(client.next()).await.unwrap().unwrap().is_close());
}

#[tokio::test]
async fn a_peer_that_pings_and_never_reads_is_cut_off() {
    let site = Site::new(Transport::Ws).await;
    let (client, mut server) = foreign_client(&site, b"").await;
    let tcp = client.into_inner();
    let (_unread, mut write) = tcp.into_split();
    let flood = async {
        let mut ping = vec![0x89, 0x80 | 125, 0, 0, 0, 0];
        ping.extend_from_slice(&[7; 125]);
        let pings = ping.repeat(500);
        while write.write_all(&pings).await.is_ok() {}
    };
    let mut byte = [0];
    let error = soon(async {
        tokio::select! {
            () = flood => panic!("the server closed before it said why"),
            read = server.read(&mut byte) => read.unwrap_err(),
        }
    });
    assert!(error.await.to_string().contains("does not read the answers"));
}

#[tokio::test]
async fn a_message_above_the_limit_is_refused_and_the_limit_can_be_raised() {
    let site = Site::with(Transport::Ws, |options| options.ws_message_bytes_max(1000)).await;
    let (mut client, mut server) = foreign_client(&site, b"").await;
    server.set_ws_message_bytes_max(2000);
    soon(client.send(Message::binary(vec![1; 2000]))).await.unwrap();
    assert_eq!(read_some(&mut server, 2000).await.len(), 2000);
    soon(client.send(Message::binary(vec![1; 2001]))).await.unwrap();
    let error = soon(server.read(&mut [0; 8])).await.unwrap_err();
    assert!(error.to_string().contains("2001 bytes; at most 2000"), "{error}");
}

#[tokio::test]
async fn a_half_open_upgrade_is_bounded_in_time_and_size() {
    let site = Site::new(Transport::Ws).await;
    let mut slow = TcpStream::connect(site.address()).await.unwrap();
    slow.write_all(b"GET /mqtt HTTP/1.1\r\nHost: ").await.unwrap();
    let incoming = soon(site.listener.accept()).await.unwrap();
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_millis(200);
    let error = soon(incoming.open(&site.acceptor, deadline)).await.unwrap_err();
    assert!(matches!(error, OpenError::TimedOut(Stage::Upgrade)), "{error}");

    let mut large = TcpStream::connect(site.address()).await.unwrap();
    large.write_all(format!("GET /mqtt HTTP/1.1\r\nX: {}", "x".repeat(9000)).as_bytes()).await.unwrap();
    let error = site.open().await.unwrap_err();
    assert!(matches!(error, OpenError::Refused(Refusal::HeadTooLarge)), "{error}");
}

#[tokio::test]
async fn a_mix_up_of_ports_is_told() {
    let site = Site::new(Transport::Ws).await;
    let tls =
        DialOptions::new(Transport::Tls, "127.0.0.1", site.address().port()).tls(site.authority.client());
    let (_, server) = tokio::join!(dial(&tls), site.open());
    let Err(OpenError::NotWebSocket(first)) = server else { panic!("{server:?}") };
    assert_eq!(first.spoken(), Some(Spoken::Tls));

    let tls_site = Site::new(Transport::Tls).await;
    let ws = DialOptions::new(Transport::Ws, "127.0.0.1", tls_site.address().port());
    let (client, _) = tokio::join!(dial(&ws), tls_site.open());
    let error = client.unwrap_err();
    assert!(matches!(&error, DialError::NotWebSocket { spoken: Some(Spoken::Tls), .. }), "{error}");
    assert_eq!(error.hint(), "the port is encrypted: dial it with wss");
}

/// Answers one upgrade with fixed text.
async fn dial_answered_with(answer: &'static str) -> DialError {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = async {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let _ = tcp.read(&mut [0; 2048]).await.unwrap();
        tcp.write_all(answer.as_bytes()).await.unwrap();
    };
    let options = DialOptions::new(Transport::Ws, "127.0.0.1", port);
    soon(async { tokio::join!(dial(&options), serve) }).await.0.unwrap_err()
}

#[tokio::test]
async fn answers_that_are_no_upgrade_are_told_apart() {
    let error = dial_answered_with("HTTP/1.1 302 Found\r\nLocation: https://login.example/\r\n\r\n").await;
    assert!(error.to_string().ends_with("with status 302 Found, see https://login.example/"), "{error}");
    let error = dial_answered_with("\x20\x02\x00\x00\x00 not HTTP at all").await;
    assert!(matches!(error, DialError::NotWebSocket { spoken: None, .. }), "{error}");
    let error = dial_answered_with("").await;
    assert!(matches!(error, DialError::Closed { stage: Stage::Upgrade, .. }), "{error}");
    let forged = "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                  Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";
    assert!(dial_answered_with(forged).await.to_string().contains("does not belong to our key"));
}

#[tokio::test]
async fn a_server_that_agrees_to_no_subprotocol_is_refused() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = async {
        let (tcp, _) = listener.accept().await.unwrap();
        tokio_websockets::ServerBuilder::new().accept(tcp).await.unwrap().1
    };
    let options = DialOptions::new(Transport::Ws, "127.0.0.1", port);
    let (client, _server) = soon(async { tokio::join!(dial(&options), serve) }).await;
    assert!(matches!(client, Err(DialError::Subprotocol { answered: None, .. })), "{client:?}");
}

#[tokio::test]
async fn a_silent_server_runs_out_of_time_in_the_upgrade() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = DialOptions::new(Transport::Ws, "127.0.0.1", silent.local_addr().unwrap().port())
        .connect_timeout(std::time::Duration::from_millis(200));
    let error = soon(dial(&options)).await.unwrap_err();
    assert!(matches!(error, DialError::TimedOut { stage: Stage::Upgrade, .. }), "{error}");
}

#[tokio::test]
async fn headers_cannot_break_the_request_apart() {
    let options = || DialOptions::new(Transport::Ws, "127.0.0.1", 1);
    for broken in [
        options().ws_header("X-Token", "a\r\nHost: evil"),
        options().ws_header("X Token", "a"),
        options().ws_header("Host", "evil"),
        options().ws_header("sec-websocket-key", "mine"),
        options().path("mqtt"),
        options().path("/a b"),
    ] {
        let error = soon(dial(&broken)).await.unwrap_err();
        assert!(matches!(error, DialError::UpgradeOptions { .. }), "{error}");
    }
}
