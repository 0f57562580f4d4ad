//! SCRAM-SHA-256 against others: our client against a mosquitto whose plugin does it with OpenSSL, and mqtt.js with Node's
//! cryptography against our broker. Plugin and script stand in `peers/`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::PathBuf;
use std::time::Duration;

use crosspoint_broker::access::{Password, User, Users, hash_password_for_scram};
use crosspoint_client::{Cause, Client, ClientOptions, ReauthenticateError, ScramFault, State};
use crosspoint_net::Transport;
use interop::{OurBroker, OurClient, Peer, find, mosquitto_with_scram, run, scram_options, soon};
use tokio::process::Command;

/// How long the script may take; it sets a shorter deadline to each of its waits.
const SCRIPT_DEADLINE: Duration = Duration::from_secs(120);

/// Starts a client that cannot get in, and returns why.
async fn cause(options: ClientOptions) -> Cause {
    let (client, _deliveries) = Client::start(options).unwrap();
    let mut state = client.state();
    let is_told = |state: &State| matches!(state, State::Refused { .. } | State::BackingOff { .. });
    let told = soon("a refusal", state.wait_for(is_told)).await.unwrap().clone();
    client.close(Duration::ZERO).await;
    match told {
        State::Refused { cause, .. } | State::BackingOff { cause, .. } => cause,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn our_client_comes_in_at_mosquitto_and_again_on_the_open_connection() {
    let Some(mosquitto) = mosquitto_with_scram("").await else { return };
    let client = OurClient::connect(scram_options(mosquitto.port(), "right")).await;
    assert_eq!(soon("AUTH", client.client.reauthenticate("right")).await, Ok(()));
    let refused = soon("DISCONNECT", client.client.reauthenticate("wrong")).await;
    assert!(matches!(refused, Err(ReauthenticateError::Ended(_))), "{refused:?}");
    // It comes back with the password that is right.
    assert!(soon("the connection", client.client.connected()).await);
    client.client.close(Duration::ZERO).await;
}

#[tokio::test]
async fn a_wrong_password_is_refused_by_mosquitto() {
    let Some(mosquitto) = mosquitto_with_scram("").await else { return };
    let cause = cause(scram_options(mosquitto.port(), "wrong")).await;
    assert!(matches!(cause, Cause::Refused { .. }), "{cause}");
}

#[tokio::test]
async fn a_mosquitto_that_does_not_know_the_password_is_left() {
    let Some(mosquitto) = mosquitto_with_scram("plugin_opt_lie 1").await else { return };
    let cause = cause(scram_options(mosquitto.port(), "right")).await;
    assert_eq!(cause, Cause::Scram(ScramFault::ServerUnproven));
}

#[tokio::test]
async fn a_mosquitto_that_asks_for_fewer_iterations_gets_no_proof() {
    let Some(mosquitto) = mosquitto_with_scram("plugin_opt_iterations 4095").await else { return };
    let cause = cause(scram_options(mosquitto.port(), "right")).await;
    assert_eq!(cause, Cause::Scram(ScramFault::TooFewIterations(4_095)));
}

#[tokio::test]
async fn mqtt_js_comes_in_at_our_broker_and_stays_out_with_a_wrong_password() {
    let Some(node) = find(Peer::MqttJs) else { return };
    let script = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default())
        .join("peers/mqttjs_scram.js");
    let kept = Password::scram(&hash_password_for_scram(b"right").unwrap()).unwrap();
    for password in [kept, Password::plain("right")] {
        let user = User { name: "alice".to_owned(), password, roles: Vec::new() };
        let broker = OurBroker::of_users(Users::new(vec![user], Vec::new()).unwrap()).await;
        let url = format!("mqtt://127.0.0.1:{}", broker.port(Transport::Tcp));
        let mut command = Command::new(&node);
        command.arg(&script).args([&url, "alice", "right"]);
        let output = run(&mut command, b"", SCRIPT_DEADLINE).await.succeeded();
        assert_eq!(output.lines().last(), Some("all right"), "{output}");
        broker.stop().await;
    }
}
