//! `crosspoint doctor`: why does a connector not work, and what mends it?

mod fix;
mod json;
mod probe;
mod show;
mod target;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crosspoint_client::{TopicFilter, TopicName};
use crosspoint_hub::DataDir;
use crosspoint_hub::doctor::{Examination, Order, Outcome, Patient, examine};

use crate::check::PROJECT_FILE;
use crate::connection::block_on;
use crate::failure::{Exit, Failure, Verbosity, Voice};
use crate::secret::KeyFlags;
use target::{Origin, Target};

/// What `--help` says about exit codes.
const EXIT_CODES: &str = "\
Exit codes:
  0   everything works, perhaps with warnings
  1   something does not work
  2   wrong usage, or a wrong project file; nothing was tried";

/// What was typed.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct DoctorFlags {
    /// A connector of the project file, or a URL such as `mqtts://broker.example.com`; without it, every connector
    #[arg(value_name = "CONNECTOR|URL")]
    target: Option<String>,
    /// Write JSON: an array with an object for each address
    #[arg(long)]
    json: bool,
    /// Write the setting that mends it into the project file, where that makes nothing weaker, and look again
    #[arg(long, conflicts_with = "probe")]
    fix: bool,
    /// Ask the broker statement by statement how it behaves, instead of looking for what is wrong; writes some thousands
    /// of small messages below `crosspoint/doctor/` and `/crosspoint/doctor/`, and removes them
    #[arg(long, conflicts_with_all = ["topic", "listen", "bytes"])]
    probe: bool,
    /// Compare with this other node of the broker's cluster: what is kept on one has to be there on the other
    #[arg(long, value_name = "URL", requires = "probe")]
    second_node: Option<String>,
    /// Wait until somebody has restarted the broker, and look what survived; at most so many seconds (600)
    #[arg(long, value_name = "SECONDS", requires = "probe", num_args = 0..=1, default_missing_value = "600",
          require_equals = true, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pause_for_restart: Option<u64>,
    /// Let the round trip use this topic instead of one below `crosspoint/doctor/`
    #[arg(long, value_name = "TOPIC", value_parser = topic)]
    topic: Option<TopicName>,
    /// Look also whether something is live on this filter, and on what is nearly the same; may be repeated
    #[arg(long, value_name = "FILTER", value_parser = filter)]
    listen: Vec<TopicFilter>,
    /// For how many seconds is listened
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=600))]
    listen_for: u64,
    /// Try a message with this many bytes as well
    #[arg(long, value_name = "BYTES", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=268_435_000))]
    bytes: u32,
    /// How many seconds each stage may take
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=300))]
    timeout: u64,
    /// The project file
    #[arg(long, value_name = "FILE", default_value = PROJECT_FILE, help_heading = "Project")]
    project: PathBuf,
    /// The environment of the project file
    #[arg(long, value_name = "NAME", env = "CROSSPOINT_ENV", help_heading = "Project")]
    env: Option<String>,
    #[command(flatten)]
    key: KeyFlags,
    #[command(flatten)]
    login: target::LoginFlags,
}

/// Runs `doctor`.
pub(crate) fn run(flags: &DoctorFlags) -> ExitCode {
    let voice = Voice::new(Verbosity::Normal);
    let ended = match target::of(flags) {
        Ok(target) => block_on(examine_all(flags, &target)),
        Err(target::Wrong::Project) => return Exit::Usage.into(),
        Err(target::Wrong::Usage(failure)) => Err(failure),
    };
    match ended {
        Ok(exit) => exit.into(),
        Err(failure) => {
            voice.fail(&failure);
            failure.exit.into()
        }
    }
}

async fn examine_all(flags: &DoctorFlags, target: &Target) -> Result<Exit, Failure> {
    let order = order(flags, target.origin)?;
    if flags.probe {
        return Ok(probe::run(target, &order, flags.json).await);
    }
    let mut all = Vec::new();
    for line in target.passed_over.iter().filter(|_| !flags.json) {
        println!("{line}");
    }
    for patient in &target.patients {
        let found = examine_one(flags, target.origin, patient, &order).await;
        let mended = found.iter().filter(|_| flags.fix).find_map(|one| fix::run(flags, patient, one));
        match mended {
            Some(mended) => all.extend(examine_one(flags, target.origin, &mended, &order).await),
            None => all.extend(found),
        }
    }
    if flags.json {
        println!("{}", json::of_all(&all, target.origin));
    }
    let has_failed = all.iter().any(|examination| examination.outcome() == Outcome::Failed);
    Ok(if has_failed { Exit::Failed } else { Exit::Done })
}

async fn examine_one(
    flags: &DoctorFlags,
    origin: Origin,
    patient: &Patient,
    order: &Order,
) -> Vec<Examination> {
    if flags.json {
        return examine(patient, order, |_, _| {}).await;
    }
    let mut screen = show::Screen::new(patient, origin);
    let examinations = examine(patient, order, |address, step| screen.step(address, step)).await;
    for examination in &examinations {
        screen.conclusion(examination);
    }
    examinations
}

fn order(flags: &DoctorFlags, origin: Origin) -> Result<Order, Failure> {
    let usual = Order::default();
    Ok(Order {
        patience: Duration::from_secs(flags.timeout),
        topic: flags.topic.clone(),
        listen: flags.listen.clone(),
        listen_for: Duration::from_secs(flags.listen_for),
        payload_bytes: usual.payload_bytes.max(usize::try_from(flags.bytes).unwrap_or(usize::MAX)),
        second_node: flags.second_node.as_deref().map(target::address).transpose()?,
        restart_within: flags.pause_for_restart.map(Duration::from_secs),
        hub: (origin == Origin::Project).then(|| DataDir::beside(&flags.project)),
    })
}

fn topic(text: &str) -> Result<TopicName, String> {
    TopicName::parse(text.to_owned()).map_err(|error| error.to_string())
}

fn filter(text: &str) -> Result<TopicFilter, String> {
    TopicFilter::parse(text.to_owned()).map_err(|error| error.to_string())
}
