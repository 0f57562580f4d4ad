//! `crosspoint up`: runs the hub until it is told to stop.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crosspoint_hub::config::plan::{Plan, Transport};
use crosspoint_hub::config::{self, SAMPLE};
use crosspoint_hub::control::WaitingFigures;
use crosspoint_hub::secret::KeySource;
use crosspoint_hub::{DataDir, Hub, HubError, ListeningAt, ProjectWatch, has_changes};
use tracing::{error, info, warn};

use crate::amount::things;
use crate::check::{self, PROJECT_FILE};
use crate::failure::{Failure, Verbosity, Voice};
use crate::logging::{self, LogFormat};
use crate::place::Place;
use crate::secret::{self, KeyFlags};
use crate::{FAILED, WRONG};

mod draining;

use draining::Draining;

/// How long a clean stop may take before what is left is cut.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// What `up` is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Up {
    /// The project file. Without this, crosspoint.toml in this folder, which is made if it is not there.
    #[arg(long, value_name = "FILE")]
    project: Option<PathBuf>,
    /// Makes the project file that --project names, if it is not there.
    #[arg(long)]
    init: bool,
    /// The environment whose overlay is applied.
    #[arg(long, value_name = "NAME", env = "CROSSPOINT_ENV")]
    env: Option<String>,
    /// The hub's own folder. Default: crosspoint-data beside the project file.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    key: KeyFlags,
    /// How log lines are written.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
}

impl Up {
    fn project(&self) -> PathBuf {
        self.project.clone().unwrap_or_else(|| PROJECT_FILE.into())
    }

    /// Returns the flag that names this hub to other commands, behind a blank.
    fn again(&self) -> String {
        Place::of(self.data.as_deref(), &self.project()).again().to_owned()
    }
}

/// Runs `up`.
pub(crate) fn run(up: &Up) -> ExitCode {
    logging::start(up.log_format);
    raise_file_limit();
    let project = up.project();
    if let Err(reason) = make_sample(up, &project) {
        return fail(&reason);
    }
    let place = Place::of(up.data.as_deref(), &project);
    let key = up.key.source(place.data());
    let Some(plan) = check::load(&project, up.env.as_deref(), &key) else { return ExitCode::from(WRONG) };
    let data = match DataDir::open(place.data()) {
        Ok(data) => data,
        Err(reason) => {
            return fail(&Failure::new(reason, "name a folder that this user may write to with --data DIR"));
        }
    };
    match secret::make_first_key(&project, &key) {
        Ok(made) => made.into_iter().for_each(|made| say(&format!("{made}\n"))),
        Err(failure) => return fail(&failure),
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(reason) => {
            let cause = format!("the runtime does not start: {reason}");
            return fail(&Failure::new(cause, "see whether the machine allows more open files"));
        }
    };
    runtime.block_on(serve(up, &project, &key, plan, data))
}

/// Says why it does not run.
fn fail(failure: &Failure) -> ExitCode {
    Voice::new(Verbosity::Normal).fail(failure);
    failure.exit.into()
}

async fn serve(up: &Up, project: &Path, key: &KeySource, plan: Plan, data: DataDir) -> ExitCode {
    // Before anything is said to run, so that whoever reads it can stop it.
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(reason) => {
            let cause = format!("signals cannot be received: {reason}");
            return fail(&Failure::new(cause, "see whether the machine allows more open files"));
        }
    };
    let mut hub = tokio::select! {
        started = Hub::start(plan, data) => match started {
            Ok(hub) => hub,
            Err(reason) => {
                return fail(&Failure::new(&reason, reason.mend()));
            }
        },
        () = signals.next() => return ExitCode::SUCCESS,
    };
    let mut watch = ProjectWatch::start(project)
        .inspect_err(|reason| warn!(%reason, "Changes of the project file take effect at the next start."))
        .ok();
    follow(&mut watch, &hub);
    greet(&hub, &up.again());
    let mut draining = Draining::new(hub.gauge());
    let failed = loop {
        tokio::select! {
            () = signals.next() => break None,
            failed = hub.failed() => break Some(failed),
            () = changed(&mut watch) => {
                reload(&mut hub, project, up.env.as_deref(), key).await;
                follow(&mut watch, &hub);
            }
            connector = hub.credentials_work() => hub.use_credentials(&connector).await,
            never = draining.run() => match never {},
        }
    };
    if let Some(failed) = &failed {
        error!(reason = %failed, mend = failed.mend(), "The hub cannot go on.");
    }
    info!("Stopping. A second signal stops at once.");
    let code = tokio::select! {
        () = hub.stop(STOP_WITHIN) => if failed.is_none() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) },
        () = signals.next() => ExitCode::from(FAILED),
        never = draining.run() => match never {},
    };
    drop(draining);
    code
}

/// Watches what the project that runs names, besides its file.
fn follow(watch: &mut Option<ProjectWatch>, hub: &Hub) {
    if let Some(watch) = watch {
        watch.follow(&hub.plan().files);
    }
}

/// Takes a changed project file over, or changed files that it names, as a whole or not at all.
async fn reload(hub: &mut Hub, project: &Path, env: Option<&str>, key: &KeySource) {
    let Some(plan) = check::load(project, env, key) else {
        error!(
            file = %project.display(),
            "The changed project, or a file that it names, has errors: what ran keeps running as it was."
        );
        return;
    };
    if !has_changes(&config::diff(hub.plan(), &plan)) {
        return;
    }
    match hub.apply(plan).await {
        Ok(changes) => info!("The changed project has been taken over:\n{changes}"),
        Err(reason) => report(&reason),
    }
}

fn report(reason: &HubError) {
    error!(%reason, mend = reason.mend(), "A part of the changed project does not run.");
}

async fn changed(watch: &mut Option<ProjectWatch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

/// Writes the sample project file where one may be made, and says so.
fn make_sample(up: &Up, project: &Path) -> Result<(), Failure> {
    if project.exists() {
        return Ok(());
    }
    let shown = project.display();
    if up.project.is_some() && !up.init {
        let cause = format!("there is no project file {shown}");
        return Err(Failure::usage(cause, "name one that exists, or add --init to make it"));
    }
    let written = OpenOptions::new().write(true).create_new(true).open(project).and_then(|mut file| {
        file.write_all(SAMPLE.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|reason| {
        let cause = format!("{shown} cannot be made: {reason}");
        Failure::usage(cause, "start in a folder that this user may write to")
    })?;
    say(&format!("made {shown}, a sample project to change as you like\n"));
    Ok(())
}

/// Prints where the hub can be reached, what waits from before, and what to try.
fn greet(hub: &Hub, again: &str) {
    let mut text = String::from("Crosspoint runs.\n");
    for at in hub.listening() {
        text.push_str(&format!("  broker  {}{}\n", url(at), moved(at)));
    }
    text.push_str(&waiting(hub.gauge().waiting(), again));
    let plain = hub.listening().iter().find(|at| at.transport == Transport::Tcp);
    if let Some(at) = plain.filter(|_| hub.plan().flows.contains_key("demo")) {
        let port =
            if at.address.port() == 1883 { String::new() } else { format!(" -p {}", at.address.port()) };
        // As it was called: it need not be on the search path.
        let program = std::env::args().next().unwrap_or_else(|| "crosspoint".to_owned());
        text.push_str(&format!(
            "Try it, in two other terminals:\n  {program} sub{port} -t 'demo/out/#' -v\n  \
             {program} pub{port} -t demo/in/hello -m 'Hello!'\n"
        ));
    }
    text.push_str("Ctrl-C stops it.\n");
    say(&text);
}

/// Says what waits from before, and where to look; nothing when nothing does.
fn waiting(figures: WaitingFigures, again: &str) -> String {
    let mut text = String::new();
    for (count, one, many, command) in [
        (figures.outboxes, "message waits in an outbox", "messages wait in outboxes", "outbox list"),
        (figures.kept, "message waits to be read", "messages wait to be read", "subscriptions"),
        (figures.dead, "dead letter", "dead letters", "dead list"),
    ] {
        if count > 0 {
            text.push_str(&format!("  {}: crosspoint {command}{again}\n", things(count, one, many)));
        }
    }
    text
}

fn say(text: &str) {
    // Nobody may be reading: that is no reason to stop.
    let mut stdout = io::stdout();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).unwrap_or_default();
}

fn url(at: &ListeningAt) -> String {
    let scheme = match at.transport {
        Transport::Tcp => "mqtt",
        Transport::Tls => "mqtts",
        Transport::Ws => "ws",
        Transport::Wss => "wss",
    };
    let path = if at.transport.is_websocket() { at.path.as_str() } else { "" };
    format!("{scheme}://{}{path}", at.address)
}

fn moved(at: &ListeningAt) -> String {
    at.moved_from.map(|port| format!("  (port {port} is taken)")).unwrap_or_default()
}

/// What tells the hub to stop: SIGINT and SIGTERM, or Ctrl-C where those are not.
struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    /// Listens from now on.
    #[cfg(unix)]
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Listens from now on.
    #[cfg(not(unix))]
    fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Waits for the next one.
    #[cfg(unix)]
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Waits for the next one.
    #[cfg(not(unix))]
    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            // Without signals it runs until it is killed.
            std::future::pending().await
        }
    }
}

/// Lets this process open as many files as the system allows it: each connection is one.
fn raise_file_limit() {
    #[cfg(unix)]
    if let Ok((soft, hard)) = rlimit::Resource::NOFILE.get()
        && soft < hard
    {
        rlimit::Resource::NOFILE.set(hard, hard).unwrap_or_default();
    }
}
