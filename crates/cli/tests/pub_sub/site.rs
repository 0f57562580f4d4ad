//! What the tests of `pub` and `sub` run on: a broker on a port of its own, and the built binary.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crosspoint_broker::{
    Broker, ListenerOptions,
    access::{Password, User, Users},
};
use crosspoint_net::{ListenOptions, Pem, TlsServerOptions, Transport};
use tokio::sync::oneshot;

/// Longer than anything here takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A broker, until it is dropped.
pub(crate) struct Site {
    pub(crate) port: u16,
    pub(crate) ws_port: u16,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Site {
    /// Starts a broker that lets everybody in.
    pub(crate) fn start() -> Self {
        Self::on_port(0)
    }

    /// Starts a broker that lets everybody in, on a port that was used before.
    pub(crate) fn on_port(port: u16) -> Self {
        Self::with(tcp(port), Users::default())
    }

    /// Starts a broker that speaks TLS.
    pub(crate) fn with_tls(certificate: &Path, key: &Path) -> Self {
        let tls = TlsServerOptions::new(Pem::file(certificate), Pem::file(key));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self::with(ListenOptions::new(Transport::Tls, address).tls(tls), Users::default())
    }

    /// Starts a broker that lets one user in.
    pub(crate) fn with_user(name: &str, password: &str) -> Self {
        let user = User { name: name.to_owned(), password: Password::plain(password), roles: Vec::new() };
        Self::with(tcp(0), Users::new(vec![user], Vec::new()).unwrap())
    }

    fn with(main: ListenOptions, users: Users) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (ports, started) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let ws = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                let broker = Broker::builder()
                    .access(std::sync::Arc::new(users))
                    .listener(ListenerOptions::new("main", main))
                    .listener(ListenerOptions::new("ws", ListenOptions::new(Transport::Ws, ws)))
                    .start()
                    .await
                    .unwrap();
                let port = |name| broker.address(name).unwrap().port();
                ports.send((port("main"), port("ws"))).unwrap();
                drop(stopped.await);
                broker.stop().await;
            });
        });
        let (port, ws_port) = started.recv_timeout(DEADLINE).expect("the broker starts");
        Self { port, ws_port, stop: Some(stop), thread: Some(thread) }
    }

    /// Begins a command line with the address of this broker.
    pub(crate) fn program(&self, command: &str, words: &[&str]) -> Program {
        let port = self.port.to_string();
        Program::new(&[&[command, "-h", "127.0.0.1", "-p", port.as_str()], words].concat())
    }

    /// Runs `pub` to its end.
    pub(crate) fn publish(&self, words: &[&str]) -> Ended {
        self.program("pub", words).start().end()
    }

    /// Starts `sub` and waits until the broker has answered its subscription.
    pub(crate) fn subscribe(&self, words: &[&str]) -> Running {
        let mut running = self.program("sub", &[&["-d"], words].concat()).start();
        running.wait_for("debug: subscribed");
        running
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn tcp(port: u16) -> ListenOptions {
    ListenOptions::new(Transport::Tcp, SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// A command line.
pub(crate) struct Program {
    command: Command,
    input: Vec<u8>,
}

impl Program {
    pub(crate) fn new(words: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crosspoint"));
        command.args(words).env_remove("CROSSPOINT_ENV").env("TZ", "UTC");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command, input: Vec::new() }
    }

    /// Sets what comes from stdin.
    pub(crate) fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    pub(crate) fn start(mut self) -> Running {
        let mut child = self.command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A program that does not read its stdin may end before all is written.
        std::thread::spawn(move || drop(stdin.write_all(&self.input)));
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (lines, said) = mpsc::channel();
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| lines.send(line))
        });
        let stdout = child.stdout.take().unwrap();
        Running { child, stdout: Some(stdout), said, heard: String::new() }
    }
}

/// A program that runs. It is killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    stdout: Option<ChildStdout>,
    said: Receiver<String>,
    heard: String,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Running {
    /// Waits until stderr says something.
    pub(crate) fn wait_for(&mut self, text: &str) {
        let deadline = Instant::now() + DEADLINE;
        while !self.heard.contains(text) {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.said.recv_timeout(left);
            let line = line.unwrap_or_else(|_| panic!("{text:?} was not said, but: {}", self.heard));
            self.heard.push_str(&line);
            self.heard.push('\n');
        }
        self.heard.clear();
    }

    /// Takes what reads stdout; the program then writes to nobody once it is dropped.
    pub(crate) fn take_stdout(&mut self) -> ChildStdout {
        self.stdout.take().unwrap()
    }

    /// Sends a signal by name.
    #[cfg(unix)]
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits until the program has ended.
    pub(crate) fn end(mut self) -> Ended {
        let (sender, read) = mpsc::channel();
        let stdout = self.stdout.take();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(mut stdout) = stdout {
                stdout.read_to_end(&mut bytes).unwrap();
            }
            drop(sender.send(bytes));
        });
        let deadline = Instant::now() + DEADLINE;
        let left = || deadline.saturating_duration_since(Instant::now());
        let stdout = read.recv_timeout(left()).expect("the program ends, or at least its output");
        // The other end of stderr is closed when the program has ended.
        while let Ok(line) = self.said.recv_timeout(left()) {
            self.heard.push_str(&line);
            self.heard.push('\n');
        }
        assert!(Instant::now() < deadline, "the program has not ended; it said: {}", self.heard);
        let code = self.child.wait().unwrap().code();
        Ended { code, stdout, stderr: std::mem::take(&mut self.heard) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Ended {
    /// Checks that all went well, and returns what was printed.
    #[track_caller]
    pub(crate) fn printed(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        String::from_utf8(self.stdout).unwrap()
    }

    /// Checks the exit code and what stderr says.
    #[track_caller]
    pub(crate) fn failed(self, code: i32, cause: &str, next_step: &str) {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        let lines: Vec<&str> = self.stderr.lines().filter(|line| !line.starts_with("debug: ")).collect();
        assert!(
            matches!(&lines[..], [.., error, next] if error.contains(cause) && next.contains(next_step)),
            "neither {cause:?} nor {next_step:?}: {}",
            self.stderr
        );
        assert!(lines.iter().any(|line| line.starts_with("error: ")), "{}", self.stderr);
        assert!(lines.last().unwrap().starts_with(" next: "), "{}", self.stderr);
        assert_eq!(self.stdout, b"");
    }
}
