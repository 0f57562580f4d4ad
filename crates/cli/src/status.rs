//! `crosspoint status`: what a hub that runs is doing.

use std::process::ExitCode;

use clap::Args;
use crosspoint_hub::control::Request;
use serde_json::{Value, json};

use crate::amount::{self, things};
use crate::ask;
use crate::failure::{Exit, Failure, Verbosity, Voice};
use crate::moment;
use crate::place::PlaceFlags;
use crate::table::{self, Column, Form, Row};

const EXIT_CODES: &str = "\
Exit codes:
  0  the hub has answered, whatever it says of its connectors
  1  no hub runs here, or it cannot be asked
  2  wrong usage";

/// What was typed after `status`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct StatusFlags {
    #[command(flatten)]
    place: PlaceFlags,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(flags: &StatusFlags) -> ExitCode {
    match show(flags) {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            Voice::new(Verbosity::Normal).fail(&failure);
            failure.exit.into()
        }
    }
}

const CONNECTORS: &[Column] = &[
    Column::text("connector", "CONNECTOR"),
    Column::text("state", "STATE"),
    Column::text("since_wall_ms", "SINCE").shown(moment::time),
    Column::text("next_try_wall_ms", "NEXT TRY").shown(moment::time_of_day),
    Column::number("drops", "LOST").shown(count),
    Column::number("waiting", "WAITING").shown(count),
    Column::number("dead", "DEAD").shown(count),
    Column::text("server", "SERVER"),
];

fn show(flags: &StatusFlags) -> Result<(), Failure> {
    let mut parts = Parts::default();
    for row in ask::rows(&flags.place.place(), Request::Overview)? {
        parts.take(row);
    }
    match Form::of_flag(flags.json) {
        Form::Json => table::write(&parts.json()),
        Form::Table => parts.print(),
    }
}

/// What a hub has said of itself, by what it is about.
#[derive(Debug, Default)]
struct Parts {
    connectors: Vec<Row>,
    broker: Option<Row>,
    flows: Vec<Row>,
    kept: Vec<Row>,
    certificates: Vec<Row>,
}

impl Parts {
    fn take(&mut self, mut row: Row) {
        match row.remove("kind").as_ref().and_then(Value::as_str) {
            Some("connector") => self.connectors.push(row),
            Some("broker") => self.broker = Some(row),
            Some("flow") => self.flows.push(row),
            Some("kept") => self.kept.push(row),
            Some("certificate") => self.certificates.push(row),
            // What a newer hub says besides.
            _ => {}
        }
    }

    fn json(&self) -> String {
        let all = json!({
            "connectors": self.connectors,
            "broker": self.broker,
            "flows": self.flows,
            "kept": self.kept,
            "certificates": self.certificates,
        });
        format!("{all:#}\n")
    }

    fn print(&self) -> Result<(), Failure> {
        table::print(Form::Table, CONNECTORS, &self.connectors)?;
        let mut text = String::new();
        for row in &self.connectors {
            text.push_str(&trouble(row));
        }
        text.push_str(&self.broker.as_ref().map_or_else(|| "\nno broker\n".to_owned(), broker));
        for row in &self.flows {
            text.push_str(&flow(row));
        }
        for row in &self.kept {
            text.push_str(&kept(row));
        }
        for row in &self.certificates {
            text.push_str(&dates(row));
        }
        table::write(&text)
    }
}

/// Returns what is wrong with a connector, and what to do.
fn trouble(row: &Row) -> String {
    let (Some(cause), Some(next_step)) = (text(row, "cause"), text(row, "next_step")) else {
        return String::new();
    };
    let name = text(row, "connector").unwrap_or_default();
    // As the doctor shows it.
    let setting = text(row, "setting").map(|setting| format!("  setting: connector.{name}.{setting}\n"));
    format!("\n{name}: {cause}\n{}  next: {next_step}\n", setting.unwrap_or_default())
}

fn broker(row: &Row) -> String {
    let number = |key: &str| row.get(key).and_then(Value::as_u64).unwrap_or_default();
    let listening = words(row, "listening").join(" ");
    format!(
        "\nbroker  {listening}  {}, {}, {}\n",
        things(number("connections"), "connection", "connections"),
        things(number("subscriptions"), "subscription", "subscriptions"),
        things(number("retained_messages"), "retained message", "retained messages"),
    )
}

fn flow(row: &Row) -> String {
    let word = |key| text(row, key).unwrap_or_default();
    format!("flow {}  {} -> {}  {}\n", word("flow"), word("from"), words(row, "to").join(", "), word("state"))
}

fn kept(row: &Row) -> String {
    let word = |key| text(row, key).unwrap_or_default();
    let waiting = row.get("waiting").and_then(Value::as_u64).unwrap_or_default();
    let state = match (text(row, "trouble"), row.get("holds_up").and_then(Value::as_bool)) {
        (Some(trouble), _) => trouble,
        (None, Some(true)) => format!("is full and holds {} up", word("connector")),
        (None, _) => "runs".to_owned(),
    };
    let (name, from, waiting) =
        (word("name"), word("connector"), things(waiting, "message waits", "messages wait"));
    format!("kept {name}  {from}: {}  {waiting}  {state}\n", words(row, "filters").join(", "))
}

/// Returns what is wrong with the dates of a certificate, and what to do.
fn dates(row: &Row) -> String {
    let Some(trouble) = text(row, "trouble") else { return String::new() };
    let word = |key| text(row, key).unwrap_or_default();
    let renew = format!("renew {}; the hub takes the new file over by itself", word("origin"));
    format!("\n{}: {trouble}\n  next: {renew}\n", word("user"))
}

fn text(row: &Row, key: &str) -> Option<String> {
    row.get(key).and_then(Value::as_str).map(table::harmless)
}

fn words(row: &Row, key: &str) -> Vec<String> {
    let words = row.get(key).and_then(Value::as_array).into_iter().flatten();
    words.filter_map(Value::as_str).map(table::harmless).collect()
}

fn count(value: &Value) -> String {
    value.as_u64().map_or_else(|| "-".to_owned(), amount::count)
}
