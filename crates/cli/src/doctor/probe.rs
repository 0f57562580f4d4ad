//! `crosspoint doctor --probe`: what a broker does, statement by statement.

use std::io;
use std::time::Duration;

use crosspoint_hub::doctor::{Judgement, Order, Outcome, Probed, Progress, Verdict, probe};
use serde_json::{Value, json};

use super::target::Target;
use crate::failure::Exit;
use crate::logging;

/// Probes every address of a target. It ends well when there was a way in, whatever the broker does.
pub(super) async fn run(target: &Target, order: &Order, is_json: bool) -> Exit {
    let is_coloured = logging::is_coloured(&io::stdout());
    let mut all = Vec::new();
    for patient in &target.patients {
        let mut section = None;
        let told = |progress: Progress<'_>| {
            let judgement = match progress {
                Progress::Judged(judgement) => judgement,
                Progress::RestartNow(within) => return ask_for_restart(within),
            };
            if !is_json {
                if section != Some(judgement.section) {
                    println!("{}", judgement.section);
                    section = Some(judgement.section);
                }
                show(judgement, is_coloured);
            }
        };
        all.extend(probe(patient, order, told).await);
    }
    if is_json {
        println!("{}", all.iter().map(of_probed).collect::<Value>());
    } else {
        all.iter().for_each(conclude);
    }
    let has_failed = all.iter().any(|probed| probed.version.is_none());
    if has_failed { Exit::Failed } else { Exit::Done }
}

/// Asks whoever sits there; what is written for programs is not disturbed.
fn ask_for_restart(within: Duration) {
    eprintln!(
        "Restart the broker now, as it would be in an update. What survives is looked at when it is back; {} s are left.",
        within.as_secs()
    );
}

fn show(judgement: &Judgement, is_coloured: bool) {
    let (word, colour) = match judgement.verdict {
        Verdict::Holds => ("yes", "32"),
        Verdict::Fails => ("NO ", "31"),
        Verdict::NotAsked => ("-  ", "2"),
    };
    let word = if is_coloured { format!("\x1b[{colour}m{word}\x1b[0m") } else { word.to_owned() };
    println!("  {word} {}: {}", judgement.statement, judgement.seen);
}

fn conclude(probed: &Probed) {
    println!();
    if let Some(diagnosis) =
        probed.examination.conclusion().filter(|_| probed.examination.outcome() == Outcome::Failed)
    {
        println!("cause:   {} [{}]", diagnosis.cause, diagnosis.fault);
        println!("next:    {}", diagnosis.next_step);
    }
    if let Some(version) = probed.version {
        println!("asked:   in MQTT {version}");
    }
    if let Some(name) = &probed.calls_itself {
        println!("broker:  {name:?}, as it calls itself");
    }
    println!("verdict: {} {}", probed.examination.address, probed.summary());
}

fn of_probed(probed: &Probed) -> Value {
    json!({
        "address": probed.examination.address,
        "version": probed.version.map(|version| version.to_string()),
        "calls_itself": probed.calls_itself,
        "holds": probed.count(Verdict::Holds),
        "fails": probed.count(Verdict::Fails),
        "not_asked": probed.count(Verdict::NotAsked),
        "verdict": probed.summary(),
        "statements": probed.judgements.iter().map(of_judgement).collect::<Vec<_>>(),
        "conclusion": probed.examination.conclusion().map(super::json::of_diagnosis),
    })
}

fn of_judgement(judgement: &Judgement) -> Value {
    json!({
        "section": judgement.section.word(),
        "statement": judgement.statement,
        "holds": match judgement.verdict {
            Verdict::Holds => Value::Bool(true),
            Verdict::Fails => Value::Bool(false),
            Verdict::NotAsked => Value::Null,
        },
        "seen": judgement.seen,
        "took_ms": judgement.took.as_secs_f64() * 1_000.0,
    })
}
