//! The way to the broker: name, TCP, a proxy, TLS, WebSocket, each on a connection of its own and with its own deadline.

use std::io;
use std::net::IpAddr;
use std::time::SystemTime;

use crosspoint_client::Spoken;
use crosspoint_net::{CertificateFacts, Certificates, DialError, Stream, TlsPeer, dial};
use tokio::time::timeout;

use super::Visit;
use super::port::{Speaks, bare, speaks};
use super::report::{Chart, Stage};
use crate::config::plan::{Address, Transport};
use crate::connect;
use crate::diagnosis::{Diagnosis, Fault, of_dial, of_spoken};

impl Visit<'_> {
    /// Goes the way up to the first byte of MQTT; `false` when there is no way.
    pub(super) async fn reach(&self, chart: &mut Chart<'_>) -> bool {
        let has_way = match &self.patient.mqtt.proxy {
            Some(proxy) => self.reach_through(chart, proxy).await,
            None => self.reach_port(chart).await,
        };
        if !has_way {
            return false;
        }
        for (stage, transport) in layers(self.address.transport) {
            if !self.reach_layer(chart, *stage, *transport).await {
                return false;
            }
        }
        true
    }

    async fn reach_port(&self, chart: &mut Chart<'_>) -> bool {
        let found = self.look_up(&self.address.host, self.address.port).await;
        chart.found(Stage::Name, found.map_err(|error| of_dial(&error)))
            && self.reach_layer(chart, Stage::Tcp, Transport::Tcp).await
    }

    async fn reach_layer(&self, chart: &mut Chart<'_>, stage: Stage, transport: Transport) -> bool {
        match self.dial_over(transport).await {
            Ok(stream) => {
                let soon = stream.peer().tls().filter(|_| stage == Stage::Tls).and_then(expires_soon);
                chart.warned(stage, seen(&stream), soon.into_iter().collect());
                true
            }
            Err(error) => chart.found(stage, Err(self.why_not_reached(&error).await)),
        }
    }

    /// Finds the addresses of a host, and says them.
    pub(super) async fn look_up(&self, host: &str, port: u16) -> Result<String, DialError> {
        if host.parse::<IpAddr>().is_ok() {
            return Ok(format!("{host} is an address"));
        }
        let not_found = |source| DialError::Resolve { host: host.to_owned(), source };
        let found = timeout(self.patience, tokio::net::lookup_host((host, port))).await;
        let found = found.unwrap_or_else(|_| Err(io::Error::other("the name server does not answer")));
        let mut addresses: Vec<String> =
            found.map_err(not_found)?.map(|address| address.ip().to_string()).collect();
        addresses.dedup();
        match addresses.is_empty() {
            true => Err(not_found(io::Error::other("the name has no address"))),
            false => Ok(format!("{host} is {}", addresses.join(", "))),
        }
    }

    pub(super) async fn dial_over(&self, transport: Transport) -> Result<Stream, DialError> {
        let address = Address { transport, ..self.address.clone() };
        dial(&connect::dial_options(&self.patient.mqtt, &address).connect_timeout(self.patience)).await
    }

    /// Says why there is no stream; asks the port what it speaks where that is not clear.
    async fn why_not_reached(&self, error: &DialError) -> Diagnosis {
        let diagnosis = of_dial(error);
        match diagnosis.fault {
            Fault::TlsToPlain | Fault::Silent | Fault::NotWebSocket | Fault::ClosedWithoutAnswer => {
                self.by_what_it_speaks(diagnosis).await
            }
            Fault::UnknownAuthority => Diagnosis {
                cause: format!("{}{}", diagnosis.cause, self.missing_authority().await),
                ..diagnosis
            },
            _ => diagnosis,
        }
    }

    /// Names the authority that is missing: looks at the certificates in a handshake that carries nothing of ours.
    async fn missing_authority(&self) -> String {
        let way = bare(&self.patient.mqtt, self.address, Transport::Tls).connect_timeout(self.patience);
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

    /// Makes a diagnosis sure, or another one, by what the port speaks.
    pub(super) async fn by_what_it_speaks(&self, diagnosis: Diagnosis) -> Diagnosis {
        let (mqtt, address) = (&self.patient.mqtt, self.address);
        let (host, port) = (&address.host, address.port);
        match (speaks(mqtt, address, self.patience).await, address.transport) {
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
            (Speaks::Tls, Transport::Tcp | Transport::Ws) => {
                let cause = format!("port {port} of {host} speaks TLS, and the connector does not");
                of_spoken(Spoken::Tls, cause, mqtt)
            }
            (Speaks::Http, Transport::Tcp | Transport::Tls) => {
                let cause = format!("a web server answers on port {port} of {host}: it speaks HTTP instead of MQTT");
                of_spoken(Spoken::Http, cause, mqtt)
            }
            (Speaks::Nothing, _) => Diagnosis {
                fault: Fault::Silent,
                cause: format!("port {port} of {host} takes connections and then says nothing"),
                next_step: "check the port; if it is right, the broker is stuck, or something in between answers for it".to_owned(),
                ..diagnosis
            },
            _ => diagnosis,
        }
    }
}

/// Returns the layers of a transport above TCP, each with the stage that tries it.
const fn layers(transport: Transport) -> &'static [(Stage, Transport)] {
    match transport {
        Transport::Tcp => &[],
        Transport::Tls => &[(Stage::Tls, Transport::Tls)],
        Transport::Ws => &[(Stage::WebSocket, Transport::Ws)],
        Transport::Wss => &[(Stage::Tls, Transport::Tls), (Stage::WebSocket, Transport::Wss)],
    }
}

pub(super) fn seen(stream: &Stream) -> String {
    let peer = stream.peer();
    match (peer.http(), peer.tls()) {
        (Some(http), _) => format!("upgraded on {}", http.path()),
        (None, Some(tls)) => {
            let version = tls.version().unwrap_or("TLS").replace('_', ".");
            match facts(tls).first() {
                Some(own) => format!(
                    "{version}, certificate of {:?} signed by {:?}, valid until {}",
                    own.subject, own.issuer, own.expires_on
                ),
                None => version,
            }
        }
        (None, None) => format!("connected to {}", peer.address()),
    }
}

/// Returns what stands in the certificates of the other side, its own first.
fn facts(tls: &TlsPeer) -> Vec<CertificateFacts> {
    let chain: Vec<u8> = tls.certificates().iter().flat_map(|der| der.iter().copied()).collect();
    Certificates::read(&chain).map(|chain| chain.facts().collect()).unwrap_or_default()
}

fn expires_soon(tls: &TlsPeer) -> Option<Diagnosis> {
    let now_s = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    let now_s = i64::try_from(now_s).ok()?;
    let trouble = facts(tls).first()?.trouble(now_s)?;
    let cause = format!("the broker's certificate {trouble}");
    Some(Diagnosis::new(
        Fault::CertificateExpiresSoon,
        cause,
        "renew the broker's certificate before that day",
    ))
}
