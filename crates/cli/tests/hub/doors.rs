//! Clients that speak something else than the listener at which they knock.

use std::io::Write;
use std::net::TcpStream;

use crate::certificates::Authority;
use crate::support::{Up, folder, port, read_until};

const PROJECT: &str = "\
[console]
enabled = false
[broker.listener.open]
bind = \"127.0.0.1:0\"
[broker.listener.web]
bind = \"127.0.0.1:0\"
transport = \"ws\"
[broker.listener.safe]
bind = \"127.0.0.1:0\"
transport = \"tls\"
tls = { certificate = \"server.pem\", key = \"server.key\" }
";

/// The start of a TLS handshake.
const TLS: &[u8] = &[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 3];

/// The start of a browser's request.
const HTTP: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// A CONNECT of MQTT 3.1.1.
const CONNECT: &[u8] = &[0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 30, 0, 1, b'x'];

#[test]
fn a_client_at_the_wrong_listener_is_named_for_what_it_speaks_with_the_right_one() {
    let site = folder(PROJECT);
    let (certificate, key) = Authority::new().sign("broker");
    std::fs::write(site.path().join("server.pem"), certificate).unwrap();
    std::fs::write(site.path().join("server.key"), key).unwrap();
    let (up, printed) = Up::running(site.path(), &[]);
    let (open, web, safe) = (port(&printed, "mqtt://"), port(&printed, "ws://"), port(&printed, "mqtts://"));
    for (at, says, sentence, mend) in [
        (
            open,
            TLS,
            "A client speaks TLS to a listener for plain MQTT.",
            format!("mqtts://127.0.0.1:{safe}, listener safe"),
        ),
        (
            open,
            HTTP,
            "A client speaks HTTP to a listener for plain MQTT.",
            format!("ws://127.0.0.1:{web}, listener web"),
        ),
        (
            safe,
            CONNECT,
            "A client speaks plain MQTT to a listener for MQTT over TLS.",
            format!("mqtt://127.0.0.1:{open}, listener open"),
        ),
        (
            safe,
            HTTP,
            "A client speaks HTTP to a listener for MQTT over TLS.",
            format!("ws://127.0.0.1:{web}, listener web"),
        ),
        (
            web,
            CONNECT,
            "A client speaks plain MQTT to a listener for WebSocket.",
            format!("mqtt://127.0.0.1:{open}, listener open"),
        ),
        (
            web,
            TLS,
            "A client speaks TLS to a listener for WebSocket.",
            "let it connect with ws:// here, or open a listener for wss://".to_owned(),
        ),
    ] {
        // What comes again and again is told once.
        for _ in 0..3 {
            TcpStream::connect(("127.0.0.1", at)).unwrap().write_all(says).unwrap();
        }
        let log = read_until(&up.log, sentence);
        let line = log.lines().last().unwrap();
        assert!(line.contains(&mend) && line.contains("WARN"), "no {mend:?} in {line}");
        assert_eq!(log.matches("A client speaks").count(), 1, "{log}");
        assert!(!log.contains("was cut off"), "{log}");
    }
    assert_eq!(up.stop("TERM").0, Some(0));
}
