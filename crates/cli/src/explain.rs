//! `crosspoint explain`: what a key of the project is in effect, and why.

use std::path::PathBuf;
use std::process::ExitCode;

use crosspoint_hub::config::{ExplainError, Explained, Origin, Shown, explain};
use serde_json::{Value, json};

use crate::check::{PROJECT_FILE, print_all};
use crate::failure::{Failure, Verbosity, Voice};
use crate::place::Place;
use crate::secret::KeyFlags;
use crate::table::{self, Column, Form, Row};

/// What `explain` is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    /// The key, such as connector.plant.url, or a table for all its keys. Without one, every key of the project.
    #[arg(default_value = "")]
    key: String,
    /// The project file.
    #[arg(long, value_name = "FILE", default_value = PROJECT_FILE)]
    project: PathBuf,
    /// The hub's own folder (default: crosspoint-data beside the project file).
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    sealing_key: KeyFlags,
    /// The environment whose overlay is applied.
    #[arg(long, value_name = "NAME", env = "CROSSPOINT_ENV")]
    env: Option<String>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

const COLUMNS: &[Column] = &[
    Column::text("key", "KEY"),
    Column::text("value", "VALUE"),
    Column::text("from", "FROM"),
    Column::hidden("origin"),
    Column::hidden("environment"),
    Column::hidden("preset"),
    Column::hidden("line"),
    Column::hidden("secret"),
    Column::hidden("replaced"),
    Column::hidden("values"),
    Column::hidden("default"),
    Column::hidden("help"),
];

const ONE: &[Column] = &[
    Column::text("key", "key"),
    Column::text("value", "value"),
    Column::text("from", "from"),
    Column::text("replaced", "instead of"),
    Column::text("values", "may be"),
    Column::text("default", "default"),
    Column::text("help", "what it does"),
];

/// Runs `explain`.
pub(crate) fn run(asked: &Explain) -> ExitCode {
    match print(asked) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            Voice::new(Verbosity::Normal).fail(&failure);
            failure.exit.into()
        }
    }
}

fn print(asked: &Explain) -> Result<(), Failure> {
    let place = Place::of(asked.data.as_deref(), &asked.project);
    let key = asked.sealing_key.source(place.data());
    let found = explain(&asked.project, asked.env.as_deref(), &key, &asked.key);
    let found = found.map_err(|error| failure(asked, error))?;
    let form = Form::of_flag(asked.json);
    match (found.as_slice(), form) {
        ([one], Form::Table) => table::print_one(form, ONE, &one_row(asked, one)),
        ([one], Form::Json) if one.path == asked.key => table::print_one(form, COLUMNS, &row(asked, one)),
        (all, _) => {
            let rows: Vec<Row> = all.iter().map(|one| row(asked, one)).collect();
            table::print(form, COLUMNS, &rows)
        }
    }
}

fn failure(asked: &Explain, error: ExplainError) -> Failure {
    match error {
        ExplainError::Key { what, help } => Failure::usage(what, help),
        ExplainError::File(findings) => {
            print_all(&findings);
            let cause = format!("{} does not say what is in effect", asked.project.display());
            Failure::usage(cause, "correct what is said above, or name another file with --project")
        }
    }
}

/// Returns a row for one key alone, which has room for everything and leaves out what is not there.
fn one_row(asked: &Explain, one: &Explained) -> Row {
    let mut row = row(asked, one);
    row.retain(|_, value| !value.is_null());
    if let Some((shown, line)) = &one.replaced {
        let text = format!("{} ({}:{line})", text(shown), asked.project.display());
        row.insert("replaced".to_owned(), json!(text));
    }
    row
}

fn row(asked: &Explain, one: &Explained) -> Row {
    let (origin, environment, preset, line) = match &one.origin {
        Origin::Written { line } => ("written", None, None, Some(line)),
        Origin::Environment { name, line } => ("environment", Some(name), None, Some(line)),
        Origin::Preset { name, line } => ("preset", None, Some(name), Some(line)),
        Origin::OtherKeys => ("other keys", None, None, None),
        Origin::Default => ("default", None, None, None),
    };
    let row = json!({
        "key": one.path,
        "value": value(&one.value),
        "from": from(asked, &one.origin),
        "origin": origin,
        "environment": environment,
        "preset": preset,
        "line": line,
        "secret": one.value == Shown::Hidden,
        "replaced": one.replaced.as_ref().map(|(shown, line)| json!({ "value": value(shown), "line": line })),
        "values": one.values,
        "default": one.default,
        "help": one.help,
    });
    match row {
        Value::Object(row) => row,
        _ => Row::new(),
    }
}

fn from(asked: &Explain, origin: &Origin) -> String {
    let place = |line: &usize| format!("{}:{line}", asked.project.display());
    match origin {
        Origin::Written { line } => place(line),
        Origin::Environment { name, line } => format!("environment {name}, {}", place(line)),
        Origin::Preset { name, line } => format!("preset {name}, {}", place(line)),
        Origin::OtherKeys => "other keys".to_owned(),
        Origin::Default => "default".to_owned(),
    }
}

fn value(shown: &Shown) -> Value {
    match shown {
        Shown::Nothing => Value::Null,
        shown => json!(text(shown)),
    }
}

fn text(shown: &Shown) -> &str {
    match shown {
        Shown::Value(value) => value,
        Shown::Hidden => "(secret)",
        Shown::Nothing => "-",
    }
}
