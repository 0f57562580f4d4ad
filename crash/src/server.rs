//! The programs that are killed: started with a project file of their own, on a port of their own.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use socket2::{Domain, Socket, Type};

use crate::Outcome;

/// How long a program may take to end after SIGTERM.
const STOP_MAX: Duration = Duration::from_secs(20);

/// How many bytes of a log are quoted.
const QUOTE_BYTES: usize = 1_500;

/// A port on 127.0.0.1 that the system chose and that stays ours while its server is down.
///
/// The socket is bound and never listens: so the server may bind the port (both allow reuse), and nobody else gets it,
/// not even one of our own connections as its source.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) number: u16,
    _held: Socket,
}

impl Port {
    pub(crate) fn reserve() -> Outcome<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let address = socket.local_addr()?.as_socket().ok_or("a bound socket without an address")?;
        Ok(Self { number: address.port(), _held: socket })
    }
}

/// How a program is struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// SIGKILL, at any moment.
    Kill,
    /// SIGTERM, waiting for its end: for programs that promise nothing else.
    Stop,
}

/// A program that can be started again and again on the same folder.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) way: Way,
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    running: Mutex<Option<Child>>,
}

impl Server {
    /// Makes ready, without starting it, a hub with a project.
    pub(crate) fn crosspoint(
        name: &'static str,
        program: &Path,
        folder: &Path,
        project: &str,
    ) -> Outcome<Self> {
        let file = folder.join(format!("{name}.toml"));
        fs::write(&file, project)?;
        let data = folder.join(format!("{name}-data"));
        let arguments = ["up", "--project", &text(&file), "--data", &text(&data)].map(str::to_owned);
        Ok(Self::new(name, Way::Kill, program, arguments.to_vec(), folder))
    }

    /// Makes ready, without starting it, a mosquitto that keeps its sessions on disk.
    ///
    /// `max_inflight_messages` is 1,000 because 2.0.11 forgets at a restart how far exchanges at QoS 2 have come when
    /// there are as many as that, or when the number is 0. It saves at SIGTERM, and when it is to be killed also every
    /// second, the best that it can do.
    pub(crate) fn mosquitto(
        name: &'static str,
        way: Way,
        program: &Path,
        folder: &Path,
        port: u16,
    ) -> Outcome<Self> {
        let home = folder.join(format!("{name}-data"));
        fs::create_dir_all(&home)?;
        let file = folder.join(format!("{name}.conf"));
        let autosave = if way == Way::Kill { 1 } else { 0 };
        // Started by root it would become the user `mosquitto`; for anybody else `user` means nothing.
        let configuration = format!(
            "user root\nallow_anonymous true\npersistence true\npersistence_location {}/\n\
             autosave_interval {autosave}\nmax_queued_messages 0\nmax_inflight_messages 1000\n\
             set_tcp_nodelay true\nlistener {port} 127.0.0.1\n",
            text(&home)
        );
        fs::write(&file, configuration)?;
        Ok(Self::new(name, way, program, vec!["-c".to_owned(), text(&file)], folder))
    }

    fn new(name: &'static str, way: Way, program: &Path, arguments: Vec<String>, folder: &Path) -> Self {
        let log = folder.join(format!("{name}.log"));
        Self { name, way, program: program.to_owned(), arguments, log, running: Mutex::new(None) }
    }

    /// Starts it; its clients find out when it listens.
    pub(crate) fn start(&self) -> Outcome {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env("NO_COLOR", "1");
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().map_err(|error| format!("{} does not start: {error}", self.name))?;
        *self.running() = Some(child);
        Ok(())
    }

    /// Ends it in its way, and returns when it has ended.
    pub(crate) fn strike(&self) -> Outcome {
        self.check()?;
        let Some(mut child) = self.running().take() else { return Ok(()) };
        if self.way == Way::Kill {
            child.kill()?;
            child.wait()?;
            return Ok(());
        }
        kill_process(Pid::from_child(&child), Signal::TERM)?;
        let since = Instant::now();
        while child.try_wait()?.is_none() {
            if since.elapsed() > STOP_MAX {
                child.kill()?;
                child.wait()?;
                return Err(format!("{} did not end within {} s", self.name, STOP_MAX.as_secs()).into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Fails when it has ended by itself, with the last lines that it wrote.
    pub(crate) fn check(&self) -> Outcome {
        let mut running = self.running();
        let Some(child) = running.as_mut() else { return Ok(()) };
        match child.try_wait()? {
            None => Ok(()),
            Some(status) => {
                *running = None;
                Err(format!("{} ended by itself: {status}: {}", self.name, self.last_words()).into())
            }
        }
    }

    fn last_words(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let tail = log.get(log.len().saturating_sub(QUOTE_BYTES)..).unwrap_or_default();
        String::from_utf8_lossy(tail).trim().to_owned()
    }

    fn running(&self) -> MutexGuard<'_, Option<Child>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.running().take() {
            child.kill().unwrap_or_default();
            child.wait().map(drop).unwrap_or_default();
        }
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_reserved_port_refuses_until_its_server_listens() {
        let port = Port::reserve().unwrap();
        let address = (Ipv4Addr::LOCALHOST, port.number);
        assert!(TcpStream::connect(address).is_err());
        // The standard library allows reuse on Unix, as the servers do.
        let listener = TcpListener::bind(address).unwrap();
        assert!(TcpStream::connect(address).is_ok());
        drop(listener);
        assert!(TcpStream::connect(address).is_err());
        assert!(TcpListener::bind(address).is_ok());
    }

    fn sleeper(folder: &Path, way: Way) -> Server {
        Server::new("sleeper", way, Path::new("sleep"), vec!["600".to_owned()], folder)
    }

    #[test]
    fn a_program_is_struck_either_way_and_starts_again() {
        let folder = std::env::temp_dir().join(format!("crosspoint-crash-server-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for way in [Way::Kill, Way::Stop] {
            let server = sleeper(&folder, way);
            for _ in 0..2 {
                server.start().unwrap();
                server.check().unwrap();
                server.strike().unwrap();
                assert!(server.running().is_none());
            }
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_program_that_ends_by_itself_is_reported_with_its_last_words() {
        let folder = std::env::temp_dir().join(format!("crosspoint-crash-words-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let arguments = ["-c", "echo it hurts; exit 3"].map(str::to_owned).to_vec();
        let server = Server::new("shell", Way::Kill, Path::new("sh"), arguments, &folder);
        server.start().unwrap();
        server.running().as_mut().unwrap().wait().unwrap();
        let error = server.check().unwrap_err().to_string();
        assert!(error.contains("shell ended by itself") && error.ends_with("it hurts"), "{error}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
