//! Where the programs of others are.

use std::env;
use std::path::{Path, PathBuf};

/// A program that was written by others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// The broker of Eclipse Mosquitto.
    Mosquitto,
    /// Its publisher.
    MosquittoPub,
    /// Its subscriber.
    MosquittoSub,
    /// What makes its password files.
    MosquittoPasswd,
    /// The C compiler of the system, with what plugins of mosquitto are built with.
    MosquittoPlugins,
    /// The command of OpenSSL, which makes the keys and certificates that people have.
    OpenSsl,
    /// A proxy that speaks HTTP.
    Tinyproxy,
    /// A proxy that speaks SOCKS5.
    Microsocks,
    /// NATS with its MQTT listener.
    NatsServer,
    /// RabbitMQ, with its MQTT plugin.
    RabbitMq,
    /// What tells the nodes of Erlang where each other are.
    Epmd,
    /// ActiveMQ, with its MQTT transport.
    ActiveMq,
    /// The broker of rumqtt.
    Rumqttd,
    /// Python with paho-mqtt.
    PahoMqtt,
    /// Node.js with mqtt.js.
    MqttJs,
}

impl Peer {
    /// Returns the name under which it is brought, and its program.
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Mosquitto => ("mosquitto", "mosquitto"),
            Self::MosquittoPub => ("mosquitto", "mosquitto_pub"),
            Self::MosquittoSub => ("mosquitto", "mosquitto_sub"),
            Self::MosquittoPasswd => ("mosquitto", "mosquitto_passwd"),
            Self::MosquittoPlugins => ("mosquitto-dev", "mosquitto-cc"),
            Self::OpenSsl => ("openssl", "openssl"),
            Self::Tinyproxy => ("tinyproxy", "tinyproxy"),
            Self::Microsocks => ("microsocks", "microsocks"),
            Self::NatsServer => ("nats-server", "nats-server"),
            Self::RabbitMq => ("rabbitmq", "rabbitmq-server"),
            Self::Epmd => ("rabbitmq", "epmd"),
            Self::ActiveMq => ("activemq", "activemq"),
            Self::Rumqttd => ("rumqttd", "rumqttd"),
            Self::PahoMqtt => ("paho-mqtt", "python"),
            Self::MqttJs => ("mqtt.js", "node"),
        }
    }
}

/// Returns the program of a peer; `None`, and a line that says so, when it is not there.
///
/// The gate says where in `CROSSPOINT_PEERS`, and in `CROSSPOINT_PEERS_LEFT_OUT` what it could not bring. Without it,
/// `target/peers` of this checkout is looked at, which `cargo xtask peers` fills.
///
/// # Panics
/// It is not there and `CI` is set: nothing may be left out there.
pub fn find(peer: Peer) -> Option<PathBuf> {
    let (name, program) = peer.names();
    let left_out = env::var("CROSSPOINT_PEERS_LEFT_OUT").unwrap_or_default();
    let path = folder().join("bin").join(program);
    if path.exists() && !left_out.split(',').any(|left_out| left_out == name) {
        return Some(path);
    }
    assert!(
        env::var_os("CI").is_none(),
        "in CI nothing may be left out, and `{name}` is: there is no {}; `cargo xtask peers` brings it",
        path.display()
    );
    println!("left out: {name}: there is no {}; `cargo xtask peers` brings it", path.display());
    None
}

/// Returns the `crosspoint` that was built beside the test, as `cargo test --workspace` does.
///
/// # Panics
/// It was not built.
pub fn our_program() -> PathBuf {
    // A test stands in `target/PROFILE/deps`.
    let test = env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join("crosspoint");
    assert!(path.exists(), "there is no {}: build it with `cargo build -p crosspoint`", path.display());
    path
}

fn folder() -> PathBuf {
    // Asked at run time: a target directory that outlives a checkout must not lead into another one.
    let package = env::var("CARGO_MANIFEST_DIR").unwrap();
    let root = Path::new(&package).parent().unwrap();
    env::var_os("CROSSPOINT_PEERS").map_or_else(|| root.join("target/peers"), PathBuf::from)
}
