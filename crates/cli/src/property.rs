//! The MQTT 5 properties of `-D COMMAND IDENTIFIER [NAME] VALUE`.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, error::ErrorKind};
use crosspoint_client::{PublishPropertyValues, UserProperties, WillProperties};

/// What the properties of a command line say, put where it belongs.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct PropertyFlags {
    pub(crate) connect: ConnectValues,
    pub(crate) publish: PublishPropertyValues,
    pub(crate) will: WillProperties,
    pub(crate) subscribe: SubscribeValues,
    /// The User Properties of UNSUBSCRIBE.
    pub(crate) unsubscribe: UserProperties,
    /// Whether there is any: then MQTT 5 is spoken.
    pub(crate) is_any: bool,
    /// Whether there is one for PUBLISH.
    pub(crate) is_publish: bool,
    /// Whether there is one for the will.
    pub(crate) is_will: bool,
}

/// The properties of CONNECT that can be set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ConnectValues {
    pub(crate) session_expiry_s: Option<u32>,
    pub(crate) receive_maximum: Option<u16>,
    pub(crate) packet_bytes_max: Option<u32>,
    pub(crate) topic_alias_max: Option<u16>,
    pub(crate) user_properties: Vec<(String, String)>,
}

/// The properties of SUBSCRIBE.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SubscribeValues {
    pub(crate) subscription_id: Option<u32>,
    pub(crate) user_properties: UserProperties,
}

/// The highest Subscription Identifier.
const SUBSCRIPTION_ID_MAX: u32 = 268_435_455;

const CONNECT: &str =
    "maximum-packet-size, receive-maximum, session-expiry-interval, topic-alias-maximum, user-property";
const PUBLISH: &str = "content-type, correlation-data, message-expiry-interval, payload-format-indicator, \
                       response-topic, user-property";
const WILL: &str = "content-type, correlation-data, message-expiry-interval, payload-format-indicator, \
                    response-topic, user-property, will-delay-interval";

impl Args for PropertyFlags {
    fn augment_args(command: Command) -> Command {
        command.arg(
            Arg::new("property")
                .short('D')
                .long("property")
                .num_args(3..=4)
                .action(ArgAction::Append)
                .allow_negative_numbers(true)
                .value_names(["COMMAND", "IDENTIFIER", "VALUE", "VALUE"])
                .help("An MQTT 5 property, as in: -D publish content-type text/plain, -D publish user-property NAME VALUE; commands are connect, publish, subscribe, unsubscribe and will"),
        )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for PropertyFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        for words in matches.get_occurrences::<String>("property").into_iter().flatten() {
            let words: Vec<&str> = words.map(String::as_str).collect();
            flags
                .add(&words)
                .map_err(|what| clap::Error::raw(ErrorKind::ValueValidation, format!("-D: {what}\n")))?;
        }
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl PropertyFlags {
    fn add(&mut self, words: &[&str]) -> Result<(), String> {
        let (command, identifier, values) = match words {
            [command, identifier, values @ ..] => (command.to_ascii_lowercase(), *identifier, values),
            _ => return Err("it takes a command, an identifier and a value".to_owned()),
        };
        self.is_any = true;
        match command.as_str() {
            "connect" => self.connect.add(identifier, values),
            "publish" => {
                self.is_publish = true;
                add_publish(&mut self.publish, identifier, values)
            }
            "will" => {
                self.is_will = true;
                add_will(&mut self.will, identifier, values)
            }
            "subscribe" => self.subscribe.add(identifier, values),
            "unsubscribe" => match identifier {
                "user-property" => {
                    let (name, value) = pair(values)?;
                    self.unsubscribe.push((name.into(), value.into()));
                    Ok(())
                }
                _ => Err(unknown("unsubscribe", identifier, "user-property")),
            },
            _ => Err(format!(
                "properties of {command:?} cannot be set: the commands are connect, publish, subscribe, unsubscribe and will"
            )),
        }
    }
}

impl ConnectValues {
    fn add(&mut self, identifier: &str, values: &[&str]) -> Result<(), String> {
        match identifier {
            "session-expiry-interval" => self.session_expiry_s = Some(number(identifier, values)?),
            "receive-maximum" => self.receive_maximum = Some(number(identifier, values)?),
            "maximum-packet-size" => self.packet_bytes_max = Some(number(identifier, values)?),
            "topic-alias-maximum" => self.topic_alias_max = Some(number(identifier, values)?),
            "user-property" => self.user_properties.push(pair(values)?),
            _ => return Err(unknown("connect", identifier, CONNECT)),
        }
        Ok(())
    }
}

impl SubscribeValues {
    fn add(&mut self, identifier: &str, values: &[&str]) -> Result<(), String> {
        match identifier {
            "subscription-identifier" => {
                let id: u32 = number(identifier, values)?;
                if !(1..=SUBSCRIPTION_ID_MAX).contains(&id) {
                    return Err(format!(
                        "{identifier} is {id}; it must be a number from 1 to {SUBSCRIPTION_ID_MAX}"
                    ));
                }
                self.subscription_id = Some(id);
            }
            "user-property" => {
                let (name, value) = pair(values)?;
                self.user_properties.push((name.into(), value.into()));
            }
            _ => return Err(unknown("subscribe", identifier, "subscription-identifier, user-property")),
        }
        Ok(())
    }
}

fn add_publish(into: &mut PublishPropertyValues, identifier: &str, values: &[&str]) -> Result<(), String> {
    match identifier {
        "content-type" => into.content_type = Some(text(identifier, values)?.into()),
        "correlation-data" => into.correlation_data = Some(text(identifier, values)?.into_bytes().into()),
        "message-expiry-interval" => into.message_expiry_s = Some(number(identifier, values)?),
        "payload-format-indicator" => into.payload_is_utf8 = Some(flag(identifier, values)?),
        "response-topic" => into.response_topic = Some(text(identifier, values)?.into()),
        "user-property" => {
            let (name, value) = pair(values)?;
            into.user_properties.push((name.into(), value.into()));
        }
        _ => return Err(unknown("publish", identifier, PUBLISH)),
    }
    Ok(())
}

fn add_will(into: &mut WillProperties, identifier: &str, values: &[&str]) -> Result<(), String> {
    match identifier {
        "content-type" => into.content_type = Some(text(identifier, values)?.into()),
        "correlation-data" => into.correlation_data = Some(text(identifier, values)?.into_bytes().into()),
        "message-expiry-interval" => into.message_expiry_s = Some(number(identifier, values)?),
        "payload-format-indicator" => into.payload_is_utf8 = Some(flag(identifier, values)?),
        "response-topic" => into.response_topic = Some(text(identifier, values)?.into()),
        "will-delay-interval" => into.delay_s = Some(number(identifier, values)?),
        "user-property" => {
            let (name, value) = pair(values)?;
            into.user_properties.push((name.into(), value.into()));
        }
        _ => return Err(unknown("will", identifier, WILL)),
    }
    Ok(())
}

fn unknown(command: &str, identifier: &str, known: &str) -> String {
    format!("{command} has no property {identifier:?} that can be set; there are: {known}")
}

fn text(identifier: &str, values: &[&str]) -> Result<String, String> {
    match values {
        [value] => Ok((*value).to_owned()),
        _ => Err(format!("{identifier} takes one value; two are for user-property only")),
    }
}

fn pair(values: &[&str]) -> Result<(String, String), String> {
    match values {
        [name, value] => Ok(((*name).to_owned(), (*value).to_owned())),
        _ => Err("user-property takes a name and a value".to_owned()),
    }
}

fn number<N: std::str::FromStr>(identifier: &str, values: &[&str]) -> Result<N, String> {
    let value = text(identifier, values)?;
    let max = match size_of::<N>() {
        2 => u64::from(u16::MAX),
        _ => u64::from(u32::MAX),
    };
    value.parse().map_err(|_| format!("{identifier} is {value:?}; it must be a number from 0 to {max}"))
}

fn flag(identifier: &str, values: &[&str]) -> Result<bool, String> {
    match text(identifier, values)?.as_str() {
        "0" => Ok(false),
        "1" => Ok(true),
        other => Err(format!("{identifier} is {other:?}; it must be 0 or 1")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<PropertyFlags, String> {
        let command = PropertyFlags::augment_args(Command::new("t")).arg(Arg::new("topic").short('t'));
        let matches =
            command.try_get_matches_from([&["t"], words].concat()).map_err(|error| error.to_string())?;
        PropertyFlags::from_arg_matches(&matches).map_err(|error| error.to_string())
    }

    #[test]
    fn each_property_goes_where_it_belongs() {
        let flags = parse(&[
            "-D",
            "publish",
            "user-property",
            "k",
            "v",
            "-D",
            "PUBLISH",
            "user-property",
            "k",
            "-1",
            "-t",
            "x",
            "-D",
            "connect",
            "receive-maximum",
            "7",
            "-D",
            "connect",
            "user-property",
            "a",
            "b",
            "-D",
            "will",
            "will-delay-interval",
            "9",
            "-D",
            "publish",
            "payload-format-indicator",
            "1",
            "-D",
            "connect",
            "maximum-packet-size",
            "2000",
            "-D",
            "connect",
            "topic-alias-maximum",
            "3",
            "-D",
            "connect",
            "session-expiry-interval",
            "60",
        ])
        .unwrap();
        assert_eq!(flags.publish.user_properties, [("k".into(), "v".into()), ("k".into(), "-1".into())]);
        assert_eq!(flags.publish.payload_is_utf8, Some(true));
        assert_eq!(flags.will.delay_s, Some(9));
        let connect = ConnectValues {
            session_expiry_s: Some(60),
            receive_maximum: Some(7),
            packet_bytes_max: Some(2_000),
            topic_alias_max: Some(3),
            user_properties: vec![("a".to_owned(), "b".to_owned())],
        };
        assert_eq!(flags.connect, connect);
        assert!(flags.is_any && flags.is_publish && flags.is_will);
    }

    #[test]
    fn what_is_wrong_is_named_with_what_would_be_right() {
        let cases: [(&[&str], &str); 11] = [
            (&["-D", "publish", "content-type"], "3"),
            (&["-D", "publsh", "content-type", "x"], "connect, publish, subscribe, unsubscribe and will"),
            (&["-D", "subscribe", "subscription-identifier", "0"], "1 to 268435455"),
            (&["-D", "subscribe", "subscription-identifier", "268435456"], "1 to 268435455"),
            (&["-D", "unsubscribe", "reason-string", "x"], "there are: user-property"),
            (&["-D", "publish", "content", "x"], "content-type, correlation-data"),
            (&["-D", "publish", "content-type", "x", "y"], "takes one value"),
            (&["-D", "will", "user-property", "x"], "a name and a value"),
            (&["-D", "connect", "receive-maximum", "70000"], "0 to 65535"),
            (&["-D", "will", "message-expiry-interval", "x"], "0 to 4294967295"),
            (&["-D", "publish", "payload-format-indicator", "2"], "0 or 1"),
        ];
        for (words, expected) in cases {
            let error = parse(words).unwrap_err();
            assert!(error.contains(expected), "{words:?}: {error}");
        }
    }
}
