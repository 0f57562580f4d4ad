//! The probe, on brokers that differ.

use crosspoint_client::Version;
use crosspoint_hub::config;
use crosspoint_hub::config::plan::{Address, Transport as Carrier};
use crosspoint_hub::doctor::{Order, Patient, Probed, Progress, Verdict, probe};
use crosspoint_net::Transport;
use interop::{DEADLINE, Mosquitto, Nats, OurBroker, Rumqttd, within};

use crate::rig::impatient;

/// Probes a port of this machine.
pub(crate) async fn probed(port: u16, lines: &str) -> Probed {
    probed_with(port, lines, &impatient(), |_| {}).await
}

async fn probed_with(port: u16, lines: &str, order: &Order, told: impl FnMut(Progress<'_>)) -> Probed {
    let project = format!("[connector.a]\nurl = \"mqtt://127.0.0.1:{port}\"\n{lines}\n");
    let (plan, _) = config::parse(&project, "crosspoint.toml", None).unwrap();
    let patient = Patient::of_plan(&plan, "a").unwrap();
    let limit = std::time::Duration::from_secs(240);
    let mut all = within(limit, "a probe", probe(&patient, order, told)).await;
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
async fn what_overflows_in_silence_is_told_with_what_is_kept() {
    let started = Mosquitto::start_of(|ports| {
        let listeners = ports.map(|port| format!("listener {port} 127.0.0.1\n")).concat();
        format!("{listeners}allow_anonymous true\nmax_queued_messages 300\n")
    });
    let Some(mosquitto) = started.await else { return };
    let probed = probed(mosquitto.port(), "protocol = \"3.1.1\"").await;
    let failing = failing(&probed);
    let said = "of 2,000 messages for a client that is away none is lost without a word: kept 3";
    assert!(failing.contains(said) && failing.contains("the newest are gone"), "{failing}");
}

fn seen<'a>(probed: &'a Probed, statement: &str) -> (Verdict, &'a str) {
    let mut all = probed.judgements.iter().filter(|judgement| judgement.statement.contains(statement));
    let one = all.next().unwrap();
    (one.verdict, &one.seen)
}

#[tokio::test]
async fn a_restart_and_a_second_node_are_looked_at_when_somebody_helps() {
    let Some(mut kept) = Mosquitto::start().await else { return };
    let node =
        |port| Address { transport: Carrier::Tcp, host: "127.0.0.1".to_owned(), port, path: "/".to_owned() };
    let with = |port| Order { second_node: Some(node(port)), restart_within: Some(DEADLINE), ..impatient() };
    let (ask, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let told = |progress: Progress<'_>| {
        if matches!(progress, Progress::RestartNow(_)) {
            ask.send(()).unwrap();
        }
    };
    let port = kept.port();
    let (order, restarting) = (with(port), async {
        asked.recv().await.unwrap();
        kept.terminate().await;
        kept.run_again().await;
    });
    let (probed, ()) = tokio::join!(probed_with(port, "", &order, told), restarting);
    for statement in [
        "it survives a restart",
        "a session and what waits for it survive a restart",
        "on another node of a cluster",
        "resumed on another node",
    ] {
        assert_eq!(seen(&probed, statement).0, Verdict::Holds, "{statement}: {probed:#?}");
    }

    let Some(mut forgets) = Mosquitto::start_plain().await else { return };
    let port = forgets.port();
    let (order, restarting) = (with(kept.port()), async {
        asked.recv().await.unwrap();
        forgets.terminate().await;
        forgets.run_again().await;
    });
    let told = |progress: Progress<'_>| {
        if matches!(progress, Progress::RestartNow(_)) {
            ask.send(()).unwrap();
        }
    };
    let (probed, ()) = tokio::join!(probed_with(port, "", &order, told), restarting);
    for (statement, expected) in [
        ("it survives a restart", "nothing came afterwards"),
        ("a session and what waits for it survive a restart", "the session was gone"),
        ("on another node of a cluster", "nothing came there"),
        ("resumed on another node", "it is not there"),
    ] {
        assert_eq!(seen(&probed, statement), (Verdict::Fails, expected), "{statement}");
    }
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
    // A connection of rumqttd's may end for no fault of its client: it gives the number of one that has said goodbye to
    // the next, and then takes the end of the old socket for that of the new connection, if its threads run so.
    let broken = ["the broker closed", "reset by peer", "Broken pipe"];
    for statement in ["exact topic", "come in their order", "comes at QoS 2, once"] {
        let mut of_it = failing.lines().filter(|line| line.contains(statement));
        assert!(of_it.all(|line| broken.iter().any(|end| line.contains(end))), "{failing}");
    }
}
