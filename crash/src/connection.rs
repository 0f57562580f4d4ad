//! One connection of a client, on a plain blocking socket.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::wire::{self, Connect, Packet, Version};

/// How long a read waits at most, so that a client sees soon when it is to end.
const TICK: Duration = Duration::from_millis(10);

/// How long a write may take: beyond that the broker does not read, and the connection is as good as ended.
const WRITE_MAX: Duration = Duration::from_secs(20);

/// How much is read at once.
const READ_BYTES: usize = 64 * 1024;

/// Why a connection is over; a new one may work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended(pub(crate) String);

impl From<std::io::Error> for Ended {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// A connection whose CONNECT has not been answered, or has.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    version: Version,
    /// What came and was not yet taken begins at `taken`.
    read: Vec<u8>,
    taken: usize,
    /// What is to be sent by the next flush.
    pub(crate) out: Vec<u8>,
}

impl Connection {
    /// Connects and sends CONNECT.
    pub(crate) fn open(port: u16, version: Version, wanted: &Connect) -> Result<Self, Ended> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TICK))?;
        stream.set_write_timeout(Some(WRITE_MAX))?;
        let mut connection = Self { stream, version, read: Vec::new(), taken: 0, out: Vec::new() };
        wire::connect(&mut connection.out, version, wanted);
        connection.flush()?;
        Ok(connection)
    }

    /// Sends what was written to `out`.
    pub(crate) fn flush(&mut self) -> Result<(), Ended> {
        self.stream.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }

    /// Returns the next packet that has come already.
    pub(crate) fn take(&mut self) -> Result<Option<Packet>, Ended> {
        let bytes = self.read.get(self.taken..).unwrap_or_default();
        let Ok(decoded) = wire::decode(self.version, bytes) else {
            let start: Vec<u8> = bytes.iter().take(32).copied().collect();
            return Err(Ended(format!("the broker sent what is no packet: {start:02x?}")));
        };
        let Some((packet, length)) = decoded else { return Ok(None) };
        self.taken += length;
        Ok(Some(packet))
    }

    /// Reads once; returns whether something came within a tick.
    pub(crate) fn fill(&mut self) -> Result<bool, Ended> {
        self.read.drain(..self.taken);
        self.taken = 0;
        let kept = self.read.len();
        self.read.resize(kept + READ_BYTES, 0);
        let came = self.stream.read(self.read.get_mut(kept..).unwrap_or_default());
        self.read.truncate(kept + came.as_ref().copied().unwrap_or(0));
        match came {
            Ok(0) => Err(Ended("the broker closed the connection".to_owned())),
            Ok(_) => Ok(true),
            Err(error) if is_tick(error.kind()) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes the next packet, reading once if there is none; `None` when a tick passed.
    pub(crate) fn next(&mut self) -> Result<Option<Packet>, Ended> {
        if let Some(packet) = self.take()? {
            return Ok(Some(packet));
        }
        self.fill()?;
        self.take()
    }
}

fn is_tick(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
