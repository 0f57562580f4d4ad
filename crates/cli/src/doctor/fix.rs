//! `crosspoint doctor --fix`: writes the setting that mends a fault, and looks again.

use crosspoint_hub::DataDir;
use crosspoint_hub::config;
use crosspoint_hub::doctor::{Examination, Outcome, Patient, fix};

use super::DoctorFlags;

/// Writes what mends the conclusion of an examination into the project file, and returns the connector as it is planned
/// then. Says what it did, or why it did nothing.
pub(super) fn run(flags: &DoctorFlags, patient: &Patient, examination: &Examination) -> Option<Patient> {
    let diagnosis = examination.conclusion()?;
    let environment = flags.env.as_deref();
    let key = flags.key.source(&DataDir::beside(&flags.project));
    let check = |text: &str| {
        let name = flags.project.display().to_string();
        config::parse_with(text, &name, environment, &key).map(|_| ())
    };
    match fix(&flags.project, environment, patient, diagnosis, check) {
        Ok(fixed) => {
            eprintln!("written: {} = {} in {}", fixed.key, fixed.value, flags.project.display());
            let (plan, _) = config::load_with(&flags.project, environment, &key).ok()?;
            Patient::of_plan(&plan, &patient.name)
        }
        Err(why) => {
            if examination.outcome() == Outcome::Failed || diagnosis.mend.is_some() {
                eprintln!("nothing written: {why}");
            }
            None
        }
    }
}
