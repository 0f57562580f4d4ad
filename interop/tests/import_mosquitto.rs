//! `import mosquitto` against the Mosquitto that the configuration is of: who came in there comes in here, who may read
//! and write what is the same, and a bridge carries the same messages.
#![expect(clippy::unwrap_used, reason = "what goes wrong in a helper fails its test")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crosspoint_client::{ClientOptions, Publication, QoS};
use crosspoint_hub::config::{Diagnostic, parse};
use crosspoint_hub::import::{Format, import};
use crosspoint_hub::{DataDir, Hub};
use interop::{DEADLINE, Mosquitto, OurClient, Peer, client_options, find, run, soon, text};
use tempfile::TempDir;
use tokio::process::Command;

/// User, password and whether it is right; an empty name is none.
const LOGINS: &[(&str, &str, &str)] = &[
    ("nobody", "", ""),
    ("admin", "admin", "admin-password"),
    ("admin with a wrong password", "admin", "admin-passwore"),
    ("admin without a password", "admin", ""),
    ("pbkdf2", "gateway", "päss wörd$:"),
    ("sha512", "old", "old-password"),
    ("sha512 with a wrong password", "old", "pbkdf2"),
    ("a name that is no user", "mallory", "admin-password"),
    ("without rules", "bare", "bare-password"),
];

/// What is published, and listened for.
const TOPICS: &[&str] = &[
    "weather/today",
    "plant/a",
    "plant/secret/a",
    "plant/secret",
    "devices/gateway/x",
    "devices/old/x",
    "devices/admin/x",
    "clients/gateway/status",
    "a/b/c",
    "a/x/c",
    "other",
    "both/ways",
    "hidden/gateway",
];

const ACL: &str = "\
# Clients without a name.
topic read weather/#

user admin
topic readwrite #

user gateway
topic readwrite plant/#
topic deny plant/secret/#
topic a/+/c

user old
topic read plant/#
topic write a/b/c

pattern readwrite devices/%u/#
pattern write clients/%u/status
pattern deny hidden/%u
pattern readwrite marker/%c
";

/// A password file that `mosquitto_passwd` made, and an ACL file.
async fn files() -> Option<TempDir> {
    let tool = find(Peer::MosquittoPasswd)?;
    let folder = tempfile::tempdir().unwrap();
    let passwords = folder.path().join("passwd");
    std::fs::write(&passwords, "").unwrap();
    for (name, password, kind) in [
        ("admin", "admin-password", "sha512-pbkdf2"),
        ("gateway", "päss wörd$:", "sha512-pbkdf2"),
        ("old", "old-password", "sha512"),
        ("bare", "bare-password", "sha512-pbkdf2"),
    ] {
        let mut command = Command::new(&tool);
        command.args(["-H", kind, "-b", text(&passwords), name, password]);
        run(&mut command, b"", DEADLINE).await.succeeded();
    }
    std::fs::write(folder.path().join("acl"), ACL).unwrap();
    Some(folder)
}

fn configuration(files: &Path, ports: [u16; 3], more: &str) -> String {
    let files = text(files);
    let [first, second, third] = ports;
    format!(
        "allow_anonymous true\npassword_file {files}/passwd\nacl_file {files}/acl\nmax_inflight_messages 100\n\
         listener {first} 127.0.0.1\nlistener {second} 127.0.0.1\nprotocol websockets\nlistener {third} 127.0.0.1\n{more}"
    )
}

/// A hub that runs what was imported.
struct Imported {
    hub: Hub,
    port: u16,
    _data: TempDir,
}

impl Imported {
    async fn start(files: &Path, more: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("mosquitto.conf");
        std::fs::write(&path, configuration(files, [1, 2, 3], more)).unwrap();
        let imported = import(Format::Mosquitto, &path, None).unwrap();
        let mut project = imported.text;
        for port in [1, 2, 3] {
            let written = format!("\"127.0.0.1:{port}\"");
            assert!(project.contains(&written), "{project}");
            project = project.replace(&written, "\"127.0.0.1:0\"");
        }
        let (plan, _) = parse(&project, "crosspoint.toml", None).unwrap_or_else(|findings| {
            panic!("{}\n{project}", findings.iter().map(Diagnostic::to_string).collect::<Vec<_>>().join("\n"))
        });
        let hub = Hub::start(plan, DataDir::open(data.path().join("data")).unwrap()).await.unwrap();
        let port = hub.listening().iter().find(|at| at.name == "tcp-1").unwrap().address.port();
        Self { hub, port, _data: data }
    }

    async fn stop(self) {
        soon("the hub to stop", self.hub.stop(Duration::from_secs(5))).await;
    }
}

fn options(port: u16, id: &str, (user, password): (&str, &str)) -> ClientOptions {
    let mut options = client_options(port).client_id(id);
    if !user.is_empty() {
        options = options.username(user);
    }
    if !password.is_empty() {
        options = options.password(password);
    }
    options
}

async fn publish(client: &OurClient, topic: &str, payload: &str) {
    // Whether it is refused is what the others are asked.
    let publication = Publication::new(topic, payload.as_bytes().to_vec()).unwrap().qos(QoS::AtLeastOnce);
    let _ = soon("an answer to a publication", client.client.publish(publication)).await;
}

/// Returns the topics of what comes until a marker.
async fn until(client: &mut OurClient, marker: &str) -> Vec<String> {
    let mut topics = Vec::new();
    loop {
        let (topic, ..) = client.next().await;
        if topic == marker {
            return topics;
        }
        topics.push(topic);
    }
}

/// What a login may do at a broker: nothing when it is not let in, else what it reads and writes.
type Rights = Option<(Vec<String>, Vec<String>)>;

async fn rights(port: u16) -> BTreeMap<&'static str, Rights> {
    let mut admin = OurClient::connect(options(port, "the-admin", ("admin", "admin-password"))).await;
    admin.subscribe("#", QoS::AtLeastOnce).await;
    let mut all = BTreeMap::new();
    for (number, (what, user, password)) in LOGINS.iter().enumerate() {
        let id = format!("client-{number}");
        let marker = format!("marker/{id}");
        let attempt = options(port, &id, (user, password));
        let is_let_in = ["nobody", "admin", "pbkdf2", "sha512", "without rules"].contains(what);
        if !is_let_in {
            let cause = OurClient::refused(attempt).await;
            assert!(cause.contains("uthori") || cause.contains("password"), "{what}: {cause}");
            all.insert(*what, None);
            continue;
        }
        let mut client = OurClient::connect(attempt).await;
        client.subscribe("#", QoS::AtLeastOnce).await;
        for topic in TOPICS {
            publish(&admin, topic, "read").await;
        }
        publish(&admin, &marker, "end").await;
        let read = until(&mut client, &marker).await;
        let own = until(&mut admin, &marker).await;
        assert_eq!(own.len(), TOPICS.len(), "{what}: the administrator reads everything: {own:?}");
        for topic in TOPICS {
            publish(&client, topic, "written").await;
        }
        publish(&client, &marker, "end").await;
        let written = until(&mut admin, &marker).await;
        client.close().await;
        all.insert(*what, Some((read, written)));
    }
    admin.close().await;
    all
}

#[tokio::test]
async fn the_same_clients_may_do_the_same() {
    let Some(files) = files().await else { return };
    let theirs = Mosquitto::start_of(|ports| configuration(files.path(), ports, "")).await;
    let Some(theirs) = theirs else { return };
    let there = rights(theirs.port()).await;
    let ours = Imported::start(files.path(), "").await;
    let here = rights(ours.port).await;
    ours.stop().await;
    assert_eq!(here, there);
    // The table tells apart what it should: somebody may something that another may not.
    let rights_of = |what: &str| there[what].clone().unwrap();
    assert_eq!(rights_of("nobody").0, ["weather/today"]);
    assert_eq!(rights_of("without rules"), (vec![], vec![]));
    assert_eq!(rights_of("pbkdf2").0, ["plant/a", "devices/gateway/x", "a/b/c", "a/x/c"]);
    assert_eq!(rights_of("sha512").1, ["devices/old/x", "a/b/c"]);
    assert_eq!(there["admin with a wrong password"], None);
}

/// What goes over a bridge, as both sides see it.
async fn over_the_bridge(local: u16, remote: u16) -> (Vec<String>, Vec<String>) {
    let mut here = OurClient::connect(options(local, "here", ("admin", "admin-password"))).await;
    let mut there = OurClient::connect(options(remote, "there", ("", ""))).await;
    here.subscribe("#", QoS::AtLeastOnce).await;
    there.subscribe("#", QoS::AtLeastOnce).await;
    // Only when a probe has come both ways does the bridge listen on both sides.
    reach(&here, &mut there, "plant/probe", "site1/plant/probe").await;
    reach(&there, &mut here, "site1/commands/probe", "commands/probe").await;
    reach(&here, &mut there, "both/probe", "both/probe").await;
    reach(&there, &mut here, "both/probe2", "both/probe2").await;
    publish(&here, "plant/begin", "x").await;
    publish(&there, "site1/commands/begin", "x").await;
    until(&mut there, "site1/plant/begin").await;
    until(&mut here, "commands/begin").await;

    publish(&here, "plant/1/a", "x").await;
    publish(&here, "elsewhere", "x").await;
    publish(&there, "site1/commands/1", "x").await;
    publish(&there, "commands/2", "x").await;
    publish(&here, "both/ours", "x").await;
    publish(&there, "both/theirs", "x").await;
    publish(&here, "plant/middle", "x").await;
    let mut at_remote = until(&mut there, "site1/plant/middle").await;
    publish(&there, "site1/commands/middle", "x").await;
    let mut at_local = until(&mut here, "commands/middle").await;
    // What would come back has had the way there and back until these are through.
    publish(&here, "plant/end", "x").await;
    at_remote.extend(until(&mut there, "site1/plant/end").await);
    publish(&there, "site1/commands/end", "x").await;
    at_local.extend(until(&mut here, "commands/end").await);
    // What each end has of its own markers before it began to look is a matter of luck.
    let is_meant = |topic: &String| !topic.contains("probe") && !topic.ends_with("/begin");
    at_remote.retain(is_meant);
    at_local.retain(is_meant);
    at_remote.sort();
    at_local.sort();
    here.close().await;
    there.close().await;
    (at_local, at_remote)
}

/// Publishes at one end until it comes out at the other.
async fn reach(from: &OurClient, to: &mut OurClient, topic: &str, arrives_as: &str) {
    soon("a message to come over the bridge", async {
        loop {
            publish(from, topic, "probe").await;
            let came = async { while to.next().await.0 != arrives_as {} };
            if tokio::time::timeout(Duration::from_millis(300), came).await.is_ok() {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_bridge_carries_the_same() {
    let Some(files) = files().await else { return };
    let Some(remote) = Mosquitto::start().await else { return };
    let bridge = format!(
        "connection up\naddress 127.0.0.1:{}\nbridge_protocol_version mqttv50\nnotifications false\nrestart_timeout 1\n\
         topic plant/# out 1 \"\" site1/\ntopic commands/# in 1 \"\" site1/\ntopic both/# both 1\n",
        remote.port()
    );
    let mut theirs = Mosquitto::start_of(|ports| configuration(files.path(), ports, &bridge)).await.unwrap();
    let there = over_the_bridge(theirs.port(), remote.port()).await;
    theirs.terminate().await;
    let ours = Imported::start(files.path(), &bridge).await;
    let here = over_the_bridge(ours.port, remote.port()).await;
    ours.stop().await;
    assert_eq!(here, there);
    let expected_at_local =
        ["both/ours", "both/theirs", "commands/1", "elsewhere", "plant/1/a", "plant/end", "plant/middle"];
    assert_eq!(there.0, expected_at_local);
}
