//! What a hub that runs says of the connector that is examined.
//!
//! The doctor has a connection of its own, so it never sees what only the connector's own meets: another client with the
//! same identifier, links that drop after minutes. The hub has seen it, and doctor and `status` never contradict each
//! other.

use std::path::Path;

use serde_json::{Map, Value};
use tokio::time::timeout;

use super::report::{Chart, Outcome, Stage};
use super::{Order, Patient};
use crate::connector::Condition;
use crate::control::{Control, Part, Request};
use crate::diagnosis::{Diagnosis, Fault};

/// What the hub says of one connector.
#[derive(Debug, Clone)]
pub(super) struct Said {
    condition: Condition,
    /// For how long it has been in that condition, in milliseconds.
    for_ms: u64,
    /// In how many milliseconds it is tried again.
    next_try_in_ms: Option<u64>,
    drops: u64,
    /// How long the last connections lived on average, in milliseconds.
    lived_ms: Option<u64>,
    server: Option<String>,
    trouble: Option<Diagnosis>,
}

/// Asks the hub that runs the project about a connector; `None` when no hub runs, or it does not have the connector.
pub(super) async fn ask(patient: &Patient, order: &Order) -> Option<Said> {
    let asked = overview(order.hub.as_deref()?);
    let rows = timeout(order.patience, asked).await.ok()??;
    let now_ms = wall_ms();
    let is_it = |row: &&Map<String, Value>| text(row, "connector") == Some(&patient.name);
    rows.iter().find(is_it).and_then(|row| Said::read(row, now_ms))
}

async fn overview(data: &Path) -> Option<Vec<Map<String, Value>>> {
    let mut hub = Control::of_running(data).ok()?;
    let mut rows = Vec::new();
    let asked = hub.ask(Request::Overview, |part| {
        if let Part::Row(row) = part {
            rows.push(row);
        }
        Ok(())
    });
    asked.await.ok()?;
    Some(rows)
}

impl Said {
    fn read(row: &Map<String, Value>, now_ms: u64) -> Option<Self> {
        let number = |key: &str| row.get(key).and_then(Value::as_u64);
        let condition = Condition::of_word(text(row, "state")?)?;
        let trouble = (|| {
            let fault = Fault::of_word(text(row, "fault")?)?;
            let told = Diagnosis::new(fault, text(row, "cause")?, text(row, "next_step")?);
            Some(match text(row, "setting") {
                Some(setting) => told.with_setting(setting),
                None => told,
            })
        })();
        Some(Self {
            condition,
            for_ms: now_ms.saturating_sub(number("since_wall_ms").unwrap_or(now_ms)),
            next_try_in_ms: number("next_try_wall_ms").map(|at_ms| at_ms.saturating_sub(now_ms)),
            drops: number("drops").unwrap_or_default(),
            lived_ms: number("lived_ms"),
            server: text(row, "server").map(str::to_owned),
            trouble,
        })
    }

    /// Tells whether it is about this address: that to which the connector is connected, else any.
    pub(super) fn is_about(&self, target: &str) -> bool {
        self.server.as_deref().is_none_or(|server| server == target)
    }

    /// Writes down what the hub says, beside what was found.
    pub(super) fn chart(&self, chart: &mut Chart<'_>) {
        let is_known = self.trouble.as_ref().is_some_and(|trouble| chart.knows(trouble.fault));
        let seen = format!("the hub that runs says: {}", self.in_words());
        if self.condition.is_connected() && chart.has_failed() {
            chart.note(
                "the connector of the hub that runs is connected all the same: its connection is older than what was found, or the broker treats the doctor's client id otherwise",
            );
        }
        let (outcome, trouble) = match &self.trouble {
            Some(_) if is_known => (Outcome::Passed, None),
            Some(trouble) if self.is_lasting() => (Outcome::Failed, Some(trouble.clone())),
            Some(trouble) => (Outcome::Warned, Some(trouble.clone())),
            None => (Outcome::Passed, None),
        };
        chart.said(Stage::Hub, outcome, seen, trouble);
    }

    /// Tells whether the connector does not connect by itself, though there is a way.
    const fn is_lasting(&self) -> bool {
        matches!(
            self.condition,
            Condition::Refused | Condition::Fighting | Condition::Misconfigured | Condition::Off
        )
    }

    fn in_words(&self) -> String {
        let mut words = format!("{} for {}", self.condition.word(), span(self.for_ms));
        if let Some(next_ms) = self.next_try_in_ms {
            words += &format!(", tries again in {}", span(next_ms));
        }
        match (self.drops, self.lived_ms) {
            (0, _) => {}
            (drops, None) => words += &format!(", lost {drops} times before"),
            (drops, Some(lived_ms)) => {
                words += &format!(", lost {drops} times, each time after about {}", span(lived_ms));
            }
        }
        words
    }
}

fn text<'a>(row: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    row.get(key).and_then(Value::as_str)
}

fn wall_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Returns a span of time as people say it, in its two largest units.
fn span(ms: u64) -> String {
    let s = (ms + 500) / 1_000;
    match s {
        0..60 => format!("{s} s"),
        60..3_600 => format!("{} min {} s", s / 60, s % 60),
        3_600..86_400 => format!("{} h {} min", s / 3_600, s / 60 % 60),
        _ => format!("{} days {} h", s / 86_400, s / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::Step;

    fn said(row: Value) -> Said {
        Said::read(row.as_object().unwrap(), 100_000).unwrap()
    }

    /// What becomes of a chart on which a stage ended like this.
    fn charted(found: Result<String, Diagnosis>, said: &Said) -> (Step, Vec<String>) {
        let mut told = |_: &Step| {};
        let mut chart = Chart::new(&mut told);
        chart.found(Stage::Connect, found);
        said.chart(&mut chart);
        let (mut steps, notes) = chart.into_parts();
        (steps.pop().unwrap(), notes)
    }

    fn fight() -> Said {
        said(json!({
            "connector": "a", "state": "fighting over its client id", "since_wall_ms": 10_000, "fault": "client-id-fight",
            "cause": "another client uses the client id \"a\"", "next_step": "give it another", "setting": "client_id = ...",
            "next_try_wall_ms": 103_000, "drops": 7, "lived_ms": 12_000, "server": null,
        }))
    }

    #[test]
    fn a_fight_that_only_the_hub_sees_is_a_failure_with_its_rhythm() {
        let (step, notes) = charted(Ok("MQTT 5.0".to_owned()), &fight());
        assert_eq!((step.stage, step.outcome), (Stage::Hub, Outcome::Failed));
        assert_eq!(
            step.seen,
            "the hub that runs says: fighting over its client id for 1 min 30 s, tries again in 3 s, lost 7 times, each time after about 12 s"
        );
        let found = &step.diagnoses[0];
        assert_eq!(
            (found.fault, found.mend.as_ref().unwrap().to_string().as_str()),
            (Fault::ClientIdFight, "client_id = ...")
        );
        assert!(notes.is_empty());
    }

    #[test]
    fn what_both_found_is_said_once_and_a_contradiction_is_explained() {
        let (step, _) = charted(Err(Diagnosis::new(Fault::ClientIdFight, "x", "y")), &fight());
        assert_eq!((step.outcome, step.diagnoses.len()), (Outcome::Passed, 0));
        let connected =
            said(json!({ "connector": "a", "state": "connected", "since_wall_ms": 1_000, "drops": 0 }));
        let (step, notes) = charted(Err(Diagnosis::new(Fault::BadLogin, "x", "y")), &connected);
        assert_eq!(step.seen, "the hub that runs says: connected for 1 min 39 s");
        assert!(notes[0].contains("connected all the same"), "{notes:?}");
    }

    #[test]
    fn a_hub_that_only_has_not_tried_again_is_a_warning() {
        let waits = said(json!({
            "connector": "a", "state": "backing off", "since_wall_ms": 1_000, "drops": 0, "fault": "refused",
            "cause": "h:1 refuses connections", "next_step": "start it", "next_try_wall_ms": 110_000,
        }));
        let (step, _) = charted(Ok("MQTT 5.0".to_owned()), &waits);
        assert_eq!(step.outcome, Outcome::Warned);
        assert!(step.seen.ends_with("tries again in 10 s"), "{}", step.seen);
    }
}
