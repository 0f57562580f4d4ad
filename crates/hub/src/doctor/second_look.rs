//! A second look at a port whose first answer is not clear: what does it speak, whose authority is missing?
//!
//! Both the doctor and a running connector take it, so that both say the same. Nothing of the connector's is in it: see
//! [`port`](super::port).

use std::time::Duration;

use crosspoint_client::Spoken;
use crosspoint_net::dial;

use super::port::{Speaks, bare, speaks};
use super::reach::facts;
use crate::config::plan::{Address, MqttPlan, Transport};
use crate::diagnosis::{Diagnosis, Fault, of_spoken_by};

/// Tells whether a second look may tell more of a diagnosis than is known.
pub(crate) const fn is_worth_it(diagnosis: &Diagnosis) -> bool {
    matches!(
        diagnosis.fault,
        Fault::TlsToPlain
            | Fault::TlsClosed
            | Fault::Silent
            | Fault::NotWebSocket
            | Fault::ClosedWithoutAnswer
            | Fault::UnknownAuthority
    )
}

/// Makes a diagnosis sure, or another one, by what the port of an address speaks. Takes three questions at most, each for
/// at most `patience` and two seconds.
///
/// # Cancel safety
/// Dropping the future ends the connections.
pub(crate) async fn second_look(
    mqtt: &MqttPlan,
    address: &Address,
    patience: Duration,
    diagnosis: Diagnosis,
) -> Diagnosis {
    match diagnosis.fault {
        Fault::UnknownAuthority => Diagnosis {
            cause: format!("{}{}", diagnosis.cause, missing_authority(mqtt, address, patience).await),
            ..diagnosis
        },
        _ if is_worth_it(&diagnosis) => {
            by_what_it_speaks(speaks(mqtt, address, patience).await, mqtt, address, diagnosis)
        }
        _ => diagnosis,
    }
}

/// Names the authority that is missing: looks at the certificates in a handshake that carries nothing of ours.
async fn missing_authority(mqtt: &MqttPlan, address: &Address, patience: Duration) -> String {
    let way = bare(mqtt, address, Transport::Tls).connect_timeout(patience);
    let Ok(stream) = dial(&way).await else { return String::new() };
    let chain = stream.peer().tls().map(facts).unwrap_or_default();
    match chain.last() {
        Some(last) if last.subject == last.issuer => {
            format!("; it is signed by {:?}, whose certificate it shows itself", last.issuer)
        }
        Some(last) => format!("; the missing one is {:?}", last.issuer),
        None => String::new(),
    }
}

fn by_what_it_speaks(speaks: Speaks, mqtt: &MqttPlan, address: &Address, diagnosis: Diagnosis) -> Diagnosis {
    let (host, port) = (&address.host, address.port);
    match (speaks, address.transport) {
        (Speaks::Mqtt, Transport::Tls | Transport::Wss) => Diagnosis {
            cause: format!("port {port} of {host} speaks plain MQTT, and the connector speaks TLS to it"),
            fault: Fault::TlsToPlain,
            next_step: "use the broker's port for TLS, usually 8883; mqtt:// would send everything readable, the password too".to_owned(),
            ..diagnosis
        },
        (Speaks::Mqtt, Transport::Ws) => {
            let plain = Address { transport: Transport::Tcp, ..address.clone() };
            let cause = format!("port {port} of {host} speaks plain MQTT, not WebSocket");
            Diagnosis::new(Fault::NotWebSocket, cause, "write mqtt:// for this port, or use the one for WebSocket")
                .text("url", plain.to_string())
        }
        (Speaks::Tls, Transport::Tcp | Transport::Ws) => of_spoken_by(address, Spoken::Tls, mqtt),
        // It was closed to us and to nobody: what is missing is ours.
        (Speaks::Tls, Transport::Tls | Transport::Wss) if diagnosis.fault == Fault::TlsClosed => Diagnosis::new(
            Fault::TlsFailed,
            format!("port {port} of {host} speaks TLS, and closes the connection during our handshake"),
            "see the broker's log for what it misses: often a client certificate, an application protocol (ALPN) or the server name",
        ),
        (Speaks::Http, Transport::Tcp | Transport::Tls) => of_spoken_by(address, Spoken::Http, mqtt),
        (Speaks::Nothing, _) => Diagnosis {
            fault: Fault::Silent,
            cause: format!("port {port} of {host} takes connections and then says nothing"),
            next_step: "check the port; if it is right, the broker is stuck, or something in between answers for it".to_owned(),
            ..diagnosis
        },
        (Speaks::Closes, _) if is_closed(&diagnosis) => Diagnosis {
            fault: Fault::ClosedWithoutAnswer,
            cause: format!("port {port} of {host} closes each connection, whatever is said to it"),
            next_step: "see the broker's log: it may be full or starting, or something in between answers for it".to_owned(),
            ..diagnosis
        },
        _ => diagnosis,
    }
}

const fn is_closed(diagnosis: &Diagnosis) -> bool {
    matches!(diagnosis.fault, Fault::TlsClosed | Fault::ClosedWithoutAnswer)
}
