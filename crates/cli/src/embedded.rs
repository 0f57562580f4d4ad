//! `pub`, `sub` and `request` on the embedded broker of a hub that runs: it has no address of its own, so the hub is asked.

use std::io::{ErrorKind, Write};
use std::pin::pin;
use std::time::Duration;

use crosspoint_client::{Message, ReasonCode, SubscribedFilter};
use crosspoint_hub::config::plan::BROKER_CONNECTOR;
use crosspoint_hub::control::{Control, ControlError, Part, Request, message_of};
use serde_json::Value;

use crate::ask;
use crate::connection::{after, interruption};
use crate::failure::{Failure, Voice};
use crate::place::Place;
use crate::print::{Look, Selection, Verdict};
use crate::subscribe::{denied, timed_out, unwritable};
use crate::table::Row;

/// How long the embedded broker may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Publishes, and returns when the broker has it.
///
/// # Errors
/// No hub runs, or its broker refuses.
pub(crate) async fn publish(hub: &mut Control, message: Message, voice: Voice) -> Result<(), Failure> {
    let topic = message.topic().to_owned();
    let request = Request::PublishNow { name: BROKER_CONNECTOR.to_owned(), message, within: ANSWER_WITHIN };
    let mut said = String::new();
    let take = |part| {
        if let Part::Row(row) = part {
            said = row.get("said").and_then(Value::as_str).unwrap_or_default().to_owned();
        }
        Ok(())
    };
    hub.ask(request, take).await.map_err(ask::failure)?;
    voice.debug(format_args!("published to {topic}: {said}"));
    Ok(())
}

/// Reaches the hub of a place, which must run.
///
/// # Errors
/// It does not run.
pub(crate) fn reach(place: &Place) -> Result<Control, Failure> {
    Control::of_running(place.data()).map_err(ask::failure)
}

/// What is printed of what comes.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) filters: Vec<SubscribedFilter>,
    pub(crate) look: Look,
    pub(crate) selection: Selection,
    pub(crate) exit_after_subscribe: bool,
    pub(crate) timeout: Option<Duration>,
}

impl Listening {
    /// Subscribes and prints what comes, until there has been enough.
    ///
    /// # Errors
    /// No hub runs, it ends, its broker refuses everything, or stdout takes no more.
    pub(crate) async fn run(self, place: &Place, voice: Voice) -> Result<(), Failure> {
        let mut interrupted = pin!(interruption()?);
        let mut timeout = pin!(after(self.timeout));
        let mut hub = reach(place)?;
        let filters = self.filters.clone();
        let request =
            Request::Subscribe { name: BROKER_CONNECTOR.to_owned(), filters, within: ANSWER_WITHIN };
        let mut printing = Printing { listening: self, voice, failed: None };
        let asked = hub.ask(request, |part| printing.take(part));
        let ended = tokio::select! {
            biased;
            () = &mut interrupted => return Ok(()),
            () = &mut timeout => return Err(timed_out()),
            ended = asked => ended,
        };
        match (printing.failed, ended) {
            (Some(failure), _) => Err(failure),
            (None, Ok(_) | Err(ControlError::Stopped)) => Ok(()),
            (None, Err(error)) => Err(ask::failure(error)),
        }
    }
}

struct Printing {
    listening: Listening,
    voice: Voice,
    failed: Option<Failure>,
}

impl Printing {
    fn take(&mut self, part: Part) -> Result<(), ControlError> {
        let Part::Row(row) = part else { return Ok(()) };
        let is_enough = match message_of(&row) {
            Some((message, packet_id)) => self.print(&message, packet_id),
            None => self.on_subscribed(&row),
        };
        match is_enough {
            Ok(false) => Ok(()),
            Ok(true) => Err(ControlError::Stopped),
            Err(failure) => {
                self.failed = Some(failure);
                Err(ControlError::Stopped)
            }
        }
    }

    /// Looks at what the broker said to each filter; tells whether that was all.
    fn on_subscribed(&self, row: &Row) -> Result<bool, Failure> {
        let reasons = row.get("reasons").and_then(Value::as_array).into_iter().flatten();
        let reasons: Vec<ReasonCode> = reasons
            .filter_map(|reason| ReasonCode::from_byte(u8::try_from(reason.as_u64()?).ok()?))
            .collect();
        let refused = self.listening.filters.iter().zip(&reasons).find(|(_, reason)| reason.is_error());
        match refused {
            Some((first, reason)) if reasons.iter().all(|reason| reason.is_error()) => {
                Err(denied(&first.filter, *reason))
            }
            _ => {
                self.voice.debug("subscribed");
                Ok(self.listening.exit_after_subscribe)
            }
        }
    }

    fn print(&mut self, message: &Message, packet_id: u16) -> Result<bool, Failure> {
        let (verdict, mut out) = (self.listening.selection.judge(message), Vec::new());
        if matches!(verdict, Verdict::Print | Verdict::PrintLast) {
            self.listening.look.append(message, packet_id, &mut out, self.voice);
        }
        let mut stdout = std::io::stdout().lock();
        match stdout.write_all(&out).and_then(|()| stdout.flush()) {
            // Whoever read has had enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(true),
            Err(error) => Err(unwritable(&error)),
            Ok(()) => Ok(matches!(verdict, Verdict::PrintLast | Verdict::End)),
        }
    }
}
