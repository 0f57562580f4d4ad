//! `mosquitto_pub` and `mosquitto_sub` against our broker: all versions, QoS, retained, wills, TLS, passwords.

use std::time::Duration;

use crosspoint_net::Transport;
use interop::{DEADLINE, Finished, OurBroker, Peer, Started, find, run, start, text, within};
use tokio::process::Command;

/// The versions by the names that the tools know.
const VERSIONS: [&str; 3] = ["mqttv31", "mqttv311", "mqttv5"];

/// Both tools, pointed at a broker.
struct Tools {
    publish: std::path::PathBuf,
    subscribe: std::path::PathBuf,
    port: String,
    more: Vec<String>,
}

impl Tools {
    fn find(broker: &OurBroker, transport: Transport) -> Option<Self> {
        let (publish, subscribe) = (find(Peer::MosquittoPub)?, find(Peer::MosquittoSub)?);
        Some(Self { publish, subscribe, port: broker.port(transport).to_string(), more: Vec::new() })
    }

    fn with(mut self, more: &[&str]) -> Self {
        self.more.extend(more.iter().map(|&one| one.to_owned()));
        self
    }

    fn command(&self, program: &std::path::Path, arguments: &[&str]) -> Command {
        // Into a pipe they write whole blocks, unless `stdbuf` tells them otherwise.
        let mut command = Command::new("stdbuf");
        // `localhost` is what the certificate says.
        command
            .args(["-oL", text(program), "-h", "localhost", "-p", &self.port])
            .args(&self.more)
            .args(arguments);
        command
    }

    async fn publish(&self, arguments: &[&str]) -> Finished {
        run(&mut self.command(&self.publish, arguments), b"", DEADLINE).await
    }

    /// Runs a subscriber to its end: what is retained or queued comes by itself.
    async fn subscribe(&self, arguments: &[&str]) -> Finished {
        run(&mut self.command(&self.subscribe, arguments), b"", DEADLINE).await
    }

    /// Starts a subscriber and waits until it is subscribed, which it says with `-d`.
    ///
    /// Messages are the lines that begin with `> `; the others come from `-d`.
    async fn start_subscriber(&self, arguments: &[&str]) -> Started {
        let mut command = self.command(&self.subscribe, arguments);
        let mut subscriber = start(command.args(["-d", "-F", "> %t %q %r %p"]));
        subscriber.line_with("Subscribed").await;
        subscriber
    }
}

#[tokio::test]
async fn every_version_and_qos_goes_to_every_version() {
    let broker = OurBroker::start().await;
    let Some(tools) = Tools::find(&broker, Transport::Tcp) else { return };
    for reading in VERSIONS {
        let mut subscriber = tools.start_subscriber(&["-V", reading, "-q", "2", "-t", "matrix/#"]).await;
        for writing in VERSIONS {
            for qos in ["0", "1", "2"] {
                let topic = format!("matrix/{writing}");
                tools.publish(&["-V", writing, "-q", qos, "-t", &topic, "-m", "21.5"]).await.succeeded();
                assert_eq!(subscriber.line_with("> ").await, format!("> {topic} {qos} 0 21.5"));
            }
        }
    }
    broker.stop().await;
}

#[tokio::test]
async fn ten_thousand_lines_arrive_in_their_order_at_each_qos() {
    const LINES: usize = 10_000;
    let broker = OurBroker::start().await;
    let Some(tools) = Tools::find(&broker, Transport::Tcp) else { return };
    let lines: Vec<String> = (0..LINES).map(|line| format!("line {line}")).collect();
    let input = lines.join("\n") + "\n";
    for qos in ["0", "1", "2"] {
        let mut subscriber = tools.start_subscriber(&["-q", qos, "-t", "lines"]).await;
        let mut publisher = tools.command(&tools.publish, &["-q", qos, "-t", "lines", "-l"]);
        let publishing = async { run(&mut publisher, input.as_bytes(), DEADLINE).await.succeeded() };
        let reading = async {
            for line in &lines {
                assert_eq!(subscriber.line_with("> ").await, format!("> lines {qos} 0 {line}"));
            }
        };
        within(Duration::from_secs(60), "all lines", async { tokio::join!(publishing, reading) }).await;
    }
    broker.stop().await;
}

#[tokio::test]
async fn a_retained_message_is_there_for_whoever_comes_later_until_it_is_cleared() {
    let broker = OurBroker::start().await;
    let Some(tools) = Tools::find(&broker, Transport::Tcp) else { return };
    for version in VERSIONS {
        tools.publish(&["-V", version, "-q", "1", "-r", "-t", "state/door", "-m", "open"]).await.succeeded();
        let read = ["-V", version, "-q", "1", "-t", "state/+", "-C", "1", "-W", "10", "-F", "%t %q %r %p"];
        assert_eq!(tools.subscribe(&read).await.succeeded(), "state/door 1 1 open\n");

        tools.publish(&["-V", version, "-q", "1", "-r", "-t", "state/door", "-n"]).await.succeeded();
        let mut subscriber = tools.start_subscriber(&["-V", version, "-q", "1", "-t", "state/+"]).await;
        tools.publish(&["-V", version, "-t", "state/end", "-m", "x"]).await.succeeded();
        assert_eq!(subscriber.line_with("> ").await, "> state/end 0 0 x");
    }
    broker.stop().await;
}

#[tokio::test]
async fn a_killed_subscriber_leaves_its_will_and_one_that_ends_does_as_it_says() {
    let broker = OurBroker::start().await;
    let Some(tools) = Tools::find(&broker, Transport::Tcp) else { return };
    let mut watcher = tools.start_subscriber(&["-q", "1", "-t", "wills/#"]).await;
    for version in VERSIONS {
        let topic = format!("wills/{version}");
        let will = ["--will-topic", &topic, "--will-payload", "died", "--will-qos", "1"];
        let dying = [&["-V", version, "-t", "x"], &will[..]].concat();

        // SIGTERM makes it say DISCONNECT, which takes the will back; with MQTT 5 it says 0x04, "with will message".
        tools.start_subscriber(&dying).await.terminate().await;
        if version == "mqttv5" {
            assert_eq!(watcher.line_with("> ").await, format!("> {topic} 1 0 died"));
        }
        tools.start_subscriber(&dying).await.kill().await;
        assert_eq!(watcher.line_with("> ").await, format!("> {topic} 1 0 died"));
        tools.publish(&["-q", "1", "-t", &topic, "-m", "next"]).await.succeeded();
        assert_eq!(watcher.line_with("> ").await, format!("> {topic} 1 0 next"));
    }
    broker.stop().await;
}

#[tokio::test]
async fn a_durable_session_gets_what_came_while_it_was_away() {
    let broker = OurBroker::start().await;
    let Some(tools) = Tools::find(&broker, Transport::Tcp) else { return };
    for version in VERSIONS {
        // With MQTT 5, `-c` asks for a session that never expires by itself.
        let session = ["-V", version, "-i", version, "-c", "-q", "2", "-t", "away"];
        tools.start_subscriber(&session).await.terminate().await;
        for message in ["one", "two", "three"] {
            tools.publish(&["-V", version, "-q", "2", "-t", "away", "-m", message]).await.succeeded();
        }
        let back = [&session[..], &["-C", "3", "-W", "10"]].concat();
        assert_eq!(tools.subscribe(&back).await.succeeded(), "one\ntwo\nthree\n");
    }
    broker.stop().await;
}

#[tokio::test]
async fn tls_works_with_the_right_authority_and_with_no_other() {
    let broker = OurBroker::start().await;
    let authority = broker.authority.file();
    let Some(tools) = Tools::find(&broker, Transport::Tls) else { return };
    let tools = tools.with(&["--cafile", text(&authority)]);
    let mut subscriber = tools.start_subscriber(&["-V", "mqttv5", "-q", "2", "-t", "sealed"]).await;
    tools.publish(&["-q", "2", "-t", "sealed", "-m", "hidden"]).await.succeeded();
    assert_eq!(subscriber.line_with("> ").await, "> sealed 2 0 hidden");

    let other = interop::Authority::new().file();
    let Some(stranger) = Tools::find(&broker, Transport::Tls) else { return };
    let stranger = stranger.with(&["--cafile", text(&other)]);
    let refused = stranger.publish(&["-t", "sealed", "-m", "x"]).await;
    assert_ne!(refused.code, Some(0), "{refused:?}");
    broker.stop().await;
}

#[tokio::test]
async fn only_the_right_password_gets_in() {
    let broker = OurBroker::for_user("alice", "correct horse").await;
    let Some(tools) = Tools::find(&broker, Transport::Tcp) else { return };
    for version in VERSIONS {
        let hello = ["-V", version, "-q", "1", "-t", "hello", "-m", "x"];
        let login = |words: &[&'static str]| [&hello[..], words].concat();
        tools.publish(&login(&["-u", "alice", "-P", "correct horse"])).await.succeeded();
        // The exit code is the reason code: 134 and 135 are MQTT 5's bad password and not authorised, 4 and 5 those of
        // the versions before.
        let [bad_password, not_authorised] = if version == "mqttv5" { [134, 135] } else { [4, 5] };
        let wrong = tools.publish(&login(&["-u", "alice", "-P", "wrong"])).await;
        assert_eq!(wrong.code, Some(bad_password), "{version}: {wrong:?}");
        let unknown = tools.publish(&login(&["-u", "bob", "-P", "correct horse"])).await;
        assert_eq!(unknown.code, Some(bad_password), "{version}: {unknown:?}");
        let anonymous = tools.publish(&hello).await;
        assert_eq!(anonymous.code, Some(not_authorised), "{version}: {anonymous:?}");
    }
    broker.stop().await;
}
