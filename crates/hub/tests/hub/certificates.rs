//! Certificates that are renewed while everything runs: nobody is cut, and nothing is lost.

use crosspoint_hub::config::{self, ListenerChange};
use crosspoint_hub::{Purpose, Standing};
use crosspoint_net::{Certificates, DialOptions, Pem, Stream, TlsClientOptions, Transport, dial};
use crosspoint_protocol::QoS;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::*;

/// An authority, and what it signs.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Returns the settings of a certificate under a new key.
    fn sign(&self, name: &str) -> String {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_after = date_time_ymd(2999, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        format!("certificate = '''\n{certificate}'''\nkey = '''\n{}'''\n", key.serialize_pem())
    }
}

fn listener(tls: &str) -> String {
    format!(
        "[broker.listener.main]\nbind = \"127.0.0.1:0\"\ntransport = \"tls\"\n[broker.listener.main.tls]\n{tls}\n"
    )
}

async fn connect(port: u16, authority: &Authority) -> Stream {
    let tls = TlsClientOptions::default().authority(Pem::inline(&authority.pem));
    let mut stream = soon(dial(&DialOptions::new(Transport::Tls, "localhost", port).tls(tls))).await.unwrap();
    // CONNECT of MQTT 3.1.1, clean, without an identifier; then CONNACK.
    stream.write_all(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00").await.unwrap();
    let mut answer = [0; 4];
    soon(stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(answer, *b"\x20\x02\x00\x00");
    stream
}

async fn ping(stream: &mut Stream) {
    stream.write_all(b"\xc0\x00").await.unwrap();
    let mut answer = [0; 2];
    soon(stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(answer, *b"\xd0\x00");
}

fn presented(stream: &Stream) -> String {
    let chain: Vec<u8> = stream.peer().tls().unwrap().certificates()[0].to_vec();
    Certificates::read(&chain).unwrap().facts().next().unwrap().subject
}

#[tokio::test]
async fn a_listener_presents_a_new_certificate_to_new_connections_and_keeps_the_old_ones() {
    let (authority, devices) = (Authority::new("authority"), Authority::new("devices"));
    let mut running = Running::start(&listener(&authority.sign("first"))).await;
    let port = running.hub.listening()[0].address.port();
    let mut old = connect(port, &authority).await;
    assert_eq!(presented(&old), "first");

    let changes = running.apply(&listener(&authority.sign("second"))).await;
    assert_eq!(changes, "~ renew     listener main\n");
    assert_eq!(running.hub.listening()[0].address.port(), port);
    let mut new = connect(port, &authority).await;
    assert_eq!(presented(&new), "second");
    ping(&mut old).await;
    ping(&mut new).await;

    // Whether clients need a certificate is no renewal: those that have none are not to stay.
    let asking = format!("{}ca = '''\n{}'''\n", authority.sign("third"), devices.pem);
    let plan = |text: &str| config::parse(text, "crosspoint.toml", None).unwrap().0;
    let change = config::diff(running.hub.plan(), &plan(&listener(&asking))).listeners["main"];
    assert_eq!(change, ListenerChange::Restart);
    let renewed = format!("{asking}min_version = \"1.3\"");
    let change = config::diff(&plan(&listener(&asking)), &plan(&listener(&renewed))).listeners["main"];
    assert_eq!(change, ListenerChange::Restart);
    running.stop().await;
}

/// The broker gets a certificate of another authority. The connector learns of that first, tries it, and stays where it is
/// until it works.
#[tokio::test]
async fn a_connector_tries_new_authorities_beside_and_loses_nothing() {
    let (one, two) = (Authority::new("one"), Authority::new("two"));
    let source = Remote::start().await;
    let mut far = Running::start(&listener(&one.sign("broker"))).await;
    let port = far.hub.listening()[0].address.port();
    let project = |authorities: &[&Authority]| {
        let ca: Vec<String> =
            authorities.iter().map(|authority| format!("'''\n{}'''", authority.pem)).collect();
        let far = format!(
            "[connector.far]\nurl = \"mqtts://localhost:{port}\"\nclient_id = \"us\"\nreconnect_min_ms = 100\n\
             reconnect_max_ms = 200\ntls.ca = [{}]\n",
            ca.join(", ")
        );
        [NO_BROKER, &connector("a", source.port()), &far, &numbers("a", "far")].concat()
    };
    let mut running = Running::start(&project(&[&one])).await;
    source.subscribed(1).await;
    until(|| running.is_connected("far")).await;

    running.apply(&project(&[&two])).await;
    let standing = || running.hub.status()["far"].credentials.clone().unwrap_or_default();
    until(|| standing().contains("do not work")).await;
    assert!(standing().contains("signed by an authority that is not trusted here"), "{}", standing());
    source.publish_numbers(0..10, QoS::AtLeastOnce);
    until(|| running.outbox("far").confirmed == 10).await;

    running.apply(&project(&[&one, &two])).await;
    assert_eq!(soon(running.hub.credentials_work()).await, "far");
    soon(running.hub.use_credentials("far")).await;
    until(|| running.is_connected("far")).await;
    far.apply(&listener(&two.sign("broker anew"))).await;
    source.publish_numbers(10..20, QoS::AtLeastOnce);
    until(|| running.outbox("far").confirmed == 20).await;

    let used = running.hub.certificates();
    let told: Vec<_> =
        used.iter().map(|used| (used.user.as_str(), used.purpose, used.facts.subject.as_str())).collect();
    assert_eq!(
        told,
        [("connector.far", Purpose::Trusted, "one"), ("connector.far", Purpose::Trusted, "two")]
    );
    let used = far.hub.certificates();
    assert_eq!((used[0].user.as_str(), used[0].purpose), ("broker.listener.main", Purpose::Presented));
    assert!(matches!(used[0].standing, Standing::Valid { days_left: 300_000.. }), "{:?}", used[0]);
    running.stop().await;
    far.stop().await;
}

#[tokio::test]
async fn a_broker_that_is_not_checked_is_loud_at_every_start() {
    let text = |verify: &str| {
        let url = "url = \"mqtts://localhost:1\"\n";
        [NO_BROKER, "[connector.far]\n", url, &format!("tls.verify = \"{verify}\"\n")].concat()
    };
    let count = || logged().lines().filter(|line| line.contains("certificate is not checked")).count();
    let mut running = Running::start(&text("none")).await;
    assert_eq!(count(), 1, "{}", logged());
    running.apply(&text("chain")).await;
    assert_eq!(count(), 1);
    running.apply(&text("none")).await;
    assert_eq!(count(), 2);
    running.stop().await;
}
