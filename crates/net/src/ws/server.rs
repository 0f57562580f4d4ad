//! The upgrade as a listener grants it.

use std::io;

use base64::Engine;
use httparse::{EMPTY_HEADER, Request, Status};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::frames::WsStream;
use super::head::{HEADERS_MAX, HeadError, read_head};
use super::{BASE64, Subprotocol, accept_of, lists};
use crate::peer::HttpPeer;
use crate::sniff::FirstBytes;

/// Why a WebSocket upgrade was refused.
///
/// The peer is told in the body of the answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A web page of another site tries to connect.
    #[error("the origin {origin} is not allowed to connect here")]
    ForeignOrigin {
        /// The `Origin` header.
        origin: String,
    },
    /// The path is not the one that is configured.
    #[error("there is nothing at the path {path}")]
    WrongPath {
        /// The path as asked for.
        path: String,
    },
    /// The client offers no subprotocol that is spoken here.
    #[error("the WebSocket subprotocol must be mqtt or mqttv3.1; offered: {}", if offered.is_empty() { "none" } else { offered })]
    Subprotocol {
        /// What it offered, as it stands in the header.
        offered: String,
    },
    /// Another version of WebSocket.
    #[error("the WebSocket version must be 13")]
    Version,
    /// The head is larger than 8 KiB.
    #[error("the request head is larger than 8 KiB")]
    HeadTooLarge,
    /// It is not a WebSocket upgrade.
    #[error("this is not a WebSocket upgrade: {0}")]
    NotAnUpgrade(&'static str),
}

impl Refusal {
    /// Returns the HTTP status that the peer is answered.
    pub fn status(&self) -> u16 {
        match self {
            Self::ForeignOrigin { .. } => 403,
            Self::WrongPath { .. } => 404,
            Self::Version => 426,
            Self::HeadTooLarge => 431,
            Self::Subprotocol { .. } | Self::NotAnUpgrade(_) => 400,
        }
    }

    fn answer(&self) -> String {
        let status = match self.status() {
            403 => "403 Forbidden",
            404 => "404 Not Found",
            426 => "426 Upgrade Required\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13",
            431 => "431 Request Header Fields Too Large",
            _ => "400 Bad Request",
        };
        let body = format!("{self}\n");
        let len = body.len();
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len}\r\n\
             X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n{body}"
        )
    }
}

/// Who may upgrade, and to what.
#[derive(Debug, Clone)]
pub(crate) struct WsPolicy {
    pub(crate) path: String,
    /// Origins, such as `https://example.com`, that may connect beside the listener's own; `*` is all.
    pub(crate) origins: Vec<String>,
    pub(crate) message_bytes_max: usize,
}

pub(crate) enum UpgradeError {
    Refused(Refusal),
    NotHttp(FirstBytes),
    Closed,
    Io(io::Error),
}

/// Reads the request and grants or refuses it; the caller bounds the time.
pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    policy: &WsPolicy,
) -> Result<(WsStream<S>, HttpPeer), UpgradeError> {
    let judged = match read_head(&mut stream).await {
        Ok((head, behind)) => policy.judge(&head).map(|granted| (granted, behind)),
        Err(HeadError::TooLarge) => Err(Refusal::HeadTooLarge),
        Err(HeadError::NotHttp(read)) => return Err(UpgradeError::NotHttp(FirstBytes::of(&read))),
        Err(HeadError::Closed(_)) => return Err(UpgradeError::Closed),
        Err(HeadError::Io(error)) => return Err(UpgradeError::Io(error)),
    };
    match judged {
        Ok((granted, behind)) => {
            write(&mut stream, &granted.answer).await.map_err(UpgradeError::Io)?;
            Ok((WsStream::server(stream, behind, policy.message_bytes_max), granted.http))
        }
        Err(refusal) => {
            // It is refused either way; whether the answer arrives is the peer's concern.
            if write(&mut stream, &refusal.answer()).await.is_ok() {
                let _ = stream.shutdown().await;
            }
            Err(UpgradeError::Refused(refusal))
        }
    }
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, text: &str) -> io::Result<()> {
    stream.write_all(text.as_bytes()).await?;
    stream.flush().await
}

#[derive(Debug)]
struct Granted {
    answer: String,
    http: HttpPeer,
}

impl WsPolicy {
    fn judge(&self, head: &[u8]) -> Result<Granted, Refusal> {
        let mut headers = [EMPTY_HEADER; HEADERS_MAX];
        let mut request = Request::new(&mut headers);
        let Ok(Status::Complete(_)) = request.parse(head) else {
            return Err(Refusal::NotAnUpgrade("the request is not HTTP/1.1"));
        };
        let request = Asked(request);
        let path = request.0.path.unwrap_or_default();
        let host = request.only("host").ok_or(Refusal::NotAnUpgrade("it needs one Host header"))?;
        self.check_path(path)?;
        self.check_origin(&request, host)?;
        request.check_upgrade()?;
        let key = request.key()?;
        let subprotocol = request.subprotocol()?;
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n",
            accept_of(key)
        );
        let origin = request.only("origin").map(str::to_owned);
        Ok(Granted {
            answer,
            http: HttpPeer { host: host.to_owned(), origin, path: path.to_owned(), subprotocol },
        })
    }

    fn check_path(&self, asked: &str) -> Result<(), Refusal> {
        let path = asked.split('?').next().unwrap_or_default();
        if path == self.path || path == "/" {
            return Ok(());
        }
        Err(Refusal::WrongPath { path: asked.chars().take(200).collect() })
    }

    /// Only browsers send an `Origin`, and they let any page connect anywhere: it is ours to refuse (C11).
    fn check_origin(&self, request: &Asked<'_, '_>, host: &str) -> Result<(), Refusal> {
        let mut origins = request.all("origin");
        let Some(origin) = origins.next() else { return Ok(()) };
        let is_allowed = |allowed: &String| allowed == "*" || allowed.eq_ignore_ascii_case(origin);
        let is_welcome = is_same_site(origin, host) || self.origins.iter().any(is_allowed);
        if is_welcome && origins.next().is_none() {
            return Ok(());
        }
        Err(Refusal::ForeignOrigin { origin: origin.chars().filter(|c| !c.is_control()).take(200).collect() })
    }
}

struct Asked<'h, 'b>(Request<'h, 'b>);

impl Asked<'_, '_> {
    fn check_upgrade(&self) -> Result<(), Refusal> {
        let has = |name, word| self.all(name).any(|value| lists(value, word));
        if self.0.method != Some("GET") || self.0.version != Some(1) {
            return Err(Refusal::NotAnUpgrade("it must be GET with HTTP/1.1"));
        }
        if !has("upgrade", "websocket") || !has("connection", "upgrade") {
            return Err(Refusal::NotAnUpgrade("it needs `Upgrade: websocket` and `Connection: Upgrade`"));
        }
        if self.only("sec-websocket-version") != Some("13") {
            return Err(Refusal::Version);
        }
        Ok(())
    }

    fn key(&self) -> Result<&str, Refusal> {
        let key = self.only("sec-websocket-key").unwrap_or_default();
        match BASE64.decode(key) {
            Ok(bytes) if bytes.len() == 16 => Ok(key),
            _ => Err(Refusal::NotAnUpgrade("Sec-WebSocket-Key must be 16 bytes in base64")),
        }
    }

    /// Picks the first that the client offers and that is spoken here: the order is the client's preference.
    fn subprotocol(&self) -> Result<Subprotocol, Refusal> {
        let offered = || self.all("sec-websocket-protocol");
        offered()
            .flat_map(|value| value.split(','))
            .find_map(|name| Subprotocol::of_name(name.trim()))
            .ok_or_else(|| Refusal::Subprotocol {
                offered: offered().collect::<Vec<_>>().join(", ").chars().take(200).collect(),
            })
    }

    /// Returns the value of a header that may stand there once only.
    fn only(&self, name: &str) -> Option<&str> {
        let mut values = self.all(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// Returns every value of a header; one that is not text counts as a question mark, so that it is still seen.
    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let wanted = self.0.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        wanted.map(|header| std::str::from_utf8(header.value).map_or("?", str::trim))
    }
}

/// Tells whether an origin such as `http://host:8083` is the site the request went to.
fn is_same_site(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let without_port = |text: &str| text.strip_suffix(default_port).unwrap_or(text).to_ascii_lowercase();
    !authority.is_empty() && without_port(authority) == without_port(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(edit: impl Fn(String) -> String) -> Result<Granted, Refusal> {
        let policy = WsPolicy {
            path: "/mqtt".to_owned(),
            origins: vec!["https://dash.example".to_owned()],
            message_bytes_max: 1024,
        };
        let head = "GET /mqtt HTTP/1.1\r\nHost: site:8083\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
                    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                    Sec-WebSocket-Protocol: chat, mqttv3.1, mqtt\r\n\r\n";
        policy.judge(edit(head.to_owned()).as_bytes())
    }

    fn with(header: &str) -> Result<Granted, Refusal> {
        judge(|head| head.replace("Upgrade: websocket", &format!("{header}\r\nUpgrade: websocket")))
    }

    #[test]
    fn the_clients_first_known_subprotocol_is_picked() {
        let granted = judge(|head| head).unwrap();
        assert_eq!(granted.http.subprotocol, Subprotocol::MqttV31);
        assert!(granted.answer.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        assert!(granted.answer.contains("\r\nSec-WebSocket-Protocol: mqttv3.1\r\n"));
        let none = judge(|head| head.replace("chat, mqttv3.1, mqtt", "chat"));
        assert_eq!(none.unwrap_err(), Refusal::Subprotocol { offered: "chat".to_owned() });
        let absent = judge(|head| head.replace("Sec-WebSocket-Protocol", "X-Other"));
        assert_eq!(absent.unwrap_err().status(), 400);
    }

    #[test]
    fn only_origins_of_this_site_and_of_the_list_pass() {
        for welcome in ["http://site:8083", "https://SITE:8083", "https://dash.example"] {
            assert!(with(&format!("Origin: {welcome}")).is_ok(), "{welcome}");
        }
        for foreign in
            ["null", "http://site", "http://evil:8083", "https://dash.example.evil", "site:8083", "\u{7f}"]
        {
            assert!(with(&format!("Origin: {foreign}")).is_err(), "{foreign}");
        }
        assert!(with("Origin: http://site:8083\r\nOrigin: http://evil").is_err());
        assert!(is_same_site("https://a.example", "a.example:443"));
        assert!(!is_same_site("http://a.example", "a.example:443"));
    }

    #[test]
    fn each_defect_is_answered_with_its_status() {
        let status = |from: &str, to: &str| judge(|head| head.replace(from, to)).unwrap_err().status();
        assert_eq!(status("/mqtt", "/other"), 404);
        assert_eq!(status("GET", "POST"), 400);
        assert_eq!(status("HTTP/1.1", "HTTP/1.0"), 400);
        assert_eq!(status("Upgrade: websocket", "Upgrade: h2c"), 400);
        assert_eq!(status("Version: 13", "Version: 8"), 426);
        assert_eq!(status("dGhlIHNhbXBsZSBub25jZQ==", "short"), 400);
        assert_eq!(status("Host: site:8083\r\n", ""), 400);
        assert_eq!(status("Host: site:8083", "Host: site:8083\r\nHost: b"), 400);
        assert!(judge(|head| head.replace("/mqtt", "/")).is_ok());
        assert!(judge(|head| head.replace("/mqtt", "/mqtt?a=b")).is_ok());
    }
}
