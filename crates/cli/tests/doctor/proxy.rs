//! The doctor of a connector behind a proxy.

use std::net::{Ipv4Addr, SocketAddr, TcpListener as Port};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Result, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::{EVERYTHING_WORKS, SOMETHING_FAILED, broker, doctor, json, project, text};

/// A proxy that speaks HTTP CONNECT and SOCKS5, and takes every name for this machine. It ends when it is dropped.
struct Proxy {
    address: SocketAddr,
    _serving: JoinSet<()>,
}

/// What a proxy wants of those who ask it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wants {
    Nothing,
    /// The user name `me` with the password `secret`.
    Login,
    /// The port 443, as many do.
    WebPort,
}

impl Proxy {
    async fn start(wants: Wants) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, wants));
            }
        });
        Self { address, _serving: serving }
    }
}

async fn serve(mut stream: TcpStream, wants: Wants) -> Result<()> {
    match stream.read_u8().await? {
        5 => socks(stream, wants).await,
        _ => http(stream, wants).await,
    }
}

async fn http(mut stream: TcpStream, wants: Wants) -> Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    // "me:secret" in base64.
    if wants == Wants::Login && !head.contains("Proxy-Authorization: Basic bWU6c2VjcmV0\r\n") {
        return stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await;
    }
    if wants == Wants::WebPort {
        return stream.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").await;
    }
    let target = head.split(' ').nth(1).unwrap();
    let port: u16 = target.rsplit(':').next().unwrap().parse().unwrap();
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else {
        return stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await;
    };
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    copy_bidirectional(&mut stream, &mut server).await.map(drop)
}

async fn socks(mut stream: TcpStream, wants: Wants) -> Result<()> {
    let methods = read_text(&mut stream).await?;
    let method = if wants == Wants::Login { 2 } else { 0 };
    if !methods.contains(&method) {
        return stream.write_all(&[5, 0xFF]).await;
    }
    stream.write_all(&[5, method]).await?;
    if wants == Wants::Login {
        assert_eq!(stream.read_u8().await?, 1);
        let is_right = (read_text(&mut stream).await?, read_text(&mut stream).await?)
            == (b"me".to_vec(), b"secret".to_vec());
        stream.write_all(&[1, u8::from(!is_right)]).await?;
        if !is_right {
            return Ok(());
        }
    }
    let mut request = [0; 4];
    stream.read_exact(&mut request).await?;
    match request[3] {
        1 => drop(Ipv4Addr::from(stream.read_u32().await?)),
        3 => drop(read_text(&mut stream).await?),
        other => panic!("an address of kind {other}"),
    }
    let port = stream.read_u16().await?;
    if wants == Wants::WebPort {
        return stream.write_all(&[5, 2, 0, 1, 0, 0, 0, 0, 0, 0]).await;
    }
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else {
        return stream.write_all(&[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]).await;
    };
    stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    copy_bidirectional(&mut stream, &mut server).await.map(drop)
}

async fn read_text(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::from(stream.read_u8().await?)];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// Returns a label of more than 63 letters, which is no name: a resolver here asks nobody and knows none.
fn known_to_the_proxy_alone() -> String {
    "x".repeat(64)
}

fn unused_port() -> u16 {
    Port::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Examines a connector with this URL and proxy, and returns what is said of it.
async fn examined(url: &str, proxy: &str, exit: i32) -> Value {
    let folder = project(&format!(
        "[connector.plant]\nurl = {url:?}\nproxy = {proxy:?}\nkeep_alive_s = 20\nconnect_timeout_ms = 5000\n"
    ));
    let output = doctor(folder.path(), &["plant", "--json"]).await;
    assert_eq!(output.status.code(), Some(exit), "{proxy}: {}", text(&output));
    assert!(!text(&output).contains("secret"), "{}", text(&output));
    json(&output)[0].clone()
}

/// Returns the words of the stages up to one.
fn stages(examination: &Value, last: &str) -> String {
    let steps = examination["steps"].as_array().unwrap().iter();
    let words: Vec<&str> = steps.map(|step| step["stage"].as_str().unwrap()).collect();
    let count = words.iter().position(|word| *word == last).unwrap() + 1;
    words[..count].join(" ")
}

/// Checks at which stage an examination ended, with which fault, and which setting it names.
#[track_caller]
fn ended(examination: &Value, stage: &str, fault: &str, setting: &str) {
    let last = examination["steps"].as_array().unwrap().last().unwrap();
    let conclusion = &examination["conclusion"];
    let found = [&last["stage"], &conclusion["fault"], &conclusion["setting"]["key"]];
    let found = found.map(|word| word.as_str().unwrap_or("none"));
    assert_eq!(found, [stage, fault, setting], "{examination:#}");
}

#[tokio::test]
async fn a_name_that_only_the_proxy_knows_is_left_to_the_proxy() {
    let (broker, port) = broker().await;
    let url = format!("mqtt://{}:{port}", known_to_the_proxy_alone());
    for (wants, login) in [(Wants::Nothing, ""), (Wants::Login, "me:secret@")] {
        let proxy = Proxy::start(wants).await;
        for scheme in ["http", "socks5h"] {
            let url_of_proxy = format!("{scheme}://{login}{}", proxy.address);
            let examination = examined(&url, &url_of_proxy, EVERYTHING_WORKS).await;
            assert_eq!(stages(&examination, "connect"), "name tcp proxy connect");
            let seen = |step: usize| examination["steps"][step]["seen"].as_str().unwrap();
            assert_eq!(seen(0), "the proxy 127.0.0.1 is an address");
            assert_eq!(seen(1), format!("connected to {}, the proxy", proxy.address));
            assert!(seen(2).starts_with(&format!("{scheme}://{} connects us to xxx", proxy.address)));
        }
    }
    let proxy = Proxy::start(Wants::Nothing).await;
    let socks5 = format!("socks5://{}", proxy.address);
    let examination = examined(&url, &socks5, SOMETHING_FAILED).await;
    ended(&examination, "proxy", "name-not-found", "proxy");
    assert!(examination["conclusion"]["next_step"].as_str().unwrap().contains("socks5h://"));
    examined(&format!("mqtt://127.0.0.1:{port}"), &socks5, EVERYTHING_WORKS).await;
    broker.stop().await;
}

#[tokio::test]
async fn a_proxy_that_is_not_there() {
    let proxy = format!("127.0.0.1:{}", unused_port());
    for scheme in ["http", "socks5", "socks5h"] {
        let url = format!("{scheme}://{proxy}");
        let examination = examined("mqtt://127.0.0.1:1", &url, SOMETHING_FAILED).await;
        ended(&examination, "tcp", "proxy-unreachable", "proxy");
        let cause = format!(
            "the proxy {proxy} on the way to 127.0.0.1:1 cannot be used: {proxy} refuses connections"
        );
        assert_eq!(examination["conclusion"]["cause"], cause);
    }
    let url = format!("http://{}:3128", known_to_the_proxy_alone());
    let examination = examined("mqtt://127.0.0.1:1", &url, SOMETHING_FAILED).await;
    ended(&examination, "name", "proxy-unreachable", "proxy");
}

#[tokio::test]
async fn a_proxy_that_is_none() {
    let (broker, port) = broker().await;
    let proxy = format!("http://127.0.0.1:{port}");
    let examination = examined("mqtt://127.0.0.1:1", &proxy, SOMETHING_FAILED).await;
    ended(&examination, "proxy", "proxy-unreachable", "proxy");
    broker.stop().await;
}

#[tokio::test]
async fn a_proxy_that_refuses_the_login() {
    let proxy = Proxy::start(Wants::Login).await;
    for scheme in ["http", "socks5", "socks5h"] {
        let without = format!("{scheme}://{}", proxy.address);
        let examination = examined("mqtt://127.0.0.1:1", &without, SOMETHING_FAILED).await;
        ended(&examination, "proxy", "proxy-login", "proxy.username");
        let wrong = format!("{scheme}://me:not-secret@{}", proxy.address);
        let examination = examined("mqtt://127.0.0.1:1", &wrong, SOMETHING_FAILED).await;
        ended(&examination, "proxy", "proxy-login", "proxy.password");
    }
}

#[tokio::test]
async fn a_proxy_that_refuses_the_broker_is_told_from_one_that_does_not_get_there() {
    let (strict, lenient) = (Proxy::start(Wants::WebPort).await, Proxy::start(Wants::Nothing).await);
    let url = format!("mqtt://127.0.0.1:{}", unused_port());
    for scheme in ["http", "socks5", "socks5h"] {
        let forbidden = examined(&url, &format!("{scheme}://{}", strict.address), SOMETHING_FAILED).await;
        ended(&forbidden, "proxy", "proxy-refused", "none");
        let next_step = forbidden["conclusion"]["next_step"].as_str().unwrap();
        assert!(next_step.contains("administrator"), "{next_step}");
        let no_way = examined(&url, &format!("{scheme}://{}", lenient.address), SOMETHING_FAILED).await;
        ended(&no_way, "proxy", "proxy-refused", "url");
    }
}

#[tokio::test]
async fn what_the_port_behind_a_proxy_speaks_is_asked_through_the_proxy() {
    let (broker, port) = broker().await;
    let proxy = Proxy::start(Wants::Login).await;
    // TLS wants a name that a certificate could bear.
    let url = format!("mqtts://broker.invalid:{port}");
    let through = format!("http://me:secret@{}", proxy.address);
    let examination = examined(&url, &through, SOMETHING_FAILED).await;
    assert_eq!(stages(&examination, "tls"), "name tcp proxy tls");
    ended(&examination, "tls", "tls-to-plain", "url");
    let cause = examination["conclusion"]["cause"].as_str().unwrap();
    assert!(cause.contains("speaks plain MQTT"), "{cause}");
    broker.stop().await;
}
