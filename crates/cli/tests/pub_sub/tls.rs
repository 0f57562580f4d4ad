//! TLS: whom `pub` believes, and what it says when it does not.

use std::path::PathBuf;

use pkcs8::PrivateKeyInfoRef;
use pkcs8::pkcs5::pbes2::Parameters;
use tempfile::TempDir;

use crate::site::{Ended, Program, Site};

/// A broker whose certificate is for `localhost` only, and the files of it.
struct Secured {
    site: Site,
    certificate: PathBuf,
    _folder: TempDir,
}

impl Secured {
    fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        Self { site: Site::with_tls(&certificate, &key), certificate, _folder: folder }
    }

    fn publish(&self, host: &str, words: &[&str]) -> Ended {
        let port = self.site.port.to_string();
        let to = ["pub", "-h", host, "-p", port.as_str(), "-t", "a", "-q", "1", "-m", "x"];
        Program::new(&[&to, words].concat()).start().end()
    }
}

#[test]
fn a_certificate_that_is_named_is_believed_for_its_host_only() {
    let secured = Secured::start();
    let trusted = ["--cafile", secured.certificate.to_str().unwrap()];
    secured.publish("localhost", &trusted).printed();
    secured.publish("127.0.0.1", &trusted).failed(1, "TLS with 127.0.0.1", "");
    secured.publish("127.0.0.1", &[&trusted[..], &["--insecure"]].concat()).printed();
    let url = format!("mqtts://localhost:{}/a", secured.site.port);
    let by_url = Program::new(&[&["pub", "-L", &url, "-q", "1", "-m", "x"], &trusted[..]].concat());
    by_url.start().end().printed();
}

#[test]
fn a_certificate_of_nobody_is_not_believed_even_with_insecure() {
    let secured = Secured::start();
    let other = rcgen::generate_simple_self_signed(vec!["other".to_owned()]).unwrap().cert.pem();
    let file = secured.certificate.with_file_name("other.pem");
    std::fs::write(&file, other).unwrap();
    let words = ["--cafile", file.to_str().unwrap(), "--insecure"];
    secured.publish("localhost", &words).failed(1, "TLS with localhost", "");
}

#[test]
fn a_port_of_the_other_kind_is_named() {
    let secured = Secured::start();
    secured.publish("localhost", &[]).failed(1, "speaks TLS instead of MQTT", "add --cafile");
    let plain = Site::start();
    let words = ["-t", "a", "-m", "x", "--cafile", secured.certificate.to_str().unwrap()];
    plain.publish(&words).failed(1, "TLS with 127.0.0.1", "");
}

#[test]
fn a_certificate_file_that_is_not_there_is_named() {
    let plain = Site::start();
    let ended = plain.publish(&["-t", "a", "-m", "x", "--cafile", "/nowhere/ca.pem"]);
    ended.failed(1, "/nowhere/ca.pem", "");
}

#[test]
fn a_key_with_a_password_opens_with_it_alone() {
    let secured = Secured::start();
    let made = rcgen::generate_simple_self_signed(vec!["me".to_owned()]).unwrap();
    let (own, key) =
        (secured.certificate.with_file_name("own.pem"), secured.certificate.with_file_name("own.key"));
    std::fs::write(&own, made.cert.pem()).unwrap();
    let der = made.signing_key.serialize_der();
    let parameters = Parameters::generate_pbkdf2_sha256_aes256cbc(1_000, b"saltsalt", [7; 16]).unwrap();
    let info = PrivateKeyInfoRef::try_from(der.as_slice()).unwrap();
    std::fs::write(&key, info.encrypt_with_params(parameters, "open sesame").unwrap().to_bytes()).unwrap();
    let (right, wrong) = (key.with_extension("right"), key.with_extension("wrong"));
    std::fs::write(&right, "open sesame\n").unwrap();
    std::fs::write(&wrong, "open says me\n").unwrap();
    let own = own.to_str().unwrap();
    let given = |more: &[&str]| {
        let files = [
            "--cafile",
            secured.certificate.to_str().unwrap(),
            "--cert",
            own,
            "--key",
            key.to_str().unwrap(),
        ];
        secured.publish("localhost", &[&files[..], more].concat())
    };
    given(&["--key-password-from", &format!("file:{}", right.display())]).printed();
    given(&["--key-password-from", &format!("file:{}", wrong.display())]).failed(2, "own.key", "password");
    let closed = given(&[]);
    assert!(closed.stderr.contains("encrypted"), "{}", closed.stderr);
}
