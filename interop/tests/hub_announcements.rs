//! What a connector says of itself, as `mosquitto_sub` hears it from mosquitto: birth, close and will with all that
//! MQTT 5 lets them carry.
#![expect(clippy::unwrap_used, reason = "what goes wrong in a helper fails its test")]

use std::path::Path;
use std::time::Duration;

use crosspoint_hub::config::{Diagnostic, parse};
use crosspoint_hub::{DataDir, Hub};
use interop::{Mosquitto, Peer, Started, find, soon, start, text};
use tokio::process::Command;
use tokio::time::Instant;

const PROPERTIES: &str = r#"content_type = "text/plain", payload_format = "utf8", message_expiry_s = 600,
    response_topic = "answers/a", correlation_data = "c-7", user_properties = { site = "north", tag = ["b", "a"] }"#;

/// How the subscriber shows a message, but for the time that is left of its expiry.
const SHOWN: &[&str] = &[
    r#""content-type":"text/plain""#,
    r#""payload-format-indicator":1"#,
    r#""response-topic":"answers/a""#,
    r#""correlation-data":"c-7""#,
    r#""user-properties":{"site":"north","tag":"b","tag":"a"}"#,
];

async fn hub(project: &str, data: &Path) -> Hub {
    let (plan, _) = parse(project, "crosspoint.toml", None).unwrap_or_else(|findings| {
        panic!("{}", findings.iter().map(Diagnostic::to_string).collect::<Vec<_>>().join("\n"))
    });
    Hub::start(plan, DataDir::open(data.join("data")).unwrap()).await.unwrap()
}

/// Starts a subscriber that shows each message as a line of JSON.
async fn listen(mosquitto: &Mosquitto, filter: &str) -> Option<Started> {
    let program = find(Peer::MosquittoSub)?;
    let port = mosquitto.port().to_string();
    let mut command = Command::new("stdbuf");
    command.args(["-oL", text(&program), "-h", "127.0.0.1", "-p", &port, "-V", "5", "-q", "2", "-d"]);
    let mut subscriber = start(command.args(["-t", filter, "-F", "> %j"]));
    subscriber.line_with("Subscribed").await;
    Some(subscriber)
}

#[track_caller]
fn assert_whole(line: &str, topic: &str, payload: &str, qos: u8) {
    let message = [
        format!(r#""topic":"{topic}""#),
        format!(r#""payload":"{payload}""#),
        format!(r#""qos":{qos}"#),
        r#""message-expiry-interval":"#.to_owned(),
    ];
    for part in message.iter().map(String::as_str).chain(SHOWN.iter().copied()) {
        assert!(line.contains(part), "{part} is not in {line}");
    }
}

#[tokio::test]
async fn birth_and_close_frame_a_clean_run_and_no_will_follows() {
    let Some(mosquitto) = Mosquitto::start().await else { return };
    let Some(mut subscriber) = listen(&mosquitto, "status/#").await else { return };
    let data = tempfile::tempdir().unwrap();
    let port = mosquitto.port();
    let project = format!(
        "[broker]\nenabled = false\n[connector.a]\nurl = \"mqtt://127.0.0.1:{port}\"\n\
         will = {{ topic = \"status/will\", payload = \"died\" }}\n\
         birth = {{ topic = \"status/birth\", payload = \"here\", qos = 1, {PROPERTIES} }}\n\
         close = {{ topic = \"status/close\", payload = \"gone\", qos = 2, {PROPERTIES} }}\n"
    );
    for _ in 0..2 {
        let hub = hub(&project, data.path()).await;
        assert_whole(&subscriber.line_with("> ").await, "status/birth", "here", 1);
        soon("the hub to stop", hub.stop(Duration::from_secs(5))).await;
        // A will would come between this and the birth of the next round.
        assert_whole(&subscriber.line_with("> ").await, "status/close", "gone", 2);
    }
}

#[tokio::test]
async fn the_will_comes_when_the_hub_dies_and_a_delayed_one_later() {
    const DELAY: Duration = Duration::from_secs(2);
    let Some(mosquitto) = Mosquitto::start().await else { return };
    let Some(mut subscriber) = listen(&mosquitto, "status/#").await else { return };
    let data = tempfile::tempdir().unwrap();
    let connector = |name: &str, delay_s: u64| {
        format!(
            "[connector.{name}]\nurl = \"mqtt://127.0.0.1:{}\"\nsession = \"durable\"\nsession_expiry_s = 600\n\
             birth = {{ topic = \"status/birth\", payload = \"{name}\" }}\n\
             will = {{ topic = \"status/{name}\", payload = \"died\", qos = 1, delay_s = {delay_s}, {PROPERTIES} }}\n",
            mosquitto.port()
        )
    };
    let later = connector("later", DELAY.as_secs());
    let hub = hub(&format!("[broker]\nenabled = false\n{}{later}", connector("now", 0)), data.path()).await;
    for _ in 0..2 {
        subscriber.line_with(r#""topic":"status/birth""#).await;
    }
    let died = Instant::now();
    drop(hub);
    assert_whole(&subscriber.line_with("> ").await, "status/now", "died", 1);
    assert_whole(&subscriber.line_with("> ").await, "status/later", "died", 1);
    // Mosquitto looks once a second, on a clock of whole seconds.
    assert!(died.elapsed() > DELAY - Duration::from_millis(1_100), "{:?}", died.elapsed());
}

#[tokio::test]
async fn what_is_retained_of_them_is_there_for_who_comes_later() {
    let Some(mosquitto) = Mosquitto::start().await else { return };
    let Some(mut live) = listen(&mosquitto, "status/#").await else { return };
    let data = tempfile::tempdir().unwrap();
    for retain in ["", ", retain = true"] {
        let say = |what: &str| format!("{what} = {{ topic = \"status/{what}\", payload = \"x\"{retain} }}\n");
        let project = format!(
            "[broker]\nenabled = false\n[connector.a]\nurl = \"mqtt://127.0.0.1:{}\"\n{}{}{}",
            mosquitto.port(),
            say("will"),
            say("birth"),
            say("close")
        );
        let clean = hub(&project, data.path()).await;
        live.line_with("\"topic\":\"status/birth\"").await;
        soon("the hub to stop", clean.stop(Duration::from_secs(5))).await;
        live.line_with("\"topic\":\"status/close\"").await;
        let killed = hub(&project, data.path()).await;
        live.line_with("\"topic\":\"status/birth\"").await;
        drop(killed);
        live.line_with("\"topic\":\"status/will\"").await;
    }
    let mut later = listen(&mosquitto, "status/#").await.unwrap();
    let mut kept = Vec::new();
    for _ in 0..3 {
        let line = later.line_with("> ").await;
        assert!(line.contains("\"retain\":1"), "{line}");
        kept.extend(
            ["will", "birth", "close"].into_iter().filter(|what| line.contains(&format!("status/{what}"))),
        );
    }
    kept.sort_unstable();
    assert_eq!(kept, ["birth", "close", "will"]);
}
