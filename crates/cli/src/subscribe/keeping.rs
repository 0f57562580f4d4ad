//! `crosspoint sub --keep` and `sub --kept`: a subscription that the hub keeps, made and read.

use std::io::{ErrorKind, Write};
use std::pin::pin;
use std::time::Duration;

use clap::Args;
use crosspoint_client::{QoS, ReasonCode, TopicFilter};
use crosspoint_hub::actions::{KeptLimits, KeptSubscription};
use crosspoint_hub::config::plan::WhenFull;
use crosspoint_hub::control::{Control, Part, Request, Taken, message_of};
use serde_json::Value;

use super::{SubscribeFlags, timed_out, unwritable};
use crate::ask;
use crate::connection::{after, block_on, interruption};
use crate::failure::{Failure, Voice};
use crate::place::Place;
use crate::print::{Look, Selection, Verdict, Wire};
use crate::table::{self, Row};

/// How long the broker may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// What was typed about a subscription that the hub keeps.
#[derive(Debug, Args)]
pub(crate) struct KeepFlags {
    /// Let the hub keep this subscription under a name, and exit: what comes waits on its disk until `sub --kept NAME` reads it
    #[arg(long, value_name = "NAME", requires = "connector", conflicts_with_all = ["retain_as_published", "exit_after_subscribe", "unsubscribe", "count"], help_heading = "Kept by the hub")]
    pub(super) keep: Option<String>,
    /// Read what a kept subscription has: what waits, the oldest first, then what comes. What was printed is confirmed and
    /// does not come again
    #[arg(
        long, value_name = "NAME", help_heading = "Kept by the hub", group = "of_project",
        conflicts_with_all = [
            "keep", "topic", "unsubscribe", "retain_as_published", "exit_after_subscribe", "host", "port", "url", "unix", "ws",
            "id", "id_prefix", "will_topic", "property",
        ]
    )]
    pub(super) kept: Option<String>,
    /// How many bytes may wait; each message counts for 64 more than it has (default: 268435456)
    #[arg(long, value_name = "BYTES", requires = "keep", help_heading = "Kept by the hub")]
    max_bytes: Option<u64>,
    /// How many messages may wait (default: no limit)
    #[arg(long, value_name = "COUNT", requires = "keep", help_heading = "Kept by the hub")]
    max_messages: Option<u64>,
    /// For how many seconds a message may wait (default: for ever)
    #[arg(long, value_name = "SECONDS", requires = "keep", help_heading = "Kept by the hub")]
    max_age: Option<u64>,
    /// What happens when no more may wait: drop_oldest, drop_newest, or block, which holds up everything that comes from the
    /// connector (default: drop_oldest)
    #[arg(long, value_name = "WHAT", requires = "keep", value_parser = clap::builder::PossibleValuesParser::new(WhenFull::WORDS), help_heading = "Kept by the hub")]
    when_full: Option<String>,
}

impl KeepFlags {
    fn limits(&self) -> KeptLimits {
        let default = KeptLimits::default();
        KeptLimits {
            bytes_max: self.max_bytes.unwrap_or(default.bytes_max),
            messages_max: self.max_messages.or(default.messages_max),
            age_max: self.max_age.map(Duration::from_secs).or(default.age_max),
            when_full: self.when_full.as_deref().map_or(default.when_full, WhenFull::of_word),
        }
    }
}

/// Lets the hub keep a subscription.
///
/// # Errors
/// No hub runs, it has another one of this name, or its broker refuses.
pub(super) fn keep(flags: &SubscribeFlags, name: &str, voice: Voice) -> Result<(), Failure> {
    flags.remote.only_publish_properties()?;
    let place = flags.remote.place();
    let connector = flags.remote.connector.clone().unwrap_or_default();
    let filters = flags.filters(None)?.into_iter().map(|wanted| wanted.filter).collect();
    let limits = flags.keeping.limits();
    let subscription = KeptSubscription {
        name: name.to_owned(),
        connector: connector.clone(),
        filters,
        // At QoS 0 the broker would keep nothing while the connection is away.
        qos: flags.qos.unwrap_or(QoS::AtLeastOnce),
        limits,
    };
    let request = Request::Keep { subscription, within: ANSWER_WITHIN };
    let made = block_on(async {
        let mut hub = Control::of_running(place.data()).map_err(ask::failure)?;
        let mut made = Row::new();
        let take = |part| {
            if let Part::Row(row) = part {
                made = row;
            }
            Ok(())
        };
        tokio::select! {
            asked = hub.ask(request, take) => asked.map_err(ask::failure)?,
            () = after(flags.remote.timeout()) => return Err(timed_out()),
        };
        Ok(made)
    })?;
    tell(&made, name, &connector, &place, voice)
}

/// Says what was made of it.
fn tell(made: &Row, name: &str, connector: &str, place: &Place, voice: Voice) -> Result<(), Failure> {
    let granted: Vec<(TopicFilter, Option<ReasonCode>)> =
        made.get("granted").and_then(Value::as_array).into_iter().flatten().filter_map(granted).collect();
    for (filter, reason) in &granted {
        match reason {
            Some(reason) if reason.is_error() => {
                voice.warn(format_args!("the broker refuses the subscription to {filter}: {reason}"));
            }
            Some(_) => {}
            None => voice.warn(format_args!("{filter} waits for {connector} to be connected")),
        }
    }
    if made.get("is_session_clean").and_then(Value::as_bool) == Some(true) {
        voice.warn(format_args!(
            "the broker forgets {connector} when its connection ends: what is published meanwhile is not kept \
             (session = \"durable\" in [connector.{connector}] changes that)"
        ));
    }
    let is_new = made.get("is_new").and_then(Value::as_bool) == Some(true);
    let (what, again) = (if is_new { "kept" } else { "kept already" }, place.again());
    table::write(&format!("{what} as {name}; read it with `crosspoint sub --kept {name}{again}`\n"))
}

fn granted(value: &Value) -> Option<(TopicFilter, Option<ReasonCode>)> {
    let filter = TopicFilter::parse(value.get("filter")?.as_str()?.to_owned()).ok()?;
    let reason = value.get("reason").and_then(Value::as_u64);
    Some((filter, reason.and_then(|byte| ReasonCode::from_byte(u8::try_from(byte).ok()?))))
}

/// Prints what a kept subscription has and gets, until there has been enough.
///
/// # Errors
/// No hub runs, it has no such subscription, somebody else reads it, or stdout takes no more.
pub(super) fn read(flags: &SubscribeFlags, name: &str, voice: Voice) -> Result<(), Failure> {
    let mut printing = Printing { look: flags.look()?, selection: flags.selection()?, voice, failed: None };
    let place = flags.remote.place();
    let ended = block_on(async {
        let mut interrupted = pin!(interruption()?);
        let hub = Control::of_running(place.data()).map_err(ask::failure)?;
        voice.debug(format_args!("reading {name}"));
        tokio::select! {
            biased;
            () = &mut interrupted => Ok(()),
            () = after(flags.remote.timeout()) => Err(timed_out()),
            ended = hub.read(name, |row| Ok(printing.take(&row))) => ended.map_err(ask::failure),
        }
    });
    printing.failed.map_or(ended, Err)
}

struct Printing {
    look: Look,
    selection: Selection,
    voice: Voice,
    failed: Option<Failure>,
}

impl Printing {
    /// Prints a message. It is taken when stdout has it.
    fn take(&mut self, row: &Row) -> Taken {
        let Some((message, packet_id)) = message_of(row) else { return Taken::Left };
        let (verdict, mut out) = (self.selection.judge(&message), Vec::new());
        if verdict == Verdict::End {
            return Taken::Left;
        }
        if verdict != Verdict::Skip {
            let wire = Wire { packet_id, subscription_id: None };
            self.look.append(&message, wire, &mut out, self.voice);
        }
        let mut stdout = std::io::stdout().lock();
        match stdout.write_all(&out).and_then(|()| stdout.flush()) {
            Ok(()) if verdict == Verdict::PrintLast => Taken::Last,
            Ok(()) => Taken::Confirmed,
            Err(error) => {
                // Whoever read has had enough: the next one gets it.
                let is_gone = error.kind() == ErrorKind::BrokenPipe;
                self.failed = (!is_gone).then(|| unwritable(&error));
                Taken::Left
            }
        }
    }
}
