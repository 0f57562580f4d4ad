//! Tasks of this workspace, run as `cargo xtask TASK`.
//!
//! `test` is the one gate, here and in CI; the other tasks are its parts, or measure. Every task is one line of
//! [`TASKS`]. This crate builds before anything else does, so it holds plain `std` and little more.

mod arguments;
mod bench;
mod crash;
mod deny;
mod features;
mod fuzz;
mod gate;
mod peers;
mod process;
mod sim;
mod tidy;
mod workspace;

use std::process::ExitCode;

use arguments::Arguments;
use workspace::Workspace;

/// What a task gives: nothing, or the sentence that says what went wrong.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// One thing that `cargo xtask` can do.
struct Task {
    name: &'static str,
    help: &'static str,
    run: fn(&Workspace, Arguments) -> Outcome,
}

/// Every task there is.
const TASKS: &[Task] = &[
    Task { name: "test", help: "the gate: [--quick] [--only PART]", run: gate::run },
    Task { name: "tidy", help: "what must hold of the source", run: tidy::run },
    Task { name: "deny", help: "licences, bans and sources of the dependencies", run: deny::run },
    Task { name: "features", help: "each feature set builds by itself", run: features::run },
    Task { name: "fuzz", help: "seeded fuzzing: [--seconds N] [--seed S] [--target NAME]", run: fuzz::run },
    Task {
        name: "sim",
        help: "seeded simulation: [--seeds N] [--seed S] [--model session|hub] [--wild] [--verbose]",
        run: sim::run,
    },
    Task {
        name: "crash",
        help: "kills the built program: [--rounds N] [--seed S] [--scenario NAME] [--dev]",
        run: crash::run,
    },
    Task {
        name: "bench",
        help: "beside other brokers: [--rounds N] [--scenario PART] [--peer NAME=COMMAND]",
        run: bench::run,
    },
    Task { name: "peers", help: "brings the brokers and clients that the tests talk to", run: peers::run },
];

fn main() -> ExitCode {
    match dispatch() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let Some(task) = TASKS.iter().find(|task| task.name == name) else {
        return Err(usage(&name).into());
    };
    (task.run)(&Workspace::load()?, Arguments::new(arguments))
}

fn usage(name: &str) -> String {
    let lines: String = TASKS.iter().map(|task| format!("\n  {:<9} {}", task.name, task.help)).collect();
    match name {
        "" => format!("which task?{lines}"),
        _ => format!("no task is called `{name}`; there are:{lines}"),
    }
}
