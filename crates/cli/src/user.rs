//! `crosspoint user`: what a password of the embedded broker is kept as.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use crosspoint_hub::{PasswordHash, hash_password};

use crate::failure::{Failure, Verbosity, Voice};
use crate::secret::entering;
use crate::table;

/// What `user` is asked for.
#[derive(Debug, Args)]
pub(crate) struct UserFlags {
    #[command(subcommand)]
    command: UserCommand,
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Prints the hash of a password, for `password` of `[broker.user.NAME]`; asks for it, or reads stdin.
    Hash(HashFlags),
}

#[derive(Debug, Args)]
struct HashFlags {
    /// Prints what SCRAM-SHA-256 needs, instead of an Argon2id hash: easier to guess, but the password is never sent.
    #[arg(long)]
    scram: bool,
}

/// Runs `user`.
pub(crate) fn run(flags: &UserFlags) -> ExitCode {
    let UserCommand::Hash(asked) = &flags.command;
    match hash(asked) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            Voice::new(Verbosity::Normal).fail(&failure);
            failure.exit.into()
        }
    }
}

fn hash(asked: &HashFlags) -> Result<(), Failure> {
    let password = entering::secret("password")?;
    let kind = if asked.scram { PasswordHash::ScramSha256 } else { PasswordHash::Argon2id };
    let hash = hash_password(&password, kind)
        .map_err(|why| Failure::usage(why, "choose a password of letters, digits and signs"))?;
    table::write(&format!("{hash}\n"))
}
