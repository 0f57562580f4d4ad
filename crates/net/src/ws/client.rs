//! The upgrade as a client asks for it.

use base64::Engine;
use bytes::Bytes;
use httparse::{EMPTY_HEADER, Header, Response, Status};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::frames::WsStream;
use super::head::{HEADERS_MAX, HeadError, read_head};
use super::{BASE64, Subprotocol, accept_of, lists};
use crate::dial_error::{DialError, Stage};
use crate::hidden::Hidden;
use crate::peer::HttpPeer;
use crate::sniff::Spoken;
use crate::tls::TlsCause;

/// What the upgrade asks for.
pub(crate) struct ClientUpgrade<'a> {
    pub(crate) target: String,
    pub(crate) is_tls: bool,
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a [(String, Hidden)],
    pub(crate) subprotocol: Subprotocol,
    pub(crate) message_bytes_max: usize,
}

/// Asks for the upgrade and waits for the answer; the caller bounds the time.
pub(crate) async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    request: &ClientUpgrade<'_>,
) -> Result<(WsStream<S>, HttpPeer), DialError> {
    let key = request.key()?;
    let text = request.text(&key);
    let sent = async {
        stream.write_all(text.as_bytes()).await?;
        stream.flush().await
    };
    sent.await.map_err(|error| request.failed(HeadError::Io(error)))?;
    let (head, behind) = read_head(&mut stream).await.map_err(|error| request.failed(error))?;
    request.judge(&head, &key)?;
    let http = HttpPeer {
        host: request.host_header(),
        origin: None,
        path: request.path.to_owned(),
        subprotocol: request.subprotocol,
    };
    Ok((WsStream::client(stream, behind, request.message_bytes_max), http))
}

impl ClientUpgrade<'_> {
    /// Checks that nothing in it would break the request apart.
    pub(crate) fn check(&self) -> Result<(), DialError> {
        let refuse = |what: &str, reason| Err(DialError::UpgradeOptions { what: what.to_owned(), reason });
        if !self.path.starts_with('/') {
            return refuse("the path", "it does not begin with a slash");
        }
        if !self.path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return refuse("the path", "it has spaces or characters that HTTP wants percent-encoded");
        }
        for (name, value) in self.headers {
            let what = format!("the header {name:?}");
            if name.is_empty() || !name.bytes().all(is_token) {
                return refuse(&what, "its name has characters that HTTP does not allow");
            }
            if is_of_the_upgrade(name) {
                return refuse(&what, "it belongs to the upgrade itself");
            }
            if !value.expose().bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f)) {
                return refuse(&what, "its value has control characters");
            }
        }
        Ok(())
    }

    fn key(&self) -> Result<String, DialError> {
        let mut key = [0; 16];
        SystemRandom::new().fill(&mut key).map_err(|_| DialError::Io {
            target: self.target.clone(),
            stage: Stage::Upgrade,
            source: std::io::Error::other("the system gives no random numbers"),
        })?;
        Ok(BASE64.encode(key))
    }

    fn text(&self, key: &str) -> String {
        let mut text = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: {}\r\n",
            self.path,
            self.host_header(),
            self.subprotocol,
        );
        for (name, value) in self.headers {
            text.extend([name.as_str(), ": ", value.expose(), "\r\n"]);
        }
        text.push_str("\r\n");
        text
    }

    fn host_header(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.to_owned() };
        let default_port = if self.is_tls { 443 } else { 80 };
        if self.port == default_port { host } else { format!("{host}:{}", self.port) }
    }

    fn judge(&self, head: &Bytes, key: &str) -> Result<(), DialError> {
        let mut headers = [EMPTY_HEADER; HEADERS_MAX];
        let mut answer = Response::new(&mut headers);
        let Ok(Status::Complete(_)) = answer.parse(head) else {
            return Err(self.not_websocket("its answer is not HTTP", Spoken::guess(head)));
        };
        let status = answer.code.unwrap_or_default();
        if status != 101 {
            let reason = reason_of(answer.reason.unwrap_or_default(), answer.headers);
            return Err(DialError::Upgrade {
                target: format!("{}{}", self.target, self.path),
                status,
                reason,
            });
        }
        let has = |name, word| value(answer.headers, name).is_some_and(|value| lists(value, word));
        if !has("upgrade", "websocket") || !has("connection", "upgrade") {
            return Err(self.not_websocket("it switched to another protocol", None));
        }
        if value(answer.headers, "sec-websocket-accept") != Some(&accept_of(key)) {
            return Err(self.not_websocket("its answer does not belong to our key", None));
        }
        if value(answer.headers, "sec-websocket-extensions").is_some() {
            return Err(self.not_websocket("it uses an extension that was not offered", None));
        }
        let answered = value(answer.headers, "sec-websocket-protocol");
        if answered != Some(self.subprotocol.name()) {
            let (target, answered) = (self.target.clone(), answered.map(str::to_owned));
            return Err(DialError::Subprotocol { target, asked: self.subprotocol, answered });
        }
        Ok(())
    }

    fn failed(&self, error: HeadError) -> DialError {
        let target = self.target.clone();
        match error {
            HeadError::Closed(read) if read.is_empty() => DialError::Closed { target, stage: Stage::Upgrade },
            HeadError::Closed(read) => {
                self.not_websocket("it closed in the middle of its answer", Spoken::guess(&read))
            }
            HeadError::NotHttp(read) => self.not_websocket("its answer is not HTTP", Spoken::guess(&read)),
            HeadError::TooLarge => self.not_websocket("the head of its answer is larger than 8 KiB", None),
            HeadError::Io(source) => match (TlsCause::of(&source), source.kind()) {
                (Some(cause), _) => DialError::Tls { target, cause },
                (
                    None,
                    std::io::ErrorKind::UnexpectedEof
                    | std::io::ErrorKind::ConnectionReset
                    | std::io::ErrorKind::BrokenPipe,
                ) => DialError::Closed { target, stage: Stage::Upgrade },
                (None, _) => DialError::Io { target, stage: Stage::Upgrade, source },
            },
        }
    }

    fn not_websocket(&self, detail: &str, spoken: Option<Spoken>) -> DialError {
        DialError::NotWebSocket { target: self.target.clone(), detail: detail.to_owned(), spoken }
    }
}

fn value<'a>(headers: &[Header<'a>], name: &str) -> Option<&'a str> {
    let header = headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
    std::str::from_utf8(header.value).ok().map(str::trim)
}

/// Says what the server gave as its reason, and where it redirects to; bounded, since it ends up in messages.
fn reason_of(reason: &str, headers: &[Header<'_>]) -> String {
    let mut text: String = reason.chars().take(80).collect();
    if let Some(location) = value(headers, "location") {
        text.push_str(", see ");
        text.extend(location.chars().filter(|c| !c.is_control()).take(115));
    }
    text
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_of_the_upgrade(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    matches!(name.as_str(), "host" | "upgrade" | "connection" | "content-length" | "transfer-encoding")
        || name.starts_with("sec-websocket-")
}
