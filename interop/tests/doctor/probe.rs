//! The probe, on brokers that differ.

use crosspoint_client::Version;
use crosspoint_hub::config;
use crosspoint_hub::doctor::{Patient, Probed, Verdict, probe};
use crosspoint_net::Transport;
use interop::{Mosquitto, Nats, OurBroker, Rumqttd, within};

use crate::rig::impatient;

/// Probes a port of this machine.
pub(crate) async fn probed(port: u16, lines: &str) -> Probed {
    let project = format!("[connector.a]\nurl = \"mqtt://127.0.0.1:{port}\"\n{lines}\n");
    let (plan, _) = config::parse(&project, "crosspoint.toml", None).unwrap();
    let patient = Patient::of_plan(&plan, "a").unwrap();
    let limit = std::time::Duration::from_secs(240);
    let mut all = within(limit, "a probe", probe(&patient, &impatient(), |_| {})).await;
    let probed = all.remove(0);
    assert!(probed.version.is_some(), "{probed:#?}");
    probed
}

/// Returns the statements that fail, one a line, with what was seen.
pub(crate) fn failing(probed: &Probed) -> String {
    let failing = probed.judgements.iter().filter(|judgement| judgement.verdict == Verdict::Fails);
    failing.map(|judgement| format!("{}: {}\n", judgement.statement, judgement.seen)).collect()
}

#[tokio::test]
async fn our_own_broker_does_all_that_is_asked() {
    let ours = OurBroker::start().await;
    for protocol in ["5.0", "3.1.1"] {
        let probed = probed(ours.port(Transport::Tcp), &format!("protocol = {protocol:?}")).await;
        assert_eq!(failing(&probed), "", "{protocol}");
        assert!(probed.summary().starts_with("does all"), "{}", probed.summary());
    }
    ours.stop().await;
}

#[tokio::test]
async fn mosquitto_is_judged() {
    let Some(mosquitto) = Mosquitto::start().await else { return };
    let probed = probed(mosquitto.port(), "").await;
    assert!(probed.calls_itself.as_deref().is_some_and(|name| name.contains("mosquitto")), "{probed:?}");
    // So it is with 2.0.11, as mosquitto_sub and a bare socket show as well.
    assert_eq!(
        failing(&probed),
        "it does not come to a shared subscription: it came\n\
         the old connection is told that it was taken over: it is closed without a word\n"
    );
}

#[tokio::test]
async fn nats_is_judged() {
    let Some(nats) = Nats::start().await else { return };
    let probed = probed(nats.port(), "").await;
    assert_eq!(probed.version, Some(Version::V3_1_1));
    let expected = "a message at QoS 2 comes at QoS 2, once: the broker grants less: granted QoS 1 (0x01)\n";
    assert_eq!(failing(&probed), expected);
}

#[tokio::test]
async fn rumqttd_is_judged() {
    let Some(rumqttd) = Rumqttd::start().await else { return };
    let probed = probed(rumqttd.v5_port(), "protocol = \"5.0\"").await;
    let failing = failing(&probed);
    for statement in [
        "5,000 retained messages all come to one wildcard",
        "No Local keeps our own messages from us",
        "no packet comes that is larger than we accept",
        "no more messages come unacknowledged than we accept at once",
    ] {
        assert!(failing.contains(statement), "{failing}");
    }
    for statement in ["exact topic", "come in their order", "comes at QoS 2, once"] {
        assert!(!failing.contains(statement), "{failing}");
    }
}
