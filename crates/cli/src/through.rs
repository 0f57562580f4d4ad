//! `pub`, `sub` and `request` on a connector of a hub that runs: through the hub, over the connection that it has.

use std::io::{ErrorKind, Write};
use std::pin::pin;
use std::time::Duration;

use crosspoint_client::{Message, ReasonCode, SubscribedFilter, TopicName, UserProperties};
use crosspoint_hub::control::{Control, ControlError, Part, Request, message_of};
use serde_json::Value;

use crate::ask;
use crate::connection::{after, block_on, interruption};
use crate::failure::{Failure, Voice};
use crate::place::Place;
use crate::print::{Look, Selection, Verdict, Wire};
use crate::subscribe::{denied, unwritable};
use crate::table::Row;

/// How long the broker may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// A connector of a hub that runs.
#[derive(Debug, Clone)]
pub(crate) struct Through {
    pub(crate) place: Place,
    pub(crate) connector: String,
}

/// What can be had of a connector through a hub.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// No hub runs there.
    NoHub,
    /// The hub is connected, in this version of MQTT.
    Connected { version: String },
    /// It is not: why.
    NotConnected(String),
}

impl Through {
    /// Asks the hub how the connector stands.
    ///
    /// # Errors
    /// The system refuses what this needs to run.
    pub(crate) fn standing(&self) -> Result<Standing, Failure> {
        block_on(async { Ok(self.asked().await) })
    }

    async fn asked(&self) -> Standing {
        let mut hub = match Control::of_running(self.place.data()) {
            Ok(hub) => hub,
            Err(ControlError::NotRunning { .. }) => return Standing::NoHub,
            Err(error) => return Standing::NotConnected(format!("the hub cannot be asked: {error}")),
        };
        let mut found = None;
        let is_it = |row: &Row| row.get("connector").and_then(Value::as_str) == Some(&*self.connector);
        let take = |part| {
            match part {
                Part::Row(row) if is_it(&row) => found = Some(row),
                _ => {}
            }
            Ok(())
        };
        match (hub.ask(Request::Overview, take).await, found) {
            (Ok(_), Some(row)) => of_row(&row),
            (Ok(_), None) => Standing::NotConnected("the hub that runs does not know it".to_owned()),
            (Err(error), _) => Standing::NotConnected(format!("the hub cannot be asked: {error}")),
        }
    }

    /// Reaches the hub, which must run.
    ///
    /// # Errors
    /// It does not run.
    pub(crate) fn reach(&self) -> Result<Control, Failure> {
        Control::of_running(self.place.data()).map_err(ask::failure)
    }

    /// Publishes to a topic, and returns what became of each message when the broker has answered to all of them.
    ///
    /// # Errors
    /// The hub refuses, or has gone.
    pub(crate) async fn publish(
        &self,
        hub: &mut Control,
        topic: &TopicName,
        messages: Vec<Message>,
        voice: Voice,
    ) -> Result<Vec<Result<(), Failure>>, Failure> {
        let name = self.connector.clone();
        let (mut outcomes, sent) = (Vec::new(), messages.len());
        let take = |part| {
            let Part::Row(row) = part else { return Ok(()) };
            let text = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default();
            outcomes.push(match row.contains_key("refused") {
                true => Err(Failure::new(text("refused"), text("mend"))),
                false => {
                    let said = text("said");
                    voice.debug(format_args!("published to {topic}: {said}, by the hub's connector {name}"));
                    Ok(())
                }
            });
            Ok(())
        };
        let request = Request::PublishNow { name: self.connector.clone(), messages, within: ANSWER_WITHIN };
        hub.ask(request, take).await.map_err(ask::failure)?;
        // A message of which nothing is said is not one that the broker has.
        if outcomes.len() != sent {
            return Err(ask::failure(ControlError::Gone));
        }
        Ok(outcomes)
    }
}

fn of_row(row: &Row) -> Standing {
    let text = |key: &str| row.get(key).and_then(Value::as_str);
    match (text("state"), text("version"), text("cause")) {
        (Some("connected" | "degraded"), Some(version), _) => {
            Standing::Connected { version: version.to_owned() }
        }
        (state, _, cause) => Standing::NotConnected(match (state, cause) {
            (Some(state), Some(cause)) => format!("there it is {state}: {cause}"),
            (state, _) => format!("there it is {}", state.unwrap_or("not connected")),
        }),
    }
}

/// What is asked of the hub, to be heard until there has been enough.
#[derive(Debug, Clone)]
pub(crate) enum Wish {
    /// What comes on these filters.
    Messages { filters: Vec<SubscribedFilter>, user_properties: UserProperties },
    /// Answers to this.
    Answers { message: Message, response_topic: Option<TopicName> },
}

/// What is printed of what comes.
#[derive(Debug)]
pub(crate) struct Hearing {
    pub(crate) wish: Wish,
    pub(crate) look: Look,
    pub(crate) selection: Selection,
    pub(crate) exit_after_subscribe: bool,
    pub(crate) timeout: Option<Duration>,
    /// What it means when the time is over, and when it is interrupted.
    pub(crate) when_over: fn() -> Failure,
    pub(crate) when_interrupted: fn() -> Result<(), Failure>,
}

impl Hearing {
    /// Asks and prints what comes, until there has been enough.
    ///
    /// # Errors
    /// No hub runs, it ends, its broker refuses everything, or stdout takes no more.
    pub(crate) async fn run(self, through: &Through, voice: Voice) -> Result<(), Failure> {
        let mut interrupted = pin!(interruption()?);
        let mut timeout = pin!(after(self.timeout));
        let (when_over, when_interrupted) = (self.when_over, self.when_interrupted);
        let mut hub = through.reach()?;
        let (name, within) = (through.connector.clone(), ANSWER_WITHIN);
        let request = match self.wish.clone() {
            Wish::Messages { filters, user_properties } => {
                Request::Subscribe { name, filters, user_properties, within }
            }
            Wish::Answers { message, response_topic } => {
                Request::Ask { name, message, response_topic, within }
            }
        };
        let mut printing = Printing { hearing: self, connector: &through.connector, voice, failed: None };
        let asked = hub.ask(request, |part| printing.take(part));
        let ended = tokio::select! {
            biased;
            () = &mut interrupted => return when_interrupted(),
            () = &mut timeout => return Err(when_over()),
            ended = asked => ended,
        };
        match (printing.failed, ended) {
            (Some(failure), _) => Err(failure),
            (None, Ok(_) | Err(ControlError::Stopped)) => Ok(()),
            (None, Err(error)) => Err(ask::failure(error)),
        }
    }
}

struct Printing<'a> {
    hearing: Hearing,
    connector: &'a str,
    voice: Voice,
    failed: Option<Failure>,
}

impl Printing<'_> {
    fn take(&mut self, part: Part) -> Result<(), ControlError> {
        let Part::Row(row) = part else { return Ok(()) };
        let is_enough = match message_of(&row) {
            Some((message, packet_id)) => self.print(&message, packet_id),
            None => self.on_told(&row),
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

    /// Looks at what the hub says besides messages; tells whether that was all.
    fn on_told(&self, row: &Row) -> Result<bool, Failure> {
        if let Some(missed) = row.get("missed").and_then(Value::as_u64) {
            self.voice
                .warn(format_args!("{missed} messages are left out: they came faster than they were taken"));
            return Ok(false);
        }
        match row.get("apart").and_then(Value::as_str) {
            Some(why) => self.voice.warn(format_args!(
                "this goes beside connector {}, with a client id of its own: {why}",
                self.connector
            )),
            None => self
                .voice
                .debug(format_args!("over the connection of the hub's connector {}", self.connector)),
        }
        match &self.hearing.wish {
            Wish::Messages { filters, .. } => self.on_subscribed(row, filters),
            Wish::Answers { message, .. } => self.on_asked(row, message),
        }
    }

    fn on_subscribed(&self, row: &Row, filters: &[SubscribedFilter]) -> Result<bool, Failure> {
        let reasons = row.get("reasons").and_then(Value::as_array).into_iter().flatten();
        let reasons: Vec<ReasonCode> = reasons.filter_map(reason).collect();
        let mut refused = filters.iter().zip(&reasons).filter(|(_, reason)| reason.is_error()).peekable();
        if let Some((first, reason)) = refused.peek()
            && reasons.iter().all(|reason| reason.is_error())
        {
            return Err(denied(&first.filter, **reason));
        }
        for (refused, reason) in refused {
            self.voice
                .warn(format_args!("the broker refuses the subscription to {}: {reason}", refused.filter));
        }
        if !self.hearing.selection.skips_retained {
            let before = row.get("subscribed_before").and_then(Value::as_array).into_iter().flatten();
            for filter in before.filter_map(Value::as_str) {
                self.voice.warn(format_args!(
                    "the connector has subscribed to {filter} before: what is retained is not sent again \
                     (with -I PREFIX it would be, to a client beside the connector)"
                ));
            }
        }
        self.voice.debug("subscribed");
        Ok(self.hearing.exit_after_subscribe)
    }

    fn on_asked(&self, row: &Row, question: &Message) -> Result<bool, Failure> {
        let answers_on = row.get("answers_on").and_then(Value::as_str).unwrap_or_default();
        self.voice.debug(format_args!("asked on {}, answers come on {answers_on}", question.topic()));
        if row.get("reason").and_then(reason) == Some(ReasonCode::NoMatchingSubscribers) {
            self.voice.warn(format_args!("nobody is subscribed to {} now", question.topic()));
        }
        Ok(false)
    }

    fn print(&mut self, message: &Message, packet_id: u16) -> Result<bool, Failure> {
        let (verdict, mut out) = (self.hearing.selection.judge(message), Vec::new());
        if matches!(verdict, Verdict::Print | Verdict::PrintLast) {
            self.hearing.look.append(
                message,
                Wire { packet_id, subscription_id: None },
                &mut out,
                self.voice,
            );
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

fn reason(value: &Value) -> Option<ReasonCode> {
    ReasonCode::from_byte(u8::try_from(value.as_u64()?).ok()?)
}
