//! The examination for programs.

use crosspoint_hub::diagnosis::{Diagnosis, MendValue};
use crosspoint_hub::doctor::{Examination, Outcome, Step};
use serde_json::{Value, json};

use super::target::Origin;

/// Returns all examinations as an array.
pub(super) fn of_all(all: &[Examination], origin: Origin) -> Value {
    all.iter().map(|examination| of_one(examination, origin)).collect()
}

fn of_one(examination: &Examination, origin: Origin) -> Value {
    json!({
        "connector": (origin == Origin::Project).then_some(&examination.connector),
        "address": examination.address,
        "outcome": outcome(examination.outcome()),
        "steps": examination.steps.iter().map(of_step).collect::<Vec<_>>(),
        "notes": examination.notes,
        "conclusion": examination.conclusion().map(of_diagnosis),
    })
}

fn of_step(step: &Step) -> Value {
    json!({
        "stage": step.stage.word(),
        "outcome": outcome(step.outcome),
        "seen": step.seen,
        "took_ms": step.took.as_secs_f64() * 1_000.0,
        "diagnoses": step.diagnoses.iter().map(of_diagnosis).collect::<Vec<_>>(),
    })
}

pub(super) fn of_diagnosis(diagnosis: &Diagnosis) -> Value {
    let mend = diagnosis.mend.as_ref().map(|mend| {
        let value = match &mend.value {
            None => Value::Null,
            Some(MendValue::Text(text)) => text.as_str().into(),
            Some(MendValue::Integer(number)) => (*number).into(),
        };
        json!({ "key": mend.key, "value": value })
    });
    json!({
        "fault": diagnosis.fault.word(),
        "cause": diagnosis.cause,
        "next_step": diagnosis.next_step,
        "setting": mend,
    })
}

const fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Warned => "warned",
        Outcome::Failed => "failed",
    }
}
