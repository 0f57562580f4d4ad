//! What a port speaks, asked without a secret.
//!
//! Three questions at most, each on a connection of its own: a CONNECT without user name and password, an HTTP request,
//! and a TLS handshake whose certificate does not matter. Nothing of the connector's is in any of them; the proxy gets the
//! login that is its own.

use std::time::Duration;

use crosspoint_client::{DialOptions, Spoken};
use crosspoint_net::{DialError, TlsCause, dial};
use crosspoint_protocol::Version;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::admit::bare_connect;
use super::line::{Line, NotOpened};
use crate::config::plan::{Address, ClientTls, MqttPlan, Transport, Verify};
use crate::connect;

/// How long each question may take.
const PATIENCE_MAX: Duration = Duration::from_secs(2);

/// What a port speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    /// Plain MQTT.
    Mqtt,
    /// TLS.
    Tls,
    /// HTTP.
    Http,
    /// Nothing: it takes connections and is silent.
    Nothing,
    /// It closes whatever is said.
    Closes,
}

/// Finds out what the port of an address speaks.
pub(super) async fn speaks(mqtt: &MqttPlan, address: &Address, patience: Duration) -> Speaks {
    let patience = patience.min(PATIENCE_MAX);
    let network = bare(mqtt, address, Transport::Tcp).connect_timeout(patience);
    let mut is_silent = false;
    match Line::open(&network, bare_connect(Version::V3_1_1), None, patience).await {
        Ok((line, _)) => {
            line.close().await;
            return Speaks::Mqtt;
        }
        Err(NotOpened::Refused(_)) => return Speaks::Mqtt,
        Err(NotOpened::Other(Some(Spoken::Tls), _)) => return Speaks::Tls,
        Err(NotOpened::Other(Some(Spoken::Http), _)) => return Speaks::Http,
        Err(NotOpened::Silent) => is_silent = true,
        Err(_) => {}
    }
    if speaks_http(&network, patience).await {
        return Speaks::Http;
    }
    if speaks_tls(&bare(mqtt, address, Transport::Tls).connect_timeout(patience)).await {
        return Speaks::Tls;
    }
    if is_silent { Speaks::Nothing } else { Speaks::Closes }
}

async fn speaks_http(network: &DialOptions, patience: Duration) -> bool {
    let asked = async {
        let mut stream = dial(network).await.ok()?;
        let host = network.host();
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut first = [0; 5];
        stream.read_exact(&mut first).await.ok()?;
        Some(Spoken::guess(&first) == Some(Spoken::Http))
    };
    timeout(patience, asked).await.ok().flatten().unwrap_or(false)
}

async fn speaks_tls(encrypted: &DialOptions) -> bool {
    match dial(encrypted).await {
        Ok(_) => true,
        Err(DialError::Tls { cause, .. }) => !matches!(cause, TlsCause::NotTls | TlsCause::Closed),
        Err(_) => false,
    }
}

/// Returns the way to an address over a transport, without certificate, key and headers of the connector.
pub(super) fn bare(mqtt: &MqttPlan, address: &Address, transport: Transport) -> DialOptions {
    let server_name = mqtt.tls.server_name.clone();
    let tls = ClientTls { verify: Verify::None, server_name, ..ClientTls::default() };
    let plan = MqttPlan { tls, websocket_headers: Vec::new(), ..mqtt.clone() };
    connect::dial_options(&plan, &Address { transport, ..address.clone() })
}
