//! `crosspoint subscriptions`: what the hub keeps for whoever reads it later.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use crosspoint_hub::actions::WhatWaits;
use crosspoint_hub::control::Request;
use serde_json::{Value, json};

use crate::amount::{self, things};
use crate::ask;
use crate::failure::{Exit, Failure, Verbosity, Voice};
use crate::moment::time;
use crate::place::PlaceFlags;
use crate::table::{self, Column, Form, Row};

const EXIT_CODES: &str = "\
Works while the hub runs and while it does not. `sub --connector NAME --keep NAME` makes one, `sub --kept NAME` reads it.

Exit codes:
  0  done
  1  refused by the hub, or failed; also while messages wait and --drop is not given
  2  wrong usage, or no such hub or subscription
  3  the store is damaged";

/// What was typed after `subscriptions`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = EXIT_CODES)]
pub(crate) struct SubscriptionsFlags {
    #[command(subcommand)]
    command: Option<SubscriptionsCommand>,
    #[command(flatten)]
    list: List,
}

#[derive(Debug, Subcommand)]
enum SubscriptionsCommand {
    /// Lists each kept subscription: on which connector, to what, and what waits for whoever reads it.
    #[command(after_help = EXIT_CODES)]
    List(List),
    /// Removes a kept subscription.
    #[command(after_help = EXIT_CODES)]
    Remove(Remove),
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    place: PlaceFlags,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Remove {
    /// The kept subscription
    name: String,
    /// Also while messages wait for it, which are dropped
    #[arg(long)]
    drop: bool,
    #[command(flatten)]
    place: PlaceFlags,
}

const COLUMNS: &[Column] = &[
    Column::text("name", "NAME"),
    Column::text("connector", "CONNECTOR"),
    Column::text("filters", "FILTERS").shown(words),
    Column::number("qos", "QOS"),
    Column::text("granted_qos", "GRANTED"),
    Column::number("waiting", "WAITING").shown(count),
    Column::number("waiting_bytes", "BYTES").shown(bytes),
    Column::text("oldest_wall_ms", "OLDEST").shown(time),
    Column::number("read", "READ").shown(count),
    Column::number("dropped", "DROPPED").shown(count),
    Column::text("is_read", "READER"),
    Column::text("trouble", "NOTHING COMES"),
    Column::hidden("granted"),
    Column::hidden("holds_up"),
    Column::hidden("accepted"),
    Column::hidden("dropped_full"),
    Column::hidden("dropped_expired"),
    Column::hidden("dropped_by_command"),
    Column::hidden("damaged"),
    Column::hidden("maybe_twice"),
    Column::hidden("bytes_max"),
    Column::hidden("messages_max"),
    Column::hidden("age_s_max"),
    Column::hidden("when_full"),
];

/// Runs the command.
pub(crate) fn run(flags: &SubscriptionsFlags) -> ExitCode {
    let done = match &flags.command {
        None => flags.list.run(),
        Some(SubscriptionsCommand::List(list)) => list.run(),
        Some(SubscriptionsCommand::Remove(remove)) => remove.run(),
    };
    match done {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            Voice::new(Verbosity::Normal).fail(&failure);
            failure.exit.into()
        }
    }
}

impl List {
    fn run(&self) -> Result<(), Failure> {
        let mut rows = ask::rows(&self.place.place(), Request::KeptSubscriptions)?;
        for row in &mut rows {
            let granted = granted_qos(row);
            row.insert("granted_qos".to_owned(), json!(granted));
        }
        table::print(Form::of_flag(self.json), COLUMNS, &rows)
    }
}

impl Remove {
    fn run(&self) -> Result<(), Failure> {
        let what_waits = if self.drop { WhatWaits::IsDropped } else { WhatWaits::Stays };
        let request = Request::RemoveKept { name: self.name.clone(), what_waits };
        let dropped = ask::count(&self.place.place(), request)?;
        let with = match dropped {
            0 => String::new(),
            dropped => format!(", with {}", things(dropped, "message that waited", "messages that waited")),
        };
        table::write(&format!("{} removed{with}\n", self.name))
    }
}

/// Returns the QoS that the broker has granted to each filter; `-` for one that it has not.
fn granted_qos(row: &Row) -> Option<String> {
    let granted = row.get("granted")?.as_array()?;
    let one = |granted: &Value| match granted.get("reason").and_then(Value::as_u64) {
        Some(qos @ 0..=2) => qos.to_string(),
        Some(reason) => format!("refused (0x{reason:02x})"),
        None => "-".to_owned(),
    };
    Some(granted.iter().map(one).collect::<Vec<_>>().join(" "))
}

fn words(value: &Value) -> String {
    let words: Vec<&str> = value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    words.join(" ")
}

fn count(value: &Value) -> String {
    value.as_u64().map_or_else(|| "-".to_owned(), amount::count)
}

fn bytes(value: &Value) -> String {
    value.as_u64().map_or_else(|| "-".to_owned(), amount::bytes)
}
