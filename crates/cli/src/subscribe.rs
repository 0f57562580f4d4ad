//! `crosspoint sub`: subscribes and prints what comes.
//!
//! A message is acknowledged to the broker when it has been written to stdout, not before.

use std::{io::ErrorKind, pin::pin, process::ExitCode, time::Duration};

use clap::{ArgAction, Args};
use crosspoint_client::{
    Ack, Client, Deliveries, Delivery, Protocol, QoS, ReasonCode, SubscribeError, SubscribedFilter,
    SubscriptionOptions, TopicFilter, UserProperties, protocol::PacketId,
};

use crate::{
    connection::{Connection, Patience, after, block_on, interruption},
    failure::{EXIT_CODES, Exit, Failure, Voice},
    format::Format,
    output::Output,
    print::{Look, Selection, Verdict, Wire},
    property::SubscribeValues,
    remote::{Remote, RemoteFlags, qos},
    through::{Hearing, Wish},
};

mod keeping;

use keeping::KeepFlags;

/// How long the goodbye to the broker may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// What was typed after `sub`.
#[derive(Debug, Args)]
#[command(disable_help_flag = true, args_override_self = true, after_help = EXIT_CODES)]
pub(crate) struct SubscribeFlags {
    /// What to subscribe to; may be repeated
    #[arg(short, long, value_name = "FILTER", action = ArgAction::Append, help_heading = "Subscription")]
    topic: Vec<String>,
    /// What to unsubscribe from, after subscribing; may be repeated
    #[arg(short = 'U', long, value_name = "FILTER", action = ArgAction::Append, help_heading = "Subscription")]
    unsubscribe: Vec<String>,
    /// The highest QoS at which messages come: 0, 1 or 2 (default: 0, and 1 with --keep)
    #[arg(short, long, value_name = "QOS", value_parser = qos, help_heading = "Subscription")]
    qos: Option<QoS>,
    /// Ask for the retain flag as it was published (MQTT 5)
    #[arg(long, help_heading = "Subscription")]
    retain_as_published: bool,
    /// Exit when the broker has answered the subscriptions
    #[arg(short = 'E', help_heading = "Subscription")]
    exit_after_subscribe: bool,
    /// Exit after so many messages
    #[arg(short = 'C', value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Output")]
    count: Option<u64>,
    /// Print the topic as well
    #[arg(short, long, help_heading = "Output")]
    verbose: bool,
    /// Print in this format, such as '%I %t %p'; see mosquitto_sub(1), OUTPUT FORMAT
    #[arg(short = 'F', value_name = "FORMAT", allow_hyphen_values = true, help_heading = "Output")]
    format: Option<String>,
    /// Print no end of line
    #[arg(short = 'N', help_heading = "Output")]
    no_end_of_line: bool,
    /// Leave out retained messages
    #[arg(short = 'R', conflicts_with = "retained_only", help_heading = "Output")]
    no_retained: bool,
    /// Print retained messages only, and exit at the first that is not
    #[arg(long, help_heading = "Output")]
    retained_only: bool,
    /// Leave out topics that match; may be repeated
    #[arg(short = 'T', long, value_name = "FILTER", action = ArgAction::Append, help_heading = "Output")]
    filter_out: Vec<String>,
    #[command(flatten)]
    keeping: KeepFlags,
    #[command(flatten)]
    remote: RemoteFlags,
}

/// What is meant.
#[derive(Debug)]
struct Subscribe {
    remote: Remote,
    filters: Vec<SubscribedFilter>,
    unsubscribe: Vec<TopicFilter>,
    said: Said,
    exit_after_subscribe: bool,
    look: Look,
    selection: Selection,
}

/// What SUBSCRIBE and UNSUBSCRIBE say besides their filters.
#[derive(Debug, Clone, Default)]
struct Said {
    subscribe: SubscribeValues,
    unsubscribe: UserProperties,
}

/// Runs the command.
pub(crate) fn run(flags: &SubscribeFlags) -> ExitCode {
    let voice = flags.remote.voice();
    match flags.run(voice) {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            voice.fail(&failure);
            failure.exit.into()
        }
    }
}

impl SubscribeFlags {
    fn run(&self, voice: Voice) -> Result<(), Failure> {
        if let Some(name) = &self.keeping.keep {
            return keeping::keep(self, name, voice);
        }
        if let Some(name) = &self.keeping.kept {
            return keeping::read(self, name, voice);
        }
        match self.remote.through(voice)? {
            None => block_on(self.subscribe()?.run(voice)),
            Some(through) => block_on(self.hearing()?.run(&through, voice)),
        }
    }

    /// Checks what was typed.
    fn subscribe(&self) -> Result<Subscribe, Failure> {
        let mut remote = self.remote.remote()?;
        remote.options = remote.options.reconnect_ms(500, 30_000);
        if self.retain_as_published {
            remote = with_version_5(remote)?;
        }
        let filters = self.filters(remote.topic.as_deref())?;
        if self.remote.properties.is_publish {
            return Err(Failure::usage(
                "-D publish sets a property of what is published, and sub publishes nothing",
                "leave it away",
            ));
        }
        Ok(Subscribe {
            filters,
            unsubscribe: self.unsubscribe.iter().map(|text| filter("-U", text)).collect::<Result<_, _>>()?,
            said: Said {
                subscribe: self.remote.properties.subscribe.clone(),
                unsubscribe: self.remote.properties.unsubscribe.clone(),
            },
            exit_after_subscribe: self.exit_after_subscribe,
            look: self.look()?,
            selection: self.selection()?,
            remote,
        })
    }

    /// Checks what was typed about a connector of a hub that runs.
    fn hearing(&self) -> Result<Hearing, Failure> {
        self.remote.only_publish_properties()?;
        if !self.unsubscribe.is_empty() {
            let cause = "-U ends subscriptions of a session of our own, and through a hub there is none";
            return Err(Failure::usage(cause, "leave it away, or go to the broker with -h and -p"));
        }
        let user_properties = self.remote.properties.subscribe.user_properties.clone();
        Ok(Hearing {
            wish: Wish::Messages { filters: self.filters(None)?, user_properties },
            look: self.look()?,
            selection: self.selection()?,
            exit_after_subscribe: self.exit_after_subscribe,
            timeout: self.remote.timeout(),
            when_over: timed_out,
            when_interrupted: || Ok(()),
        })
    }

    fn filters(&self, of_url: Option<&str>) -> Result<Vec<SubscribedFilter>, Failure> {
        let options = SubscriptionOptions {
            qos: self.qos.unwrap_or(QoS::AtMostOnce),
            retain_as_published: self.retain_as_published,
            ..SubscriptionOptions::default()
        };
        let topics = of_url.into_iter().chain(self.topic.iter().map(String::as_str));
        let filters: Result<Vec<_>, _> =
            topics.map(|text| Ok(SubscribedFilter { filter: filter("-t", text)?, options })).collect();
        let filters = filters?;
        if filters.is_empty() && self.unsubscribe.is_empty() {
            return Err(Failure::usage(
                "there is nothing to subscribe to",
                "add -t FILTER, such as -t 'sensors/#'",
            ));
        }
        Ok(filters)
    }

    fn look(&self) -> Result<Look, Failure> {
        let end: &'static [u8] = if self.no_end_of_line { b"" } else { b"\n" };
        look_of(self.format.as_deref(), self.verbose, end)
    }

    fn selection(&self) -> Result<Selection, Failure> {
        Ok(Selection {
            left: self.count,
            skips_retained: self.no_retained,
            ends_after_retained: self.retained_only,
            filters_out: self.filter_out.iter().map(|text| filter("-T", text)).collect::<Result<_, _>>()?,
        })
    }
}

/// What is done, and what is still to be written.
#[derive(Debug)]
struct Printing {
    look: Look,
    selection: Selection,
    output: Output,
    /// The promises for what is in the output.
    acks: Vec<Ack>,
    /// The identifier that was asked for; those of the client's own making are its own business.
    subscription_id: Option<u32>,
    /// Nothing more is taken; what is in the output is still written.
    is_ending: bool,
    voice: Voice,
}

impl Subscribe {
    async fn run(self, voice: Voice) -> Result<(), Failure> {
        self.remote.notice(voice);
        let interrupted = interruption()?;
        let (client, deliveries) = Client::start(self.remote.options.clone())
            .map_err(|error| Failure::usage(error, "see --help"))?;
        let result = self.receive(&client, deliveries, interrupted, voice).await;
        client.close(CLOSE_WITHIN).await;
        result
    }

    async fn receive(
        self,
        client: &Client,
        mut deliveries: Deliveries,
        interrupted: impl Future<Output = ()>,
        voice: Voice,
    ) -> Result<(), Failure> {
        let mut connection = Connection::new(client, Patience::OnceConnected, self.remote.protocol, voice);
        let mut interrupted = pin!(interrupted);
        let mut timeout = pin!(after(self.remote.timeout));
        let mut subscribing =
            pin!(subscribe(client, self.filters, self.unsubscribe, self.said.clone(), voice));
        let mut is_subscribed = false;
        let subscription_id = self.said.subscribe.subscription_id;
        let mut printing = Printing::new(self.look, self.selection, subscription_id, voice);
        loop {
            if printing.is_done() {
                return Ok(());
            }
            tokio::select! {
                biased;
                () = &mut interrupted => return Ok(()),
                () = &mut timeout => return Err(timed_out()),
                failure = connection.given_up() => return Err(failure),
                result = &mut subscribing, if !is_subscribed => {
                    result?;
                    is_subscribed = true;
                    printing.is_ending |= self.exit_after_subscribe;
                }
                written = printing.output.flush(), if !printing.output.is_empty() => match written {
                    Ok(()) => printing.on_written(),
                    // Whoever read has had enough, as in `| head -1`.
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                    Err(error) => return Err(unwritable(&error)),
                },
                delivery = deliveries.next(), if printing.output.is_empty() && !printing.is_ending => {
                    let Some(delivery) = delivery else { return Ok(()) };
                    printing.take(delivery, &mut deliveries);
                }
            }
        }
    }
}

impl Printing {
    fn new(look: Look, selection: Selection, subscription_id: Option<u32>, voice: Voice) -> Self {
        let (output, acks) = (Output::new(), Vec::new());
        Self { look, selection, output, acks, subscription_id, is_ending: false, voice }
    }

    fn is_done(&self) -> bool {
        self.is_ending && self.output.is_empty()
    }

    /// Takes a message, and those that are there already, until they should be written.
    fn take(&mut self, first: Delivery, deliveries: &mut Deliveries) {
        let mut next = Some(first);
        while let Some(delivery) = next {
            self.print(delivery);
            if self.is_ending || self.output.is_due() {
                break;
            }
            next = deliveries.try_next();
        }
        if self.output.is_empty() {
            self.on_written();
        }
    }

    fn print(&mut self, delivery: Delivery) {
        let packet_id = delivery.packet_id.map_or(0, PacketId::value);
        let subscription_id = self.subscription_id.filter(|id| delivery.subscription_ids.contains(id));
        let wire = Wire { packet_id, subscription_id };
        match self.selection.judge(&delivery.message) {
            Verdict::End => {
                self.is_ending = true;
                return;
            }
            Verdict::Skip => {}
            Verdict::Print => self.look.append(&delivery.message, wire, self.output.buffer(), self.voice),
            Verdict::PrintLast => {
                self.look.append(&delivery.message, wire, self.output.buffer(), self.voice);
                self.is_ending = true;
            }
        }
        self.acks.push(delivery.ack);
    }

    /// Keeps the promises for what was written.
    fn on_written(&mut self) {
        self.acks.drain(..).for_each(Ack::accept);
    }
}

/// Returns how messages look.
///
/// # Errors
/// The format is none.
pub(crate) fn look_of(format: Option<&str>, with_topic: bool, end: &'static [u8]) -> Result<Look, Failure> {
    Ok(match format {
        Some(text) => {
            let format = Format::parse(text)
                .map_err(|what| Failure::usage(format!("-F: {what}"), "correct the format"))?;
            Look::Formatted { format, end }
        }
        None if with_topic => Look::WithTopic { end },
        None => Look::Payload { end },
    })
}

/// Subscribes, then unsubscribes.
///
/// # Errors
/// The broker grants none of the subscriptions.
async fn subscribe(
    client: &Client,
    filters: Vec<SubscribedFilter>,
    unsubscribe: Vec<TopicFilter>,
    said: Said,
    voice: Voice,
) -> Result<(), Failure> {
    if !filters.is_empty() {
        let SubscribeValues { subscription_id, user_properties } = said.subscribe;
        let wanted = filters.iter().map(|wanted| (wanted.clone(), subscription_id)).collect();
        let reasons = client.subscribe_with(wanted, user_properties).await.map_err(closed)?;
        let refused: Vec<_> = filters.iter().zip(&reasons).filter(|(_, reason)| reason.is_error()).collect();
        match refused.first() {
            Some((first, reason)) if refused.len() == filters.len() => {
                return Err(denied(&first.filter, **reason));
            }
            _ => {}
        }
        for (refused, reason) in refused {
            voice.warn(format_args!("the broker refuses the subscription to {}: {reason}", refused.filter));
        }
        voice.debug("subscribed");
    }
    if !unsubscribe.is_empty() {
        client.unsubscribe_with(unsubscribe, said.unsubscribe).await.map_err(closed)?;
        voice.debug("unsubscribed");
    }
    Ok(())
}

fn filter(flag: &str, text: &str) -> Result<TopicFilter, Failure> {
    TopicFilter::parse(text).map_err(|error| {
        let cause = format!("{flag} {text:?} is no topic filter: {error}");
        Failure::usage(cause, "write a filter such as sensors/+/temperature or sensors/#")
    })
}

fn with_version_5(remote: Remote) -> Result<Remote, Failure> {
    match remote.protocol {
        Protocol::V3_1 | Protocol::V3_1_1 => {
            let cause = "MQTT 3.1 and 3.1.1 know no --retain-as-published";
            Err(Failure::usage(cause, "use -V 5, or leave it away"))
        }
        _ => Ok(Remote { options: remote.options.protocol(Protocol::V5), protocol: Protocol::V5, ..remote }),
    }
}

pub(crate) fn denied(filter: &TopicFilter, reason: ReasonCode) -> Failure {
    let cause = format!("the broker refuses the subscription to {filter}: {reason}");
    Failure::new(cause, "check what the broker allows this user and client id to subscribe to")
}

fn closed(error: SubscribeError) -> Failure {
    Failure::new(error, "see the broker's log")
}

pub(crate) fn unwritable(error: &std::io::Error) -> Failure {
    Failure::new(format!("stdout cannot be written: {error}"), "check where the output goes")
}

pub(crate) fn timed_out() -> Failure {
    Failure::timed_out("the time of -W is over", "nothing, if that was the plan; else give it more time")
}

#[cfg(test)]
mod tests;
