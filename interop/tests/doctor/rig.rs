//! What these tests share: a connector of a project, and what the doctor says of it.

use std::time::Duration;

use crosspoint_hub::config;
use crosspoint_hub::diagnosis::{Diagnosis, Fault};
use crosspoint_hub::doctor::{Examination, Order, Outcome, Patient, Stage, examine};
use interop::soon;

/// Makes a project of the text and examines its connector `a`.
pub(crate) async fn examined(project: &str, order: &Order) -> Examination {
    let (plan, _) =
        config::parse(project, "crosspoint.toml", None).unwrap_or_else(|found| panic!("{found:?}"));
    let patient = Patient::of_plan(&plan, "a").unwrap();
    let mut all = soon("an examination", examine(&patient, order, |_, _| {})).await;
    assert_eq!(all.len(), 1);
    all.remove(0)
}

/// Examines a connector of these lines, with little patience.
pub(crate) async fn doctor(lines: &str) -> Examination {
    examined(&format!("[connector.a]\n{lines}\n"), &impatient()).await
}

/// Returns an order whose stages have two seconds.
pub(crate) fn impatient() -> Order {
    Order { patience: Duration::from_secs(2), listen_for: Duration::from_millis(500), ..Order::default() }
}

/// Checks that a connector works, with nothing to say about it.
#[track_caller]
pub(crate) fn well(examination: &Examination) {
    assert_eq!(examination.outcome(), Outcome::Passed, "{examination:#?}");
}

/// Checks at which stage an examination ended, and with which fault; returns the diagnosis.
#[track_caller]
pub(crate) fn failed(examination: &Examination, stage: Stage, fault: Fault) -> Diagnosis {
    let step = examination.steps.iter().find(|step| step.outcome == Outcome::Failed);
    let step = step.unwrap_or_else(|| panic!("nothing failed: {examination:#?}"));
    assert_eq!((step.stage, step.diagnoses[0].fault), (stage, fault), "{examination:#?}");
    assert_eq!(examination.conclusion(), step.diagnoses.first());
    step.diagnoses[0].clone()
}

/// Checks that an examination warns of a fault, and returns the diagnosis.
#[track_caller]
pub(crate) fn warned(examination: &Examination, stage: Stage, fault: Fault) -> Diagnosis {
    let steps = examination.steps.iter().filter(|step| step.stage == stage);
    let found = steps.flat_map(|step| &step.diagnoses).find(|diagnosis| diagnosis.fault == fault);
    found.unwrap_or_else(|| panic!("no {fault} at {stage}: {examination:#?}")).clone()
}

/// Returns the setting that mends it, as it is written.
pub(crate) fn mend(diagnosis: &Diagnosis) -> String {
    diagnosis.mend.as_ref().map(ToString::to_string).unwrap_or_default()
}
