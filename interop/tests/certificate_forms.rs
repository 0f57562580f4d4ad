//! Every form of key and certificate that OpenSSL makes is read, or named together with what converts it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "what goes wrong in a helper fails its test")]

use std::path::{Path, PathBuf};

use crosspoint_net::{Certificates, Identity, LoadError, PrivateKey};
use interop::{DEADLINE, Peer, find, run, text};
use tempfile::TempDir;
use tokio::process::Command;

/// OpenSSL in a folder, with a key of each kind in it.
struct Shop {
    openssl: PathBuf,
    folder: TempDir,
}

impl Shop {
    async fn open() -> Option<Self> {
        let shop = Self { openssl: find(Peer::OpenSsl)?, folder: tempfile::tempdir().unwrap() };
        shop.make("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.pem").await;
        shop.make("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ec.pem").await;
        shop.make("genpkey -algorithm ED25519 -out ed25519.pem").await;
        Some(shop)
    }

    /// Runs a command whose words have no blanks in them.
    async fn make(&self, command: &str) {
        let mut openssl = Command::new(&self.openssl);
        openssl.current_dir(self.folder.path()).args(command.split_whitespace());
        let done = run(&mut openssl, b"", DEADLINE).await;
        assert_eq!(done.code, Some(0), "openssl {command}: {}", done.errors);
    }

    fn file(&self, name: &str) -> Vec<u8> {
        let path: &Path = &self.folder.path().join(name);
        std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", text(path)))
    }

    fn key(&self, name: &str, password: Option<&str>) -> Result<PrivateKey, LoadError> {
        PrivateKey::read(&self.file(name), password.map(str::as_bytes))
    }
}

#[tokio::test]
async fn keys_of_every_form_are_the_same_key() {
    let Some(shop) = Shop::open().await else { return };
    for kind in ["rsa", "ec", "ed25519"] {
        let expected = shop.key(&format!("{kind}.pem"), None).unwrap();
        let mut forms = vec![
            ("pkey -outform der", None),
            ("pkcs8 -topk8 -v2 aes-256-cbc -passout pass:geheim", Some("geheim")),
            ("pkcs8 -topk8 -v2 aes-128-cbc -v2prf hmacWithSHA1 -passout pass:geheim", Some("geheim")),
            ("pkcs8 -topk8 -v2 des3 -passout pass:geheim", Some("geheim")),
            ("pkcs8 -topk8 -scrypt -passout pass:geheim", Some("geheim")),
            ("pkcs8 -topk8 -v2 aes-256-cbc -outform der -passout pass:geheim", Some("geheim")),
        ];
        // There is no older form of Ed25519.
        if kind != "ed25519" {
            forms.extend([
                ("pkey -traditional", None),
                ("pkey -traditional -outform der", None),
                ("pkey -traditional -aes-128-cbc -passout pass:geheim", Some("geheim")),
                ("pkey -traditional -aes-192-cbc -passout pass:geheim", Some("geheim")),
                ("pkey -traditional -aes-256-cbc -passout pass:geheim", Some("geheim")),
                ("pkey -traditional -des3 -passout pass:geheim", Some("geheim")),
            ]);
        }
        for (form, password) in forms {
            shop.make(&format!("{form} -in {kind}.pem -out form")).await;
            let key = shop.key("form", password).unwrap_or_else(|error| panic!("{kind}, {form}: {error}"));
            assert_eq!(key.kind(), expected.kind(), "{form}");
            shop.make(&format!("req -x509 -new -key {kind}.pem -subj /CN=it -out it.pem")).await;
            let certificate = Certificates::read(&shop.file("it.pem")).unwrap();
            Identity::pair(certificate, key).unwrap();
            if password.is_some() {
                let wrong = shop.key("form", Some("falsch")).unwrap_err();
                assert!(matches!(wrong, LoadError::WrongPassword { .. }), "{form}: {wrong}");
                let none = shop.key("form", None).unwrap_err();
                assert!(matches!(none, LoadError::PasswordNeeded { .. }), "{form}: {none}");
            }
        }
    }
    // It writes the curve before the key.
    shop.make("ecparam -name prime256v1 -genkey -out named.pem").await;
    assert_eq!(shop.key("named.pem", None).unwrap().kind(), "EC on P-256");
}

/// The command that the error names does what it says.
#[tokio::test]
async fn an_old_encryption_is_named_with_the_command_that_converts_it() {
    let Some(shop) = Shop::open().await else { return };
    let legacy = "-provider legacy -provider default";
    for (scheme, expected, provider) in
        [("PBE-SHA1-3DES", "PBES1, SHA1-3DES", ""), ("PBE-MD5-DES", "PBES1, MD5-DES", legacy)]
    {
        let topk8 =
            format!("pkcs8 -topk8 -v1 {scheme} -in ec.pem -out old.pem -passout pass:geheim {provider}");
        shop.make(&topk8).await;
        let error = shop.key("old.pem", Some("geheim")).unwrap_err();
        let said =
            format!("is an encrypted private key ({expected}), a way of encryption that is not known here");
        assert_eq!(error.to_string(), said);
        let command = error.hint().strip_prefix("convert it: openssl ").unwrap();
        let command = command.replace("-in KEY -out NEW.pem", "-in old.pem -out new.pem");
        shop.make(&format!("{command} -passin pass:geheim -passout pass:neu")).await;
        assert_eq!(shop.key("new.pem", Some("neu")).unwrap().kind(), "EC on P-256");
    }
}

#[tokio::test]
async fn keys_that_cannot_be_used_are_named_by_their_kind() {
    let Some(shop) = Shop::open().await else { return };
    for (making, expected) in [
        ("-algorithm EC -pkeyopt ec_paramgen_curve:P-521", "EC on P-521"),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1", "EC on secp256k1"),
        ("-algorithm ED448", "Ed448"),
        ("-algorithm X25519", "X25519 or X448, which cannot sign"),
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:1024", "RSA of this size"),
    ] {
        shop.make(&format!("genpkey {making} -out odd.pem")).await;
        let error = shop.key("odd.pem", None).unwrap_err();
        assert_eq!(error, LoadError::KeyKind { kind: expected.to_owned() });
    }
    shop.make("pkey -in ec.pem -pubout -out public.pem").await;
    assert_eq!(shop.key("public.pem", None).unwrap_err().to_string(), "is a public key and no private key");
}

#[tokio::test]
async fn certificates_come_out_of_every_form() {
    let Some(shop) = Shop::open().await else { return };
    shop.make("req -x509 -new -key ec.pem -subj /CN=one -out one.pem -days 90").await;
    shop.make("req -x509 -new -key rsa.pem -subj /CN=two -out two.pem -days 90").await;
    let both = "crl2pkcs7 -nocrl -certfile one.pem -certfile two.pem -out form";
    for (form, expected) in [
        ("x509 -in one.pem -out form", vec!["one"]),
        ("x509 -in one.pem -text -out form", vec!["one"]),
        ("x509 -in one.pem -outform der -out form", vec!["one"]),
        ("x509 -in one.pem -trustout -addtrust serverAuth -out form", vec!["one"]),
        (both, vec!["one", "two"]),
        (&format!("{both} -outform der"), vec!["one", "two"]),
    ] {
        shop.make(form).await;
        let read = Certificates::read(&shop.file("form")).unwrap_or_else(|error| panic!("{form}: {error}"));
        let found: Vec<String> = read.facts().map(|facts| facts.subject).collect();
        assert_eq!(found, expected, "{form}");
    }
    shop.make("req -new -key ec.pem -subj /CN=x -out form").await;
    let error = Certificates::read(&shop.file("form")).unwrap_err();
    assert_eq!(error.to_string(), "is a certificate request and no certificate");
}

#[tokio::test]
async fn pkcs12_is_read_as_new_and_old_programs_write_it() {
    let Some(shop) = Shop::open().await else { return };
    shop.make("req -x509 -new -key ec.pem -subj /CN=device -out device.pem").await;
    shop.make("req -x509 -new -key rsa.pem -subj /CN=authority -out ca.pem").await;
    let export = "pkcs12 -export -inkey ec.pem -in device.pem -certfile ca.pem -name device -out form";
    for (how, password) in [
        ("-passout pass:geheim", Some("geheim")),
        ("-legacy -passout pass:geheim", Some("geheim")),
        ("-certpbe PBE-SHA1-3DES -keypbe PBE-SHA1-3DES -macalg sha1 -passout pass:geheim", Some("geheim")),
        ("-certpbe NONE -passout pass:geheim", Some("geheim")),
        ("-passout pass:", None),
        ("-passout pass:", Some("")),
    ] {
        shop.make(&format!("{export} {how}")).await;
        let identity = Identity::read_pkcs12(&shop.file("form"), password.map(str::as_bytes));
        let identity = identity.unwrap_or_else(|error| panic!("{how}: {error}"));
        let found: Vec<String> = identity.certificates().facts().map(|facts| facts.subject).collect();
        assert_eq!(found, ["device", "authority"], "{how}");
        if password == Some("geheim") {
            let wrong = Identity::read_pkcs12(&shop.file("form"), Some(b"falsch")).unwrap_err();
            assert!(matches!(wrong, LoadError::WrongPassword { .. }), "{how}: {wrong}");
        }
    }
    shop.make("pkcs12 -export -nokeys -in device.pem -passout pass: -out form").await;
    let error = Identity::read_pkcs12(&shop.file("form"), None).unwrap_err();
    assert_eq!(error.to_string(), "holds no private key");
}
