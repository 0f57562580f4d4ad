//! Each setting under `tls` of a connector, against servers that show whether it works.
#![expect(clippy::unwrap_used, clippy::panic, reason = "what goes wrong in a helper fails its test")]

use std::path::Path;
use std::time::Duration;

use crosspoint_client::QoS;
use crosspoint_hub::config::plan::{ConnectorPlan, MqttPlan};
use crosspoint_hub::config::{Diagnostic, load};
use crosspoint_hub::{DataDir, Hub, connect};
use crosspoint_net::{DialError, TlsCause, dial};
use interop::{
    Authority, DEADLINE, Mosquitto, OurClient, Peer, client_options, find, run, soon, start, text,
};
use tokio::process::Command;

/// Reads a connector `it` at this port with these settings of TLS, whose files lie in the folder of an authority.
fn connector(authority: &Authority, port: u16, tls: &str) -> (MqttPlan, crosspoint_hub::config::Plan) {
    let project = format!(
        "[broker]\nenabled = false\n[connector.plain]\nurl = \"mqtt://127.0.0.1:1\"\nenabled = false\n\
         [connector.it]\nurl = \"mqtts://localhost:{port}\"\nsession = \"clean\"\n[connector.it.tls]\n{tls}\n"
    );
    let path = authority.folder().join("crosspoint.toml");
    std::fs::write(&path, project).unwrap();
    let (plan, _) = load(&path, None).unwrap_or_else(|findings| {
        panic!("{}", findings.iter().map(Diagnostic::to_string).collect::<Vec<_>>().join("\n"))
    });
    let Some(ConnectorPlan::Mqtt(mqtt)) = plan.connectors.get("it") else { panic!("no connector") };
    ((**mqtt).clone(), plan)
}

/// Dials as a connector with these settings does, and tells what became of TLS.
async fn reach(authority: &Authority, port: u16, tls: &str) -> Result<(), TlsCause> {
    let (mqtt, _) = connector(authority, port, tls);
    match soon("a stream", dial(&connect::dial_options(&mqtt, mqtt.addresses.first().unwrap()))).await {
        Ok(_) => Ok(()),
        Err(DialError::Tls { cause, .. }) => Err(cause),
        Err(other) => panic!("not of TLS: {other}"),
    }
}

async fn openssl(folder: &Path, command: &str) -> bool {
    let Some(openssl) = find(Peer::OpenSsl) else { return false };
    let mut openssl = Command::new(openssl);
    openssl.current_dir(folder).args(command.split_whitespace());
    run(&mut openssl, b"", DEADLINE).await.succeeded();
    true
}

/// Mosquitto wants a client certificate, and lets in whoever has one, in whatever form the connector was given it.
#[tokio::test]
async fn a_client_certificate_opens_mosquitto_from_every_form() {
    let Some(mosquitto) = Mosquitto::start().await else { return };
    let authority = &mosquitto.authority;
    let folder = authority.folder();
    authority.sign("gateway");
    for command in [
        "pkcs12 -export -inkey gateway.key -in gateway.pem -passout pass:geheim -out gateway.p12",
        "pkcs12 -export -legacy -inkey gateway.key -in gateway.pem -passout pass:geheim -out old.p12",
        "pkcs8 -topk8 -v2 aes-256-cbc -in gateway.key -passout pass:geheim -out sealed.key",
        "pkey -traditional -aes-128-cbc -in gateway.key -passout pass:geheim -out traditional.key",
        "x509 -in gateway.pem -outform der -out gateway.der",
        "x509 -in ca.pem -outform der -out ca.der",
        "crl2pkcs7 -nocrl -certfile ca.pem -out ca.p7b",
    ] {
        if !openssl(folder, command).await {
            return;
        }
    }
    std::fs::write(folder.join("password"), "geheim\n").unwrap();
    let password = "key_password = \"file:password\"\n";
    for (number, tls) in [
        "ca = \"ca.pem\"\ncertificate = \"gateway.pem\"\nkey = \"gateway.key\"\n".to_owned(),
        format!("ca = \"ca.p7b\"\npkcs12 = \"gateway.p12\"\n{password}"),
        format!("ca = \"ca.der\"\npkcs12 = \"old.p12\"\n{password}"),
        format!("ca = \"ca.der\"\ncertificate = \"gateway.der\"\nkey = \"sealed.key\"\n{password}min_version = \"1.3\"\n"),
        format!("ca = [\"auto\", \"ca.pem\"]\ncertificate = \"gateway.pem\"\nkey = \"traditional.key\"\n{password}"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut judge = OurClient::connect(client_options(mosquitto.port())).await;
        judge.subscribe("birth", QoS::AtMostOnce).await;
        let (_, plan) = connector(
            authority,
            mosquitto.tls_port(),
            &format!("{tls}[connector.it.birth]\ntopic = \"birth\"\npayload = \"{number}\""),
        );
        let data = tempfile::tempdir().unwrap();
        let hub = Hub::start(plan, DataDir::open(data.path().join("data")).unwrap()).await.unwrap();
        assert_eq!(judge.next().await.1, number.to_string().into_bytes(), "{tls}");
        hub.stop(Duration::from_secs(5)).await;
        judge.close().await;
    }
}

#[tokio::test]
async fn chain_skips_the_host_name_and_nothing_else() {
    let Some(mosquitto) = Mosquitto::start().await else { return };
    let (authority, port) = (&mosquitto.authority, mosquitto.tls_port());
    std::fs::copy(Authority::new().file(), authority.folder().join("stranger.pem")).unwrap();
    let elsewhere = "server_name = \"elsewhere.example\"\n";
    let of = |ca: &str, verify: &str| format!("ca = \"{ca}\"\nverify = \"{verify}\"\n{elsewhere}");
    let wrong_host = reach(authority, port, &of("ca.pem", "full")).await;
    assert!(matches!(wrong_host, Err(TlsCause::WrongHost { .. })), "{wrong_host:?}");
    assert_eq!(reach(authority, port, &of("ca.pem", "chain")).await, Ok(()));
    let stranger = reach(authority, port, &of("stranger.pem", "chain")).await;
    assert_eq!(stranger, Err(TlsCause::OtherAuthorityKey), "it has the same name");
    assert_eq!(reach(authority, port, &of("stranger.pem", "none")).await, Ok(()));
    assert_eq!(reach(authority, port, "ca = \"auto\"").await, Err(TlsCause::UnknownAuthority));
    assert_eq!(reach(authority, port, "ca = [\"auto\", \"ca.pem\"]").await, Ok(()));
    assert_eq!(reach(authority, port, "").await, Err(TlsCause::UnknownAuthority), "the system knows it");
}

#[tokio::test]
async fn a_server_older_than_min_version_is_refused() {
    let Some(program) = find(Peer::OpenSsl) else { return };
    let authority = Authority::new();
    let identity = authority.sign("server");
    let mut server = Command::new(program);
    server.args(["s_server", "-accept", "127.0.0.1:0", "-tls1_2", "-www"]);
    server.args(["-cert", text(&identity.certificate), "-key", text(&identity.key)]);
    let mut server = start(&mut server);
    let line = server.line_with("ACCEPT ").await;
    let port: u16 = line.rsplit(':').next().unwrap().trim().parse().unwrap();
    let refused = reach(&authority, port, "ca = \"ca.pem\"\nmin_version = \"1.3\"").await;
    assert_eq!(refused, Err(TlsCause::NothingInCommon));
    assert_eq!(reach(&authority, port, "ca = \"ca.pem\"").await, Ok(()));
    server.kill().await;
}
