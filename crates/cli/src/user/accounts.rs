//! Users of the embedded broker in the project file: who is there, who comes, who goes.

use clap::Args;
use crosspoint_hub::access::{Door, accounts, open_doors, who_come_in};
use crosspoint_hub::config::edit::{EditError, ProjectEdit};
use crosspoint_hub::config::{self, Plan};
use serde_json::{Value, json};

use super::{Kind, hashed};
use crate::failure::{Failure, Verbosity, Voice};
use crate::project::ProjectFlags;
use crate::secret::entering;
use crate::table::{self, Column, Form, Row};

const COLUMNS: &[Column] = &[
    Column::text("name", "USER"),
    Column::text("kept_as", "KEPT AS"),
    Column::text("roles", "ROLES").shown(joined),
];

#[derive(Debug, Args)]
pub(super) struct Add {
    /// The name under which the user signs in
    name: String,
    /// A role of the project whose rules hold for the user; may be given several times
    #[arg(long, value_name = "ROLE")]
    role: Vec<String>,
    #[command(flatten)]
    kind: Kind,
    #[command(flatten)]
    project: ProjectFlags,
}

#[derive(Debug, Args)]
pub(super) struct Remove {
    /// The name of the user
    name: String,
    #[command(flatten)]
    project: ProjectFlags,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// The environment whose overlay is applied
    #[arg(long, value_name = "NAME", env = "CROSSPOINT_ENV")]
    env: Option<String>,
    /// Prints JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    project: ProjectFlags,
}

/// Writes a new user into the project file.
pub(super) fn add(asked: &Add) -> Result<(), Failure> {
    let (project, name) = (&asked.project, asked.name.as_str());
    let before = project.plan(None)?;
    let mut edit = ProjectEdit::open(project.file()).map_err(failure)?;
    let user = ["broker", "user", name];
    if name.is_empty() {
        return Err(Failure::usage("a user has a name", "give one"));
    }
    if edit.has(&user) {
        let next_step = format!(
            "remove it first with crosspoint user remove, or write another `password` in [broker.user.{name}]"
        );
        return Err(Failure::usage(format!("there is a user \"{name}\" already"), next_step));
    }
    let write = |edit: &mut ProjectEdit, hash: &str| {
        edit.set_text(&["broker", "user", name, "password"], hash)?;
        edit.set_texts(&["broker", "user", name, "roles"], &asked.role)
    };
    // What is wrong with the roles is said before anybody types a password. `x` is a password too.
    write(&mut edit, "x").map_err(failure)?;
    let after = project.plan_of(&edit.text())?;
    let password = entering::secret(&format!("password of {name}"))?;
    let hash = hashed(&password, &asked.kind)?;
    write(&mut edit, &hash).and_then(|()| edit.save()).map_err(failure)?;
    note(format_args!("{name} is a user of the embedded broker, in {}", project.file().display()));
    if asked.role.is_empty() {
        warn(format_args!(
            "{name} has no role, and so may neither publish nor subscribe: write roles = [\"NAME\"], and [broker.role.NAME] with allow = [\"both #\"]"
        ));
    }
    say_doors(&before, &after);
    Ok(())
}

/// Takes a user out of the project file, and of all its environments.
pub(super) fn remove(asked: &Remove) -> Result<(), Failure> {
    let (project, name) = (&asked.project, asked.name.as_str());
    let before = project.plan(None)?;
    let mut edit = ProjectEdit::open(project.file()).map_err(failure)?;
    let mut is_there = edit.remove(&["broker", "user", name]);
    for environment in config::environments(project.file()).unwrap_or_default() {
        is_there |= edit.remove(&["environment", &environment, "broker", "user", name]);
    }
    if !is_there {
        return Err(Failure::usage(
            format!("the embedded broker has no user \"{name}\""),
            "crosspoint user list shows who is there",
        ));
    }
    let after = project.plan_of(&edit.text())?;
    edit.save().map_err(failure)?;
    note(format_args!("{name} is no user any more; a hub that runs ends its connections and its sessions"));
    say_doors(&before, &after);
    Ok(())
}

/// Says where clients without a name come in no more, or again.
fn say_doors(before: &Plan, after: &Plan) {
    let (old, new) = (open_doors(before), open_doors(after));
    let shut: Vec<Door> = old.iter().filter(|door| !new.contains(door)).cloned().collect();
    if !shut.is_empty() {
        warn(format_args!(
            "clients without a name cannot come in any more at {}; those that are in are disconnected, and the log of the hub names them",
            named(&shut)
        ));
        for connector in who_come_in(before, &shut) {
            warn(format_args!(
                "connector {connector} is one of them: give it a `username` and `password`, or read from connector \"broker\" instead"
            ));
        }
    }
    let opened: Vec<Door> = new.iter().filter(|door| !old.contains(door)).cloned().collect();
    if !opened.is_empty() {
        warn(format_args!(
            "no user is left, so everybody on this machine comes in without a name at {}: anonymous = false under the listener keeps it shut",
            named(&opened)
        ));
    }
}

fn named(doors: &[Door]) -> String {
    let one = |door: &Door| format!("listener {} ({})", door.listener, door.bind);
    doors.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Lists the users.
pub(super) fn list(asked: &List) -> Result<(), Failure> {
    let plan = asked.project.plan(asked.env.as_deref())?;
    let rows: Vec<Row> = accounts(&plan)
        .into_iter()
        .map(|account| {
            let row = [
                ("name", json!(account.name)),
                ("kept_as", json!(account.kept_as)),
                ("roles", json!(account.roles)),
            ];
            row.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
        })
        .collect();
    table::print(Form::of_flag(asked.json), COLUMNS, &rows)
}

fn joined(roles: &Value) -> String {
    let roles = roles.as_array().into_iter().flatten().filter_map(Value::as_str);
    roles.collect::<Vec<_>>().join(", ")
}

fn failure(error: EditError) -> Failure {
    Failure::new(error.to_string(), error.mend())
}

fn note(what: impl std::fmt::Display) {
    Voice::new(Verbosity::Normal).note(what);
}

fn warn(what: impl std::fmt::Display) {
    Voice::new(Verbosity::Normal).warn(what);
}
