//! The crash test: kills the built program at random moments and compares what it acknowledged with what arrived.
//!
//! Each round starts the real binary with a project file and a data directory of its own, publishes numbered messages
//! at QoS 1 and 2 over real sockets, kills it (SIGKILL) wherever the seed says, starts it again, finishes, drains, and
//! judges: nothing acknowledged is lost, nothing at QoS 2 comes twice, each publisher's messages come in their order.
//!
//! The judge shares no code with what it judges. Its own side of each session lives in the test, through every crash.

mod blows;
mod books;
mod client;
mod connection;
mod course;
mod exchange;
mod figures;
mod message;
mod phase;
mod progress;
mod publisher;
mod run;
mod scenario;
mod server;
mod subscriber;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::run::Run;
use crate::scenario::{Programs, SCENARIOS, Scenario};

/// Why a round could not go on.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What a step of a round gives.
type Outcome<T = ()> = Result<T, Failure>;

/// Kills the built program at random moments and compares what it acknowledged with what arrived.
#[derive(Debug, Parser)]
#[command(after_help = scenarios())]
struct Arguments {
    /// The crosspoint program.
    #[arg(long, value_name = "PROGRAM")]
    crosspoint: PathBuf,
    /// A mosquitto 2.0; rounds that need it are left out without.
    #[arg(long, value_name = "PROGRAM")]
    mosquitto: Option<PathBuf>,
    /// Where each round has its folder; that of a failed one stays.
    #[arg(long, value_name = "FOLDER")]
    folder: PathBuf,
    /// How many rounds.
    #[arg(long, default_value_t = 20)]
    rounds: u64,
    /// The seed of the first round; each further one has the next. Random when not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Only this scenario.
    #[arg(long, value_name = "NAME")]
    scenario: Option<String>,
}

fn main() -> ExitCode {
    match go(Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(2)
        }
    }
}

/// Runs all rounds; returns whether every promise was kept.
fn go(arguments: Arguments) -> Outcome<bool> {
    let wanted = arguments.scenario.as_deref();
    let chosen: Vec<&'static Scenario> =
        SCENARIOS.iter().filter(|scenario| wanted.is_none_or(|name| name == scenario.name)).collect();
    if chosen.is_empty() {
        return Err(format!("there is no such scenario\n{}", scenarios()).into());
    }
    let has_mosquitto = arguments.mosquitto.is_some();
    let (chosen, left_out): (Vec<_>, Vec<_>) =
        chosen.into_iter().partition(|scenario| has_mosquitto || !scenario.needs_mosquitto);
    for scenario in left_out {
        println!("left out: {}: it needs mosquitto", scenario.name);
    }
    let programs = Programs { crosspoint: arguments.crosspoint, mosquitto: arguments.mosquitto };
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..1_000_000_000));
    Run::new(programs, arguments.folder, chosen).rounds(seed, arguments.rounds)
}

fn scenarios() -> String {
    let lines = SCENARIOS.iter().map(|scenario| format!("\n  {:<18} {}", scenario.name, scenario.help));
    format!("Scenarios:{}", lines.collect::<String>())
}
