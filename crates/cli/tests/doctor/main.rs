//! `crosspoint doctor` as a person runs it.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: whatever goes wrong here fails the test that asked"
)]

mod proxy;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Output};

use crosspoint_broker::{Broker, BrokerOptions, ListenerOptions};
use crosspoint_net::{ListenOptions, Transport};
use serde_json::Value;

const EVERYTHING_WORKS: i32 = 0;
const SOMETHING_FAILED: i32 = 1;
const WRONG_USAGE: i32 = 2;

/// Runs `crosspoint doctor` in a folder, off the thread that runs the broker.
async fn doctor(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crosspoint"));
    command.arg("doctor").args(arguments).current_dir(folder).env_remove("CROSSPOINT_ENV");
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// Starts a broker that takes keep alives of 30 s.
async fn broker() -> (Broker, u16) {
    let listen = ListenOptions::new(Transport::Tcp, SocketAddr::from(([127, 0, 0, 1], 0)));
    let broker = Broker::builder()
        .options(BrokerOptions::default().keep_alive_max_s(30))
        .listener(ListenerOptions::new("tcp", listen).anonymous(true));
    let broker = broker.start().await.unwrap();
    let port = broker.address("tcp").unwrap().port();
    (broker, port)
}

fn project(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("crosspoint.toml"), text).unwrap();
    folder
}

fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test]
async fn a_screen_ends_with_cause_setting_and_next_step() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let folder = project(&format!(
        "[connector.plant]\nurl = \"mqtt://127.0.0.1:{port}\"\nusername = \"u\"\npassword = \"hunter2\"\n\
         [connector.off]\nurl = \"mqtt://127.0.0.1:1\"\nenabled = false\n"
    ));
    let output = doctor(folder.path(), &[]).await;
    let shown = text(&output);
    assert_eq!(output.status.code(), Some(SOMETHING_FAILED), "{shown}");
    let printed = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = printed.trim_end().lines().collect();
    let [.., cause, setting, next] = lines.as_slice() else { panic!("{shown}") };
    assert!(cause.starts_with("cause:") && cause.contains("[refused]"), "{shown}");
    assert_eq!(*setting, "setting: connector.plant.url = ...");
    assert!(next.starts_with("next:"), "{shown}");
    assert!(shown.contains("connector off is disabled"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[tokio::test]
async fn json_tells_programs_the_same() {
    let (broker, port) = broker().await;
    let url = format!("mqtt://127.0.0.1:{port}");
    let folder = tempfile::tempdir().unwrap();
    let output = doctor(folder.path(), &[&url, "--json"]).await;
    assert_eq!(output.status.code(), Some(EVERYTHING_WORKS), "{}", text(&output));
    let all = json(&output);
    assert_eq!((&all[0]["outcome"], &all[0]["address"]), (&"warned".into(), &url.as_str().into()));
    assert_eq!(all[0]["connector"], Value::Null, "it is in no project");
    assert_eq!(all[0]["conclusion"]["fault"], "keep-alive-too-high");
    assert_eq!(all[0]["conclusion"]["setting"]["value"], 30);
    let stages = all[0]["steps"].as_array().unwrap().iter().map(|step| step["stage"].as_str().unwrap());
    let expected =
        ["name", "tcp", "connect", "limits", "subscribe", "publish", "round-trip", "retained", "session"];
    assert!(stages.eq(expected), "{all:#}");
    broker.stop().await;
}

#[tokio::test]
async fn a_url_is_called_what_it_is() {
    let (broker, port) = broker().await;
    let url = format!("mqtt://127.0.0.1:{port}");
    let folder = tempfile::tempdir().unwrap();
    let warned = text(&doctor(folder.path(), &[&url]).await);
    assert_eq!(warned.lines().next(), Some(url.as_str()), "{warned}");
    assert!(warned.contains("\nsetting: keep_alive_s = 30\n"), "{warned}");
    assert!(!warned.contains("connector url"), "{warned}");
    broker.stop().await;
    let refused = text(&doctor(folder.path(), &[&url]).await);
    assert!(refused.contains("\nsetting: url = ...\n"), "{refused}");
    let cause = format!("\ncause:   127.0.0.1:{port} refuses connections [refused]\n");
    assert!(refused.contains(&cause), "{refused}");
}

#[tokio::test]
async fn fix_writes_the_setting_and_looks_again() {
    let (broker, port) = broker().await;
    let before = format!(
        "# my plant\n[connector.plant]\nurl = \"mqtt://127.0.0.1:{port}\" # here\nkeep_alive_s = 120 # long\n"
    );
    let folder = project(&before);
    let output = doctor(folder.path(), &["plant", "--fix", "--json"]).await;
    assert_eq!(output.status.code(), Some(EVERYTHING_WORKS), "{}", text(&output));
    assert_eq!(json(&output)[0]["outcome"], "passed", "{}", text(&output));
    assert!(text(&output).contains("written: connector.plant.keep_alive_s = 30"), "{}", text(&output));
    let after = std::fs::read_to_string(folder.path().join("crosspoint.toml")).unwrap();
    assert_eq!(after, before.replace("120", "30"));
    broker.stop().await;
}

#[tokio::test]
async fn fix_writes_nothing_that_sends_a_password_in_the_clear() {
    let (broker, port) = broker().await;
    let before = format!(
        "[connector.plant]\nurl = \"mqtts://127.0.0.1:{port}\"\nusername = \"u\"\npassword = \"hunter2\"\n"
    );
    let folder = project(&before);
    let output = doctor(folder.path(), &["plant", "--fix"]).await;
    assert_eq!(output.status.code(), Some(SOMETHING_FAILED), "{}", text(&output));
    assert!(text(&output).contains("[tls-to-plain]"), "{}", text(&output));
    assert!(text(&output).contains("nothing written"), "{}", text(&output));
    assert_eq!(std::fs::read_to_string(folder.path().join("crosspoint.toml")).unwrap(), before);
    broker.stop().await;
}

#[tokio::test]
async fn a_key_of_another_certificate_is_told_before_anything_is_tried() {
    let folder = project(
        "[connector.plant]\nurl = \"mqtts://127.0.0.1:1\"\n[connector.plant.tls]\ncertificate = \"own.pem\"\nkey = \"file:other.key\"\n",
    );
    let certificate = |name: &str| {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        std::fs::write(folder.path().join(format!("{name}.pem")), made.cert.pem()).unwrap();
        std::fs::write(folder.path().join(format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
    };
    certificate("own");
    certificate("other");
    let output = doctor(folder.path(), &[]).await;
    assert_eq!(output.status.code(), Some(WRONG_USAGE), "{}", text(&output));
    assert!(text(&output).contains("does not belong"), "{}", text(&output));
    let right = std::fs::read_to_string(folder.path().join("crosspoint.toml"))
        .unwrap()
        .replace("other.key", "own.key");
    std::fs::write(folder.path().join("crosspoint.toml"), right).unwrap();
    let output = doctor(folder.path(), &[]).await;
    assert_eq!(output.status.code(), Some(SOMETHING_FAILED), "{}", text(&output));
}

#[tokio::test]
async fn what_was_asked_wrongly_is_told_apart() {
    let folder = project("[connector.plant]\nurl = \"mqtt://127.0.0.1:1\"\n");
    for arguments in [
        &["nobody"][..],
        &["broker"],
        &["plant", "-u", "u"],
        &["http://127.0.0.1"],
        &["mqtt://127.0.0.1:1", "--fix"],
        &["--probe", "--fix"],
        &["--project", "none.toml"],
    ] {
        let output = doctor(folder.path(), arguments).await;
        assert_eq!(output.status.code(), Some(WRONG_USAGE), "{arguments:?}: {}", text(&output));
    }
}

#[tokio::test]
async fn a_message_that_comes_back_is_taken_when_it_comes() {
    let (broker, port) = broker().await;
    let url = format!("mqtt://127.0.0.1:{port}");
    let folder = tempfile::tempdir().unwrap();
    // A machine may stand still for a moment, but not each time for as long as the doctor is silent before it pings.
    let mut fastest = f64::MAX;
    for _ in 0..5 {
        let all = json(&doctor(folder.path(), &[&url, "--json"]).await);
        let steps = all[0]["steps"].as_array().unwrap();
        let step = steps.iter().find(|step| step["stage"] == "round-trip").unwrap();
        fastest = fastest.min(step["took_ms"].as_f64().unwrap());
        if fastest < 400.0 {
            break;
        }
    }
    assert!(fastest < 400.0, "a round trip took {fastest} ms");
    broker.stop().await;
}

#[tokio::test]
async fn what_is_typed_wrong_is_told_in_its_own_words() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, cause, next) in [
        (&["127.0.0.1:1883"][..], "neither the name of a connector nor a URL", "write mqtt://127.0.0.1:1883"),
        (
            &["mqtts://127.0.0.1:1", "--cafile", "nowhere.pem"][..],
            "--cafile nowhere.pem cannot be read",
            "name a file that is there",
        ),
    ] {
        let output = doctor(folder.path(), arguments).await;
        let shown = text(&output);
        assert_eq!(output.status.code(), Some(WRONG_USAGE), "{shown}");
        assert!(shown.contains(cause), "{shown}");
        assert!(shown.contains(&format!("next: {next}")), "{shown}");
        assert_eq!(shown.lines().count(), 2, "one cause and one next step: {shown}");
    }
}
