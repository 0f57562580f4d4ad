//! Plays both ends of a connection over a link that breaks, from seeds: `sim [--seeds N] [--seed S]`.
//!
//! Each seed is a world of its own, `crosspoint_protocol::fuzz::session`. What came of all is one line; the first seed
//! that breaks a promise ends the run, and `--seeds 1 --seed S` plays it again.

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::SystemTime;

use crosspoint_protocol::fuzz::session::{Report, input, run};

/// How many seeds are played unless told otherwise.
const SEEDS_DEFAULT: u64 = 1_000;

struct Options {
    seeds: u64,
    /// The first seed; the others follow it.
    seed: u64,
}

fn main() -> ExitCode {
    match options(std::env::args().skip(1)).and_then(|options| simulate(&options)) {
        Ok(line) => {
            println!("sim: {line}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("sim: {message}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
    let fresh = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let mut options = Options { seeds: SEEDS_DEFAULT, seed: fresh << 24 };
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("`{word}` needs a value"))?;
        let number = value.parse::<u64>().map_err(|_| format!("{word} cannot be `{value}`"))?;
        match word.as_str() {
            "--seeds" => options.seeds = number,
            "--seed" => options.seed = number,
            _ => return Err(format!("nothing is known about `{word}` here")),
        }
    }
    Ok(options)
}

fn simulate(options: &Options) -> Result<String, String> {
    let mut total = Report::default();
    for count in 0..options.seeds {
        let seed = options.seed.wrapping_add(count);
        // A panic has been printed by then; here it is a seed like any other failure.
        let report = catch_unwind(|| run(&input(seed))).map_err(|_| format!("seed {seed} panics"))?;
        if !report.is_clean() {
            return Err(format!("seed {seed}: {report}"));
        }
        total.add(report);
    }
    Ok(format!("{} seeds from {}: {total}", options.seeds, options.seed))
}
