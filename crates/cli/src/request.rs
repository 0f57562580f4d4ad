//! `crosspoint request`: asks, and prints the answers.

use std::{pin::pin, process::ExitCode, time::Duration};

use clap::Args;
use crosspoint_client::{
    Client, Deliveries, Publication, QoS, ReasonCode, State, SubscribedFilter, SubscriptionOptions,
    TopicName, Version,
};
use crosspoint_hub::actions::{Asking, NotAskable, Question};

use crate::{
    connection::{Connection, Patience, after, block_on, interruption},
    failure::{EXIT_CODES, Exit, Failure, Voice},
    output::Output,
    payload::{Payload, PayloadFlags},
    print::{Look, Selection, Wire},
    publish::{keeping, not_published, topic_name},
    remote::{Remote, RemoteFlags, qos},
    subscribe::{denied, look_of, unwritable},
    through::{Hearing, Wish},
};

/// How long the goodbye to the broker may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// What was typed after `request`.
#[derive(Debug, Args)]
#[command(disable_help_flag = true, args_override_self = true, after_help = EXIT_CODES)]
pub(crate) struct RequestFlags {
    /// The topic to ask on
    #[arg(short, long, value_name = "TOPIC", help_heading = "Question")]
    topic: Option<String>,
    /// The topic on which answers come (default with MQTT 5: one of our own, which the question names)
    #[arg(short = 'e', long, value_name = "TOPIC", help_heading = "Question")]
    response_topic: Option<String>,
    #[command(flatten)]
    payload: PayloadFlags,
    /// The QoS of question and answers: 0, 1 or 2
    #[arg(short, long, value_name = "QOS", default_value = "0", value_parser = qos, help_heading = "Question")]
    qos: QoS,
    /// Exit after so many answers
    #[arg(
        short = 'C', value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..),
        help_heading = "Output"
    )]
    count: u64,
    /// Print the topic as well
    #[arg(short, long, help_heading = "Output")]
    verbose: bool,
    /// Print in this format, such as '%I %t %p'; see mosquitto_sub(1), OUTPUT FORMAT
    #[arg(short = 'F', value_name = "FORMAT", allow_hyphen_values = true, help_heading = "Output")]
    format: Option<String>,
    /// Print no end of line
    #[arg(short = 'N', help_heading = "Output")]
    no_end_of_line: bool,
    /// Does nothing, for those who are used to it: what is retained is never taken for an answer
    #[arg(short = 'R', hide = true)]
    no_retained: bool,
    #[command(flatten)]
    remote: RemoteFlags,
}

/// What is meant.
#[derive(Debug)]
struct Ask {
    remote: Remote,
    question: Question,
    count: u64,
    look: Look,
}

/// Runs the command.
pub(crate) fn run(flags: &RequestFlags) -> ExitCode {
    let voice = flags.remote.voice();
    let asked = match flags.remote.through(voice) {
        Ok(None) => flags.ask().and_then(|ask| block_on(ask.run(voice))),
        Ok(Some(through)) => flags.hearing().and_then(|hearing| block_on(hearing.run(&through, voice))),
        Err(failure) => Err(failure),
    };
    match asked {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            voice.fail(&failure);
            failure.exit.into()
        }
    }
}

impl RequestFlags {
    /// Checks what was typed, and reads the question.
    fn ask(&self) -> Result<Ask, Failure> {
        self.remote.no_subscribe_properties()?;
        let mut remote = self.remote.remote()?;
        remote.options = remote.options.reconnect_ms(200, 1_000);
        let topic = topic_name(self.topic.as_deref(), remote.topic.as_deref())?;
        let response_topic = self.response_topic.as_deref().map(response_topic).transpose()?;
        let is_old = matches!(
            remote.protocol,
            crosspoint_client::Protocol::V3_1 | crosspoint_client::Protocol::V3_1_1
        );
        if is_old && response_topic.is_none() {
            return Err(no_response_topic("MQTT 3.1 and 3.1.1 questions cannot say where their answer goes"));
        }
        let payload = self.question()?;
        let properties = self.remote.properties.publish.clone();
        let question = Question { topic, payload, qos: self.qos, properties, response_topic };
        Ok(Ask { question, count: self.count, look: self.look()?, remote })
    }

    /// Checks what was typed about a connector of a hub that runs, and reads the question.
    fn hearing(&self) -> Result<Hearing, Failure> {
        self.remote.only_publish_properties()?;
        self.remote.no_subscribe_properties()?;
        let topic = topic_name(self.topic.as_deref(), None)?;
        let properties = keeping::properties(&self.remote.properties.publish)?;
        let message = keeping::message(&topic, &self.question()?, self.qos, false, &properties);
        let response_topic = self.response_topic.as_deref().map(response_topic).transpose()?;
        let selection = Selection {
            left: Some(self.count),
            skips_retained: false,
            ends_after_retained: false,
            filters_out: Vec::new(),
        };
        Ok(Hearing {
            wish: Wish::Answers { message, response_topic },
            look: self.look()?,
            selection,
            exit_after_subscribe: false,
            timeout: self.remote.timeout(),
            when_over: unanswered,
            when_interrupted: || Err(interrupted()),
        })
    }

    fn question(&self) -> Result<Vec<u8>, Failure> {
        match self.payload.payload()? {
            Payload::One(payload) => Ok(payload),
            Payload::Lines => {
                Err(Failure::usage("-l is many questions, and request asks one", "use -m, -f, -s or -n"))
            }
        }
    }

    fn look(&self) -> Result<Look, Failure> {
        let end: &'static [u8] = if self.no_end_of_line { b"" } else { b"\n" };
        look_of(self.format.as_deref(), self.verbose, end)
    }
}

impl Ask {
    async fn run(self, voice: Voice) -> Result<(), Failure> {
        self.remote.notice(voice);
        let mut interrupted = pin!(interruption()?);
        let (client, deliveries) = Client::start(self.remote.options.clone())
            .map_err(|error| Failure::usage(error, "see --help"))?;
        let mut connection = Connection::new(&client, Patience::OneRound, self.remote.protocol, voice);
        let mut timeout = pin!(after(self.remote.timeout));
        let result = tokio::select! {
            biased;
            () = &mut interrupted => Err(self::interrupted()),
            result = self.answers(&client, deliveries, voice) => result,
            failure = connection.given_up() => Err(failure),
            () = &mut timeout => Err(unanswered()),
        };
        client.close(CLOSE_WITHIN).await;
        result
    }

    /// Asks, and prints so many answers.
    async fn answers(
        &self,
        client: &Client,
        mut deliveries: Deliveries,
        voice: Voice,
    ) -> Result<(), Failure> {
        let asking = self.begin(client, voice).await?;
        let (mut output, mut left) = (Output::new(), self.count);
        while left > 0 {
            let Some(delivery) = deliveries.next().await else { return Ok(()) };
            if asking.is_answered_by(&delivery.message) {
                let packet_id = delivery.packet_id.map_or(0, |id| id.value());
                let wire = Wire { packet_id, subscription_id: None };
                self.look.append(&delivery.message, wire, output.buffer(), voice);
                output.flush().await.map_err(|error| unwritable(&error))?;
                left -= 1;
            }
            delivery.ack.accept();
        }
        Ok(())
    }

    /// Subscribes to the answers, then asks.
    async fn begin(&self, client: &Client, voice: Voice) -> Result<Asking, Failure> {
        let asking = self.question.prepare_now(version(client).await).map_err(|error| not_askable(&error))?;
        let options = SubscriptionOptions { qos: self.question.qos, ..SubscriptionOptions::default() };
        let filter = SubscribedFilter { filter: asking.filter.clone(), options };
        let reasons = client.subscribe(vec![filter]).await;
        let reasons = reasons.map_err(|error| Failure::new(error, "see the broker's log"))?;
        if let Some(reason) = reasons.iter().find(|reason| reason.is_error()) {
            return Err(denied(&asking.filter, *reason));
        }
        let publication = Publication::of_message(asking.message.clone());
        let receipt = client.publish(publication).await.map_err(|error| not_published(&error))?;
        voice.debug(format_args!(
            "asked on {}, answers come on {}",
            self.question.topic.as_str(),
            asking.filter
        ));
        if receipt.reason == ReasonCode::NoMatchingSubscribers {
            voice.warn(format_args!("nobody is subscribed to {} now", self.question.topic.as_str()));
        }
        Ok(asking)
    }
}

/// Waits for the connection; returns the version that was agreed upon.
async fn version(client: &Client) -> Version {
    let mut states = client.state();
    match states.wait_for(State::is_connected).await.as_deref() {
        Ok(State::Connected(agreed)) => agreed.version,
        // The client is closed: nothing is asked any more.
        _ => std::future::pending().await,
    }
}

fn response_topic(text: &str) -> Result<TopicName, Failure> {
    TopicName::parse(text).map_err(|error| {
        let cause = format!("-e {text:?} is no topic for answers: {error}");
        Failure::usage(cause, "give one topic, without + and #")
    })
}

fn not_askable(error: &NotAskable) -> Failure {
    match error {
        NotAskable::NoResponseTopic(_) => no_response_topic(&error.to_string()),
        other => Failure::usage(format!("-D publish: {other}"), "correct the value of the property"),
    }
}

fn no_response_topic(cause: &str) -> Failure {
    Failure::usage(cause, "add -e TOPIC, the topic on which whoever answers will answer")
}

fn interrupted() -> Failure {
    Failure::new("interrupted before the answer came", "ask again")
}

fn unanswered() -> Failure {
    Failure::timed_out(
        "no answer came within the time of -W",
        "check that somebody answers on that topic, or give it more time",
    )
}
