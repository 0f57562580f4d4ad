//! The figures, and what they say.

use std::collections::BTreeMap;

use serde_json::Value;

use super::peer::Peer;
use super::scenario::{Bound, Demand, Figure, OWN, Scenario};

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
            let own = rows.figure(OWN, rows.scenario.figure());
            for name in &rows.order {
                println!("{}", rows.line(name, own));
            }
            if let Some(syncs) = rows.figure(OWN, Figure::SyncsPerMessage) {
                println!("{:<17} {OWN:<12} {syncs:.5} syncs for a message", rows.scenario.name);
            }
            for (name, reason) in &rows.left_out {
                println!("{:<17} {name:<12} left out: {reason}", rows.scenario.name);
            }
        }
    }

    /// Returns which demands are not met.
    pub(crate) fn missed(&self) -> Vec<String> {
        self.rows.iter().flat_map(Rows::missed).collect()
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
        let ratio = match (own, self.figure(name, self.scenario.figure())) {
            (Some(own), Some(theirs)) if theirs > 0.0 && name != OWN => format!("{:.2}", own / theirs),
            _ => String::new(),
        };
        format!(
            "{:<17} {name:<12} {:>9} {:>10} {:>9} {:>9} {:>10} {ratio:>7} {:>9}",
            self.scenario.name,
            shown(value("broker_cpu_us_per_msg"), 2),
            shown(self.figure(name, Figure::MessagesPerSecond), 0),
            shown(value("lat_p50_us"), 0),
            shown(value("lat_p99_us"), 0),
            shown(self.memory_per_connection(name), 2),
            faults(reports),
        )
    }

    fn figure(&self, name: &str, figure: Figure) -> Option<f64> {
        let reports = self.reports.get(name)?;
        let either = |report: &Value| number(report, "msgs_per_s").or_else(|| number(report, "acked_per_s"));
        match figure {
            Figure::MemoryPerConnection => self.memory_per_connection(name),
            Figure::CpuPerMessage => {
                median(reports.iter().filter_map(|it| number(it, "broker_cpu_us_per_msg")))
            }
            Figure::MessagesPerSecond => median(reports.iter().filter_map(either)),
            Figure::SyncsPerMessage => median(reports.iter().filter_map(|it| number(it, "syncs_per_msg"))),
        }
    }

    fn memory_per_connection(&self, name: &str) -> Option<f64> {
        if self.scenario.figure() != Figure::MemoryPerConnection {
            return None;
        }
        median(self.reports.get(name)?.iter().filter_map(|report| {
            Some(
                (number(report, "rss_after_kib")? - number(report, "rss_before_kib")?)
                    / self.scenario.connections(),
            )
        }))
    }

    /// Returns what is demanded and not met.
    fn missed(&self) -> Vec<String> {
        let Some(reports) = self.reports.get(OWN) else { return Vec::new() };
        let name = self.scenario.name;
        let broken = faults(reports);
        let faults = (broken != "none").then(|| format!("{name}: faults in delivery: {broken}"));
        let missed = self.scenario.demands.iter().filter_map(|demand| self.missed_demand(demand));
        faults.into_iter().chain(missed.map(|missed| format!("{name}: {missed}"))).collect()
    }

    fn missed_demand(&self, Demand { figure, bound }: &Demand) -> Option<String> {
        let own = self.figure(OWN, *figure)?;
        let ratio_to = |peer: &str| Some(own / self.figure(peer, *figure)?);
        let what = match figure {
            Figure::CpuPerMessage => "CPU for a message",
            Figure::MessagesPerSecond => "messages a second",
            Figure::SyncsPerMessage => "syncs for a message",
            Figure::MemoryPerConnection => "memory for a connection",
        };
        match *bound {
            Bound::Most(max) => {
                (own > max).then(|| format!("{what}: {own:.3}, at most {max:.3} is demanded"))
            }
            Bound::MostTimes(max, peer) => {
                let ratio = ratio_to(peer)?;
                (ratio > max).then(|| format!("{what}: {ratio:.2} x {peer}, at most {max:.2} x is demanded"))
            }
            Bound::LeastTimes(min, peer) => {
                let ratio = ratio_to(peer)?;
                (ratio < min).then(|| format!("{what}: {ratio:.2} x {peer}, at least {min:.2} x is demanded"))
            }
        }
    }
}

/// Returns what went wrong with delivery, over all rounds.
pub(crate) fn faults(reports: &[Value]) -> String {
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

pub(crate) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
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

    fn rows(scenario: &str, own: (f64, f64), theirs: (f64, f64), lost: u64) -> Rows {
        let scenario = SCENARIOS.iter().find(|known| known.name == scenario).unwrap();
        let report = |(cpu, rate): (f64, f64), lost: u64| {
            vec![serde_json::json!({"broker_cpu_us_per_msg": cpu, "acked_per_s": rate, "lost": lost})]
        };
        let reports = BTreeMap::from([
            (OWN.to_owned(), report(own, lost)),
            ("mosquitto".to_owned(), report(theirs, 0)),
        ]);
        Rows { scenario, reports, order: Vec::new(), left_out: Vec::new() }
    }

    #[test]
    fn a_ratio_that_is_too_high_or_too_low_is_missed() {
        assert_eq!(rows("pairs-qos0", (3.9, 1.0), (10.0, 1.0), 0).missed(), Vec::<String>::new());
        assert_eq!(rows("pairs-qos0", (4.1, 1.0), (10.0, 1.0), 0).missed().len(), 1);
        assert_eq!(rows("durable-fill", (3.9, 2.1), (10.0, 1.0), 0).missed(), Vec::<String>::new());
        assert!(rows("durable-fill", (3.9, 1.9), (10.0, 1.0), 0).missed()[0].contains("messages a second"));
    }

    #[test]
    fn a_lost_message_is_missed_however_fast() {
        let missed = rows("pairs-qos0", (0.1, 1.0), (10.0, 1.0), 1).missed();
        assert!(missed[0].contains("lost 1"), "{missed:?}");
    }

    #[test]
    fn the_median_of_three_is_the_middle_one() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median(std::iter::empty()), None);
    }
}
