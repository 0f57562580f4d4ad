//! Unix sockets: the file they leave behind, and when it may be replaced.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{UnixListener, UnixStream};

use crate::listen_error::ListenError;

/// A listening Unix socket; its file goes when it does.
#[derive(Debug)]
pub(crate) struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl UnixSocket {
    pub(crate) fn bind(path: &Path, backlog: u32) -> Result<Self, ListenError> {
        let of = |source| ListenError::of(path.display().to_string(), source);
        make_room(path)?;
        let listener = listen(path, backlog).map_err(of)?;
        Ok(Self { listener, path: path.to_owned() })
    }

    pub(crate) async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(unix, _)| unix)
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        // Whoever binds the path next finds it unused and replaces it, should this fail.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Removes the file of a listener that is gone; a crash leaves it behind.
fn make_room(path: &Path) -> Result<(), ListenError> {
    let bind = || path.display().to_string();
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(ListenError::NotASocket { bind: bind() });
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|source| ListenError::of(bind(), source))
        }
        _ => Err(ListenError::InUse { bind: bind() }),
    }
}

fn listen(path: &Path, backlog: u32) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket.into())
}
