//! Runs the fuzz functions under the seeded mutator: `fuzz [--seconds N] [--seed S] [--target NAME]`.
//!
//! Every target first gets its corpus (`fuzz/corpus/NAME`) as it is, then inputs made from it, each from the next seed.
//! An input that panics or hangs is written to `fuzz/artifacts` and ends the run with its seed and its bytes;
//! `--seed S --target NAME` makes the same input first.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use std::{fs, io, process, thread};

use crosspoint_testkit::fuzz_targets;
use crosspoint_testkit::mutate::mutate;

/// How long all targets together are fuzzed unless told otherwise.
const SECONDS_DEFAULT: u64 = 20;

/// An input that takes longer hangs.
const INPUT_TIME_MAX: Duration = Duration::from_secs(10);

/// What the command line says.
struct Options {
    time: Duration,
    /// The seed of the first input; each target goes on from there by one.
    seed: u64,
    target: Option<String>,
}

/// An input on its way through a target.
#[derive(Clone)]
struct Attempt {
    target: &'static str,
    /// None for a member of the corpus as it is.
    seed: Option<u64>,
    input: Vec<u8>,
}

fn main() -> ExitCode {
    match options(std::env::args().skip(1)).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("fuzz: {message}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
    let fresh = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let mut options = Options { time: Duration::from_secs(SECONDS_DEFAULT), seed: fresh << 24, target: None };
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("`{word}` needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{word} cannot be `{value}`"));
        match word.as_str() {
            "--seconds" => options.time = Duration::from_secs(number()?),
            "--seed" => options.seed = number()?,
            "--target" => options.target = Some(value),
            _ => return Err(format!("nothing is known about `{word}` here")),
        }
    }
    Ok(options)
}

fn run(options: &Options) -> Result<(), String> {
    let asked = |name: &str| options.target.as_deref().is_none_or(|target| target == name);
    let targets: Vec<_> = fuzz_targets().filter(|(name, _)| asked(name)).collect();
    if targets.is_empty() {
        let names: Vec<&str> = fuzz_targets().map(|(name, _)| *name).collect();
        return Err(format!("there is no such target; there are {}", names.join(", ")));
    }
    let share = options.time / u32::try_from(targets.len()).unwrap_or(1);
    let watch = Watch::start();
    for (name, function) in targets {
        let count = fuzz_target(name, *function, options.seed, share, &watch)?;
        println!("{name}: {count} inputs from seed {}", options.seed);
    }
    Ok(())
}

/// Feeds one target until its time is over and returns how many inputs it got; time for one there always is.
fn fuzz_target(
    target: &'static str,
    function: fn(&[u8]),
    first_seed: u64,
    time: Duration,
    watch: &Watch,
) -> Result<u64, String> {
    let corpus = corpus(target).map_err(|error| format!("fuzz/corpus/{target}: {error}"))?;
    for input in &corpus {
        attempt(Attempt { target, seed: None, input: input.clone() }, function, watch)?;
    }
    let start = Instant::now();
    let mut count = 0;
    loop {
        let seed = first_seed.wrapping_add(count);
        attempt(Attempt { target, seed: Some(seed), input: mutate(seed, &corpus) }, function, watch)?;
        count += 1;
        if start.elapsed() >= time {
            return Ok(count);
        }
    }
}

/// Returns the corpus of a target in the order of its files' names.
fn corpus(target: &str) -> io::Result<Vec<Vec<u8>>> {
    let entries = fs::read_dir(folder("corpus").join(target))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
    paths.sort();
    paths.iter().map(fs::read).collect()
}

fn folder(name: &str) -> PathBuf {
    // Asked at run time: a target directory that outlives a checkout must not lead into another one.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from("."), PathBuf::from);
    let checkout = package.ancestors().nth(2).unwrap_or(Path::new("."));
    checkout.join("fuzz").join(name)
}

fn attempt(attempt: Attempt, function: fn(&[u8]), watch: &Watch) -> Result<(), String> {
    watch.begin(attempt.clone());
    let outcome = catch_unwind(AssertUnwindSafe(|| function(&attempt.input)));
    watch.end();
    outcome.map_err(|_| attempt.keep("panicked"))
}

impl Attempt {
    /// Keeps the input as a file and returns the message for people.
    fn keep(&self, what: &str) -> String {
        let Self { target, seed, input } = self;
        let name = seed.map_or_else(|| "corpus".to_owned(), |seed| seed.to_string());
        let path = folder("artifacts").join(target).join(&name);
        let written =
            fs::create_dir_all(folder("artifacts").join(target)).and_then(|()| fs::write(&path, input));
        let kept = match written {
            Ok(()) => format!("kept as fuzz/artifacts/{target}/{name}"),
            Err(error) => format!("not kept: {error}"),
        };
        let again = seed.map(|seed| format!("\nagain: cargo xtask fuzz --target {target} --seed {seed}"));
        format!("{target} {what}; input {kept}{}\nbytes: {}", again.unwrap_or_default(), hex(input))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Ends the process when an input hangs: a function that loops for ever cannot be unwound.
struct Watch {
    current: Arc<Mutex<Option<(Attempt, Instant)>>>,
}

impl Watch {
    /// Starts the watching thread, which lives as long as the process.
    fn start() -> Self {
        let current = Arc::new(Mutex::new(None::<(Attempt, Instant)>));
        let watched = Arc::clone(&current);
        thread::spawn(move || {
            loop {
                thread::sleep(INPUT_TIME_MAX / 10);
                let current = watched.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if let Some((attempt, _)) = current.filter(|(_, since)| since.elapsed() > INPUT_TIME_MAX) {
                    eprintln!("fuzz: {}", attempt.keep("hangs"));
                    process::exit(1);
                }
            }
        });
        Self { current }
    }

    fn begin(&self, attempt: Attempt) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some((attempt, Instant::now()));
    }

    fn end(&self) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
