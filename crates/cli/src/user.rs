//! `crosspoint user`: the users of the embedded broker, and what a password of theirs is kept as.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use crosspoint_hub::config::Secret;
use crosspoint_hub::{PasswordHash, hash_password};

use crate::failure::{Failure, Verbosity, Voice};
use crate::secret::entering;
use crate::table;

mod accounts;

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 a wrong argument; nothing was changed then.";

/// What `user` is asked for.
#[derive(Debug, Args)]
pub(crate) struct UserFlags {
    #[command(subcommand)]
    command: UserCommand,
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Writes a user with the hash of a password into the project file; asks for the password, or reads stdin.
    #[command(after_help = EXIT_CODES)]
    Add(accounts::Add),
    /// Takes a user out of the project file.
    #[command(after_help = EXIT_CODES)]
    Remove(accounts::Remove),
    /// Shows each user: what the password is kept as, never what it is, and the roles.
    #[command(after_help = EXIT_CODES)]
    List(accounts::List),
    /// Prints the hash of a password, for `password` of `[broker.user.NAME]`; asks for it, or reads stdin.
    #[command(after_help = EXIT_CODES)]
    Hash(Kind),
}

/// What a password is kept as.
#[derive(Debug, Args)]
struct Kind {
    /// Keeps what SCRAM-SHA-256 needs, instead of an Argon2id hash: easier to guess, but the password is never sent.
    #[arg(long)]
    scram: bool,
}

/// Runs `user`.
pub(crate) fn run(flags: &UserFlags) -> ExitCode {
    let done = match &flags.command {
        UserCommand::Add(asked) => accounts::add(asked),
        UserCommand::Remove(asked) => accounts::remove(asked),
        UserCommand::List(asked) => accounts::list(asked),
        UserCommand::Hash(kind) => entering::secret("password")
            .and_then(|password| table::write(&format!("{}\n", hashed(&password, kind)?))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            Voice::new(Verbosity::Normal).fail(&failure);
            failure.exit.into()
        }
    }
}

fn hashed(password: &Secret, kind: &Kind) -> Result<String, Failure> {
    let kind = if kind.scram { PasswordHash::ScramSha256 } else { PasswordHash::Argon2id };
    hash_password(password, kind)
        .map_err(|why| Failure::usage(why, "choose a password of letters, digits and signs"))
}
