//! The socket in the data directory over which a running hub is asked.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net as system;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tracing::{debug, warn};

use super::desk::Desk;
use super::request::{Answer, Confirmed, Request};

/// The name of the socket.
const NAME: &str = "control.sock";

/// Paths up to here fit into the address of a socket on every system.
const PATH_BYTES_MAX: usize = 100;

/// How many may ask at the same time; others wait until one hangs up.
const CALLERS_MAX: usize = 64;

/// The longest request: a message of 64 MiB and what stands around it, in Base64.
const REQUEST_BYTES_MAX: u64 = 90 << 20;

/// The longest line that says what was read.
const CONFIRMED_BYTES_MAX: u64 = 256;

/// How many answers may wait for a caller to read them.
pub(super) const ANSWERS_MAX: usize = 64;

/// How long to wait after a failure to take a caller, which is mostly a lack of files.
const PAUSE: Duration = Duration::from_millis(100);

/// Listens until it is closed.
#[derive(Debug)]
pub(crate) struct Channel {
    folder: PathBuf,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Channel {
    /// Opens the socket in a data directory whose store is ours: one that is there was left by a hub that died.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn open(folder: &Path, desk: Desk) -> io::Result<Self> {
        let path = folder.join(NAME);
        if path.symlink_metadata().is_ok() {
            std::fs::remove_file(&path)?;
        }
        let listener = at(folder, |path| system::UnixListener::bind(path))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        let owner = path.metadata()?.uid();
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(run(listener, owner, desk, stopped));
        Ok(Self { folder: folder.to_owned(), stop, task })
    }

    /// Removes the socket and lets go of whoever still asks.
    pub(crate) async fn close(self) {
        // First the name, so that nobody is led to a hub that is about to end.
        if let Err(error) = std::fs::remove_file(self.folder.join(NAME)) {
            debug!(%error, "The control socket had gone before.");
        }
        self.stop.send(()).unwrap_or_default();
        if let Err(error) = self.task.await {
            warn!(%error, "The control channel did not end in order.");
        }
    }
}

async fn run(listener: UnixListener, owner: u32, desk: Desk, mut stopped: oneshot::Receiver<()>) {
    let mut callers = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = &mut stopped => break,
            Some(_) = callers.join_next() => {}
            accepted = listener.accept(), if callers.len() < CALLERS_MAX => match accepted {
                Ok((caller, _)) => drop(callers.spawn(serve(caller, owner, desk.clone()))),
                Err(error) => {
                    warn!(%error, "A caller of the control socket was not taken.");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
    callers.shutdown().await;
}

/// Answers one caller until it hangs up.
async fn serve(caller: UnixStream, owner: u32, desk: Desk) {
    // Not every system heeds the mode of a socket.
    let caller_id = caller.peer_cred().map(|credentials| credentials.uid());
    if !caller_id.is_ok_and(|id| id == owner || id == 0) {
        warn!("Another user called the control socket and was turned away.");
        return;
    }
    let (requests, mut answers) = caller.into_split();
    let mut requests = BufReader::new(requests);
    loop {
        match serve_one(&mut requests, &mut answers, &desk).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return debug!(%error, "A caller of the control socket has gone."),
        }
    }
}

/// Answers one request, and tells whether there was one.
async fn serve_one(
    requests: &mut BufReader<OwnedReadHalf>,
    answers: &mut OwnedWriteHalf,
    desk: &Desk,
) -> io::Result<bool> {
    let mut line = Vec::new();
    if requests.take(REQUEST_BYTES_MAX).read_until(b'\n', &mut line).await? == 0 {
        return Ok(false);
    }
    let request = match Request::decode(&line) {
        Ok(request) => request,
        Err(what) => {
            let whole = line.ends_with(b"\n");
            let what = if whole { what } else { "it is cut short, or longer than 90 MiB" };
            answers.write_all(not_understood(what).encode().as_bytes()).await?;
            return Ok(whole);
        }
    };
    drop(line);
    let (given, mut taken) = mpsc::channel::<Answer>(ANSWERS_MAX);
    // It owns the receiver: when the caller has gone, whoever gives answers learns of it.
    let passed_on = async move {
        while let Some(answer) = taken.recv().await {
            answers.write_all(answer.encode().as_bytes()).await?;
        }
        Ok(true)
    };
    let is_listener = matches!(request, Request::Subscribe { .. } | Request::Ask { .. });
    let is_reader = matches!(request, Request::Read { .. });
    let (confirm, confirmed) = mpsc::channel(ANSWERS_MAX);
    let answered = async { tokio::join!(desk.answer(request, given, confirmed), passed_on).1 };
    tokio::select! {
        biased;
        // Whoever has read may have confirmed more than was looked at: he asks nothing else.
        answered = answered => answered.map(|goes_on| goes_on && !is_reader),
        // Who listens hears nothing for as long as nothing comes, and may leave meanwhile.
        () = async {
            match is_reader {
                true => pass_confirmed(requests, confirm).await,
                false => hung_up(requests).await,
            }
        }, if is_listener || is_reader => Ok(false),
    }
}

/// Passes on what whoever reads says that he has, until he hangs up.
async fn pass_confirmed(requests: &mut BufReader<OwnedReadHalf>, confirm: mpsc::Sender<Confirmed>) {
    loop {
        let mut line = Vec::new();
        let read = (&mut *requests).take(CONFIRMED_BYTES_MAX).read_until(b'\n', &mut line).await;
        let said = Confirmed::decode(&line).filter(|_| read.is_ok() && line.ends_with(b"\n"));
        let Some(said) = said else { return };
        if confirm.send(said).await.is_err() {
            // What is answered is at its end.
            return std::future::pending().await;
        }
    }
}

/// Waits until a caller has hung up.
async fn hung_up(requests: &mut BufReader<OwnedReadHalf>) {
    match requests.fill_buf().await {
        Ok([]) | Err(_) => {}
        // It has asked something else already, which is read when this is answered.
        Ok(_) => std::future::pending().await,
    }
}

fn not_understood(what: &str) -> Answer {
    Answer::Failed {
        cause: format!("the hub does not understand what it is asked: {what}"),
        mend: "use the `crosspoint` that runs the hub, or restart the hub with this one".to_owned(),
    }
}

/// Calls the hub whose data directory this is; `None` when nobody answers there.
///
/// # Errors
/// The system refuses.
pub(super) fn call(folder: &Path) -> io::Result<Option<UnixStream>> {
    match at(folder, |path| system::UnixStream::connect(path)) {
        Ok(stream) => {
            stream.set_nonblocking(true)?;
            UnixStream::from_std(stream).map(Some)
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Hands over the path of the socket, in a form that is short enough for an address.
fn at<T>(folder: &Path, then: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let path = folder.join(NAME);
    if path.as_os_str().len() <= PATH_BYTES_MAX {
        return then(&path);
    }
    shortened(folder, then)
}

/// A folder that is open has a short name too.
#[cfg(target_os = "linux")]
fn shortened<T>(folder: &Path, then: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    use std::os::fd::AsRawFd;
    let folder = std::fs::File::open(folder)?;
    then(&PathBuf::from(format!("/proc/self/fd/{}/{NAME}", folder.as_raw_fd())))
}

#[cfg(not(target_os = "linux"))]
fn shortened<T>(folder: &Path, then: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    then(&folder.join(NAME))
}
