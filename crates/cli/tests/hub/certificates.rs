//! Certificates that are renewed under a hub that runs: their files are written anew, and that is all.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crosspoint_net::{Certificates, DialOptions, Pem, Stream, TlsClientOptions, Transport, dial};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::support::{Up, WITHIN, folder, port, read_until, run, text};

const PROJECT: &str = "\
[console]
enabled = false
[broker.listener.main]
bind = \"127.0.0.1:0\"
transport = \"tls\"
tls = { certificate = \"certs/server.pem\", key = \"certs/server.key\" }
";

const DAY: Duration = Duration::from_secs(86_400);

/// An authority in a folder, and what it signs.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Signs a certificate, and returns it and its key.
    pub(crate) fn sign(&self, name: &str) -> (String, String) {
        self.sign_until(name, SystemTime::now() + 90 * DAY)
    }

    fn sign_until(&self, name: &str, end: SystemTime) -> (String, String) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_after = end.into();
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    async fn connect(&self, port: u16) -> Stream {
        let tls = TlsClientOptions::default().authority(Pem::inline(&self.pem));
        dial(&DialOptions::new(Transport::Tls, "localhost", port).tls(tls).connect_timeout(WITHIN))
            .await
            .unwrap()
    }

    /// Returns the name in the certificate that is presented now.
    async fn presented(&self, port: u16) -> String {
        let stream = self.connect(port).await;
        let certificate = stream.peer().tls().unwrap().certificates()[0].to_vec();
        Certificates::read(&certificate).unwrap().facts().next().unwrap().subject
    }
}

fn write(folder: &Path, name: &str, content: &str) {
    fs::write(folder.join("certs").join(name), content).unwrap();
}

#[test]
fn a_renewed_certificate_is_presented_and_one_that_does_not_fit_is_not() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (authority, folder) = (Authority::new(), folder(PROJECT));
    let folder = folder.path();
    fs::create_dir(folder.join("certs")).unwrap();
    let (certificate, key) = authority.sign("first");
    write(folder, "server.pem", &certificate);
    write(folder, "server.key", &key);
    let (up, printed) = Up::running(folder, &[]);
    let port = port(&printed, "mqtts://");
    assert_eq!(runtime.block_on(authority.presented(port)), "first");

    // The certificate comes before its key.
    let (certificate, key) = authority.sign("second");
    write(folder, "server.pem", &certificate);
    let log = read_until(&up.log, "what ran keeps running as it was");
    assert!(log.contains("does not belong to the certificate \"second\""), "{log}");
    assert_eq!(runtime.block_on(authority.presented(port)), "first");
    write(folder, "server.key", &key);
    let log = read_until(&up.log, "has been taken over");
    assert!(log.contains("New connections get the new certificates"), "{log}");
    assert_eq!(runtime.block_on(authority.presented(port)), "second");
    assert_eq!(up.stop("TERM").0, Some(0));
}

#[test]
fn status_shows_each_certificate_and_warns_of_one_that_expires() {
    let (authority, folder) = (Authority::new(), folder(PROJECT));
    fs::create_dir(folder.path().join("certs")).unwrap();
    let soon = SystemTime::now() + 12 * DAY + Duration::from_secs(3_600);
    let (certificate, key) = authority.sign_until("gateway", soon);
    write(folder.path(), "server.pem", &certificate);
    write(folder.path(), "server.key", &key);
    let (up, _) = Up::running(folder.path(), &[]);
    let said: serde_json::Value =
        serde_json::from_slice(&run(folder.path(), &["status", "--json"]).stdout).unwrap();
    let row = &said["certificates"][0];
    assert_eq!(
        (row["user"].as_str(), row["subject"].as_str()),
        (Some("broker.listener.main"), Some("gateway"))
    );
    assert_eq!(
        (row["standing"].as_str(), row["purpose"].as_str()),
        (Some("expires soon"), Some("presented"))
    );
    let seconds = soon.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(row["expires_wall_ms"].as_u64(), Some(seconds * 1_000));
    let shown = text(&run(folder.path(), &["status"]).stdout);
    assert!(
        shown.contains("broker.listener.main: the certificate \"gateway\" expires in 12 days ("),
        "{shown}"
    );
    assert!(shown.contains("next: renew certs/server.pem; the hub takes"), "{shown}");
    assert_eq!(up.stop("TERM").0, Some(0));
}

#[test]
fn check_says_what_a_file_is_and_which_certificates_expire() {
    let (authority, folder) = (Authority::new(), folder(PROJECT));
    fs::create_dir(folder.path().join("certs")).unwrap();
    let (certificate, key) = authority.sign("first");
    write(folder.path(), "server.pem", &key);
    write(folder.path(), "server.key", &key);
    let output = run(folder.path(), &["check"]);
    let said = text(&output.stderr);
    assert!(said.contains("certs/server.pem is a private key and no certificate"), "{said}");
    assert!(said.contains("help: name it as `key`, and its certificate as `certificate`"), "{said}");
    assert!(!said.contains(&key.lines().nth(1).unwrap()[..20]), "{said}");
    write(folder.path(), "server.pem", &certificate);
    assert_eq!(run(folder.path(), &["check"]).status.code(), Some(0));
}
