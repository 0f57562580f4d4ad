//! The examination on a screen: a line for each step as it comes, then cause, setting and next step.

use std::io;

use crosspoint_hub::diagnosis::Diagnosis;
use crosspoint_hub::doctor::{Examination, Outcome, Patient, Step};

use super::target::Origin;
use crate::logging;

/// Where an examination is shown.
pub(super) struct Screen<'a> {
    /// The connector that is looked at; none for a URL.
    connector: Option<&'a str>,
    /// The address whose steps come.
    address: Option<String>,
    is_coloured: bool,
}

impl<'a> Screen<'a> {
    pub(super) fn new(patient: &'a Patient, origin: Origin) -> Self {
        let connector = (origin == Origin::Project).then_some(patient.name.as_str());
        Self { connector, address: None, is_coloured: logging::is_coloured(&io::stdout()) }
    }

    /// Shows a step, and before the first one whom it is about.
    pub(super) fn step(&mut self, address: &str, step: &Step) {
        if self.address.as_deref() != Some(address) {
            match self.connector {
                Some(name) => println!("connector {name} at {address}"),
                None => println!("{address}"),
            }
            self.address = Some(address.to_owned());
        }
        let (word, colour) = match step.outcome {
            Outcome::Passed => ("ok  ", "32"),
            Outcome::Warned => ("warn", "33"),
            Outcome::Failed => ("FAIL", "31"),
        };
        let stage = step.stage.word();
        println!("  {} {stage:<11}{}  ({:.1} ms)", self.painted(word, colour), step.seen, ms(step));
    }

    /// Shows what is wrong and what to do, the most important last.
    pub(super) fn conclusion(&self, examination: &Examination) {
        println!();
        for note in &examination.notes {
            println!("{} {note}", self.painted("note:   ", "2"));
        }
        let Some(main) = examination.conclusion() else {
            let (well, address) = (self.painted("well:   ", "32"), &examination.address);
            match self.connector {
                Some(name) => println!("{well} connector {name} works at {address}\n"),
                None => println!("{well} {address} works\n"),
            }
            return;
        };
        for other in examination.diagnoses().filter(|other| *other != main) {
            self.diagnosis("also:   ", "33", other);
        }
        let colour = if examination.outcome() == Outcome::Failed { "31" } else { "33" };
        self.diagnosis("cause:  ", colour, main);
        println!();
    }

    fn diagnosis(&self, label: &str, colour: &str, diagnosis: &Diagnosis) {
        println!("{} {} [{}]", self.painted(label, colour), diagnosis.cause, diagnosis.fault);
        if let Some(mend) = &diagnosis.mend {
            let place = self.connector.map(|name| format!("connector.{name}.")).unwrap_or_default();
            println!("{} {place}{mend}", self.painted("setting:", "36"));
        }
        println!("{} {}", self.painted("next:   ", "36"), diagnosis.next_step);
    }

    fn painted(&self, text: &str, colour: &str) -> String {
        if self.is_coloured { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn ms(step: &Step) -> f64 {
    step.took.as_secs_f64() * 1_000.0
}
