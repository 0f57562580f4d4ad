//! The way to the broker: name, TCP, a proxy, TLS, WebSocket, each on a connection of its own and with its own deadline.

use std::io;
use std::net::IpAddr;
use std::time::SystemTime;

use crosspoint_net::{CertificateFacts, Certificates, DialError, Stream, TlsPeer, dial};
use tokio::time::timeout;

use super::Visit;
use super::report::{Chart, Stage};
use super::second_look::second_look;
use crate::config::plan::{Address, Transport};
use crate::connect;
use crate::diagnosis::{Diagnosis, Fault, of_dial};

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
        self.second_look(of_dial(error)).await
    }

    /// Makes a diagnosis sure, where a look at the port can.
    pub(super) async fn second_look(&self, diagnosis: Diagnosis) -> Diagnosis {
        second_look(&self.patient.mqtt, self.address, self.patience, diagnosis).await
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
pub(super) fn facts(tls: &TlsPeer) -> Vec<CertificateFacts> {
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
