//! SOCKS5: RFC 1928, with the user names and passwords of RFC 1929.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Goal, Login, ProxyFault};

const VERSION: u8 = 5;
const NO_LOGIN: u8 = 0;
const USERNAME_PASSWORD: u8 = 2;
const NOTHING_ACCEPTABLE: u8 = 0xFF;
const LOGIN_VERSION: u8 = 1;
const CONNECT: u8 = 1;
const IP_V4: u8 = 1;
const NAME: u8 = 3;
const IP_V6: u8 = 4;

pub(super) async fn connect(
    stream: &mut TcpStream,
    goal: Goal<'_>,
    login: Option<&Login>,
) -> Result<(), ProxyFault> {
    match choose(stream, login).await? {
        NO_LOGIN => {}
        USERNAME_PASSWORD => log_in(stream, login).await?,
        NOTHING_ACCEPTABLE => return Err(ProxyFault::WantsLogin { has_login: login.is_some() }),
        _ => return Err(ProxyFault::Other("it chose a way to log in that it was not offered")),
    }
    stream.write_all(&request(goal)?).await?;
    read_reply(stream).await
}

/// Offers ways to log in and returns the one that the proxy takes.
async fn choose(stream: &mut TcpStream, login: Option<&Login>) -> Result<u8, ProxyFault> {
    let offer: &[u8] = match login {
        Some(_) => &[VERSION, 2, NO_LOGIN, USERNAME_PASSWORD],
        None => &[VERSION, 1, NO_LOGIN],
    };
    stream.write_all(offer).await?;
    match stream.read_u8().await? {
        VERSION => Ok(stream.read_u8().await?),
        _ => Err(ProxyFault::Other("its answer is not SOCKS5")),
    }
}

async fn log_in(stream: &mut TcpStream, login: Option<&Login>) -> Result<(), ProxyFault> {
    let Some(Login { username, password }) = login else {
        return Err(ProxyFault::Other("it chose a way to log in that it was not offered"));
    };
    let mut request = vec![LOGIN_VERSION];
    for text in [username.as_str(), password.expose()] {
        let length = u8::try_from(text.len()).ok().filter(|length| *length > 0);
        let why = "SOCKS5 takes 1 to 255 bytes of each";
        request.push(length.ok_or(ProxyFault::LoginUnsendable(why))?);
        request.extend_from_slice(text.as_bytes());
    }
    stream.write_all(&request).await?;
    let mut answer = [0; 2];
    stream.read_exact(&mut answer).await?;
    if answer == [LOGIN_VERSION, 0] { Ok(()) } else { Err(ProxyFault::LoginRefused) }
}

fn request(goal: Goal<'_>) -> Result<Vec<u8>, ProxyFault> {
    let mut request = vec![VERSION, CONNECT, 0];
    let port = match goal {
        Goal::Name(host, port) => {
            let length = u8::try_from(host.len()).ok().filter(|length| *length > 0);
            let why = "the server's name does not fit into SOCKS5";
            request.extend([NAME, length.ok_or(ProxyFault::Other(why))?]);
            request.extend_from_slice(host.as_bytes());
            port
        }
        Goal::Address(SocketAddr::V4(address)) => {
            request.push(IP_V4);
            request.extend(address.ip().octets());
            address.port()
        }
        Goal::Address(SocketAddr::V6(address)) => {
            request.push(IP_V6);
            request.extend(address.ip().octets());
            address.port()
        }
    };
    request.extend(port.to_be_bytes());
    Ok(request)
}

async fn read_reply(stream: &mut TcpStream) -> Result<(), ProxyFault> {
    let mut head = [0; 4];
    // One that refuses may close behind the code, without the address that belongs to a reply.
    stream.read_exact(&mut head[..2]).await?;
    match head {
        [VERSION, 0, ..] => {}
        [VERSION, code, ..] => return Err(ProxyFault::Failed { code }),
        _ => return Err(ProxyFault::Other("its answer is not SOCKS5")),
    }
    stream.read_exact(&mut head[2..]).await?;
    let address_bytes = match head[3] {
        IP_V4 => 4,
        IP_V6 => 16,
        NAME => usize::from(stream.read_u8().await?),
        _ => return Err(ProxyFault::Other("its reply has an address of an unknown kind")),
    };
    // The address that it connected from, and the port: of no use to us, but in the way.
    let mut bound = [0; 255 + 2];
    let bound = bound.get_mut(..address_bytes + 2).unwrap_or_default();
    stream.read_exact(bound).await?;
    Ok(())
}
