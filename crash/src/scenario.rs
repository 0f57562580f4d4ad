//! What is built and struck, one function a scenario.

mod retained;
mod wills;

use std::path::{Path, PathBuf};

use fastrand::Rng;

use self::retained::Kept;
use crate::Outcome;
use crate::books::Books;
use crate::course::{Course, SUBSCRIBERS};
use crate::figures::Figures;
use crate::server::{Port, Server, Way};

/// The QoS of each publisher.
const QOS: &[u8] = &[1, 2, 1, 2];

/// How many messages may be on their way through mosquitto: well below its `max_inflight_messages`.
const AHEAD_MAX: u64 = 400;

/// The programs that are started.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) crosspoint: PathBuf,
    pub(crate) mosquitto: Option<PathBuf>,
}

impl Programs {
    fn mosquitto(&self) -> Outcome<&Path> {
        Ok(self.mosquitto.as_deref().ok_or("this scenario needs --mosquitto")?)
    }
}

/// What became of a round.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) figures: Figures,
    /// What is wrong, in words.
    pub(crate) details: Vec<String>,
}

/// What is asked of a scenario's figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// They must be 0.
    Clean,
    /// Nothing: whoever promises nothing is reported only.
    Reported,
    /// They must not be 0: otherwise this test would see nothing anywhere.
    Broken,
}

/// One kind of round.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) needs_mosquitto: bool,
    pub(crate) verdict: Verdict,
    pub(crate) run: fn(&Programs, &Path, Rng) -> Outcome<Report>,
}

/// Every scenario; rounds take them in turn.
pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "offline",
        help: "the broker, killed; subscribers are away and drain their queues later",
        needs_mosquitto: false,
        verdict: Verdict::Clean,
        run: |programs, folder, rng| broker(programs, folder, rng, true, "synced"),
    },
    Scenario {
        name: "online",
        help: "the broker, killed; subscribers read all the time",
        needs_mosquitto: false,
        verdict: Verdict::Clean,
        run: |programs, folder, rng| broker(programs, folder, rng, false, "synced"),
    },
    Scenario {
        name: "written",
        help: "the broker told to wait for no sync, killed: the process dies, the machine does not",
        needs_mosquitto: false,
        verdict: Verdict::Clean,
        run: |programs, folder, mut rng| {
            let is_away = rng.bool();
            broker(programs, folder, rng, is_away, "written")
        },
    },
    Scenario {
        name: "hub",
        help: "a flow between two hubs with a broker each, both killed",
        needs_mosquitto: false,
        verdict: Verdict::Clean,
        run: hub,
    },
    Scenario {
        name: "mosquitto",
        help: "a flow from mosquitto to mosquitto, both stopped with SIGTERM, through a hub that is killed",
        needs_mosquitto: true,
        verdict: Verdict::Clean,
        run: between_mosquittos,
    },
    Scenario {
        name: "retained",
        help: "the broker, killed; retained messages and subscriptions that were acknowledged",
        needs_mosquitto: false,
        verdict: Verdict::Clean,
        run: retained::run,
    },
    Scenario {
        name: "wills",
        help: "the broker, killed; wills of clients that died before it, with it, or came back",
        needs_mosquitto: false,
        verdict: Verdict::Clean,
        run: wills::run,
    },
    Scenario {
        name: "memory",
        help: "the broker told to keep everything in memory, killed: the test must find what is lost",
        needs_mosquitto: false,
        verdict: Verdict::Broken,
        run: |programs, folder, rng| broker(programs, folder, rng, true, "memory"),
    },
    Scenario {
        name: "mosquitto-stopped",
        help: "mosquitto alone, stopped with SIGTERM, to compare with: reported and not judged",
        needs_mosquitto: true,
        verdict: Verdict::Reported,
        run: |programs, folder, rng| mosquitto(programs, folder, rng, Way::Stop),
    },
    Scenario {
        name: "mosquitto-killed",
        help: "mosquitto alone, killed, saving every second: reported and not judged",
        needs_mosquitto: true,
        verdict: Verdict::Reported,
        run: |programs, folder, rng| mosquitto(programs, folder, rng, Way::Kill),
    },
];

fn broker(programs: &Programs, folder: &Path, rng: Rng, is_away: bool, durability: &str) -> Outcome<Report> {
    let source = Port::reserve()?;
    let project = format!("{}durability = \"{durability}\"\n{NO_CONSOLE}", listener(&source));
    let server = Server::crosspoint("broker", &programs.crosspoint, folder, &project)?;
    let course = Course {
        servers: vec![server],
        source,
        destination: None,
        is_away,
        is_difficult: true,
        ahead_max: None,
    };
    run(&course, rng)
}

/// A hub with a broker whose flow goes to a second hub's broker, or comes from there.
fn hub(programs: &Programs, folder: &Path, mut rng: Rng) -> Outcome<Report> {
    let (near, far) = (Port::reserve()?, Port::reserve()?);
    let is_push = rng.bool();
    let (from, to) = if is_push { ("broker", "far") } else { ("far", "broker") };
    let project = format!("{}{NO_CONSOLE}{}{}", listener(&near), connector("far", &far), flow(from, to));
    let servers = vec![
        Server::crosspoint("hub", &programs.crosspoint, folder, &project)?,
        Server::crosspoint("far", &programs.crosspoint, folder, &format!("{}{NO_CONSOLE}", listener(&far)))?,
    ];
    let (source, destination) = if is_push { (near, far) } else { (far, near) };
    let is_away = rng.bool();
    let course = Course {
        servers,
        source,
        destination: Some(destination),
        is_away,
        is_difficult: true,
        ahead_max: None,
    };
    run(&course, rng)
}

fn between_mosquittos(programs: &Programs, folder: &Path, rng: Rng) -> Outcome<Report> {
    let (source, destination) = (Port::reserve()?, Port::reserve()?);
    let mosquitto = programs.mosquitto()?;
    let project = format!(
        "[broker]\nenabled = false\n{NO_CONSOLE}{}{}{}",
        connector("source", &source),
        connector("destination", &destination),
        flow("source", "destination")
    );
    let servers = vec![
        Server::mosquitto("source", Way::Stop, mosquitto, folder, source.number)?,
        Server::mosquitto("destination", Way::Stop, mosquitto, folder, destination.number)?,
        Server::crosspoint("hub", &programs.crosspoint, folder, &project)?,
    ];
    let course = Course {
        servers,
        source,
        destination: Some(destination),
        is_away: false,
        is_difficult: false,
        ahead_max: Some(AHEAD_MAX),
    };
    run(&course, rng)
}

fn mosquitto(programs: &Programs, folder: &Path, mut rng: Rng, way: Way) -> Outcome<Report> {
    let source = Port::reserve()?;
    let server = Server::mosquitto("mosquitto", way, programs.mosquitto()?, folder, source.number)?;
    if way == Way::Stop && rng.u8(..3) == 0 {
        return Ok(retained::run_against(&server, &source, Kept::FromPubcomp, rng));
    }
    let ahead_max = (way == Way::Stop).then_some(AHEAD_MAX);
    let course = Course {
        servers: vec![server],
        source,
        destination: None,
        is_away: way == Way::Kill,
        is_difficult: false,
        ahead_max,
    };
    run(&course, rng)
}

/// Runs a course with new books; a failure is a line among the details.
fn run(course: &Course, mut rng: Rng) -> Outcome<Report> {
    let books = Books::new(QOS, SUBSCRIBERS);
    let struck = course.run(&mut rng, QOS, &books);
    Ok(report(&books, struck))
}

fn report(books: &Books, struck: Outcome<u64>) -> Report {
    let (mut figures, mut details) = books.close();
    match struck {
        Ok(struck) => figures.kills = struck,
        Err(failure) => {
            figures.broken_off = 1;
            details.insert(0, failure.to_string());
        }
    }
    Report { figures, details }
}

const NO_CONSOLE: &str = "[console]\nenabled = false\n";

fn listener(port: &Port) -> String {
    // What waits in a heavy round is more than a session's queue takes by default, and that would be dropped.
    format!(
        "[broker]\nsession_queue_bytes = 1073741824\n[broker.listener.main]\nbind = \"127.0.0.1:{}\"\n",
        port.number
    )
}

fn connector(name: &str, port: &Port) -> String {
    format!(
        "[connector.{name}]\nurl = \"mqtt://127.0.0.1:{}\"\nreconnect_min_ms = 100\nreconnect_max_ms = 300\n",
        port.number
    )
}

fn flow(from: &str, to: &str) -> String {
    format!(
        "[flow.over]\nfrom = {{ connector = \"{from}\", topics = [\"in/#\"], qos = 2 }}\n\
         to = [{{ connector = \"{to}\", topic = \"out/{{topic[1..]}}\" }}]\n"
    )
}
