//! `crosspoint acl`: what somebody may do at the embedded broker, and which rule says so.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use crosspoint_client::{TopicFilter, TopicName};
use crosspoint_hub::access::{NoAnswer, Subscribing, Wish, explain_access};

use crate::FAILED;
use crate::failure::{Failure, Verbosity, Voice};
use crate::project::ProjectFlags;
use crate::table;

/// The word for a client without a name.
const NOBODY: &str = "-";

/// What `acl` is asked for.
#[derive(Debug, Args)]
pub(crate) struct AclFlags {
    #[command(subcommand)]
    command: AclCommand,
}

#[derive(Debug, Subcommand)]
enum AclCommand {
    /// Says whether a user may publish to a topic or subscribe to a filter, and the rule that decides.
    #[command(
        after_help = "Exit codes: 0 allowed, or allowed in part, 1 denied, 2 a wrong argument or project file."
    )]
    Explain(Explain),
}

#[derive(Debug, Args)]
struct Explain {
    /// The user; `-` is a client without a name
    user: String,
    /// What it would do
    action: Action,
    /// The topic that it publishes to, or the filter that it subscribes to
    topic: String,
    /// The client identifier, for rules with %c
    #[arg(long, value_name = "ID", default_value = "")]
    client_id: String,
    /// The environment whose overlay is applied
    #[arg(long, value_name = "NAME", env = "CROSSPOINT_ENV")]
    env: Option<String>,
    #[command(flatten)]
    project: ProjectFlags,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Action {
    Pub,
    Sub,
}

/// Runs `acl`.
pub(crate) fn run(flags: &AclFlags) -> ExitCode {
    let AclCommand::Explain(asked) = &flags.command;
    match explain(asked) {
        Ok(Subscribing::Denied) => ExitCode::from(FAILED),
        Ok(_) => ExitCode::SUCCESS,
        Err(failure) => {
            Voice::new(Verbosity::Normal).fail(&failure);
            failure.exit.into()
        }
    }
}

fn explain(asked: &Explain) -> Result<Subscribing, Failure> {
    let wish = wish(asked)?;
    let plan = asked.project.plan(asked.env.as_deref())?;
    let user = Some(asked.user.as_str()).filter(|user| *user != NOBODY);
    let explained = explain_access(&plan, user, &asked.client_id, &wish).map_err(failure)?;
    table::write(&format!("{explained}\n"))?;
    Ok(explained.verdict)
}

fn wish(asked: &Explain) -> Result<Wish, Failure> {
    let invalid = |error| Failure::usage(error, "give a topic for pub, a topic filter for sub");
    match asked.action {
        Action::Pub => TopicName::parse(asked.topic.as_str()).map(Wish::Publish).map_err(invalid),
        Action::Sub => TopicFilter::parse(asked.topic.clone()).map(Wish::Subscribe).map_err(invalid),
    }
}

fn failure(why: NoAnswer) -> Failure {
    let next_step = match why {
        NoAnswer::NoUser(_) => "crosspoint user list shows who is there",
        NoAnswer::NoDoor => "name a user; anonymous = true under a listener lets clients in without a name",
        NoAnswer::NoBroker => "remove `enabled = false` under [broker]",
        _ => "crosspoint check says more",
    };
    Failure::usage(why, next_step)
}
