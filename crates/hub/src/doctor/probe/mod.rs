//! How a broker really behaves, statement by statement.
//!
//! Each statement is asked on connections and topics of its own, so that none depends on what another left behind. The
//! list of all is [`STATEMENTS`]. What cannot be asked (another version, an operator's hand) is said to be so, and never
//! counts for or against the broker.

mod exchanges;
mod ground;
mod limits;
mod nodes;
mod overflow;
mod restart;
mod retained;
mod sessions;
mod wills;

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use crosspoint_client::Version;
use tokio::time::Instant;

use super::admit::connect_as;
use super::line::{Lost, NotOpened};
use super::report::{Chart, Examination, Outcome};
use super::{Order, Patient, Visit};
use ground::Ground;

/// How long one statement may take, whatever its waits add up to.
const STATEMENT_MAX: Duration = Duration::from_secs(60);

/// What a group of statements is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Section {
    /// Retained messages.
    Retained,
    /// Sessions that outlive connections.
    Sessions,
    /// QoS and its exchanges.
    Exchanges,
    /// Limits, of both sides.
    Limits,
    /// Wills.
    Wills,
}

impl Section {
    /// Returns the word for programs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Retained => "retained",
            Self::Sessions => "sessions",
            Self::Exchanges => "exchanges",
            Self::Limits => "limits",
            Self::Wills => "wills",
        }
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Whether a statement holds of a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Holds,
    /// It does not.
    Fails,
    /// It could not be asked.
    NotAsked,
}

/// A statement, and whether it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// What it is about.
    pub section: Section,
    /// The statement.
    pub statement: &'static str,
    /// Whether it holds.
    pub verdict: Verdict,
    /// What was seen, or why it was not asked.
    pub seen: String,
    /// How long it took.
    pub took: Duration,
}

/// What was found out about a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// The way there: what the doctor says of it.
    pub examination: Examination,
    /// The version in which was asked; absent when there was no way in.
    pub version: Option<Version>,
    /// What the broker calls itself under `$SYS`, if it does.
    pub calls_itself: Option<String>,
    /// Every statement, in the order of the list.
    pub judgements: Vec<Judgement>,
}

impl Probed {
    /// Returns how many statements have a verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.judgements.iter().filter(|judgement| judgement.verdict == verdict).count()
    }

    /// Returns a verdict that a buyer can read: one sentence, with what does not hold.
    pub fn summary(&self) -> String {
        if self.version.is_none() {
            return "nothing could be asked: there is no way in".to_owned();
        }
        let (holds, fails) = (self.count(Verdict::Holds), self.count(Verdict::Fails));
        let asked = holds + fails;
        if fails == 0 {
            return format!("does all {asked} things that were asked of it");
        }
        let failing = self.judgements.iter().filter(|judgement| judgement.verdict == Verdict::Fails);
        let failing: Vec<&str> = failing.map(|judgement| judgement.statement).collect();
        format!("does {holds} of {asked} things that were asked of it; not these: {}", failing.join("; "))
    }
}

/// What a statement comes to: what was seen, for or against it, or why it cannot be asked.
enum Answer {
    Yes(String),
    No(String),
    NotAsked(String),
}

impl Answer {
    fn when(holds: bool, seen: impl Into<String>) -> Self {
        if holds { Self::Yes(seen.into()) } else { Self::No(seen.into()) }
    }
}

/// What ended a statement before its answer, which is an answer against it.
enum Trouble {
    Lost(Lost),
    NotOpened(NotOpened),
}

impl From<Lost> for Trouble {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

impl From<NotOpened> for Trouble {
    fn from(error: NotOpened) -> Self {
        Self::NotOpened(error)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(Lost::Disconnected(said)) => {
                write!(f, "the broker ended the connection: {}", said.reason)
            }
            Self::Lost(Lost::Closed) => f.write_str("the broker closed the connection"),
            Self::Lost(Lost::Stream(what)) => f.write_str(what),
            Self::Lost(Lost::Violation(violation)) => write!(f, "the broker broke the protocol: {violation}"),
            Self::Lost(Lost::TimedOut(what)) => write!(f, "{what} did not come"),
            Self::NotOpened(NotOpened::Refused(connack)) => {
                write!(f, "the broker refused a connection: {}", connack.reason)
            }
            Self::NotOpened(NotOpened::Silent) => f.write_str("CONNECT had no answer in time"),
            Self::NotOpened(NotOpened::Closed) => {
                f.write_str("the broker closed a connection instead of answering CONNECT")
            }
            Self::NotOpened(NotOpened::Dial(error)) => error.fmt(f),
            Self::NotOpened(_) => f.write_str("a connection was not opened"),
        }
    }
}

type Answered<'a> = Pin<Box<dyn Future<Output = Result<Answer, Trouble>> + Send + 'a>>;

/// One thing that can be asked of a broker.
struct Statement {
    section: Section,
    text: &'static str,
    /// Whether only MQTT 5 can ask it.
    needs_v5: bool,
    ask: for<'a> fn(&'a Ground<'a>) -> Answered<'a>,
}

/// Makes a list of statements of lines: section, from which version on, sentence, the function that asks.
macro_rules! statements {
    ($($section:ident $version:ident $text:literal => $($path:ident)::+;)+) => {
        &[$(Statement {
            section: Section::$section,
            text: $text,
            needs_v5: stringify!($version).len() == "v5".len(),
            ask: |ground| Box::pin($($path)::+(ground)),
        },)+]
    };
}

/// Everything that is asked.
const STATEMENTS: &[Statement] = statements! {
    Retained all "a retained message comes to a new subscriber of its exact topic" => retained::exact;
    Retained all "it comes to a filter with `+`" => retained::plus;
    Retained all "it comes to a filter with `#`" => retained::hash;
    Retained all "it comes to the filter `#` alone" => retained::everything;
    Retained all "it comes to a filter with `+` at the start and `#` at the end" => retained::plus_and_hash;
    Retained all "a level may hold `$` where it is not the first letter of the topic" => retained::dollar_inside;
    Retained all "a topic may begin with `/`" => retained::leading_slash;
    Retained all "5,000 retained messages all come to one wildcard" => retained::five_thousand;
    Retained all "what comes to a wildcard bears its own topic" => retained::own_topic;
    Retained all "the retain flag is set for new subscribers, and not for those who were there" => retained::flag;
    Retained v5 "Retain Handling and Retain As Published do what they say" => retained::handling;
    Retained all "an empty message removes it" => retained::removed;
    Retained all "it comes with no higher QoS than was granted" => retained::downgraded;
    Retained v5 "it bears the Subscription Identifier" => retained::subscription_id;
    Retained all "it survives a restart of the broker" => restart::retained;
    Retained v5 "it goes when its expiry is over" => retained::expires;
    Retained all "it is there on another node of a cluster" => nodes::retained;
    Retained v5 "it does not come to a shared subscription" => retained::not_shared;
    Sessions all "a session is there after its client left and came back" => sessions::present;
    Sessions all "20 messages at QoS 1 wait for a client that is away, and come in their order" => sessions::offline;
    Sessions all "a new connection with the same client identifier takes the session over" => sessions::takeover;
    Sessions v5 "the old connection is told that it was taken over" => sessions::told;
    Sessions all "a clean start removes the session" => sessions::clean_start;
    Sessions all "of 2,000 messages for a client that is away none is lost without a word" => overflow::told;
    Sessions all "a session and what waits for it survive a restart of the broker" => restart::session;
    Sessions all "a session can be resumed on another node of a cluster" => nodes::session;
    Exchanges all "20 messages at QoS 1 come in their order" => exchanges::order;
    Exchanges all "a message at QoS 2 comes at QoS 2, once" => exchanges::exactly_once;
    Exchanges all "a message at QoS 2 that is sent again with DUP after a lost connection comes once" => exchanges::duplicate;
    Exchanges v5 "an UNSUBSCRIBE of what was not subscribed is told so" => exchanges::no_subscription;
    Exchanges v5 "user properties and content type arrive" => exchanges::properties;
    Exchanges v5 "No Local keeps our own messages from us" => exchanges::no_local;
    Limits v5 "a packet larger than the broker's maximum is refused, and one within it taken" => limits::packet;
    Limits v5 "no packet comes that is larger than we accept" => limits::own_packet;
    Limits v5 "no more messages come unacknowledged than we accept at once" => limits::own_receive_maximum;
    Limits v5 "a topic alias works, as many as the broker says" => limits::alias;
    Limits all "a client that is silent for twice its keep alive is let go" => limits::keep_alive;
    Wills all "the will of a client that dies is published" => wills::of_the_dead;
    Wills all "the will of a client that says goodbye is not" => wills::not_of_the_polite;
};

/// How far a probe is.
#[derive(Debug, Clone, Copy)]
pub enum Progress<'a> {
    /// A statement has its verdict.
    Judged(&'a Judgement),
    /// Now the broker is to be restarted, by whoever can, within this time.
    RestartNow(Duration),
}

/// Asks a broker statement by statement how it behaves. `told` is called after each, and when the broker is to be
/// restarted.
///
/// It publishes below `crosspoint/doctor/` and, for a topic that begins with `/`, below `/crosspoint/doctor/`; some
/// thousands of small messages in all. It removes what it retained.
///
/// # Cancel safety
/// Dropping the future may leave retained messages of the doctor's behind.
pub async fn probe(patient: &Patient, order: &Order, mut told: impl FnMut(Progress<'_>)) -> Vec<Probed> {
    let mut all = Vec::new();
    for address in &patient.mqtt.addresses {
        let visit = Visit::new(patient, address, order);
        all.push(of_visit(&visit, &mut told).await);
    }
    all
}

async fn of_visit(visit: &Visit<'_>, told: &mut impl FnMut(Progress<'_>)) -> Probed {
    let mut silent = |_: &super::Step| {};
    let mut chart = Chart::new(&mut silent);
    let admitted = if visit.reach(&mut chart).await { visit.admit(&mut chart).await } else { None };
    let examination = chart.finish(visit.patient, visit.address);
    let Some(admitted) = admitted.filter(|_| examination.outcome() != Outcome::Failed) else {
        return Probed { examination, version: None, calls_itself: None, judgements: Vec::new() };
    };
    let version = admitted.asked.version;
    let connack = admitted.connack.clone();
    admitted.line.close().await;
    let connect = connect_as(&visit.patient.mqtt, &visit.client_id, version);
    let mut ground = Ground { visit, connect, connack, restarted: None };
    if let Some(within) = visit.order.restart_within {
        ground.restarted = Some(restart::over(&ground, within, || told(Progress::RestartNow(within))).await);
    }
    let mut judgements = Vec::new();
    for statement in STATEMENTS {
        let judgement = judge(&ground, statement).await;
        told(Progress::Judged(&judgement));
        judgements.push(judgement);
    }
    let calls_itself = ground.calls_itself().await;
    Probed { examination, version: Some(version), calls_itself, judgements }
}

async fn judge(ground: &Ground<'_>, statement: &Statement) -> Judgement {
    let start = Instant::now();
    let answer = match statement.needs_v5 && !ground.connect.version.is_v5() {
        true => Answer::NotAsked("only MQTT 5 has it".to_owned()),
        false => ask(ground, statement).await,
    };
    let (verdict, seen) = match answer {
        Answer::Yes(seen) => (Verdict::Holds, seen),
        Answer::No(seen) => (Verdict::Fails, seen),
        Answer::NotAsked(why) => (Verdict::NotAsked, why),
    };
    let Statement { section, text, .. } = statement;
    Judgement { section: *section, statement: text, verdict, seen, took: start.elapsed() }
}

/// Asks a statement, and once more when there was no connection to ask on: that says nothing about the statement.
async fn ask(ground: &Ground<'_>, statement: &Statement) -> Answer {
    let mut attempts_left = 1;
    loop {
        return match tokio::time::timeout(STATEMENT_MAX, (statement.ask)(ground)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(Trouble::NotOpened(NotOpened::Silent | NotOpened::Dial(_)))) if attempts_left > 0 => {
                attempts_left -= 1;
                continue;
            }
            Ok(Err(trouble @ Trouble::NotOpened(NotOpened::Silent | NotOpened::Dial(_)))) => {
                Answer::NotAsked(format!("there was no connection to ask on: {trouble}"))
            }
            Ok(Err(trouble)) => Answer::No(trouble.to_string()),
            Err(_) => Answer::No(format!("it took longer than {} s", STATEMENT_MAX.as_secs())),
        };
    }
}
