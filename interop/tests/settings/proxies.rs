//! Through the proxies of others.

use crosspoint_client::QoS;
use interop::{Microsocks, Mosquitto, Tinyproxy};

use crate::support::{Running, mosquitto};

const LOGIN: &str = "username = \"me\", password = \"secret\"";

/// Sends a message through the hub, and sees it arrive.
async fn goes_through(mosquitto: &Mosquitto, place: &str, client_id: &str, proxy: &str) {
    let lines = format!("url = \"{place}\"\nclient_id = \"{client_id}\"\nproxy = {{ {proxy} }}");
    let hub = Running::writing_to(0, &lines).await;
    hub.device().await.publish("in/1", "1", QoS::AtLeastOnce).await;
    mosquitto.logged(&format!("Received PUBLISH from {client_id}")).await;
    hub.stop().await;
}

/// Sees what the hub says is to be done.
async fn is_told(port: u16, proxy: &str, next_step: &str) {
    let lines = format!("url = \"mqtt://127.0.0.1:{port}\"\nproxy = {{ {proxy} }}");
    let hub = Running::writing_to(0, &lines).await;
    hub.until("some trouble", |hub| hub.status()["a"].known.trouble.is_some()).await;
    let trouble = hub.hub.status()["a"].known.trouble.clone().unwrap();
    assert!(trouble.next_step.contains(next_step), "{proxy}: {trouble:?}");
    hub.stop().await;
}

#[tokio::test]
async fn a_connector_goes_through_an_http_proxy() {
    let Some(mosquitto) = mosquitto().await else { return };
    let Some(proxy) = Tinyproxy::start(None).await else { return };
    let url = format!("url = \"http://127.0.0.1:{}\", {LOGIN}", proxy.port());
    for (transport, port) in [("mqtt", mosquitto.port()), ("ws", mosquitto.ws_port())] {
        let id = format!("http-{transport}");
        goes_through(&mosquitto, &format!("{transport}://127.0.0.1:{port}"), &id, &url).await;
        proxy.logged(&format!("CONNECT 127.0.0.1:{port}")).await;
    }
}

#[tokio::test]
async fn a_connector_goes_through_a_socks_proxy_that_may_look_up_the_name() {
    let Some(mosquitto) = mosquitto().await else { return };
    let Some(proxy) = Microsocks::start().await else { return };
    for (kind, host) in [("socks5", "127.0.0.1"), ("socks5h", "localhost")] {
        let url = format!("url = \"{kind}://127.0.0.1:{}\", {LOGIN}", proxy.port());
        goes_through(&mosquitto, &format!("mqtt://{host}:{}", mosquitto.port()), kind, &url).await;
        proxy.logged(&format!("connected to {host}:{}", mosquitto.port())).await;
    }
}

#[tokio::test]
async fn a_proxy_that_lets_nothing_through_is_named() {
    let Some(mosquitto) = mosquitto().await else { return };
    let Some(http) = Tinyproxy::start(Some(1)).await else { return };
    let Some(socks) = Microsocks::start().await else { return };
    let [http, socks] = [("http", http.port()), ("socks5", socks.port())]
        .map(|(kind, port)| format!("url = \"{kind}://127.0.0.1:{port}\""));
    let wrong = "username = \"me\", password = \"wrong\"";
    for proxy in [&http, &socks] {
        is_told(mosquitto.port(), proxy, "set `proxy.username`").await;
        is_told(mosquitto.port(), &format!("{proxy}, {wrong}"), "check `proxy.username`").await;
    }
    is_told(mosquitto.port(), &format!("{http}, {LOGIN}"), "allow this host and port").await;
}
