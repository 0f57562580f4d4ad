//! `crosspoint outbox` and `crosspoint dead`: what waits for a connector, what it could not deliver.

mod columns;
mod export;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use crosspoint_client::QoS;
use crosspoint_hub::control::{Edit, Kept, Request, Which};

use crate::amount::things;
use crate::ask;
use crate::failure::{Exit, Failure, Verbosity, Voice};
use crate::payload::EditedPayload;
use crate::place::PlaceFlags;
use crate::remote::qos;
use crate::table::{self, Form};

const EXIT_CODES: &str = "\
Works while the hub runs and while it does not.

Exit codes:
  0  done
  1  refused by the hub, or failed
  2  wrong usage, or no such hub, connector or message
  3  the store is damaged";

/// How many bytes of a payload a table shows.
const PREVIEW_BYTES: u64 = 60;

/// What was typed after `outbox`.
#[derive(Debug, Args)]
pub(crate) struct OutboxFlags {
    #[command(subcommand)]
    command: OutboxCommand,
}

/// What was typed after `dead`.
#[derive(Debug, Args)]
pub(crate) struct DeadFlags {
    #[command(subcommand)]
    command: DeadCommand,
}

#[derive(Debug, Subcommand)]
enum OutboxCommand {
    /// Lists each connector, what waits for it, and what became of what it was given.
    #[command(after_help = EXIT_CODES)]
    List(List),
    /// Shows messages that wait, the oldest first.
    #[command(after_help = EXIT_CODES)]
    Show(ShowOutbox),
    /// Sends at once what waits for a later attempt.
    #[command(after_help = EXIT_CODES)]
    Retry(Retry),
    /// Gives up messages that wait. What is on its way to the broker may arrive all the same.
    #[command(after_help = EXIT_CODES)]
    Drop(DropOldest),
    /// Writes every message that waits as a line of JSON; nothing is removed.
    #[command(after_help = EXIT_CODES)]
    Export(ExportOutbox),
}

#[derive(Debug, Subcommand)]
enum DeadCommand {
    /// Lists each connector and how many dead letters it has.
    #[command(after_help = EXIT_CODES)]
    List(List),
    /// Shows dead letters, why they died, and whether they may have been delivered.
    #[command(after_help = EXIT_CODES)]
    Show(Show),
    /// Changes a dead letter, to be retried afterwards.
    #[command(after_help = EXIT_CODES)]
    Edit(EditFlags),
    /// Puts dead letters into the outbox again, behind what waits there.
    #[command(after_help = EXIT_CODES)]
    Retry(Choose),
    /// Gives dead letters up for good.
    #[command(after_help = EXIT_CODES)]
    Drop(Choose),
    /// Writes every dead letter as a line of JSON; nothing is removed.
    #[command(after_help = EXIT_CODES)]
    Export(Export),
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    place: PlaceFlags,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Show {
    /// The connector
    name: String,
    /// From this position on
    #[arg(long, value_name = "POSITION", default_value_t = 0)]
    from: u64,
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    #[command(flatten)]
    place: PlaceFlags,
    /// Prints JSON, with the whole payloads
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ShowOutbox {
    #[command(flatten)]
    show: Show,
    /// Shows what was sent instead, as far as the connector archives it
    #[arg(long)]
    sent: bool,
}

#[derive(Debug, Args)]
struct Retry {
    /// The connector
    name: String,
    #[command(flatten)]
    place: PlaceFlags,
}

#[derive(Debug, Args)]
struct DropOldest {
    /// The connector
    name: String,
    /// So many, the oldest first
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..), required_unless_present = "all")]
    oldest: Option<u64>,
    /// All that wait now
    #[arg(long, conflicts_with = "oldest")]
    all: bool,
    #[command(flatten)]
    place: PlaceFlags,
}

#[derive(Debug, Args)]
struct Choose {
    /// The connector
    name: String,
    /// The positions of the dead letters, as `dead show` names them
    #[arg(value_name = "POSITION", required_unless_present = "all")]
    positions: Vec<u64>,
    /// All of them
    #[arg(long, conflicts_with = "positions")]
    all: bool,
    #[command(flatten)]
    place: PlaceFlags,
}

#[derive(Debug, Args)]
struct EditFlags {
    /// The connector
    name: String,
    /// The position of the dead letter, as `dead show` names it
    position: u64,
    /// Its new topic
    #[arg(short, long, value_name = "TOPIC")]
    topic: Option<String>,
    #[command(flatten)]
    payload: EditedPayload,
    /// Its new QoS: 0, 1 or 2
    #[arg(short, long, value_name = "QOS", value_parser = qos)]
    qos: Option<QoS>,
    /// Whether it is retained: true or false
    #[arg(short, long, value_name = "BOOL")]
    retain: Option<bool>,
    #[command(flatten)]
    place: PlaceFlags,
}

#[derive(Debug, Args)]
struct Export {
    /// The connector
    name: String,
    /// Into this file, which must not be there yet (default: stdout)
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    #[command(flatten)]
    place: PlaceFlags,
}

#[derive(Debug, Args)]
struct ExportOutbox {
    #[command(flatten)]
    export: Export,
    /// Writes what was sent instead, as far as the connector archives it
    #[arg(long)]
    sent: bool,
}

/// Runs `outbox`.
pub(crate) fn run_outbox(flags: &OutboxFlags) -> ExitCode {
    ended(match &flags.command {
        OutboxCommand::List(list) => list.run(Kept::Outbox),
        OutboxCommand::Show(flags) => flags.show.run(waiting_or(flags.sent)),
        OutboxCommand::Retry(retry) => retry.run(),
        OutboxCommand::Drop(drop) => drop.run(),
        OutboxCommand::Export(flags) => flags.export.run(waiting_or(flags.sent)),
    })
}

/// Runs `dead`.
pub(crate) fn run_dead(flags: &DeadFlags) -> ExitCode {
    ended(match &flags.command {
        DeadCommand::List(list) => list.run(Kept::Dead),
        DeadCommand::Show(show) => show.run(Kept::Dead),
        DeadCommand::Edit(edit) => edit.run(),
        DeadCommand::Retry(choose) => choose.retry(),
        DeadCommand::Drop(choose) => choose.drop(),
        DeadCommand::Export(export) => export.run(Kept::Dead),
    })
}

const fn waiting_or(is_sent: bool) -> Kept {
    if is_sent { Kept::Archive } else { Kept::Outbox }
}

fn ended(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            Voice::new(Verbosity::Normal).fail(&failure);
            failure.exit.into()
        }
    }
}

impl List {
    fn run(&self, of: Kept) -> Result<(), Failure> {
        let rows = ask::rows(&self.place.place(), Request::List(of))?;
        table::print(Form::of_flag(self.json), columns::of_list(of), &rows)
    }
}

impl Show {
    fn run(&self, of: Kept) -> Result<(), Failure> {
        let request = Request::Show {
            of,
            name: self.name.clone(),
            from: self.from,
            count: self.count,
            payload_bytes: if self.json { u64::MAX } else { PREVIEW_BYTES },
        };
        let rows = ask::rows(&self.place.place(), request)?;
        table::print(Form::of_flag(self.json), columns::of_messages(of), &rows)
    }
}

impl Retry {
    fn run(&self) -> Result<(), Failure> {
        let request = Request::Retry { of: Kept::Outbox, name: self.name.clone(), which: Which::All };
        let count = ask::count(&self.place.place(), request)?;
        table::write(&format!("{} of {} on the way again\n", things(count, "message", "messages"), self.name))
    }
}

impl DropOldest {
    fn run(&self) -> Result<(), Failure> {
        let which = self.oldest.map_or(Which::All, Which::Oldest);
        let request = Request::Drop { of: Kept::Outbox, name: self.name.clone(), which };
        let count = ask::count(&self.place.place(), request)?;
        table::write(&format!("{} of {} dropped\n", things(count, "message", "messages"), self.name))
    }
}

impl Choose {
    fn which(&self) -> Which {
        if self.all { Which::All } else { Which::At(self.positions.clone()) }
    }

    fn retry(&self) -> Result<(), Failure> {
        let request = Request::Retry { of: Kept::Dead, name: self.name.clone(), which: self.which() };
        let count = ask::count(&self.place.place(), request)?;
        let letters = things(count, "dead letter", "dead letters");
        table::write(&format!("{letters} of {} in the outbox again\n", self.name))
    }

    fn drop(&self) -> Result<(), Failure> {
        let request = Request::Drop { of: Kept::Dead, name: self.name.clone(), which: self.which() };
        let count = ask::count(&self.place.place(), request)?;
        table::write(&format!("{} of {} dropped\n", things(count, "dead letter", "dead letters"), self.name))
    }
}

impl EditFlags {
    fn run(&self) -> Result<(), Failure> {
        let edit = Edit {
            topic: self.topic.clone(),
            payload: self.payload.read()?,
            qos: self.qos,
            retain: self.retain,
        };
        if edit.is_empty() {
            return Err(Failure::usage("nothing is to be changed", "add -t, -m, -f, -n, -q or -r"));
        }
        let (name, place) = (&self.name, self.place.place());
        let request = Request::Edit { name: name.clone(), position: self.position, edit };
        let rows = ask::rows(&place, request)?;
        let moved = rows.first().and_then(|row| row.get("position")?.as_u64()).unwrap_or(self.position);
        let again = place.again();
        table::write(&format!(
            "the dead letter is changed and is number {moved} of {name} now; \
             send it with `crosspoint dead retry {name} {moved}{again}`\n"
        ))
    }
}

impl Export {
    fn run(&self, of: Kept) -> Result<(), Failure> {
        export::run(&self.place.place(), of, &self.name, self.to.as_deref())
    }
}
