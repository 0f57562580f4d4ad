//! What goes wrong with TLS is told in plain words, on both sides.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails, in its helpers too"
)]

mod common;

use common::{Authority, Site, soon};
use crosspoint_net::{
    Certificates, ClientCertificates, DialError, DialOptions, LoadError, OpenError, Pem, Stage, Stream,
    TlsCause, TlsClientOptions, TlsOptionsError, TlsVersion, Transport, Verify, dial,
};
use rcgen::{ExtendedKeyUsagePurpose as Usage, date_time_ymd};
use rustls_pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Dials and opens at once; gives what became of each side.
async fn meet(site: &Site, options: &DialOptions) -> (Result<Stream, DialError>, Result<Stream, OpenError>) {
    tokio::join!(dial(options), site.open())
}

fn cause(result: Result<Stream, DialError>) -> TlsCause {
    match result {
        Err(DialError::Tls { cause, .. }) => cause,
        other => panic!("not an error of TLS: {other:?}"),
    }
}

async fn serving(identity: &common::Identity) -> Site {
    let server = identity.server();
    Site::with(Transport::Tls, |options| options.tls(server)).await
}

#[tokio::test]
async fn an_unknown_authority_is_named_on_both_sides() {
    let site = Site::new(Transport::Tls).await;
    let (client, server) = meet(&site, &site.dial.clone().tls(Authority::new().client())).await;
    assert_eq!(cause(client), TlsCause::UnknownAuthority);
    assert!(matches!(server, Err(OpenError::Tls(TlsCause::RefusedByPeer(_)))), "{server:?}");
}

#[tokio::test]
async fn an_authority_that_was_made_anew_is_recognised() {
    let site = serving(&Authority::named("site").sign("localhost", |_| {})).await;
    let dial = site.dial.clone().tls(Authority::named("site").client());
    assert_eq!(cause(meet(&site, &dial).await.0), TlsCause::OtherAuthorityKey);
}

#[tokio::test]
async fn the_wrong_host_comes_with_the_names_presented() {
    let authority = Authority::new();
    let site = serving(&authority.sign("broker.example", |_| {})).await;
    let wrong = site.dial.clone().tls(authority.client());
    let expected =
        TlsCause::WrongHost { expected: "localhost".into(), presented: vec!["broker.example".into()] };
    assert_eq!(cause(meet(&site, &wrong).await.0), expected);
    assert_eq!(expected.to_string(), "its certificate is not for localhost but for broker.example");

    let named = wrong.clone().tls(authority.client().server_name("broker.example"));
    let (client, server) = meet(&site, &named).await;
    client.unwrap();
    assert_eq!(server.unwrap().peer().tls().unwrap().server_name(), Some("broker.example"));
    let relaxed = wrong.tls(authority.client().verify(Verify::Chain));
    meet(&site, &relaxed).await.0.unwrap();
}

#[tokio::test]
async fn without_the_host_name_the_chain_is_still_checked() {
    let site = Site::new(Transport::Tls).await;
    let stranger = Authority::new().client();
    let chain = site.dial.clone().tls(stranger.clone().verify(Verify::Chain));
    assert_eq!(cause(meet(&site, &chain).await.0), TlsCause::UnknownAuthority);
    let nothing = site.dial.clone().tls(stranger.verify(Verify::None));
    meet(&site, &nothing).await.0.unwrap();
}

#[tokio::test]
async fn dates_are_checked_with_and_without_the_host_name() {
    let authority = Authority::new();
    let expired = authority.sign("localhost", |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    let future = authority.sign("localhost", |params| params.not_before = date_time_ymd(2999, 1, 1));
    for verify in [Verify::Full, Verify::Chain] {
        let site = serving(&expired).await;
        let dial = site.dial.clone().tls(authority.client().verify(verify));
        assert!(matches!(cause(meet(&site, &dial).await.0), TlsCause::Expired { days: Some(8_000..) }));
        let site = serving(&future).await;
        let dial = site.dial.clone().tls(authority.client().verify(verify));
        assert_eq!(cause(meet(&site, &dial).await.0), TlsCause::NotYetValid);
    }
}

#[tokio::test]
async fn a_certificate_for_clients_does_not_make_a_server() {
    let authority = Authority::new();
    let site =
        serving(&authority.sign("localhost", |params| params.extended_key_usages = vec![Usage::ClientAuth]))
            .await;
    let dial = site.dial.clone().tls(authority.client());
    assert_eq!(cause(meet(&site, &dial).await.0), TlsCause::WrongPurpose);
}

#[tokio::test]
async fn an_authority_presented_as_a_server_is_recognised() {
    let authority = Authority::new();
    let params = |params: &mut rcgen::CertificateParams| {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    };
    let site = serving(&authority.sign("localhost", params)).await;
    let dial = site.dial.clone().tls(authority.client());
    assert_eq!(cause(meet(&site, &dial).await.0), TlsCause::AuthorityAsPeer);
}

async fn demanding(clients: ClientCertificates, transport: Transport) -> Site {
    let authority = Authority::new();
    let server = authority.server("localhost").client_certificates(clients);
    let mut site = Site::with(transport, |options| options.tls(server)).await;
    site.dial = site.dial.clone().tls(authority.client());
    site.authority = authority;
    site
}

#[tokio::test]
async fn a_client_certificate_is_presented_when_it_is_required() {
    let devices = Authority::new();
    let site = demanding(ClientCertificates::Required(vec![devices.pem()]), Transport::Tls).await;
    let device = devices.sign("device-7", |_| {});
    let identity =
        site.authority.client().identity(Pem::inline(&device.certificate), Pem::inline(&device.key));
    let (client, server) = meet(&site, &site.dial.clone().tls(identity)).await;
    client.unwrap();
    assert_eq!(server.unwrap().peer().tls().unwrap().certificates().len(), 1);
}

/// On TLS 1.3 the server judges after the handshake: the first read tells.
#[tokio::test]
async fn a_missing_client_certificate_is_told_by_the_first_read() {
    let devices = Authority::new();
    let site = demanding(ClientCertificates::Required(vec![devices.pem()]), Transport::Tls).await;
    let (client, server) = meet(&site, &site.dial).await;
    assert!(matches!(server, Err(OpenError::Tls(TlsCause::NoClientCertificate))), "{server:?}");
    let error = soon(client.unwrap().read(&mut [0])).await.unwrap_err();
    assert_eq!(TlsCause::of(&error), Some(TlsCause::ClientCertificateRequired));
    assert_eq!(error.to_string(), "it requires a client certificate");
}

#[tokio::test]
async fn a_missing_client_certificate_fails_the_dial_over_websocket() {
    let devices = Authority::new();
    let site = demanding(ClientCertificates::Required(vec![devices.pem()]), Transport::Wss).await;
    assert_eq!(cause(meet(&site, &site.dial).await.0), TlsCause::ClientCertificateRequired);
}

#[tokio::test]
async fn an_optional_client_certificate_may_be_absent_but_not_foreign() {
    let devices = Authority::new();
    let site = demanding(ClientCertificates::Optional(vec![devices.pem()]), Transport::Tls).await;
    let (client, server) = meet(&site, &site.dial).await;
    client.unwrap();
    assert!(server.unwrap().peer().tls().unwrap().certificates().is_empty());
    let foreign = Authority::new().sign("stranger", |_| {});
    let identity =
        site.authority.client().identity(Pem::inline(&foreign.certificate), Pem::inline(&foreign.key));
    let (_, server) = meet(&site, &site.dial.clone().tls(identity)).await;
    assert!(matches!(server, Err(OpenError::Tls(TlsCause::UnknownAuthority))), "{server:?}");
}

#[tokio::test]
async fn the_application_protocol_is_agreed_on() {
    let authority = Authority::new();
    let server = authority.server("localhost").alpn("mqtt");
    let site = Site::with(Transport::Tls, |options| options.tls(server)).await;
    let (client, server) =
        meet(&site, &site.dial.clone().tls(authority.client().alpn("x").alpn("mqtt"))).await;
    for stream in [client.unwrap(), server.unwrap()] {
        assert_eq!(stream.peer().tls().unwrap().alpn(), Some("mqtt"));
    }
    let (client, _) = meet(&site, &site.dial.clone().tls(authority.client().alpn("other"))).await;
    assert_eq!(cause(client), TlsCause::NoCommonAlpn);
}

#[tokio::test]
async fn tls_spoken_to_a_plain_port_is_told() {
    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = plain.local_addr().unwrap().port();
    let tls = TlsClientOptions::default().verify(Verify::None);
    let options =
        DialOptions::new(Transport::Tls, "127.0.0.1", port).tls(tls).connect_timeout(common::DEADLINE);
    for (answer, expected) in
        [(&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], TlsCause::NotTls), (b"", TlsCause::Closed)]
    {
        let serve = async {
            let (mut tcp, _) = plain.accept().await.unwrap();
            let _ = tcp.read(&mut [0; 2048]).await.unwrap();
            tcp.write_all(answer).await.unwrap();
        };
        let (client, ()) = soon(async { tokio::join!(dial(&options), serve) }).await;
        assert_eq!(cause(client), expected);
        assert!(expected.hint().contains("encrypted"));
    }
}

#[tokio::test]
async fn plain_bytes_to_a_tls_port_are_told() {
    for transport in [Transport::Tls, Transport::Wss] {
        let site = Site::new(transport).await;
        let mut plain = tokio::net::TcpStream::connect(site.address()).await.unwrap();
        plain.write_all(b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03abc").await.unwrap();
        let error = site.open().await.unwrap_err();
        assert!(matches!(error, OpenError::NotTls(_)), "{error}");
    }
}

#[tokio::test]
async fn a_silent_peer_runs_out_of_time_in_the_handshake() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let options = DialOptions::new(Transport::Tls, "127.0.0.1", port)
        .tls(TlsClientOptions::default().verify(Verify::None))
        .connect_timeout(std::time::Duration::from_millis(300));
    let error = soon(dial(&options)).await.unwrap_err();
    assert!(matches!(error, DialError::TimedOut { stage: Stage::Tls, .. }), "{error}");

    let site = Site::new(Transport::Tls).await;
    let _silent = tokio::net::TcpStream::connect(site.address()).await.unwrap();
    let incoming = soon(site.listener.accept()).await.unwrap();
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_millis(200);
    let error = soon(incoming.open(&site.acceptor, deadline)).await.unwrap_err();
    assert!(matches!(error, OpenError::TimedOut(Stage::Tls)), "{error}");
}

/// Speaks TLS 1.2 and nothing newer, as a client, to a listener that wants 1.3; then it is the other way round.
#[tokio::test]
async fn an_older_version_than_is_wanted_is_refused_on_both_sides() {
    let authority = Authority::new();
    let only_1_2 = &[&rustls::version::TLS12];
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());

    let server = authority.server("localhost").version_min(TlsVersion::V1_3);
    let site = Site::with(Transport::Tls, |options| options.tls(server)).await;
    let old = rustls::ClientConfig::builder_with_provider(provider.clone());
    let old = old.with_protocol_versions(only_1_2).unwrap();
    let old = old.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    let connecting = async {
        let tcp = tokio::net::TcpStream::connect(site.address()).await.unwrap();
        let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
        tokio_rustls::TlsConnector::from(std::sync::Arc::new(old)).connect(name, tcp).await.map(|_| ())
    };
    let (client, server) = soon(async { tokio::join!(connecting, site.open()) }).await;
    assert!(client.is_err());
    assert!(matches!(server, Err(OpenError::Tls(TlsCause::NothingInCommon))), "{server:?}");

    let identity = authority.sign("localhost", |_| {});
    let certificates = Certificates::read(identity.certificate.as_bytes()).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let old = rustls::ServerConfig::builder_with_provider(provider).with_protocol_versions(only_1_2).unwrap();
    let old = old.with_no_client_auth().with_single_cert(certificates.as_der().to_vec(), key).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(old));
    for (version, is_met) in [(TlsVersion::V1_3, false), (TlsVersion::V1_2, true)] {
        let options = DialOptions::new(Transport::Tls, "localhost", port)
            .tls(authority.client().version_min(version))
            .connect_timeout(common::DEADLINE);
        let accepting = async { acceptor.accept(listener.accept().await.unwrap().0).await.map(|_| ()) };
        let (client, _) = soon(async { tokio::join!(dial(&options), accepting) }).await;
        match client {
            Ok(_) => assert!(is_met),
            refused => assert_eq!((cause(refused), is_met), (TlsCause::NothingInCommon, false)),
        }
    }
}

#[tokio::test]
async fn public_authorities_are_trusted_besides_the_named_ones_only() {
    let site = Site::new(Transport::Tls).await;
    let named = site.dial.clone().tls(site.authority.client().public_authorities());
    meet(&site, &named).await.0.unwrap();
    let unnamed = site.dial.clone().tls(TlsClientOptions::default().public_authorities());
    assert_eq!(cause(meet(&site, &unnamed).await.0), TlsCause::UnknownAuthority);
}

#[tokio::test]
async fn our_own_settings_are_told_apart_from_the_peers_faults() {
    let options = |tls| DialOptions::new(Transport::Tls, "127.0.0.1", 1).tls(tls);
    let broken = |tls: TlsClientOptions| async move {
        match dial(&options(tls)).await {
            Err(DialError::TlsOptions(error)) => error,
            other => panic!("not an error of the settings: {other:?}"),
        }
    };
    let authority = Authority::new();
    let (one, two) = (authority.sign("one", |_| {}), authority.sign("two", |_| {}));
    let mixed = authority.client().identity(Pem::inline(&one.certificate), Pem::inline(&two.key));
    let error = broken(mixed).await;
    assert!(matches!(&error, TlsOptionsError::Identity(LoadError::NotAPair { .. })));
    assert_eq!(
        error.to_string(),
        "the private key (EC on P-256) does not belong to the certificate \"rcgen self signed cert\" (EC on P-256)"
    );
    let missing = TlsClientOptions::default().authority(Pem::file("/no/such/ca.pem"));
    assert!(matches!(broken(missing).await, TlsOptionsError::Read { .. }));
    let name = authority.client().server_name("not a name");
    assert!(matches!(broken(name).await, TlsOptionsError::ServerName { .. }));
}
