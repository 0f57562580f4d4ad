//! What the client of a running connector says.

use crosspoint_client::{Cause, Spoken};

use super::broker::{of_fight, of_refusal, of_scram, of_version};
use super::{Diagnosis, Fault};
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
        Cause::OtherProtocol { spoken } => of_spoken(*spoken, cause.to_string(), mqtt),
        Cause::UnsupportedVersion { .. } => of_version(mqtt, cause.to_string()),
        Cause::Scram(fault) => of_scram(*fault),
        Cause::ConnectTimeout { .. } => plain(Fault::Silent).setting("url"),
        Cause::ClosedWithoutConnAck => plain(Fault::ClosedWithoutAnswer),
        Cause::Dial { .. } => plain(Fault::Unreachable).setting("url"),
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

/// Returns what it means that a port speaks something else than plain MQTT.
pub(crate) fn of_spoken(spoken: Spoken, cause: String, mqtt: &MqttPlan) -> Diagnosis {
    match spoken {
        Spoken::Tls => {
            let diagnosis = Diagnosis::new(
                Fault::PlainToTls,
                cause,
                "turn TLS on: mqtts:// in the URL; the broker's port is right",
            );
            match mqtt.addresses.as_slice() {
                // One address is known by its URL; of several, a person knows which one is meant.
                [only] => diagnosis.text("url", super::dial::encrypted(only).to_string()),
                _ => diagnosis.setting("url"),
            }
        }
        Spoken::Http => Diagnosis::new(
            Fault::HttpOnPort,
            cause,
            "use the broker's port for MQTT, usually 1883 or with TLS 8883; if MQTT is behind the web server, ws:// or wss:// with its path",
        )
        .setting("url"),
    }
}
