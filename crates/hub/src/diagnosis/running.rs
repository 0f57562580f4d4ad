//! What the client of a running connector says.

use std::time::Duration;

use crosspoint_client::Cause;

use super::broker::{of_fight, of_refusal, of_scram, of_version};
use super::dial::of_spoken;
use super::{Diagnosis, Fault, of_closed, of_dial, of_not_mqtt, of_silence, of_spoken_by, of_tls_end};
use crate::config::plan::MqttPlan;

/// Returns what it means that a client is not connected.
///
/// `twin` is another connector of our own with the same client identifier, if there is one.
pub fn of_cause(mqtt: &MqttPlan, cause: &Cause, twin: Option<&str>) -> Diagnosis {
    let plain = |fault| Diagnosis::new(fault, cause.to_string(), cause.next_step());
    match cause {
        Cause::Refused { reason, text, other_server }
        | Cause::Disconnected { reason, text, other_server } => {
            let diagnosis = of_refusal(mqtt, *reason, text.as_deref(), other_server.as_deref());
            match diagnosis.fault {
                Fault::ClientIdFight => of_fight(mqtt, mqtt.client_id.as_deref(), twin),
                _ => diagnosis,
            }
        }
        Cause::ClientIdFight { client_id } => of_fight(mqtt, Some(client_id), twin),
        Cause::OtherProtocol { spoken } => match mqtt.addresses.as_slice() {
            [only] => of_spoken_by(only, *spoken, mqtt),
            _ => of_spoken(*spoken, cause.to_string(), mqtt),
        },
        Cause::NotMqtt(violation) => of_not_mqtt(violation),
        Cause::UnsupportedVersion { .. } => of_version(mqtt, cause.to_string()),
        Cause::Scram(fault) => of_scram(*fault),
        Cause::ConnectTimeout { after_ms } => of_silence(Duration::from_millis(*after_ms)),
        Cause::ClosedWithoutConnAck => of_closed(),
        // What no network has said is about this side.
        Cause::Dial(failure) => failure.error().map_or_else(|| plain(Fault::OurSide), of_dial),
        Cause::Tls(tls) => of_tls_end(tls),
        Cause::KeepAliveTimeout => plain(Fault::KeepAliveTimeout),
        Cause::ConnectionLost | Cause::Stream { .. } | Cause::ServerDoesNotRead => {
            plain(Fault::ConnectionLost)
        }
        Cause::AckDeadline { .. } => plain(Fault::NoAcknowledgements).setting("ack_deadline_ms"),
        Cause::CanaryLost { .. } => plain(Fault::NothingCameBack),
        Cause::Violation(_) => plain(Fault::ProtocolViolation),
        _ => plain(Fault::OurSide),
    }
}
