//! Round after round, and what is printed.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use fastrand::Rng;

use crate::Outcome;
use crate::figures::{Figures, grouped};
use crate::message::mix;
use crate::scenario::{Programs, Report, Scenario, Verdict};

/// How many seeds of failed rounds a line names.
const SEEDS_MAX: usize = 5;

/// A run of the test.
#[derive(Debug)]
pub(crate) struct Run {
    programs: Programs,
    folder: PathBuf,
    tallies: Vec<Tally>,
}

/// The sum of a scenario.
struct Tally {
    scenario: &'static Scenario,
    rounds: u64,
    figures: Figures,
    /// Of the rounds that were not clean.
    seeds: Vec<u64>,
}

impl std::fmt::Debug for Tally {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Tally").field("scenario", &self.scenario.name).finish_non_exhaustive()
    }
}

impl Run {
    pub(crate) fn new(programs: Programs, folder: PathBuf, scenarios: Vec<&'static Scenario>) -> Self {
        let tally = |scenario| Tally { scenario, rounds: 0, figures: Figures::default(), seeds: Vec::new() };
        Self { programs, folder, tallies: scenarios.into_iter().map(tally).collect() }
    }

    /// Runs rounds with one seed after another; returns whether all that is judged is clean.
    pub(crate) fn rounds(mut self, seed: u64, rounds: u64) -> Outcome<bool> {
        let begun = Instant::now();
        let mut order: Vec<usize> = (0..self.tallies.len()).cycle().take(rounds as usize).collect();
        for (number, index) in order.drain(..).enumerate() {
            let seed = seed + number as u64;
            let Some(tally) = self.tallies.get_mut(index) else { continue };
            tally.round(&self.programs, &self.folder, seed)?;
        }
        self.print(begun.elapsed().as_secs());
        Ok(self.tallies.iter().all(Tally::is_passed))
    }

    fn print(&self, seconds: u64) {
        println!();
        let mut sum = Figures::default();
        let mut rounds = 0;
        for tally in &self.tallies {
            println!("{}", tally.line());
            if tally.scenario.verdict == Verdict::Clean {
                sum += tally.figures;
                rounds += tally.rounds;
            }
        }
        println!("rounds {}, {}", grouped(rounds), sum.line());
        println!(
            "({} blows in {seconds} s; at QoS 1 {} copies came again, as they may)",
            grouped(sum.kills),
            grouped(sum.again)
        );
    }
}

impl Tally {
    /// Runs one round and says what is wrong, if anything is.
    fn round(&mut self, programs: &Programs, folder: &std::path::Path, seed: u64) -> Outcome {
        let name = self.scenario.name;
        let folder = folder.join(format!("{name}-{seed}"));
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let begun = Instant::now();
        let Report { figures, details } = (self.scenario.run)(programs, &folder, Rng::with_seed(mix(seed)))?;
        self.rounds += 1;
        self.figures += figures;
        let seconds = begun.elapsed().as_secs_f64();
        println!("{name} {seed}: {} blows, {} ({seconds:.1} s)", figures.kills, figures.line());
        if figures.is_clean() {
            fs::remove_dir_all(&folder)?;
            return Ok(());
        }
        self.seeds.push(seed);
        if self.scenario.verdict == Verdict::Clean {
            for detail in details {
                println!("  {detail}");
            }
            println!("  its data and logs are in {}", folder.display());
            println!("  repeat it with --scenario {name} --seed {seed} --rounds 1");
        } else {
            fs::remove_dir_all(&folder)?;
        }
        Ok(())
    }

    fn is_passed(&self) -> bool {
        match self.scenario.verdict {
            Verdict::Clean => self.figures.is_clean(),
            Verdict::Reported => true,
            Verdict::Broken => self.rounds == 0 || !self.figures.is_clean(),
        }
    }

    fn line(&self) -> String {
        let Self { scenario, rounds, figures, seeds } = self;
        let mut line = format!("{:<18} rounds {rounds}, {}", scenario.name, figures.line());
        match scenario.verdict {
            Verdict::Clean => {}
            Verdict::Reported => return line + " (not judged)",
            Verdict::Broken if self.is_passed() => return line + " (as it must)",
            Verdict::Broken => return line + "; failed: the test has seen nothing of what must be lost",
        }
        if !seeds.is_empty() {
            let named: Vec<String> = seeds.iter().take(SEEDS_MAX).map(u64::to_string).collect();
            let more = if seeds.len() > SEEDS_MAX { " and more" } else { "" };
            line += &format!("; failed with seed {}{more}", named.join(", "));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::SCENARIOS;

    fn tally(verdict: Verdict, rounds: u64, lost: u64) -> Tally {
        let scenario = SCENARIOS.iter().find(|scenario| scenario.verdict == verdict).unwrap();
        Tally { scenario, rounds, figures: Figures { lost, ..Figures::default() }, seeds: Vec::new() }
    }

    #[test]
    fn what_is_judged_fails_when_something_is_lost_and_the_control_when_nothing_is() {
        assert!(tally(Verdict::Clean, 1, 0).is_passed());
        assert!(!tally(Verdict::Clean, 1, 1).is_passed());
        assert!(tally(Verdict::Reported, 1, 1).is_passed());
        assert!(tally(Verdict::Broken, 1, 1).is_passed());
        assert!(tally(Verdict::Broken, 0, 0).is_passed());
        assert!(!tally(Verdict::Broken, 1, 0).is_passed());
    }
}
