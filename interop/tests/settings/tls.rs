//! TLS towards mosquitto, which wants a certificate of its authority here.

use crosspoint_client::State;
use crosspoint_hub::Hub;
use interop::{Authority, Mosquitto};

use crate::support::{self, Relay, Running};

fn is_connected(hub: &Hub) -> bool {
    matches!(hub.status()["a"].state, Some(State::Connected(_)))
}

fn is_backing_off(hub: &Hub) -> bool {
    matches!(hub.status()["a"].state, Some(State::BackingOff { .. } | State::Refused { .. }))
}

/// Returns lines for a connector to the TLS listener, with a certificate of this authority.
fn lines(port: u16, authority: &Authority, more: &str) -> String {
    let identity = authority.sign("hub");
    format!(
        "url = \"mqtts://127.0.0.1:{port}\"\ntls.certificate = {:?}\ntls.key = {:?}\n{more}",
        identity.certificate, identity.key
    )
}

#[tokio::test]
async fn authority_certificate_and_key_open_the_door_and_others_do_not() {
    let Some(mosquitto) = Mosquitto::start().await else { return };
    let (ours, strange) = (&mosquitto.authority, Authority::new());
    let trusts = |authority: &Authority| format!("tls.ca = {:?}", authority.file());
    for (certificates, ca, opens) in [
        (ours, trusts(ours), true),
        (ours, trusts(&strange), false),
        (ours, String::new(), false),
        (&strange, trusts(ours), false),
    ] {
        let hub = Running::writing_to(0, &lines(mosquitto.tls_port(), certificates, &ca)).await;
        let wanted = if opens { is_connected } else { is_backing_off };
        hub.until(&format!("the end of a try with {ca:?} that opens: {opens}"), wanted).await;
        hub.stop().await;
    }
}

#[tokio::test]
async fn the_name_is_checked_unless_only_the_chain_is_and_nothing_where_nothing_is_written() {
    let Some(mosquitto) = Mosquitto::start().await else { return };
    let ca = format!("tls.ca = {:?}", mosquitto.authority.file());
    for (more, opens) in [
        (format!("{ca}\ntls.server_name = \"localhost\""), true),
        (format!("{ca}\ntls.server_name = \"elsewhere.example\""), false),
        (format!("{ca}\ntls.server_name = \"elsewhere.example\"\ntls.verify = \"chain\""), true),
        ("tls.verify = \"chain\"".to_owned(), false),
        ("tls.verify = \"none\"".to_owned(), true),
    ] {
        let hub = Running::writing_to(0, &lines(mosquitto.tls_port(), &mosquitto.authority, &more)).await;
        let wanted = if opens { is_connected } else { is_backing_off };
        hub.until(&format!("the end of a try with {more:?} that opens: {opens}"), wanted).await;
        hub.stop().await;
    }
}

/// Mosquitto does not ask which protocol is spoken; the offer stands in the first packet, readable for everyone.
#[tokio::test]
async fn application_protocols_are_offered() {
    let Some(mosquitto) = Mosquitto::start().await else { return };
    let relay = Relay::start(mosquitto.tls_port(), support::State::Open).await;
    let more = format!("tls.ca = {:?}\ntls.alpn = [\"x-one\", \"x-two\"]", mosquitto.authority.file());
    let hub = Running::writing_to(0, &lines(relay.port, &mosquitto.authority, &more)).await;
    hub.until("a connection", is_connected).await;
    let offer = b"\x05x-one\x05x-two";
    assert!(relay.sent().windows(offer.len()).any(|bytes| bytes == offer));
    hub.stop().await;
}
