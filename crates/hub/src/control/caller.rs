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
use super::request::{Answer, Request};
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
                tokio::join!(desk.answer(request, given), read).1
            }
        }
    }
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
