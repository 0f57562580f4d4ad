//! Asking a hub, whether it runs or has stopped.

use crosspoint_hub::control::{Control, ControlError, Part, Request};

use crate::connection::block_on;
use crate::failure::Failure;
use crate::place::Place;
use crate::progress::{ProgressLine, bar};
use crate::table::Row;

/// Asks for rows, hands each to `take`, and returns how many messages were meant.
///
/// # Errors
/// The hub cannot be reached, refuses, or `take` fails.
pub(crate) fn each(
    place: &Place,
    request: Request,
    mut take: impl FnMut(Row) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    block_on(async {
        // Without a hub that runs there is nothing that it does.
        let hub = match request {
            Request::Overview => Control::of_running(place.data()),
            _ => Control::open(place.data()).await,
        };
        let mut hub = hub.map_err(failure)?;
        let (mut line, mut failed) = (ProgressLine::new(), None);
        let asked = hub.ask(request, |part| match part {
            Part::Progress(part, whole) => {
                line.show(|| bar(part, whole));
                Ok(())
            }
            Part::Row(row) => take(row).map_err(|error| {
                failed = Some(error);
                ControlError::Stopped
            }),
        });
        let asked = asked.await;
        match failed {
            Some(failure) => Err(failure),
            None => asked.map_err(failure),
        }
    })
}

/// Asks for rows and returns all of them.
///
/// # Errors
/// The hub cannot be reached, or refuses.
pub(crate) fn rows(place: &Place, request: Request) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    each(place, request, |row| {
        rows.push(row);
        Ok(())
    })?;
    Ok(rows)
}

/// Asks for something to be done, and returns how many messages were meant.
///
/// # Errors
/// The hub cannot be reached, or refuses.
pub(crate) fn count(place: &Place, request: Request) -> Result<u64, Failure> {
    each(place, request, |_| Ok(()))
}

/// Returns how a command ends that was refused.
pub(crate) fn failure(error: ControlError) -> Failure {
    let (cause, mend) = (error.to_string(), error.mend());
    match error {
        ControlError::NoStore { .. } | ControlError::Occupied { .. } | ControlError::NotThere { .. } => {
            Failure::usage(cause, mend)
        }
        ControlError::Damaged { .. } => Failure::damaged(cause, mend),
        _ => Failure::new(cause, mend),
    }
}
