//! The figures, and what they say.

use std::collections::BTreeMap;

use serde_json::Value;

use super::peer::Peer;
use super::scenario::{Figure, Scenario};
use crate::Outcome;

/// The broker that the demanded ratios refer to.
const YARDSTICK: &str = "mosquitto";

/// Whose figures are judged.
const OWN: &str = "crosspoint";

/// All reports of one run.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Rows>,
}

/// The reports of one scenario, by broker, in the order in which they came.
#[derive(Debug)]
struct Rows {
    scenario: &'static Scenario,
    reports: BTreeMap<String, Vec<Value>>,
    order: Vec<String>,
    left_out: Vec<(String, &'static str)>,
}

impl Table {
    pub(crate) fn add(&mut self, scenario: &'static Scenario, peer: &Peer, report: Value) {
        let rows = self.rows_of(scenario);
        if !rows.order.contains(&peer.name) {
            rows.order.push(peer.name.clone());
        }
        rows.reports.entry(peer.name.clone()).or_default().push(report);
    }

    pub(crate) fn leave_out(&mut self, scenario: &'static Scenario, peer: &Peer, reason: &'static str) {
        let rows = self.rows_of(scenario);
        if !rows.left_out.iter().any(|(name, _)| *name == peer.name) {
            rows.left_out.push((peer.name.clone(), reason));
        }
    }

    /// Prints a line for each scenario and broker: medians, and the ratio of our figure to theirs.
    pub(crate) fn print(&self) {
        println!(
            "\n{:<17} {:<12} {:>9} {:>10} {:>9} {:>9} {:>10} {:>7} {:>9}",
            "scenario", "broker", "us CPU/m", "messages/s", "p50 us", "p99 us", "KiB/conn", "ratio", "faults"
        );
        for rows in &self.rows {
            let own = rows.figure(OWN);
            for name in &rows.order {
                println!("{}", rows.line(name, own));
            }
            for (name, reason) in &rows.left_out {
                println!("{:<17} {name:<12} left out: {reason}", rows.scenario.name);
            }
        }
    }

    /// Says which demands are not met.
    pub(crate) fn verdict(&self) -> Outcome {
        let missed: Vec<String> = self.rows.iter().filter_map(Rows::missed).collect();
        if missed.is_empty() {
            println!("\nevery demanded ratio is met");
            return Ok(());
        }
        Err(format!("not met:\n  {}", missed.join("\n  ")).into())
    }

    fn rows_of(&mut self, scenario: &'static Scenario) -> &mut Rows {
        let place = self.rows.iter().position(|rows| rows.scenario.name == scenario.name);
        let place = place.unwrap_or_else(|| {
            let (reports, order, left_out) = (BTreeMap::new(), Vec::new(), Vec::new());
            self.rows.push(Rows { scenario, reports, order, left_out });
            self.rows.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "the place was found or made above")]
        &mut self.rows[place]
    }
}

impl Rows {
    fn line(&self, name: &str, own: Option<f64>) -> String {
        let reports = self.reports.get(name).map(Vec::as_slice).unwrap_or_default();
        let value = |key: &str| median(reports.iter().filter_map(|report| number(report, key)));
        let ratio = match (own, self.figure(name)) {
            (Some(own), Some(theirs)) if theirs > 0.0 && name != OWN => format!("{:.2}", own / theirs),
            _ => String::new(),
        };
        format!(
            "{:<17} {name:<12} {:>9} {:>10} {:>9} {:>9} {:>10} {ratio:>7} {:>9}",
            self.scenario.name,
            shown(value("broker_cpu_us_per_msg"), 2),
            shown(value("msgs_per_s"), 0),
            shown(value("lat_p50_us"), 0),
            shown(value("lat_p99_us"), 0),
            shown(self.memory_per_connection(name), 2),
            faults(reports),
        )
    }

    fn figure(&self, name: &str) -> Option<f64> {
        match self.scenario.figure {
            Figure::MemoryPerConnection => self.memory_per_connection(name),
            Figure::CpuPerMessage => median(
                self.reports.get(name)?.iter().filter_map(|report| number(report, "broker_cpu_us_per_msg")),
            ),
        }
    }

    fn memory_per_connection(&self, name: &str) -> Option<f64> {
        if self.scenario.figure != Figure::MemoryPerConnection {
            return None;
        }
        median(self.reports.get(name)?.iter().filter_map(|report| {
            Some(
                (number(report, "rss_after_kib")? - number(report, "rss_before_kib")?)
                    / self.scenario.connections(),
            )
        }))
    }

    fn missed(&self) -> Option<String> {
        let own = self.figure(OWN)?;
        let name = self.scenario.name;
        let broken = faults(self.reports.get(OWN)?);
        if broken != "none" {
            return Some(format!("{name}: faults in delivery: {broken}"));
        }
        if let Some(max) = self.scenario.figure_max.filter(|max| own > *max) {
            return Some(format!("{name}: {own:.2}, at most {max:.2} is demanded"));
        }
        let (max, theirs) = (self.scenario.ratio_max?, self.figure(YARDSTICK)?);
        (own / theirs > max)
            .then(|| format!("{name}: {:.2} x {YARDSTICK}, at most {max:.2} x is demanded", own / theirs))
    }
}

/// Returns what went wrong with delivery, over all rounds.
fn faults(reports: &[Value]) -> String {
    let wrong: Vec<String> = ["lost", "duplicated", "out_of_order", "misrouted", "protocol_errors"]
        .iter()
        .filter_map(|key| {
            let sum: f64 = reports.iter().filter_map(|report| number(report, key)).sum();
            (sum > 0.0).then(|| format!("{key} {sum}"))
        })
        .collect();
    if wrong.is_empty() { "none".to_owned() } else { wrong.join(", ") }
}

fn number(report: &Value, key: &str) -> Option<f64> {
    report.get(key).and_then(Value::as_f64)
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn shown(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::scenario::SCENARIOS;

    fn rows(own: f64, theirs: f64, lost: u64) -> Rows {
        let scenario = &SCENARIOS[0];
        let report =
            |cpu: f64, lost: u64| vec![serde_json::json!({"broker_cpu_us_per_msg": cpu, "lost": lost})];
        let reports =
            BTreeMap::from([(OWN.to_owned(), report(own, lost)), (YARDSTICK.to_owned(), report(theirs, 0))]);
        Rows { scenario, reports, order: Vec::new(), left_out: Vec::new() }
    }

    #[test]
    fn a_ratio_that_is_too_high_is_missed() {
        assert!(rows(3.9, 10.0, 0).missed().is_none());
        assert!(rows(4.1, 10.0, 0).missed().is_some());
    }

    #[test]
    fn a_lost_message_is_missed_however_fast() {
        assert!(rows(0.1, 10.0, 1).missed().is_some_and(|missed| missed.contains("lost 1")));
    }

    #[test]
    fn the_median_of_three_is_the_middle_one() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median(std::iter::empty()), None);
    }
}
