//! The `crosspoint` binary: one command line over the hub, the client and, later, the console.
//!
//! It holds what a person sees: arguments, what is printed, exit codes. What a command does is done by the rooms
//! beneath.

mod acl;
mod amount;
mod ask;
mod check;
mod connection;
mod connector;
mod doctor;
mod explain;
mod export;
mod failure;
mod format;
mod import;
mod json;
mod kept;
mod logging;
mod moment;
mod output;
mod pages;
mod payload;
mod place;
mod print;
mod progress;
mod project;
mod property;
mod publish;
mod remote;
mod request;
mod schema;
mod secret;
mod status;
mod store;
mod subscribe;
mod subscriptions;
mod table;
mod through;
mod up;
mod url;
mod user;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code of a command that could not do what it was asked for.
const FAILED: u8 = 1;

/// Exit code of a command that was asked for something impossible: a wrong argument, a wrong project file.
const WRONG: u8 = 2;

/// Connects anything to anything over MQTT.
///
/// Without a command it is `crosspoint up`: it runs the hub that the project file in this folder describes, and
/// writes a sample project file where there is none.
#[derive(Debug, Parser)]
#[command(
    version,
    disable_help_flag = true,
    disable_version_flag = true,
    args_conflicts_with_subcommands = true
)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 a wrong argument or project file, 3 a damaged store."
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    up: up::Up,
    /// Shows this help.
    #[arg(long, action = clap::ArgAction::Help, global = true)]
    help: Option<bool>,
    /// Shows the version.
    #[arg(long, action = clap::ArgAction::Version)]
    version: Option<bool>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the hub: embedded broker, connectors, flows.
    Up(up::Up),
    /// Reads a project file as `up` would, changes nothing, and says what would start.
    Check(check::Check),
    /// Shows what a hub that runs is doing: each connector, why it is not connected and what to do, the broker, flows.
    Status(status::StatusFlags),
    /// Says what a key of the project is in effect, and where that came from.
    Explain(explain::Explain),
    /// Prints the JSON Schema of the project file, for editors.
    Schema(schema::Schema),
    /// Finds out why a connector does not work, and what mends it.
    Doctor(doctor::DoctorFlags),
    /// Publishes; ends with 0 only when the broker has the message.
    Pub(Box<publish::PublishFlags>),
    /// Subscribes, and prints what comes.
    Sub(Box<subscribe::SubscribeFlags>),
    /// Lists and removes the subscriptions that the hub keeps: `sub --keep` makes them, `sub --kept` reads them.
    Subscriptions(subscriptions::SubscriptionsFlags),
    /// Asks with a response topic, and prints the answers; ends with 27 when none comes in time.
    Request(Box<request::RequestFlags>),
    /// Lists, shows, retries, drops and exports what waits for connectors.
    Outbox(kept::OutboxFlags),
    /// Lists, shows, edits, retries, drops and exports what connectors could not deliver.
    Dead(kept::DeadFlags),
    /// Seals passwords and keys in the project file, and shows how each secret of it is kept.
    Secret(secret::SecretFlags),
    /// Adds, removes and lists users of the embedded broker, and makes what a password is kept as.
    User(user::UserFlags),
    /// Says what somebody may do at the embedded broker, and why.
    Acl(acl::AclFlags),
    /// Makes a project file of the configuration of another system.
    Import(import::ImportFlags),
    /// Writes the project file without its secrets, or all of a project encrypted, to be shown or moved.
    Export(export::ExportFlags),
    /// Looks after what a hub keeps on disk: whether it is whole, and what of it can be saved.
    Store(store::StoreFlags),
    /// Prints what a shell needs to complete commands and flags.
    Completions(pages::Completions),
    /// Prints the manual page, or writes those of all commands into a folder.
    Man(pages::Man),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command {
        None => up::run(&arguments.up),
        Some(Command::Up(up)) => up::run(&up),
        Some(Command::Check(check)) => check::run(&check),
        Some(Command::Status(flags)) => status::run(&flags),
        Some(Command::Explain(asked)) => explain::run(&asked),
        Some(Command::Schema(asked)) => schema::run(&asked),
        Some(Command::Doctor(flags)) => doctor::run(&flags),
        Some(Command::Pub(flags)) => publish::run(&flags),
        Some(Command::Sub(flags)) => subscribe::run(&flags),
        Some(Command::Subscriptions(flags)) => subscriptions::run(&flags),
        Some(Command::Request(flags)) => request::run(&flags),
        Some(Command::Outbox(flags)) => kept::run_outbox(&flags),
        Some(Command::Dead(flags)) => kept::run_dead(&flags),
        Some(Command::Secret(flags)) => secret::run(&flags),
        Some(Command::User(flags)) => user::run(&flags),
        Some(Command::Acl(flags)) => acl::run(&flags),
        Some(Command::Import(flags)) => import::run(&flags),
        Some(Command::Export(flags)) => export::run(&flags),
        Some(Command::Store(flags)) => store::run(&flags),
        Some(Command::Completions(asked)) => pages::run_completions(&asked),
        Some(Command::Man(asked)) => pages::run_man(&asked),
    }
}
