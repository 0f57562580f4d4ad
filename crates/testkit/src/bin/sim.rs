//! Plays what can be played from seeds: `sim [--seeds N] [--seed S] [--model session|hub] [--wild] [--verbose]`.
//!
//! `session` is both ends of a connection over a link that breaks, `crosspoint_protocol::fuzz::session`; `hub` is a
//! whole hub with devices, brokers, network and disks, `crosspoint_testkit::sim`. Without `--model` both are played,
//! the second on as many threads as there are CPUs. What came of each is one line; the first seed that breaks a promise
//! ends the run, and `--seeds 1 --seed S --model M` plays it again, in every detail with `--verbose`.

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;
use std::{mem, thread};

use crosspoint_protocol::fuzz::session::{self, Report, input};
use crosspoint_testkit::sim::{self, Scope, Tally};

/// How many seeds are played unless told otherwise.
const SEEDS_DEFAULT: u64 = 1_000;

struct Options {
    seeds: u64,
    /// The first seed; the others follow it.
    seed: u64,
    model: Option<String>,
    is_verbose: bool,
    /// How much of what can be drawn of a hub is.
    scope: Scope,
}

fn main() -> ExitCode {
    match options(std::env::args().skip(1)).and_then(|options| simulate(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("sim: {message}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
    let fresh = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let mut options = Options {
        seeds: SEEDS_DEFAULT,
        seed: fresh << 24,
        model: None,
        is_verbose: false,
        scope: Scope::Whole,
    };
    while let Some(word) = words.next() {
        if word == "--verbose" {
            options.is_verbose = true;
            continue;
        }
        if word == "--wild" {
            options.scope = Scope::Wild;
            continue;
        }
        let value = words.next().ok_or_else(|| format!("`{word}` needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{word} cannot be `{value}`"));
        match word.as_str() {
            "--seeds" => options.seeds = number()?,
            "--seed" => options.seed = number()?,
            "--model" if ["session", "hub"].contains(&value.as_str()) => options.model = Some(value),
            "--model" => return Err(format!("there is no model `{value}`; there are session and hub")),
            _ => return Err(format!("nothing is known about `{word}` here")),
        }
    }
    Ok(options)
}

fn simulate(options: &Options) -> Result<(), String> {
    let asked = |model: &str| options.model.as_deref().is_none_or(|asked| asked == model);
    if options.is_verbose {
        tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
            .without_time()
            .with_ansi(false)
            .with_writer(std::io::stderr)
            .init();
    }
    if asked("session") {
        println!("sim: session: {}", sessions(options)?);
    }
    if asked("hub") {
        println!("sim: hub: {}", hubs(options)?);
    }
    Ok(())
}

fn sessions(options: &Options) -> Result<String, String> {
    let mut total = Report::default();
    for seed in options.all() {
        // A panic has been printed by then; here it is a seed like any other failure.
        let report =
            catch_unwind(|| session::run(&input(seed))).map_err(|_| format!("seed {seed} panics"))?;
        if !report.is_clean() {
            return Err(format!("session: seed {seed}: {report}"));
        }
        total.add(report);
    }
    Ok(format!("{} seeds from {}: {total}", options.seeds, options.seed))
}

fn hubs(options: &Options) -> Result<String, String> {
    let progress = Progress::default();
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| progress.play(options));
        }
    });
    let failed = mem::take(&mut *progress.failed.lock().unwrap_or_else(|poison| poison.into_inner()));
    if let Some((seed, what)) = failed.into_iter().min() {
        let wild = if options.scope == Scope::Wild { " --wild" } else { "" };
        let again = format!("cargo xtask sim --model hub{wild} --seeds 1 --seed {seed} --verbose");
        return Err(format!("hub: seed {seed}:\n{what}\nagain: {again}"));
    }
    let total = progress.total.into_inner().unwrap_or_else(|poison| poison.into_inner());
    Ok(format!("{} seeds from {}: {total}", options.seeds, options.seed))
}

/// What the threads have in common.
#[derive(Default)]
struct Progress {
    begun: AtomicU64,
    failed: Mutex<Vec<(u64, String)>>,
    total: Mutex<Tally>,
}

impl Progress {
    /// Plays seeds until there are no more, or one has failed.
    fn play(&self, options: &Options) {
        let mut total = Tally::default();
        loop {
            let count = self.begun.fetch_add(1, Relaxed);
            if count >= options.seeds {
                break;
            }
            let seed = options.seed.wrapping_add(count);
            let outcome = sim::run(seed, options.scope, options.is_verbose);
            total.add(outcome.tally);
            if let Some(violation) = outcome.violation {
                let mut failed = self.failed.lock().unwrap_or_else(|poison| poison.into_inner());
                failed.push((seed, violation.to_string()));
                self.begun.store(options.seeds, Relaxed);
            }
        }
        self.total.lock().unwrap_or_else(|poison| poison.into_inner()).add(total);
    }
}

impl Options {
    fn all(&self) -> impl Iterator<Item = u64> {
        let first = self.seed;
        (0..self.seeds).map(move |count| first.wrapping_add(count))
    }
}
