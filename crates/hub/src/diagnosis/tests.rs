use crosspoint_client::{Cause, ScramFault, Spoken};
use crosspoint_net::{DialError, ProxyFault, Stage, TlsCause};
use crosspoint_protocol::{ReasonCode, Version};

use super::*;
use crate::config::plan::{ConnectorPlan, MqttPlan};
use crate::config::setting::{Setting, Shape};
use crate::config::settings::connector;

fn plan(text: &str) -> Box<MqttPlan> {
    let (plan, _) = crate::config::parse(text, "crosspoint.toml", None).unwrap();
    match &plan.connectors["a"] {
        ConnectorPlan::Mqtt(mqtt) => mqtt.clone(),
        ConnectorPlan::Local => panic!(),
    }
}

fn bare() -> Box<MqttPlan> {
    plan("[connector.a]\nurl = \"mqtt://h:1884\"\n")
}

fn is_written(path: &str) -> bool {
    fn within(path: &str, settings: &[&Setting]) -> bool {
        let (key, rest) = path.split_once('.').map_or((path, None), |(key, rest)| (key, Some(rest)));
        let Some(setting) = settings.iter().find(|setting| setting.key == key) else { return false };
        match (&setting.shape, rest) {
            (Shape::NotYet, _) => false,
            (Shape::Table(inner) | Shape::TextOrTable(inner), Some(rest)) => within(rest, inner),
            (_, rest) => rest.is_none(),
        }
    }
    within(path, connector::ALL)
}

/// Every diagnosis that names a setting names one that exists.
#[test]
fn settings_that_are_named_exist() {
    let dials = [
        TlsCause::Expired { days: Some(3) },
        TlsCause::WrongHost { expected: "a".to_owned(), presented: vec!["b".to_owned()] },
        TlsCause::WrongHost { expected: "a".to_owned(), presented: vec!["*.b".to_owned()] },
        TlsCause::UnknownAuthority,
        TlsCause::ClientCertificateRequired,
        TlsCause::RefusedByPeer("x".to_owned()),
        TlsCause::Closed,
        TlsCause::NotTls,
        TlsCause::NoCommonAlpn,
        TlsCause::UnknownServerName,
    ];
    let mut all: Vec<Diagnosis> =
        dials.into_iter().map(|cause| of_dial(&DialError::Tls { target: "h:1".to_owned(), cause })).collect();
    let refused = |status, has_login| ProxyFault::Refused { status, reason: String::new(), has_login };
    for fault in [
        refused(407, false),
        refused(407, true),
        refused(401, true),
        refused(403, false),
        ProxyFault::WantsLogin { has_login: false },
        ProxyFault::LoginRefused,
        ProxyFault::Closed,
        ProxyFault::Failed { code: 5 },
    ] {
        let (proxy, target) = ("p:1".to_owned(), "h:1".to_owned());
        all.push(of_dial(&DialError::Proxy { proxy, target, fault }));
    }
    for status in [301, 401, 403, 404, 500] {
        let (target, reason) = ("h".to_owned(), String::new());
        all.push(of_dial(&DialError::Upgrade { target, status, reason }));
    }
    for reason in ReasonCode::ALL {
        all.push(of_refusal(&bare(), *reason, Some("words"), Some("other:1883")));
        all.push(of_subscribe("a/#", *reason));
        all.push(of_publish("a", *reason));
    }
    for fault in [
        ScramFault::Unpreparable,
        ScramFault::Nonce,
        ScramFault::ServerUnproven,
        ScramFault::TooFewIterations(1),
        ScramFault::TooManyIterations(u32::MAX),
        ScramFault::Malformed("x"),
    ] {
        all.push(of_scram(fault));
    }
    all.push(of_keep_alive(60, 10, Version::V5));
    for diagnosis in all {
        assert!(!diagnosis.cause.is_empty() && !diagnosis.next_step.is_empty(), "{diagnosis:?}");
        assert!(diagnosis.mend.as_ref().is_none_or(|mend| is_written(mend.key)), "{diagnosis:?}");
        let shown = diagnosis.mend.as_ref().map(ToString::to_string);
        assert_eq!(shown.as_deref().and_then(Mend::read), diagnosis.mend, "what is shown can be read");
    }
}

#[test]
fn no_value_that_is_offered_weakens_tls() {
    for (cause, fault) in [(TlsCause::Closed, Fault::TlsClosed), (TlsCause::NotTls, Fault::TlsToPlain)] {
        let closed = of_dial(&DialError::Tls { target: "h:1883".to_owned(), cause });
        assert_eq!(closed.fault, fault);
        assert_eq!(closed.mend, Some(Mend { key: "url", value: None }), "mqtt:// is never offered");
    }
    for cause in [TlsCause::Expired { days: None }, TlsCause::NotYetValid, TlsCause::UnknownAuthority] {
        let diagnosis = of_dial(&DialError::Tls { target: "h:1883".to_owned(), cause });
        assert!(diagnosis.mend.is_none_or(|mend| mend.value.is_none()));
    }
}

#[test]
fn plain_to_a_tls_port_is_mended_with_the_same_port() {
    let cause = Cause::OtherProtocol { spoken: Spoken::Tls };
    let diagnosis = of_cause(&bare(), &cause, None);
    assert_eq!(diagnosis.fault, Fault::PlainToTls);
    assert_eq!(diagnosis.mend.unwrap().to_string(), "url = \"mqtts://h:1884\"");
}

#[test]
fn a_fight_names_the_twin_of_our_own_first() {
    let cause = Cause::ClientIdFight { client_id: "press".to_owned() };
    let with_twin = of_cause(&bare(), &cause, Some("line2"));
    assert_eq!(
        with_twin.cause,
        "connector line2 of this project also uses the client id \"press\": each connection ends the other"
    );
    let without = of_cause(&bare(), &cause, None);
    assert!(without.cause.starts_with("another client uses"), "{without:?}");
    assert!(without.next_step.contains("data folder"), "{without:?}");
    let taken_over =
        Cause::Disconnected { reason: ReasonCode::SessionTakenOver, text: None, other_server: None };
    assert_eq!(of_cause(&bare(), &taken_over, Some("line2")).fault, Fault::ClientIdFight);
}

#[test]
fn a_refused_login_names_what_is_missing() {
    let text = |rest: &str| format!("[connector.a]\nurl = \"mqtt://h\"\nprotocol = \"5.0\"\n{rest}");
    let of = |rest: &str| {
        of_refusal(&plan(&text(rest)), ReasonCode::NotAuthorized, None, None).mend.unwrap().to_string()
    };
    assert_eq!(of(""), "username = ...");
    assert_eq!(of("username = \"u\"\n"), "password = ...");
    assert_eq!(of("username = \"u\"\npassword = \"p\"\n"), "password = ...");
}

#[test]
fn scram_is_mended_without_giving_the_password_away_unasked() {
    let text =
        "[connector.a]\nurl = \"mqtt://h\"\nusername = \"u\"\npassword = \"p\"\nauth = \"scram-sha-256\"\n";
    let scram = plan(text);
    let none = of_refusal(&scram, ReasonCode::BadAuthenticationMethod, None, None);
    assert_eq!(
        (none.fault, none.mend.unwrap().to_string()),
        (Fault::MethodNotOffered, "auth = ...".to_owned())
    );
    assert!(none.next_step.contains("only over TLS"), "{}", none.next_step);
    let old = of_cause(&scram, &Cause::UnsupportedVersion { version: Version::V5 }, None);
    assert_eq!((old.fault, old.mend.unwrap().to_string()), (Fault::VersionRefused, "auth = ...".to_owned()));
    assert!(old.cause.contains("SCRAM-SHA-256 needs MQTT 5"), "{}", old.cause);
    let liar = of_cause(&scram, &Cause::Scram(ScramFault::ServerUnproven), None);
    assert_eq!(liar.fault, Fault::BrokerUnproven);
    // Who does not use it is told that the broker may want it.
    let wanted = of_refusal(&bare(), ReasonCode::BadAuthenticationMethod, None, None);
    assert!(wanted.next_step.contains("auth = \"scram-sha-256\""), "{}", wanted.next_step);
}

#[test]
fn keep_alives_of_both_sides_are_told_apart() {
    let high = of_keep_alive(60, 10, Version::V3_1_1);
    assert_eq!(high.cause, "the broker refuses a keep alive of 60 s and takes 10 s");
    assert_eq!(high.mend.unwrap().to_string(), "keep_alive_s = 10");
    assert_eq!(of_keep_alive(0, 60, Version::V5).fault, Fault::KeepAliveTooHigh);
    assert_eq!(of_keep_alive(5, 30, Version::V5).fault, Fault::KeepAliveTooLow);
}

#[test]
fn a_filtered_port_is_told_from_a_silent_one() {
    let timed_out = |stage| {
        let after = std::time::Duration::from_secs(1);
        of_dial(&DialError::TimedOut { target: "h:1".to_owned(), stage, after, attempts: Vec::new() }).fault
    };
    assert_eq!(timed_out(Stage::Connect), Fault::Filtered);
    assert_eq!(timed_out(Stage::Tls), Fault::Silent);
}

#[test]
fn the_words_of_faults_are_their_own() {
    let mut words: Vec<&str> = Fault::ALL.iter().map(|fault| fault.word()).collect();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), Fault::ALL.len());
}

#[test]
fn the_words_of_a_broker_cannot_be_taken_for_ours() {
    let diagnosis = of_refusal(&bare(), ReasonCode::Banned, Some("\u{1b}[31m ok"), None);
    assert!(!diagnosis.cause.contains('\u{1b}'), "{}", diagnosis.cause);
}
