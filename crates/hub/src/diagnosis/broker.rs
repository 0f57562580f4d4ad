//! What a broker's answers mean.

use crosspoint_client::{Cause, ScramFault};
use crosspoint_protocol::{ReasonCode, Version};

use super::{Diagnosis, Fault};
use crate::config::plan::{Auth, MqttPlan};

/// How much of a broker's own words is shown.
const WORDS_SHOWN_MAX: usize = 200;

/// Returns what it means that a broker refused CONNECT, or ended the connection, with a reason.
///
/// `text` and `other_server` are the broker's own words, and another broker that it named.
pub fn of_refusal(
    mqtt: &MqttPlan,
    reason: ReasonCode,
    text: Option<&str>,
    other_server: Option<&str>,
) -> Diagnosis {
    use ReasonCode as R;
    if let (R::UseAnotherServer | R::ServerMoved, Some(other)) = (reason, other_server) {
        let cause = format!("the broker sends us to another one: {other:?}");
        return Diagnosis::new(Fault::OtherBroker, cause, "connect to that one, if it is one of yours")
            .setting("url");
    }
    let cause = said("the broker refuses the connection", reason, text);
    match reason {
        R::BadUserNameOrPassword => of_login(mqtt, Fault::BadLogin, cause),
        R::BadAuthenticationMethod => of_method(mqtt, cause),
        R::NotAuthorized => of_login(mqtt, Fault::NotAuthorized, cause),
        R::ClientIdentifierNotValid => Diagnosis::new(
            Fault::ClientIdRefused,
            cause,
            "use another client id, short and of letters and digits; without one it is made up",
        )
        .setting("client_id"),
        R::SessionTakenOver => of_fight(mqtt, mqtt.client_id.as_deref(), None),
        R::UnsupportedProtocolVersion => of_version(mqtt, cause),
        R::KeepAliveTimeout => {
            Diagnosis::new(Fault::KeepAliveTooLow, cause, "check the network; a longer keep alive may help")
                .setting("keep_alive_s")
        }
        R::Banned | R::AdministrativeAction => {
            Diagnosis::new(Fault::Banned, cause, "ask whoever runs the broker to let this client in again")
        }
        R::ServerUnavailable | R::ServerBusy | R::ServerShuttingDown => Diagnosis::new(
            Fault::BrokerUnavailable,
            cause,
            "look after the broker: it runs, and takes nobody now",
        ),
        R::PacketTooLarge => {
            Diagnosis::new(Fault::PacketTooLarge, cause, "send smaller messages, or raise the broker's limit")
        }
        R::QuotaExceeded | R::ConnectionRateExceeded | R::MessageRateTooHigh => Diagnosis::new(
            Fault::QuotaExceeded,
            cause,
            "connect or publish less often, or ask whoever runs the broker for more",
        ),
        R::TopicNameInvalid | R::PayloadFormatInvalid | R::RetainNotSupported | R::QoSNotSupported => {
            Diagnosis::new(Fault::RefusedOtherwise, cause, "correct the will to what the broker accepts")
                .setting("will")
        }
        _ => Diagnosis::new(Fault::RefusedOtherwise, cause, "see the broker's log for what it did not like"),
    }
}

fn of_login(mqtt: &MqttPlan, fault: Fault, cause: String) -> Diagnosis {
    if mqtt.username.is_none() && mqtt.password.is_none() {
        return Diagnosis::new(
            fault,
            format!("{cause}; the connector gives no user name"),
            "get a user name and password from whoever runs the broker, and write both",
        )
        .setting("username");
    }
    if mqtt.password.is_none() {
        return Diagnosis::new(
            fault,
            format!("{cause}; the connector gives a user name and no password"),
            "write the password",
        )
        .setting("password");
    }
    let next_step = "check user name and password at the broker: they may be misspelt, expired, or bound to a client id or an address";
    Diagnosis::new(fault, cause, next_step).setting("password")
}

fn of_method(mqtt: &MqttPlan, cause: String) -> Diagnosis {
    match mqtt.auth {
        Auth::ScramSha256 => {
            let cause = format!("{cause}: the broker does not offer SCRAM-SHA-256");
            let next_step = "let whoever runs the broker offer it for this user; auth = \"password\" shows the password to the broker, so only over TLS";
            Diagnosis::new(Fault::MethodNotOffered, cause, next_step).setting("auth")
        }
        Auth::Password => {
            let next_step = "if the broker wants SCRAM-SHA-256, write auth = \"scram-sha-256\"; other methods are not supported";
            Diagnosis::new(Fault::MethodNotOffered, cause, next_step).setting("auth")
        }
    }
}

/// Returns what it means that an exchange of SCRAM failed on our side.
pub fn of_scram(fault: ScramFault) -> Diagnosis {
    let cause = Cause::Scram(fault);
    let word = match fault {
        ScramFault::ServerUnproven | ScramFault::Nonce => Fault::BrokerUnproven,
        _ => Fault::ScramFailed,
    };
    let key = if fault == ScramFault::Unpreparable { "password" } else { "auth" };
    Diagnosis::new(word, cause.to_string(), cause.next_step()).setting(key)
}

pub(super) fn of_version(mqtt: &MqttPlan, cause: String) -> Diagnosis {
    if mqtt.auth == Auth::ScramSha256 {
        let cause = format!("{cause}; SCRAM-SHA-256 needs MQTT 5");
        let next_step = "use a broker that speaks MQTT 5; auth = \"password\" shows the password to the broker, so only over TLS";
        return Diagnosis::new(Fault::VersionRefused, cause, next_step).setting("auth");
    }
    Diagnosis::new(Fault::VersionRefused, cause, "let the connector find the version that the broker speaks")
        .text("protocol", "auto")
}

/// Returns what it means that connections under one client identifier end each other; the likely twin is named when it
/// is one of our own.
pub(super) fn of_fight(mqtt: &MqttPlan, client_id: Option<&str>, twin: Option<&str>) -> Diagnosis {
    let id = client_id.map_or_else(|| "its client id".to_owned(), |id| format!("the client id {id:?}"));
    let cause = match twin {
        Some(twin) => {
            format!("connector {twin} of this project also uses {id}: each connection ends the other")
        }
        None => format!("another client uses {id}: each connection ends the other"),
    };
    let next_step = match (twin, &mqtt.client_id) {
        (Some(_), _) => "give each of the two a client id of its own",
        (None, Some(_)) => {
            "give this connector a client id of its own; the twin is often a copy of this project, or the system it replaces"
        }
        (None, None) => {
            "look for a second hub that runs with a copy of this hub's data folder, which holds the made-up client id; or write a client id here"
        }
    };
    Diagnosis::new(Fault::ClientIdFight, cause, next_step).setting("client_id")
}

/// Returns what it means that a broker takes another keep alive than `asked_s`: `taken_s`.
///
/// `version` tells how it was found: MQTT 5 brokers say it, earlier ones refuse the connection.
pub fn of_keep_alive(asked_s: u16, taken_s: u16, version: Version) -> Diagnosis {
    let is_high = asked_s == 0 || asked_s > taken_s;
    let (fault, word) =
        if is_high { (Fault::KeepAliveTooHigh, "long") } else { (Fault::KeepAliveTooLow, "short") };
    let asked = if asked_s == 0 { "none".to_owned() } else { format!("{asked_s} s") };
    let cause = if version.is_v5() {
        format!("the keep alive ({asked}) is too {word} for the broker, which sets {taken_s} s instead")
    } else {
        format!("the broker refuses a keep alive of {asked} and takes {taken_s} s")
    };
    Diagnosis::new(fault, cause, "write what the broker takes").integer("keep_alive_s", i64::from(taken_s))
}

/// Returns what it means that a broker refuses a subscription.
pub fn of_subscribe(filter: &str, reason: ReasonCode) -> Diagnosis {
    let cause = format!("the broker refuses the subscription to {filter:?}: {reason}");
    let next_step = match reason {
        ReasonCode::SharedSubscriptionsNotSupported
        | ReasonCode::SubscriptionIdentifiersNotSupported
        | ReasonCode::WildcardSubscriptionsNotSupported => {
            "write filters that this broker supports in the flow's source"
        }
        ReasonCode::QuotaExceeded => "subscribe to less, or ask whoever runs the broker for more",
        _ => "let whoever runs the broker allow this user to read it, or correct the topic of the flow",
    };
    Diagnosis::new(Fault::SubscribeDenied, cause, next_step)
}

/// Returns what it means that a broker refuses a message.
pub fn of_publish(topic: &str, reason: ReasonCode) -> Diagnosis {
    let cause = format!("the broker refuses a message to {topic:?}: {reason}");
    match reason {
        ReasonCode::PacketTooLarge => Diagnosis::new(
            Fault::PacketTooLarge,
            cause,
            "send smaller messages, or let whoever runs the broker raise its limit",
        ),
        ReasonCode::QuotaExceeded => Diagnosis::new(
            Fault::QuotaExceeded,
            cause,
            "look after the broker: its store or a queue is full, or a quota is used up",
        ),
        _ => Diagnosis::new(
            Fault::PublishDenied,
            cause,
            "let whoever runs the broker allow this user to write to it, or correct the topic of the flow",
        ),
    }
}

/// Puts a reason into a sentence. The broker's words are shown so that they cannot be taken for ours.
fn said(what: &str, reason: ReasonCode, text: Option<&str>) -> String {
    match text {
        Some(text) => {
            let words: String = text.chars().take(WORDS_SHOWN_MAX).collect();
            format!("{what}: {reason}, it says {words:?}")
        }
        None => format!("{what}: {reason}"),
    }
}
