//! The gate: every part in order, its time beside its budget, one verdict.

use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::crash::{self, Profile, Wish};
use crate::peers::{Errand, Peers};
use crate::workspace::Workspace;
use crate::{Outcome, deny, features, fuzz, process, sim, tidy};

/// The whole gate on two cores, building everything from nothing.
const TOTAL_MINUTES_MAX: u64 = 40;

/// How long the short fuzz runs, over all targets together.
const FUZZ_SECONDS: u64 = 40;

/// From which seed on the short simulations run: always the same ones, so that the gate says of a change what the change
/// did. `cargo xtask sim` looks at new ones.
const FIRST_SEED: u64 = 20_261_121;

/// How many seeds the short simulations run: of a session, of a whole hub, and of one whose brokers cannot bear every
/// message whatever else goes wrong.
const SESSION_SEEDS: u64 = 2_000;
const HUB_SEEDS: u64 = 1_000;
const WILD_SEEDS: u64 = 100;

/// How many rounds the short crash test runs.
const CRASH_ROUNDS: u64 = 20;

/// Time that some parts share. What all of them may take is [`TOTAL_MINUTES_MAX`].
const BUDGETS: &[Budget] = &[
    Budget { name: "habits", minutes: 4 },
    Budget { name: "build", minutes: 12 },
    Budget { name: "unit and conformance", minutes: 8 },
    Budget { name: "simulation", minutes: 5 },
    Budget { name: "interoperability", minutes: 8 },
    Budget { name: "crash", minutes: 3 },
];

/// Every part, in the order in which they run.
const PARTS: &[Part] = &[
    Part { name: "fmt", budget: "habits", run: fmt },
    Part { name: "tidy", budget: "habits", run: |course| tidy::check(course.workspace) },
    Part { name: "clippy", budget: "build", run: clippy },
    Part { name: "build", budget: "build", run: build },
    Part { name: "features", budget: "build", run: |course| features::check(course.workspace) },
    Part { name: "doc", budget: "build", run: doc },
    Part { name: "tests", budget: "unit and conformance", run: tests },
    Part { name: "fuzz", budget: "simulation", run: short_fuzz },
    Part { name: "sim", budget: "simulation", run: short_simulation },
    Part { name: "interop", budget: "interoperability", run: interop },
    Part { name: "crash", budget: "crash", run: short_crash },
    Part { name: "deny", budget: "habits", run: |course| deny::check(course.workspace) },
];

/// The parts of the inner loop; its tests are the unit tests alone.
const QUICK_PARTS: &[Part] = &[
    Part { name: "fmt", budget: "habits", run: fmt },
    Part { name: "tidy", budget: "habits", run: |course| tidy::check(course.workspace) },
    Part { name: "clippy", budget: "build", run: clippy },
    Part { name: "tests", budget: "unit and conformance", run: unit_tests },
];

struct Budget {
    name: &'static str,
    minutes: u64,
}

#[derive(Clone, Copy)]
struct Part {
    name: &'static str,
    budget: &'static str,
    run: fn(&mut Course) -> Outcome,
}

/// One run of the gate.
struct Course<'a> {
    workspace: &'a Workspace,
    /// Brings the test peers while the parts before those that need them run.
    errand: Option<Errand>,
    /// The peers, when they have been waited for.
    peers: Option<Peers>,
    /// What the verdict was reached without, a sentence each.
    left_out: Vec<String>,
}

/// What became of one part.
struct Result {
    part: Part,
    took: Duration,
    outcome: Outcome,
}

/// Runs the gate, or with `--quick` its inner loop, or with `--only PART` one part.
///
/// A failed part does not hide what the others would say: all run, and the table at the end has a verdict for each.
pub(crate) fn run(workspace: &Workspace, mut arguments: Arguments) -> Outcome {
    let parts = if arguments.has_flag("--quick") { QUICK_PARTS } else { PARTS };
    let only: Option<String> = arguments.option("--only")?;
    arguments.finish()?;
    let parts = selected(parts, only.as_deref())?;
    let needs_peers = parts.iter().any(|part| matches!(part.name, "interop" | "crash"));
    let errand = needs_peers.then(|| Errand::start(workspace));
    let mut course = Course { workspace, errand, peers: None, left_out: Vec::new() };
    let results: Vec<Result> = parts.into_iter().map(|part| run_part(part, &mut course)).collect();
    print!("{}", table(&results));
    for sentence in &course.left_out {
        println!("{sentence}");
    }
    verdict(&results)
}

fn selected(parts: &[Part], only: Option<&str>) -> Outcome<Vec<Part>> {
    let chosen: Vec<Part> =
        parts.iter().filter(|part| only.is_none_or(|name| name == part.name)).copied().collect();
    if chosen.is_empty() {
        let names: Vec<&str> = parts.iter().map(|part| part.name).collect();
        return Err(format!("the gate has no such part; its parts are {}", names.join(", ")).into());
    }
    Ok(chosen)
}

fn run_part(part: Part, course: &mut Course) -> Result {
    println!("\n==> {}", part.name);
    let start = Instant::now();
    let outcome = (part.run)(course);
    if let Err(error) = &outcome {
        eprintln!("{}: {error}", part.name);
    }
    Result { part, took: start.elapsed(), outcome }
}

fn verdict(results: &[Result]) -> Outcome {
    let failed: Vec<&str> =
        results.iter().filter(|result| result.outcome.is_err()).map(|result| result.part.name).collect();
    if !failed.is_empty() {
        return Err(format!("failed: {}", failed.join(", ")).into());
    }
    if total(results) > minutes(TOTAL_MINUTES_MAX) {
        return Err(format!("the gate took more than {TOTAL_MINUTES_MAX} minutes").into());
    }
    Ok(())
}

fn table(results: &[Result]) -> String {
    let mut lines = format!("\n{:<24}{:>9}{:>9}  verdict\n", "part", "seconds", "budget");
    for budget in BUDGETS {
        let of_budget = || results.iter().filter(|result| result.part.budget == budget.name);
        if of_budget().next().is_some() {
            let took = of_budget().map(|result| result.took).sum();
            lines += &row(budget.name, took, Some(minutes(budget.minutes)), within(took, budget.minutes));
        }
        for Result { part, took, outcome } in of_budget() {
            let verdict = if outcome.is_ok() { "passed" } else { "FAILED" };
            lines += &row(&format!("  {}", part.name), *took, None, verdict);
        }
    }
    let took = total(results);
    lines + &row("total", took, Some(minutes(TOTAL_MINUTES_MAX)), within(took, TOTAL_MINUTES_MAX))
}

fn row(name: &str, took: Duration, budget: Option<Duration>, verdict: &str) -> String {
    let budget = budget.map(|budget| budget.as_secs().to_string()).unwrap_or_default();
    format!("{name:<24}{:>9.1}{budget:>9}  {verdict}\n", took.as_secs_f64())
}

fn within(took: Duration, minutes_max: u64) -> &'static str {
    if took <= minutes(minutes_max) { "in time" } else { "OVER BUDGET" }
}

fn total(results: &[Result]) -> Duration {
    results.iter().map(|result| result.took).sum()
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

fn fmt(_: &mut Course) -> Outcome {
    process::run(&mut process::cargo(["fmt", "--all", "--check"]))
}

fn clippy(_: &mut Course) -> Outcome {
    process::run(&mut process::cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

fn build(_: &mut Course) -> Outcome {
    process::run(&mut process::cargo(["test", "--workspace", "--no-run"]))
}

fn doc(_: &mut Course) -> Outcome {
    let mut command = process::cargo(["doc", "--workspace", "--no-deps"]);
    process::run(command.env("RUSTDOCFLAGS", "-D warnings"))
}

fn tests(_: &mut Course) -> Outcome {
    process::run(&mut process::cargo(["test", "--workspace", "--exclude", "interop", "--no-fail-fast"]))
}

fn unit_tests(_: &mut Course) -> Outcome {
    process::run(&mut process::cargo(["test", "--workspace", "--lib", "--bins", "--no-fail-fast"]))
}

fn short_fuzz(course: &mut Course) -> Outcome {
    fuzz::fuzz(course.workspace, Some(FUZZ_SECONDS), None, None)
}

fn short_simulation(_: &mut Course) -> Outcome {
    let parts = [("session", SESSION_SEEDS, false), ("hub", HUB_SEEDS, false), ("hub", WILD_SEEDS, true)];
    for (model, seeds, is_wild) in parts {
        let (model, seeds, seed) = (Some(model.to_owned()), Some(seeds), Some(FIRST_SEED));
        sim::simulate(&sim::Simulation { model, seeds, seed, is_wild, is_verbose: false })?;
    }
    Ok(())
}

fn interop(course: &mut Course) -> Outcome {
    let peers = course.peers()?;
    let mut command = process::cargo(["test", "--package", "interop", "--no-fail-fast"]);
    process::run(command.envs(peers.environment()))
}

fn short_crash(course: &mut Course) -> Outcome {
    let workspace = course.workspace;
    let mosquitto = course.peers()?.program("mosquitto", "mosquitto");
    let wish = Wish { rounds: Some(CRASH_ROUNDS), ..Wish::default() };
    crash::crash(workspace, Profile::Dev, mosquitto.as_deref(), &wish)
}

impl Course<'_> {
    /// Waits for the peers when they are asked for first.
    fn peers(&mut self) -> Outcome<&Peers> {
        let peers = match self.peers.take() {
            Some(peers) => peers,
            None => self.errand.take().unwrap_or_else(|| Errand::start(self.workspace)).finish()?,
        };
        self.left_out = peers.left_out().to_vec();
        Ok(self.peers.insert(peers))
    }
}

#[cfg(test)]
mod gate_tests {
    use super::*;

    fn result(name: &str, seconds: u64, outcome: Outcome) -> Result {
        let part = *PARTS.iter().find(|part| part.name == name).unwrap();
        Result { part, took: Duration::from_secs(seconds), outcome }
    }

    #[test]
    fn every_part_has_a_budget_and_all_budgets_fit_in_the_total() {
        for part in PARTS.iter().chain(QUICK_PARTS) {
            assert!(BUDGETS.iter().any(|budget| budget.name == part.budget), "{}", part.name);
        }
        let sum: u64 = BUDGETS.iter().map(|budget| budget.minutes).sum();
        assert!(sum <= TOTAL_MINUTES_MAX);
    }

    #[test]
    fn one_failed_part_fails_the_gate_and_is_named() {
        let results = [result("fmt", 1, Ok(())), result("tests", 1, Err("no".into()))];
        assert_eq!(verdict(&results).unwrap_err().to_string(), "failed: tests");
        assert!(table(&results).contains("tests                       1.0           FAILED"));
    }

    #[test]
    fn too_long_fails_although_every_part_passed() {
        let in_time = [result("build", 12 * 60, Ok(()))];
        assert!(verdict(&in_time).is_ok());
        let late = [result("build", 39 * 60, Ok(())), result("fmt", 61, Ok(()))];
        assert!(verdict(&late).is_err());
        assert!(table(&late).contains("OVER BUDGET"));
    }

    #[test]
    fn an_unknown_part_is_refused() {
        assert!(selected(PARTS, Some("tidy")).is_ok_and(|parts| parts.len() == 1));
        assert!(selected(PARTS, Some("tydy")).is_err());
    }
}
