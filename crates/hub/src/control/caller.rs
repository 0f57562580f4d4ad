//! Asking: a hub that runs through its socket, one that has stopped by opening what it left.

use std::path::Path;

use serde_json::{Map, Value};
#[cfg(unix)]
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::desk::Desk;
use super::failure::ControlError;
use super::request::{Answer, Confirmed, Request};
use super::store_folder::StoreFolder;

/// How many answers may wait to be looked at.
const ANSWERS_MAX: usize = 64;

/// A hub that can be asked, whether it runs or not. What it answers is the same.
///
/// While it runs it is asked over the socket in its data directory. While it does not, its store is opened here, and no
/// hub can start until this is dropped.
#[derive(Debug)]
pub struct Control {
    way: Way,
}

#[derive(Debug)]
enum Way {
    #[cfg(unix)]
    Running(BufReader<UnixStream>),
    Stopped(Desk),
    /// It runs in this process.
    Here(Desk),
}

/// What comes before the end of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// One thing that was asked for.
    Row(Map<String, Value>),
    /// How far a long run is: so many of so many.
    Progress(u64, u64),
}

impl Control {
    /// Reaches the hub of a data directory.
    ///
    /// # Errors
    /// There is no store; it is damaged; or a process has it open that takes no commands.
    pub async fn open(data: &Path) -> Result<Self, ControlError> {
        match Self::of_running(data) {
            Err(ControlError::NotRunning { .. }) => {}
            running => return running,
        }
        let folder = StoreFolder::of(data);
        let store = folder.open().map_err(|error| match error {
            ControlError::InUse { path, owner } => ControlError::Deaf { path, owner },
            other => other,
        })?;
        Ok(Self { way: Way::Stopped(Desk::of_stopped(store, folder)) })
    }

    /// Reaches the hub of a data directory, if it runs.
    ///
    /// # Errors
    /// It does not run, or cannot be reached.
    pub fn of_running(data: &Path) -> Result<Self, ControlError> {
        #[cfg(unix)]
        {
            let called = super::channel::call(data).map_err(|error| ControlError::of_system(data, &error))?;
            if let Some(stream) = called {
                return Ok(Self { way: Way::Running(BufReader::new(stream)) });
            }
        }
        Err(ControlError::NotRunning { path: data.to_owned() })
    }

    /// Reaches a hub in this process.
    pub(crate) const fn of_desk(desk: Desk) -> Self {
        Self { way: Way::Here(desk) }
    }

    /// Tells whether the hub runs.
    pub const fn is_running(&self) -> bool {
        !matches!(self.way, Way::Stopped(_))
    }

    /// Asks, hands each part of the answer to `take`, and returns how many messages were meant.
    ///
    /// # Errors
    /// What was asked is not done, and why; or the hub has gone.
    ///
    /// # Cancel safety
    /// Dropped before it is done, nobody knows what was done. Ask nothing more then.
    pub async fn ask(
        &mut self,
        request: Request,
        mut take: impl FnMut(Part) -> Result<(), ControlError>,
    ) -> Result<u64, ControlError> {
        match &mut self.way {
            #[cfg(unix)]
            Way::Running(stream) => {
                let line = request.encode() + "\n";
                stream.get_mut().write_all(line.as_bytes()).await.map_err(|_| ControlError::Gone)?;
                loop {
                    if let Some(end) = step(next(stream).await?, &mut take)? {
                        return Ok(end);
                    }
                }
            }
            Way::Stopped(desk) | Way::Here(desk) => {
                let (given, mut taken) = mpsc::channel(ANSWERS_MAX);
                let read = async move {
                    while let Some(answer) = taken.recv().await {
                        if let Some(end) = step(answer, &mut take)? {
                            return Ok(end);
                        }
                    }
                    Err(ControlError::Gone)
                };
                let (_, confirmed) = mpsc::channel(1);
                tokio::join!(desk.answer(request, given, confirmed), read).1
            }
        }
    }

    /// Reads a kept subscription: hands each message to `take`, which tells whether it is where it was to go, and returns
    /// when `take` wants no more. What is not confirmed then comes again to the next one who reads.
    ///
    /// # Errors
    /// There is no such subscription, somebody else reads it, the hub does not run or has gone, or `take` fails.
    ///
    /// # Cancel safety
    /// Dropped before it is done, the message that was taken last may come again. Ask nothing more then.
    pub async fn read(
        self,
        name: &str,
        mut take: impl FnMut(Map<String, Value>) -> Result<Taken, ControlError>,
    ) -> Result<(), ControlError> {
        let request = Request::Read { name: name.to_owned() };
        match self.way {
            #[cfg(unix)]
            Way::Running(mut stream) => {
                let line = request.encode() + "\n";
                stream.get_mut().write_all(line.as_bytes()).await.map_err(|_| ControlError::Gone)?;
                let mut is_over = false;
                loop {
                    let Some(confirmed) = taken_of(next(&mut stream).await?, is_over, &mut take)? else {
                        return Ok(());
                    };
                    let Some(confirmed) = confirmed else { continue };
                    is_over = confirmed.is_last;
                    let line = confirmed.encode();
                    stream.get_mut().write_all(line.as_bytes()).await.map_err(|_| ControlError::Gone)?;
                }
            }
            Way::Stopped(desk) | Way::Here(desk) => {
                let (given, mut answers) = mpsc::channel(ANSWERS_MAX);
                let (confirm, confirmed) = mpsc::channel(ANSWERS_MAX);
                let read = async move {
                    let mut is_over = false;
                    while let Some(answer) = answers.recv().await {
                        let Some(confirmed) = taken_of(answer, is_over, &mut take)? else { return Ok(()) };
                        let Some(confirmed) = confirmed else { continue };
                        is_over = confirmed.is_last;
                        confirm.send(confirmed).await.map_err(|_| ControlError::Gone)?;
                    }
                    Err(ControlError::Gone)
                };
                tokio::join!(desk.answer(request, given, confirmed), read).1
            }
        }
    }
}

/// What became of a message that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is where it was to go; more are wanted.
    Confirmed,
    /// It is where it was to go, and no more are wanted.
    Last,
    /// It is not, and no more are wanted.
    Left,
}

/// Lets a message be taken, unless enough were; returns what is to be confirmed of it. `None` at the end.
fn taken_of(
    answer: Answer,
    is_over: bool,
    take: &mut impl FnMut(Map<String, Value>) -> Result<Taken, ControlError>,
) -> Result<Option<Option<Confirmed>>, ControlError> {
    let row = match answer {
        Answer::Row(_) if is_over => return Ok(Some(None)),
        Answer::Row(row) => row,
        end => return step(end, &mut |_| Ok(())).map(|_| None),
    };
    let position = row.get("position").and_then(Value::as_u64).unwrap_or_default();
    Ok(match take(row)? {
        Taken::Confirmed => Some(Some(Confirmed { position, is_last: false })),
        Taken::Last => Some(Some(Confirmed { position, is_last: true })),
        Taken::Left => None,
    })
}

#[cfg(unix)]
async fn next(stream: &mut BufReader<UnixStream>) -> Result<Answer, ControlError> {
    let mut line = Vec::new();
    let read = stream.read_until(b'\n', &mut line).await;
    if !read.is_ok_and(|bytes| bytes > 0) || !line.ends_with(b"\n") {
        return Err(ControlError::Gone);
    }
    Answer::decode(&line).ok_or(ControlError::Gone)
}

/// Takes a part of an answer; returns the count with which it ends.
fn step(
    answer: Answer,
    take: &mut impl FnMut(Part) -> Result<(), ControlError>,
) -> Result<Option<u64>, ControlError> {
    match answer {
        Answer::Row(row) => take(Part::Row(row)).map(|()| None),
        Answer::Progress(part, whole) => take(Part::Progress(part, whole)).map(|()| None),
        Answer::Done(count) => Ok(Some(count)),
        Answer::NotThere { cause, mend } => Err(ControlError::NotThere { cause, mend }),
        Answer::Failed { cause, mend } => Err(ControlError::Refused { cause, mend }),
    }
}
