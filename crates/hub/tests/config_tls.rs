//! What a project file says of certificates and keys: every form is read when it is checked, and what is wrong is named.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::path::PathBuf;

use crosspoint_hub::config::plan::{ClientTls, ConnectorPlan, ListenerPlan, Plan, TlsVersion};
use crosspoint_hub::config::{Diagnostic, Severity, load};
use p12_keystore::{KeyStore, KeyStoreEntry, PrivateKeyChain};
use pkcs8::PrivateKeyInfoRef;
use pkcs8::pkcs5::pbes2::Parameters;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tempfile::TempDir;

/// What one certificate has that others do not.
type Edit = Box<dyn Fn(&mut CertificateParams)>;

/// A folder with a project, and the files that it names.
struct Site {
    folder: TempDir,
    key: KeyPair,
    issuer: Issuer<'static, KeyPair>,
}

impl Site {
    /// Makes an authority, a certificate signed by it, and its key in several forms.
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let (key, authority) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let ca = params.self_signed(&authority).unwrap();
        let site = Self { folder: tempfile::tempdir().unwrap(), key, issuer: Issuer::new(params, authority) };
        site.write("ca.pem", ca.pem());
        site.write("ca.der", ca.der());
        let device = site.sign("device", |_| {});
        site.write("device.pem", device.pem());
        site.write("device.key", site.key.serialize_pem());
        site.write("sealed.key", site.sealed_key());
        site.write("device.p12", site.archive(&device));
        site.write("password", "geheim\n");
        site.write("other.key", KeyPair::generate().unwrap().serialize_pem());
        site
    }

    fn sign(&self, name: &str, edit: impl FnOnce(&mut CertificateParams)) -> rcgen::Certificate {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        edit(&mut params);
        params.signed_by(&self.key, &self.issuer).unwrap()
    }

    fn sealed_key(&self) -> Vec<u8> {
        let der = self.key.serialize_der();
        let parameters = Parameters::generate_pbkdf2_sha256_aes256cbc(1_000, b"saltsalt", [7; 16]).unwrap();
        let key = PrivateKeyInfoRef::try_from(der.as_slice()).unwrap();
        key.encrypt_with_params(parameters, "geheim").unwrap().to_bytes().to_vec()
    }

    fn archive(&self, certificate: &rcgen::Certificate) -> Vec<u8> {
        let chain = [p12_keystore::Certificate::from_der(certificate.der()).unwrap()];
        let key = p12_keystore::PrivateKey::from_der(&self.key.serialize_der()).unwrap();
        let mut store = KeyStore::new();
        store.add_entry("device", KeyStoreEntry::PrivateKeyChain(PrivateKeyChain::new("1", key, chain)));
        store.writer("geheim").write().unwrap()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Checks a connector with this under `[connector.a.tls]`.
    fn connector(&self, tls: &str) -> Result<(Plan, Vec<Diagnostic>), Vec<Diagnostic>> {
        self.check(&format!("[connector.a]\nurl = \"mqtts://h\"\n[connector.a.tls]\n{tls}\n"))
    }

    /// Checks a listener with this under `[broker.listener.main.tls]`.
    fn listener(&self, tls: &str) -> Result<(Plan, Vec<Diagnostic>), Vec<Diagnostic>> {
        self.check(&format!(
            "[broker.listener.main]\nbind = \"127.0.0.1:0\"\ntransport = \"tls\"\n[broker.listener.main.tls]\n{tls}\n"
        ))
    }

    fn check(&self, text: &str) -> Result<(Plan, Vec<Diagnostic>), Vec<Diagnostic>> {
        self.write("crosspoint.toml", text);
        load(&self.path("crosspoint.toml"), None)
    }

    /// Returns the one finding there is, without the folder in it.
    #[track_caller]
    fn only(
        &self,
        checked: Result<(Plan, Vec<Diagnostic>), Vec<Diagnostic>>,
    ) -> (Severity, String, Diagnostic) {
        let found = checked.map_or_else(|errors| errors, |(_, warnings)| warnings);
        let [finding] = found.as_slice() else { panic!("not one finding: {found:#?}") };
        let folder = format!("{}/", self.folder.path().display());
        (finding.severity, finding.message.replace(&folder, ""), finding.clone())
    }
}

fn tls(plan: &Plan) -> &ClientTls {
    let ConnectorPlan::Mqtt(mqtt) = &plan.connectors["a"] else { panic!() };
    &mqtt.tls
}

fn main_listener(plan: &Plan) -> &ListenerPlan {
    &plan.broker.as_ref().unwrap().listeners["main"]
}

#[test]
fn every_form_becomes_the_same_certificate_and_key_and_its_files_are_known() {
    let site = Site::new();
    let plain = "ca = \"ca.pem\"\ncertificate = \"device.pem\"\nkey = \"device.key\"";
    let (expected, findings) = site.connector(plain).unwrap();
    assert_eq!(findings, []);
    let (expected, identity) = (tls(&expected), tls(&expected).identity.as_ref().unwrap());
    assert!(identity.key.expose_text().unwrap().starts_with("-----BEGIN PRIVATE KEY-----"));
    for (form, files) in [
        (
            "ca = \"ca.der\"\ncertificate = \"device.pem\"\nkey = \"sealed.key\"\nkey_password = \"file:password\"",
            vec!["ca.der", "device.pem", "password", "sealed.key"],
        ),
        (
            "ca = \"ca.der\"\npkcs12 = \"device.p12\"\nkey_password = \"file:password\"",
            vec!["ca.der", "device.p12", "password"],
        ),
    ] {
        let (plan, findings) = site.connector(form).unwrap();
        assert_eq!(findings, [], "{form}");
        let found = tls(&plan).identity.as_ref().unwrap();
        assert_eq!(found.certificate.text, identity.certificate.text, "{form}");
        assert_eq!(found.key, identity.key, "{form}");
        assert_eq!(tls(&plan).ca[0].text, expected.ca[0].text, "{form}");
        assert_eq!(plan.files, files.into_iter().map(|file| site.path(file)).collect(), "{form}");
        assert!(!format!("{plan:?}").contains("geheim"));
    }
    let sealed = "certificate = \"device.pem\"\nkey = \"sealed.key\"\nkey_password = \"file:password\"";
    let (plan, findings) = site.listener(sealed).unwrap();
    assert_eq!(
        (main_listener(&plan).identity.as_ref().unwrap().key.clone(), findings),
        (identity.key.clone(), vec![])
    );
    let (plan, _) = site.listener("pkcs12 = \"device.p12\"\nkey_password = \"file:password\"").unwrap();
    assert_eq!(main_listener(&plan).identity.as_ref().unwrap().key, identity.key);
}

#[test]
fn auto_adds_the_public_authorities_and_min_version_is_taken() {
    let site = Site::new();
    let of = |text: &str| tls(&site.connector(text).unwrap().0).clone();
    let plain = of("");
    assert_eq!((plain.ca.len(), plain.trusts_public, plain.version_min), (0, false, TlsVersion::V1_2));
    let auto = of("ca = \"auto\"\nmin_version = \"1.3\"");
    assert_eq!((auto.ca.len(), auto.trusts_public, auto.version_min), (0, true, TlsVersion::V1_3));
    let both = of("ca = [\"auto\", \"ca.pem\"]");
    assert_eq!((both.ca.len(), both.trusts_public), (1, true));
    let text = "certificate = \"device.pem\"\nkey = \"device.key\"\nmin_version = \"1.3\"\nca = \"ca.pem\"";
    let (plan, _) = site.listener(text).unwrap();
    assert_eq!(
        (main_listener(&plan).version_min, main_listener(&plan).client_ca.len()),
        (TlsVersion::V1_3, 1)
    );
    let (_, message, _) = site.only(site.connector("min_version = \"1.1\""));
    assert_eq!(message, "`connector.a.tls.min_version` cannot be \"1.1\"");
    let text = "certificate = \"device.pem\"\nkey = \"device.key\"\nca = \"auto\"";
    let (_, message, _) = site.only(site.listener(text));
    let expected =
        "`broker.listener.main.tls.ca` = \"auto\" would let in everyone with a certificate of anybody";
    assert_eq!(message, expected);
}

#[test]
fn passwords_are_checked_and_said_at_their_place() {
    let site = Site::new();
    site.write("wrong", "falsch");
    let chain = "certificate = \"device.pem\"\n";
    let (severity, message, finding) =
        site.only(site.connector(&format!("{chain}key = \"sealed.key\"\nkey_password = \"file:wrong\"")));
    assert_eq!(message, "`connector.a.tls.key_password` does not open sealed.key");
    assert_eq!((severity, finding.label.as_str()), (Severity::Error, "not the password"));
    let (_, message, _) = site.only(site.connector("pkcs12 = \"device.p12\"\nkey_password = \"file:wrong\""));
    assert_eq!(message, "`connector.a.tls.key_password` does not open device.p12");

    let (_, message, finding) = site.only(site.connector(&format!("{chain}key = \"sealed.key\"")));
    let expected = "`connector.a.tls.key`: sealed.key is an encrypted private key and needs a password";
    assert_eq!(
        (message.as_str(), finding.help.as_deref()),
        (expected, Some("set its password as `key_password`"))
    );
    let (_, message, _) = site.only(site.connector("pkcs12 = \"device.p12\""));
    assert_eq!(message, "`connector.a.tls.pkcs12`: device.p12 is a PKCS#12 file and needs a password");

    let unneeded = format!("{chain}key = \"device.key\"\nkey_password = \"file:password\"");
    let (severity, message, _) = site.only(site.connector(&unneeded));
    let expected = "`connector.a.tls.key_password` has no effect: device.key is not encrypted";
    assert_eq!((severity, message.as_str()), (Severity::Warning, expected));
    let (severity, message, _) = site.only(site.connector("key_password = \"file:password\""));
    let expected = "`connector.a.tls.key_password` has no effect: there is no key";
    assert_eq!((severity, message.as_str()), (Severity::Warning, expected));
}

#[test]
fn a_key_that_belongs_to_another_certificate_is_an_error_that_names_both() {
    let site = Site::new();
    let (severity, message, finding) =
        site.only(site.connector("certificate = \"device.pem\"\nkey = \"other.key\""));
    let expected = "`connector.a.tls.key`: the private key (EC on P-256) does not belong to the certificate \"device\" (EC on P-256)";
    assert_eq!((severity, message.as_str()), (Severity::Error, expected));
    assert_eq!(finding.label, format!("the key of {}", site.path("other.key").display()));
    let (_, certificate) = finding.also.unwrap();
    assert_eq!(certificate, format!("the certificate of {}", site.path("device.pem").display()));
}

#[test]
fn what_is_no_certificate_or_key_is_named_for_what_it_is() {
    let site = Site::new();
    let request = CertificateParams::new(vec!["x".to_owned()]).unwrap().serialize_request(&site.key).unwrap();
    site.write("request.pem", request.pem().unwrap());
    site.write("nothing", "");
    for (tls, expected) in [
        (
            "ca = \"request.pem\"",
            "`connector.a.tls.ca`: request.pem is a certificate request and no certificate",
        ),
        ("ca = \"device.key\"", "`connector.a.tls.ca`: device.key is a private key and no certificate"),
        ("ca = \"nothing\"", "`connector.a.tls.ca`: nothing is empty"),
        ("ca = \"device.p12\"", "`connector.a.tls.ca`: device.p12 is a PKCS#12 file and no certificate"),
        (
            "certificate = \"device.pem\"\nkey = \"ca.pem\"",
            "`connector.a.tls.key`: ca.pem is a certificate and no private key",
        ),
        (
            "pkcs12 = \"device.pem\"",
            "`connector.a.tls.pkcs12`: device.pem is a certificate and no PKCS#12 file",
        ),
        (
            "pkcs12 = \"device.p12\"\nkey_password = \"file:password\"\ncertificate = \"device.pem\"",
            "`connector.a.tls.certificate` is written beside `pkcs12`",
        ),
    ] {
        let (severity, message, finding) = site.only(site.connector(tls));
        assert_eq!((severity, message.as_str()), (Severity::Error, expected));
        assert!(finding.help.is_some_and(|help| !help.is_empty()));
    }
}

/// Nothing else of a project should stand still because a certificate has run out.
#[test]
fn dates_are_warned_of_and_are_no_error() {
    let site = Site::new();
    let soon = std::time::SystemTime::now() + std::time::Duration::from_secs(12 * 86_400 + 3_600);
    let cases: [(&str, Edit, &str); 3] = [
        (
            "old",
            Box::new(|params| {
                params.not_before = date_time_ymd(2001, 1, 1);
                params.not_after = date_time_ymd(2002, 3, 4);
            }),
            "\"old\" expired on 2002-03-04",
        ),
        (
            "new",
            Box::new(|params| params.not_before = date_time_ymd(2999, 1, 1)),
            "\"new\" is not valid before 2999-01-01",
        ),
        ("soon", Box::new(move |params| params.not_after = soon.into()), "\"soon\" expires in 12 days ("),
    ];
    for (name, edit, expected) in cases {
        site.write("device.pem", site.sign(name, edit).pem());
        let (severity, message, _) =
            site.only(site.connector("certificate = \"device.pem\"\nkey = \"device.key\""));
        assert_eq!(severity, Severity::Warning);
        let expected = format!("`connector.a.tls.certificate`: the certificate {expected}");
        assert!(message.starts_with(&expected), "{message}");
        let (severity, message, _) =
            site.only(site.listener("certificate = \"device.pem\"\nkey = \"device.key\""));
        assert_eq!(severity, Severity::Warning);
        assert!(message.starts_with("`broker.listener.main.tls.certificate`: the certificate "), "{message}");
    }
    let old = |name: &str| site.sign(name, |params| params.not_after = date_time_ymd(2002, 1, 1)).pem();
    site.write("bundle.pem", ["a", "b", "c", "d", "e"].map(old).concat());
    let (_, message, _) = site.only(site.connector("ca = \"bundle.pem\""));
    let expected = "`connector.a.tls.ca`: the certificate \"a\" expired on 2002-01-01, \"b\" expired on 2002-01-01, \"c\" expired on 2002-01-01, and 2 more";
    assert_eq!(message, expected);
}
