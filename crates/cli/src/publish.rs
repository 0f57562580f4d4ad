//! `crosspoint pub`: publishes, and ends well only when the broker has it.

use std::{pin::pin, process::ExitCode, time::Duration};

use clap::Args;
use crosspoint_client::{
    Client, Confirmations, Publication, PublishError, PublishPropertyValues, Publisher, QoS, ReasonCode,
    TopicName,
};

use crate::{
    connection::{Connection, Patience, after, block_on, interruption},
    failure::{EXIT_CODES, Exit, Failure, Voice},
    payload::{Lines, Payload, PayloadFlags},
    remote::{Remote, RemoteFlags, qos},
};

pub(crate) mod keeping;
mod through;

/// How long the goodbye to the broker may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// The same when something failed: what is in flight has had its time.
const CLOSE_FAILED_WITHIN: Duration = Duration::from_millis(200);

/// What was typed after `pub`.
#[derive(Debug, Args)]
#[command(disable_help_flag = true, args_override_self = true, after_help = EXIT_CODES)]
pub(crate) struct PublishFlags {
    /// The topic to publish to
    #[arg(short, long, value_name = "TOPIC", help_heading = "Message")]
    topic: Option<String>,
    #[command(flatten)]
    payload: PayloadFlags,
    /// The QoS: 0, 1 or 2
    #[arg(short, long, value_name = "QOS", default_value = "0", value_parser = qos, help_heading = "Message")]
    qos: QoS,
    /// Let the broker keep it as the topic's last message
    #[arg(short, long, help_heading = "Message")]
    retain: bool,
    /// Publish it so many times, each when the one before is confirmed
    #[arg(
        long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..),
        conflicts_with = "stdin_line", help_heading = "Message"
    )]
    repeat: u64,
    /// Seconds to wait between them, such as 0.5
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true, help_heading = "Message")]
    repeat_delay: Option<Duration>,
    /// How many messages at QoS 1 and 2 may be unconfirmed at once
    #[arg(
        short = 'M', value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=16_000),
        help_heading = "Message"
    )]
    max_inflight: Option<u16>,
    /// Put it into the outbox of --connector, whether the hub runs or not, and end when it is durable there
    #[arg(
        long, requires = "connector", help_heading = "Project",
        conflicts_with_all = ["max_inflight", "id", "id_prefix", "will_topic"]
    )]
    store: bool,
    #[command(flatten)]
    remote: RemoteFlags,
}

/// What is meant: one message, or a stream of them.
#[derive(Debug)]
struct Publish {
    remote: Remote,
    topic: TopicName,
    properties: PublishPropertyValues,
    qos: QoS,
    retain: bool,
    payload: Payload,
    repeat: u64,
    repeat_delay: Option<Duration>,
}

/// Runs the command.
pub(crate) fn run(flags: &PublishFlags) -> ExitCode {
    let voice = flags.remote.voice();
    let through = if flags.store { Ok(None) } else { flags.remote.through(voice) };
    let ended = match (flags.store, through) {
        (true, _) => keeping::run(flags, voice),
        (false, Ok(None)) => flags.publish().and_then(|publish| block_on(publish.run(voice))),
        (false, Ok(Some(through))) => through::run(flags, &through, voice),
        (false, Err(failure)) => Err(failure),
    };
    match ended {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            voice.fail(&failure);
            failure.exit.into()
        }
    }
}

impl PublishFlags {
    /// Checks what was typed, and reads the message.
    fn publish(&self) -> Result<Publish, Failure> {
        self.remote.no_subscribe_properties()?;
        let mut remote = self.remote.remote()?;
        remote.options = remote.options.reconnect_ms(200, 1_000);
        if let Some(count) = self.max_inflight {
            remote.options = remote.options.in_flight_max(count);
        }
        let publish = Publish {
            topic: self.topic(remote.topic.as_deref())?,
            remote,
            properties: self.remote.properties.publish.clone(),
            qos: self.qos,
            retain: self.retain,
            payload: self.payload.payload()?,
            repeat: self.repeat,
            repeat_delay: self.repeat_delay,
        };
        publish.publication(Vec::new())?;
        Ok(publish)
    }

    fn topic(&self, of_url: Option<&str>) -> Result<TopicName, Failure> {
        topic_name(self.topic.as_deref(), of_url)
    }
}

/// Returns the one topic that was typed.
///
/// # Errors
/// None was, or two, or it is no topic to publish to.
pub(crate) fn topic_name(typed: Option<&str>, of_url: Option<&str>) -> Result<TopicName, Failure> {
    let topic = match (typed, of_url) {
        (Some(_), Some(_)) => {
            return Err(Failure::usage("-t and the URL of -L both name a topic", "give one of them"));
        }
        (None, None) => return Err(Failure::usage("there is no topic to publish to", "add -t TOPIC")),
        (Some(topic), None) | (None, Some(topic)) => topic,
    };
    TopicName::parse(topic).map_err(|error| {
        let cause = format!("{topic:?} cannot be published to: {error}");
        Failure::usage(cause, "give one topic; wildcards are for `crosspoint sub`")
    })
}

impl Publish {
    async fn run(self, voice: Voice) -> Result<(), Failure> {
        self.remote.notice(voice);
        let mut interrupted = pin!(interruption()?);
        let (client, _deliveries) = Client::start(self.remote.options.clone())
            .map_err(|error| Failure::usage(error, "see --help"))?;
        let mut connection = Connection::new(&client, Patience::OneRound, self.remote.protocol, voice);
        let mut timeout = pin!(after(self.remote.timeout));
        let result = tokio::select! {
            biased;
            result = self.publish_all(&client, voice) => result,
            failure = connection.given_up() => Err(failure),
            () = &mut interrupted => Err(interrupted_early()),
            () = &mut timeout => Err(not_in_time("the broker")),
        };
        client.close(if result.is_ok() { CLOSE_WITHIN } else { CLOSE_FAILED_WITHIN }).await;
        result
    }

    /// Returns when the broker has everything.
    async fn publish_all(&self, client: &Client, voice: Voice) -> Result<(), Failure> {
        match &self.payload {
            Payload::One(payload) => self.publish_one(client, payload, voice).await,
            Payload::Lines => {
                let (publisher, confirmations) = client.publisher();
                let (sent, confirmed) =
                    tokio::join!(self.send_lines(publisher), confirm_lines(confirmations, voice));
                sent.and(confirmed)
            }
        }
    }

    async fn publish_one(&self, client: &Client, payload: &[u8], voice: Voice) -> Result<(), Failure> {
        let publication = self.publication(payload.to_vec())?;
        for count in 0..self.repeat {
            if count > 0 {
                tokio::time::sleep(self.repeat_delay.unwrap_or_default()).await;
            }
            let receipt = client.publish(publication.clone()).await.map_err(|error| not_published(&error))?;
            voice.debug(format_args!("published to {}: {}", self.topic, receipt.reason));
        }
        Ok(())
    }

    /// Sends each line of stdin without waiting for those before; `publisher` ends with them.
    async fn send_lines(&self, publisher: Publisher) -> Result<(), Failure> {
        let mut lines = Lines::of_stdin();
        let mut number = 0;
        while let Some(line) = lines.next().await? {
            number += 1;
            publisher.send(self.publication(line)?, number).await.map_err(|error| not_published(&error))?;
        }
        Ok(())
    }

    fn publication(&self, payload: Vec<u8>) -> Result<Publication, Failure> {
        let publication =
            Publication::to_topic(self.topic.clone(), payload).qos(self.qos).retain(self.retain);
        publication.properties(&self.properties).map_err(|error| {
            Failure::usage(format!("-D publish: {error}"), "correct the value of the property")
        })
    }
}

/// Waits for the outcome of every line. A refused line does not hold up those behind it.
async fn confirm_lines(mut confirmations: Confirmations, voice: Voice) -> Result<(), Failure> {
    let mut tally = Tally::default();
    while let Some((line, outcome)) = confirmations.next().await {
        tally.note(line, outcome.map(drop).map_err(|error| not_published(&error)), voice);
    }
    tally.end()
}

/// What became of the lines of stdin.
#[derive(Debug, Default)]
struct Tally {
    total: u64,
    failed: u64,
    first: Option<Failure>,
}

impl Tally {
    /// Counts the outcome of a line, and tells of the first that was refused.
    fn note(&mut self, line: u64, outcome: Result<(), Failure>, voice: Voice) {
        self.total += 1;
        let Err(failure) = outcome else { return };
        self.failed += 1;
        if self.first.is_none() {
            voice.warn(format_args!("line {line}: {}", failure.cause()));
            self.first = Some(failure);
        }
    }

    /// Tells whether the broker has them all.
    fn end(self) -> Result<(), Failure> {
        let Self { total, failed, first } = self;
        let Some(first) = first else { return Ok(()) };
        let cause = format!("{failed} of {total} messages were not published; the first: {}", first.cause());
        Err(Failure::new(cause, first.next_step()))
    }
}

pub(crate) fn not_published(error: &PublishError) -> Failure {
    Failure::new(error, next_step(error))
}

const fn next_step(error: &PublishError) -> &'static str {
    match error {
        PublishError::Refused(ReasonCode::NotAuthorized) => {
            "check what the broker allows this user and client id to publish"
        }
        PublishError::Refused(ReasonCode::QuotaExceeded) => "publish less, or ask for a higher quota",
        PublishError::Refused(ReasonCode::TopicNameInvalid) => "publish to a topic that the broker accepts",
        PublishError::Refused(ReasonCode::PayloadFormatInvalid) => {
            "send what -D publish payload-format-indicator says, or leave it away"
        }
        PublishError::TooLarge { .. } => "publish it in parts, or raise the broker's limit",
        PublishError::QosNotSupported => "use a lower -q",
        PublishError::RetainNotSupported => "leave -r away",
        PublishError::Expired => "set a longer message-expiry-interval",
        _ => "see the broker's log",
    }
}

fn interrupted_early() -> Failure {
    Failure::new(
        "interrupted before the broker confirmed everything",
        "run it again; the broker may have a part",
    )
}

fn not_in_time(who: &str) -> Failure {
    Failure::timed_out(
        format!("{who} did not confirm everything within the time of -W"),
        format!("give it more time, or check the load of {who}"),
    )
}

fn seconds(text: &str) -> Result<Duration, String> {
    let parsed = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    parsed.ok_or_else(|| "it must be a number of seconds, such as 0.5".to_owned())
}

#[cfg(test)]
mod tests;
