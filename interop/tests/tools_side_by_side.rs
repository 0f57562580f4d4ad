//! `crosspoint pub` and `sub` beside `mosquitto_pub` and `mosquitto_sub`: the same flags, the same output, the same exit
//! code. Wrong usage differs on purpose: there they end with 1, here with 2.
#![expect(clippy::unwrap_used, clippy::panic, reason = "what goes wrong in a helper fails its test")]

use std::path::PathBuf;

use crosspoint_client::QoS;
use interop::{DEADLINE, Finished, Mosquitto, OurClient, Peer, client_options, find, our_program, run};
use serde_json::Value;
use tokio::process::Command;

/// Both tools of a kind: that of others, and ours with its subcommand.
struct Pair {
    theirs: PathBuf,
    ours: &'static str,
    port: u16,
}

impl Pair {
    /// Runs both with the same flags and input: theirs first.
    async fn run(&self, words: &[&str], input: &[u8]) -> [Finished; 2] {
        [self.run_theirs(words, input).await, self.run_ours(words, input).await]
    }

    async fn run_theirs(&self, words: &[&str], input: &[u8]) -> Finished {
        run(self.at(&mut Command::new(&self.theirs), words), input, DEADLINE).await
    }

    async fn run_ours(&self, words: &[&str], input: &[u8]) -> Finished {
        let mut command = Command::new(our_program());
        command.arg(self.ours).env_remove("CROSSPOINT_ENV");
        run(self.at(&mut command, words), input, DEADLINE).await
    }

    fn at<'a>(&self, command: &'a mut Command, words: &[&str]) -> &'a mut Command {
        let address = format!("mqtt://127.0.0.1:{}/", self.port);
        if !words.contains(&"-L") {
            command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        }
        command.args(words.iter().map(|word| word.replace("URL:", &address)))
    }
}

/// Flags, what is on stdin, and the messages that come of it.
type Line<'a> = (&'a [&'a str], &'a [u8], &'a [&'a [u8]]);

async fn start() -> Option<(Mosquitto, Pair, Pair)> {
    let (publish, subscribe) = (find(Peer::MosquittoPub)?, find(Peer::MosquittoSub)?);
    let broker = Mosquitto::start_plain().await?;
    let port = broker.port();
    Some((broker, Pair { theirs: publish, ours: "pub", port }, Pair { theirs: subscribe, ours: "sub", port }))
}

/// Puts on the broker what each subscriber reads again.
async fn retain_samples(publish: &Pair) {
    let samples: [(&[&str], &[u8]); 3] = [
        (&["-t", "r/a", "-m", "one", "-q", "1"], b""),
        (&["-t", "r/bin", "-s", "-q", "1"], b"\0\x01\x7f\x10ab"),
        (
            &[
                "-V",
                "5",
                "-t",
                "r/b",
                "-m",
                "{\"x\": 1}",
                "-q",
                "2",
                "-D",
                "publish",
                "content-type",
                "application/json",
                "-D",
                "publish",
                "user-property",
                "k",
                "v",
                "-D",
                "publish",
                "correlation-data",
                "cd",
                "-D",
                "publish",
                "response-topic",
                "re",
                "-D",
                "publish",
                "payload-format-indicator",
                "1",
            ],
            b"",
        ),
    ];
    for (words, input) in samples {
        publish.run_theirs(&[words, &["-r"]].concat(), input).await.succeeded();
    }
}

#[tokio::test]
async fn sub_prints_and_ends_as_mosquitto_sub_does() {
    let Some((_broker, publish, subscribe)) = start().await else { return };
    retain_samples(&publish).await;
    let lines: &[&[&str]] = &[
        &["-t", "r/a", "-C", "1"],
        &["-t", "r/a", "-C", "1", "-v"],
        &["-t", "r/a", "-C", "1", "-N"],
        &["-t", "r/a", "-t", "r/a", "-C", "1"],
        &["-t", "r/#", "-C", "3", "-q", "1"],
        &["-t", "r/#", "-C", "3", "-v", "-V", "5"],
        &["-t", "r/#", "-C", "3", "-v", "-V", "311"],
        &["-t", "r/#", "-C", "3", "-v", "-V", "mqttv31"],
        &["-t", "r/#", "-T", "r/bin", "-C", "2", "-v"],
        &["-t", "r/bin", "-C", "1", "-F", "%x %X %l"],
        &["-t", "r/b", "-C", "1", "-V", "5", "-F", "%t|%q|%r|%l|%p|%C|%R|%D|%P|%F|%m|%A|%E|%S"],
        &["-t", "r/b", "-C", "1", "-V", "5", "-q", "2", "-F", "%t|%q|%r|%l|%p|%C|%R|%D|%P|%F|%E|%S"],
        &["-t", "r/a", "-C", "1", "-F", r"\t%t\n%%"],
        &["-t", "r/a", "-C", "1", "-F", "%10t|%-10t|%.2t|%05l|%5q"],
        &["-t", "r/a", "-C", "1", "-V", "5", "--retain-as-published", "-F", "%r"],
        &[
            "-t",
            "r/a",
            "-C",
            "1",
            "-k",
            "5",
            "-i",
            "me",
            "--will-topic",
            "w",
            "--will-payload",
            "p",
            "--will-qos",
            "1",
            "--will-retain",
        ],
        &["-t", "r/a", "-C", "1", "-V", "5", "-c", "-i", "kept", "-x", "10"],
        &["-t", "r/a", "-C", "1", "-V", "5", "-D", "connect", "receive-maximum", "3"],
        &["-L", "URL:r/a", "-C", "1"],
        &["-t", "$SYS/broker/version", "-C", "1"],
        &["-t", "nothing", "-E"],
        &["-t", "nothing", "-W", "1"],
        &["-t", "r/a", "-R", "-W", "1"],
        &["-t", "r/a", "--retained-only", "-W", "1"],
        &["-t", "r/a", "-U", "r/a", "-W", "1"],
    ];
    for words in lines {
        let [theirs, ours] = subscribe.run(words, b"").await;
        assert_eq!((ours.code, &ours.output), (theirs.code, &theirs.output), "{words:?}: {}", ours.errors);
    }
    for format in ["%j", "%J"] {
        let [theirs, ours] = subscribe.run(&["-t", "r/b", "-C", "1", "-V", "5", "-F", format], b"").await;
        assert_eq!(without_time(&ours), without_time(&theirs), "{format}");
    }
    for words in
        [&["-t", "a/#/b"][..], &[], &["-t", "a", "-q", "3"], &["-t", "a", "-W", "0"], &["-t", "a", "-c"]]
    {
        let [theirs, ours] = subscribe.run(words, b"").await;
        assert_eq!(
            (theirs.code, ours.code),
            (Some(1), Some(2)),
            "{words:?}: {} {}",
            theirs.errors,
            ours.errors
        );
    }
}

/// Returns a message as JSON, but for when it came.
fn without_time(finished: &Finished) -> Value {
    let mut message: Value =
        serde_json::from_str(&finished.output).unwrap_or_else(|_| panic!("{finished:?}"));
    assert!(message.as_object_mut().unwrap().remove("tst").is_some(), "{finished:?}");
    message
}

#[tokio::test]
async fn pub_sends_and_ends_as_mosquitto_pub_does() {
    let Some((broker, publish, _)) = start().await else { return };
    let mut reader = OurClient::connect(client_options(broker.port())).await;
    reader.subscribe("p", QoS::ExactlyOnce).await;
    let lines: &[Line<'_>] = &[
        (&["-t", "p", "-m", "x"], b"", &[b"x"]),
        (&["-t", "p", "-m", "-x"], b"", &[b"-x"]),
        (&["-t", "p", "-m", ""], b"", &[b""]),
        (&["-t", "p", "-n"], b"", &[b""]),
        (&["-t", "p", "-n", "-r"], b"", &[b""]),
        (&["-t", "p", "-s"], b"a\nb\n", &[b"a\nb\n"]),
        (&["-t", "p", "-l"], b"a\nb\n\nc", &[b"a", b"b", b"", b"c"]),
        (&["-t", "p", "-l", "-q", "1"], b"\n\n1\n", &[b"", b"", b"1"]),
        (&["-t", "p", "-l"], b"", &[]),
        (&["-t", "p", "-f", "Cargo.toml"], b"", &[include_bytes!("../Cargo.toml")]),
        (&["-t", "p", "-m", "x", "-q", "2", "-r"], b"", &[b"x"]),
        (&["-t", "p", "-m", "x", "-q", "1", "-V", "31"], b"", &[b"x"]),
        (&["-t", "p", "-m", "x", "--repeat", "3", "--repeat-delay", "0.01"], b"", &[b"x", b"x", b"x"]),
        (&["-t", "p", "-m", "x", "-M", "3", "-q", "1"], b"", &[b"x"]),
        (&["-L", "URL:p", "-m", "x"], b"", &[b"x"]),
        (
            &[
                "-t",
                "p",
                "-m",
                "x",
                "-V",
                "5",
                "-D",
                "publish",
                "content-type",
                "a",
                "-D",
                "publish",
                "message-expiry-interval",
                "60",
            ],
            b"",
            &[b"x"],
        ),
        (&["-t", "p", "-m", "x", "-V", "5", "-c", "-i", "me", "-x", "5"], b"", &[b"x"]),
    ];
    for (words, input, expected) in lines {
        for finished in publish.run(words, input).await {
            assert_eq!(
                (finished.code, finished.output.as_str()),
                (Some(0), ""),
                "{words:?}: {}",
                finished.errors
            );
        }
        // Both are heard, in whatever order; at QoS 0 nobody waits for the broker.
        let mut heard = Vec::new();
        for _ in 0..2 * expected.len() {
            heard.push(reader.next().await.1);
        }
        let mut both: Vec<Vec<u8>> =
            expected.iter().chain(*expected).map(|payload| payload.to_vec()).collect();
        heard.sort();
        both.sort();
        assert_eq!(heard, both, "{words:?}");
    }
    for words in [
        &["-t", "p/#", "-m", "x"][..],
        &["-t", "p"],
        &["-m", "x"],
        &["-t", "p", "-m", "x", "-n"],
        &["-t", "p", "-m", "x", "-q", "5"],
    ] {
        let [theirs, ours] = publish.run(words, b"").await;
        assert_eq!(
            (theirs.code, ours.code),
            (Some(1), Some(2)),
            "{words:?}: {} {}",
            theirs.errors,
            ours.errors
        );
    }
    assert_eq!(reader.close().await, 0);
}
