//! HTTP CONNECT: RFC 9110, 9.3.6, with the basic authentication of RFC 7617.

use base64::Engine;
use httparse::{EMPTY_HEADER, Response, Status};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{Goal, Login, ProxyFault};
use crate::ws::{BASE64, HEADERS_MAX, HeadError, read_head};

/// How much of the proxy's reason is shown.
const REASON_CHARACTERS_MAX: usize = 80;

pub(super) async fn connect(
    stream: &mut TcpStream,
    goal: Goal<'_>,
    login: Option<&Login>,
) -> Result<(), ProxyFault> {
    let request = request(goal, login)?;
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let (head, behind) = read_head(stream).await.map_err(fault)?;
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut answer = Response::new(&mut headers);
    let Ok(Status::Complete(_)) = answer.parse(&head) else {
        return Err(ProxyFault::Other("its answer is not HTTP"));
    };
    match answer.code.unwrap_or_default() {
        200..=299 if behind.is_empty() => Ok(()),
        200..=299 => Err(ProxyFault::Other("bytes come behind its answer before anything was asked")),
        status => {
            let said = answer.reason.unwrap_or_default();
            let reason = said.chars().filter(|c| !c.is_control()).take(REASON_CHARACTERS_MAX).collect();
            Err(ProxyFault::Refused { status, reason, has_login: login.is_some() })
        }
    }
}

fn request(goal: Goal<'_>, login: Option<&Login>) -> Result<String, ProxyFault> {
    let target = match goal {
        Goal::Name(host, port) if host.contains(':') => format!("[{host}]:{port}"),
        Goal::Name(host, port) => format!("{host}:{port}"),
        Goal::Address(address) => address.to_string(),
    };
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(Login { username, password }) = login {
        if username.contains(':') {
            return Err(ProxyFault::LoginUnsendable("a user name with a colon does not go over HTTP"));
        }
        let both = BASE64.encode(format!("{username}:{}", password.expose()));
        request.extend(["Proxy-Authorization: Basic ", &both, "\r\n"]);
    }
    request.push_str("\r\n");
    Ok(request)
}

fn fault(error: HeadError) -> ProxyFault {
    match error {
        HeadError::Closed(read) if read.is_empty() => ProxyFault::Closed,
        HeadError::Closed(_) => ProxyFault::Other("it closed in the middle of its answer"),
        HeadError::TooLarge => ProxyFault::Other("the head of its answer is larger than 8 KiB"),
        HeadError::NotHttp(_) => ProxyFault::Other("its answer is not HTTP"),
        HeadError::Io(error) => error.into(),
    }
}
