//! `crosspoint store`: what a hub keeps on disk, whether it is whole, and what of it can be saved.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use crosspoint_hub::control::{Progress, Report, Request, Salvaged, StoreFolder};
use serde_json::{Value, json};

use crate::amount::{bytes, count, things};
use crate::ask;
use crate::failure::{Exit, Failure, Verbosity, Voice};
use crate::place::PlaceFlags;
use crate::progress::{ProgressLine, bar};
use crate::table::{self, Column, Form, Row};

const EXIT_CODES: &str = "\
Exit codes:
  0  whole, saved, or shown
  1  the store is in use, or the disk failed
  2  wrong usage, or no store there
  3  the store is damaged, or not everything could be saved";

/// What was typed after `store`.
#[derive(Debug, Args)]
pub(crate) struct StoreFlags {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Reads every byte of the store of a hub that has stopped, and names all damage; changes nothing.
    #[command(after_help = EXIT_CODES)]
    Verify(Verify),
    /// Shows what the store of a hub takes up and what waits in it, whether the hub runs or not.
    #[command(after_help = EXIT_CODES)]
    Status(Status),
    /// Saves what is whole in the store of a hub that has stopped into a new store.
    #[command(after_help = EXIT_CODES)]
    Salvage(Salvage),
}

#[derive(Debug, Args)]
struct Verify {
    #[command(flatten)]
    place: PlaceFlags,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Status {
    #[command(flatten)]
    place: PlaceFlags,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Salvage {
    /// The folder of the new store: empty, or not there yet.
    to: PathBuf,
    #[command(flatten)]
    place: PlaceFlags,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(flags: &StoreFlags) -> ExitCode {
    let ended = match &flags.command {
        StoreCommand::Verify(verify) => verify.run(),
        StoreCommand::Status(status) => status.run(),
        StoreCommand::Salvage(salvage) => salvage.run(),
    };
    match ended {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            Voice::new(Verbosity::Normal).fail(&failure);
            failure.exit.into()
        }
    }
}

impl Verify {
    fn run(&self) -> Result<(), Failure> {
        let store = StoreFolder::of(self.place.place().data());
        let report = store.verify(tell()).map_err(ask::failure)?;
        self.print(&store, &report)?;
        if report.damages.is_empty() {
            return Ok(());
        }
        let places = things(report.damages.len() as u64, "place", "places");
        Err(Failure::damaged(
            format!("the store in {} is damaged in {places}", store.path().display()),
            format!("save what is whole with `crosspoint store salvage TO{}`", self.place.place().again()),
        ))
    }

    fn print(&self, store: &StoreFolder, report: &Report) -> Result<(), Failure> {
        match Form::of_flag(self.json) {
            Form::Json => {
                let mut row = report_row(report);
                row.insert("store".to_owned(), json!(store.path().display().to_string()));
                table::print_one(Form::Json, REPORT, &row)
            }
            Form::Table if report.damages.is_empty() => table::write(&format!(
                "{} is whole: {}\n{}",
                store.path().display(),
                read(report),
                torn(report)
            )),
            Form::Table => {
                table::write(&format!("{}: {}\n", store.path().display(), read(report)))?;
                table::print(Form::Table, DAMAGES, &damage_rows(report))
            }
        }
    }
}

impl Status {
    fn run(&self) -> Result<(), Failure> {
        for row in ask::rows(&self.place.place(), Request::Status)? {
            table::print_one(Form::of_flag(self.json), STATUS, &row)?;
        }
        Ok(())
    }
}

impl Salvage {
    fn run(&self) -> Result<(), Failure> {
        let store = StoreFolder::of(self.place.place().data());
        let saved = store.salvage(&self.to, tell()).map_err(ask::failure)?;
        match Form::of_flag(self.json) {
            Form::Json => table::print_one(Form::Json, SAVED, &saved_row(&saved))?,
            Form::Table => table::write(&self.told(&store, &saved))?,
        }
        let damages = saved.report.damages.len() as u64;
        if damages == 0 && saved.messages_lost == 0 {
            return Ok(());
        }
        // What stood in a frame that is damaged cannot be counted: nobody knows what it was.
        let lost = match saved.messages_lost {
            0 => String::new(),
            lost => format!(", {} among it", things(lost, "known message", "known messages")),
        };
        Err(Failure::damaged(
            format!("what stood in {} is lost{lost}", things(damages, "damaged place", "damaged places")),
            "see the places with `crosspoint store verify`; a backup of the folder may have what stood there",
        ))
    }

    /// Says what was saved, and how it takes the place of the damaged store.
    fn told(&self, store: &StoreFolder, saved: &Salvaged) -> String {
        let (from, to) = (store.path().display(), self.to.display());
        format!(
            "saved {} and {} of tables into {to}\n\
             There, exchanges at QoS 2 that were open begin anew, and what was dropped out of turn waits again.\n\
             To go on with it:\n  mv {from} {from}.damaged\n  mv {to} {from}\n",
            things(saved.messages, "waiting message", "waiting messages"),
            things(saved.table_entries, "entry", "entries"),
        )
    }
}

/// Returns what shows how far a run is.
fn tell() -> impl FnMut(Progress) + Send + 'static {
    let mut line = ProgressLine::new();
    move |progress| {
        line.show(|| match progress.written {
            0 => format!("{} of {}", bar(progress.read, progress.total), bytes(progress.total)),
            written => format!("{} read, {} written", bytes(progress.read), bytes(written)),
        });
    }
}

fn read(report: &Report) -> String {
    let segments = things(report.segments, "segment", "segments");
    format!("{segments}, {} read", things(report.frames, "frame", "frames"))
}

/// Says what a crash left, which is no damage.
fn torn(report: &Report) -> String {
    match report.torn_bytes {
        0 => String::new(),
        torn => format!(
            "The last {} bytes are no whole frame: a crash left them, and the next start cuts them off.\n",
            count(torn)
        ),
    }
}

const STATUS: &[Column] = &[
    Column::text("store", "store"),
    Column::text("process", "used by process"),
    Column::text("state", "state"),
    Column::text("bytes", "on disk").shown(size),
    Column::text("segments", "segments"),
    Column::text("segment_bytes", "in segments").shown(size),
    Column::text("checkpoint_bytes", "checkpoint").shown(size),
    Column::text("reserve_bytes", "reserve").shown(size),
    Column::text("sessions", "waiting for sessions").shown(messages),
    Column::text("outboxes", "waiting in outboxes").shown(messages),
    Column::text("kept", "waiting in kept subscriptions").shown(messages),
    Column::text("dead", "dead letters").shown(messages),
    Column::text("archived", "archived").shown(messages),
];

const DAMAGES: &[Column] = &[
    Column::text("file", "FILE"),
    Column::number("offset", "OFFSET"),
    Column::text("expected", "EXPECTED"),
    Column::text("found", "FOUND"),
];

const REPORT: &[Column] = &[
    Column::hidden("store"),
    Column::hidden("segments"),
    Column::hidden("frames"),
    Column::hidden("torn_bytes"),
    Column::hidden("damages"),
];

const SAVED: &[Column] = &[
    Column::hidden("messages"),
    Column::hidden("messages_lost"),
    Column::hidden("table_entries"),
    Column::hidden("damages"),
];

fn size(value: &Value) -> String {
    bytes(value.as_u64().unwrap_or_default())
}

fn messages(value: &Value) -> String {
    count(value.as_u64().unwrap_or_default())
}

fn damage_rows(report: &Report) -> Vec<Row> {
    let row = |damage: &crosspoint_hub::control::Damage| {
        row(&[
            ("file", json!(damage.file.to_string())),
            ("offset", json!(damage.offset)),
            ("expected", json!(damage.expected)),
            ("found", json!(damage.found)),
        ])
    };
    report.damages.iter().map(row).collect()
}

fn report_row(report: &Report) -> Row {
    row(&[
        ("segments", json!(report.segments)),
        ("frames", json!(report.frames)),
        ("torn_bytes", json!(report.torn_bytes)),
        ("damages", json!(damage_rows(report))),
    ])
}

fn saved_row(saved: &Salvaged) -> Row {
    row(&[
        ("messages", json!(saved.messages)),
        ("messages_lost", json!(saved.messages_lost)),
        ("table_entries", json!(saved.table_entries)),
        ("damages", json!(damage_rows(&saved.report))),
    ])
}

fn row(members: &[(&str, Value)]) -> Row {
    members.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
}
