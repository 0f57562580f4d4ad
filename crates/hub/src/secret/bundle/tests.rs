use age::secrecy::ExposeSecret;

use super::*;
use crate::secret::{KeyRing, SealingKey, Vault, make_key_file};

const FILE: &str = "\
[connector.a]
url = \"mqtts://h\"
enabled = false
username = \"u\"
password = \"hunter2\"
tls = { ca = [\"certs/ca.pem\", \"/etc/ca.pem\"], certificate = \"./certs/own.pem\", key = \"file:own.key\" }
[connector.b]
url = \"mqtt://h\"
enabled = false
username = \"u\"
password = \"env:B_PASSWORD\"
will = { topic = \"t\", payload = \"file:certs/ca.pem\" }
[connector.c]
url = \"mqtt://h\"
username = \"u\"
password = \"file:../outside\"
";

struct Site(tempfile::TempDir);

impl Site {
    fn new() -> Self {
        let site = Self(tempfile::tempdir().unwrap());
        fs::create_dir(site.at("certs")).unwrap();
        for (name, text) in
            [("crosspoint.toml", FILE), ("certs/ca.pem", "CA"), ("certs/own.pem", "OWN"), ("own.key", "KEY")]
        {
            fs::write(site.at(name), text).unwrap();
        }
        let mut vault = Vault::open(&site.at("crosspoint.toml"), site.source()).unwrap();
        vault.keep(None).unwrap();
        site
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn source(&self) -> KeySource {
        let path = self.at("key");
        if !path.exists() {
            make_key_file(&path, &KeyRing::of(SealingKey::generate().unwrap())).unwrap();
        }
        KeySource::of_file(&path)
    }

    fn bundle(&self, lock: &Lock) -> Bundle {
        bundle(&self.at("crosspoint.toml"), &self.source(), lock).unwrap()
    }
}

fn identity() -> (x25519::Identity, Lock) {
    let identity = x25519::Identity::generate();
    let lock = Lock::Recipients(vec![identity.to_public().to_string()]);
    (identity, lock)
}

fn unlock(site: &Site, identity: &x25519::Identity) -> Unlock {
    let path = site.at("identity.txt");
    fs::write(&path, format!("# mine\n{}\n", identity.to_string().expose_secret())).unwrap();
    Unlock::Identities(path)
}

#[test]
fn a_project_moves_with_its_files_and_its_key_and_opens_there() {
    let site = Site::new();
    let (identity, lock) = identity();
    let made = site.bundle(&lock);
    assert_eq!(
        made.files,
        ["crosspoint.toml", "certs/ca.pem", "certs/own.pem", "crosspoint-data/sealing.key", "own.key"]
    );
    assert_eq!(
        made.left_out,
        [
            "/etc/ca.pem: it is outside the folder of the project",
            "the variable B_PASSWORD: set it on the other machine",
            "../outside: it is outside the folder of the project",
        ]
    );
    let there = site.at("there/deep");
    let opened = open(&made.bytes, &unlock(&site, &identity), &there).unwrap();
    assert_eq!(opened.files[0], there.join("crosspoint.toml"));
    assert_eq!(
        fs::read(there.join("crosspoint.toml")).unwrap(),
        fs::read(site.at("crosspoint.toml")).unwrap()
    );
    assert_eq!(fs::read_to_string(there.join("certs/own.pem")).unwrap(), "OWN");
    let listed =
        Vault::open(&there.join("crosspoint.toml"), KeySource::of_file(&there.join(own_key()))).unwrap();
    assert!(format!("{:?}", listed.list().unwrap()).contains("Opens"));
}

#[test]
fn a_passphrase_locks_and_opens_and_another_does_not() {
    let site = Site::new();
    let phrase = |text: &str| Secret::new(text);
    let made = site.bundle(&Lock::Passphrase(phrase("correct horse")));
    assert!(!made.bytes.windows(7).any(|bytes| bytes == b"sealed:"));
    let there = site.at("there");
    let wrong = open(&made.bytes, &Unlock::Passphrase(phrase("correct horsf")), &there).unwrap_err();
    assert!(matches!(wrong, BundleError::Closed), "{wrong}");
    assert!(!there.exists());
    open(&made.bytes, &Unlock::Passphrase(phrase("correct horse")), &there).unwrap();
}

#[test]
#[cfg(unix)]
fn what_is_written_is_for_its_owner_only_and_over_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::new();
    let (identity, lock) = identity();
    let made = site.bundle(&lock);
    let there = site.at("there");
    let opened = open(&made.bytes, &unlock(&site, &identity), &there).unwrap();
    for file in &opened.files {
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
    }
    assert_eq!(fs::metadata(there.join("crosspoint-data")).unwrap().permissions().mode() & 0o777, 0o700);
    let again = open(&made.bytes, &unlock(&site, &identity), &there).unwrap_err();
    assert!(matches!(again, BundleError::InTheWay(_)), "{again}");
}

#[test]
fn a_bundle_cannot_write_outside_its_folder() {
    let site = Site::new();
    let (identity, lock) = identity();
    for (name, kind) in [
        ("../evil", tar::EntryType::Regular),
        ("/tmp/evil", tar::EntryType::Regular),
        ("a/../../evil", tar::EntryType::Regular),
        ("link", tar::EntryType::Symlink),
    ] {
        let mut header = tar::Header::new_old();
        header.set_size(0);
        header.set_mode(0o600);
        header.set_entry_type(kind);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        let mut archive = tar::Builder::new(Vec::new());
        archive.append(&header, io::empty()).unwrap();
        let bytes = encrypted(&archive.into_inner().unwrap(), &lock).unwrap();
        let refused = open(&bytes, &unlock(&site, &identity), &site.at("there")).unwrap_err();
        assert!(matches!(refused, BundleError::Foreign(_)), "{name}: {refused}");
        assert!(!site.at("there").exists() && !site.at("evil").exists());
    }
}

#[test]
fn what_is_no_bundle_or_damaged_is_refused() {
    let site = Site::new();
    let (identity, lock) = identity();
    let unlock = unlock(&site, &identity);
    let refused = |bytes: &[u8]| open(bytes, &unlock, &site.at("there")).unwrap_err();
    assert!(matches!(refused(b"password = 1"), BundleError::NoBundle));
    let mut bytes = site.bundle(&lock).bytes;
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    assert!(matches!(refused(&bytes), BundleError::Closed));
    assert!(matches!(refused(&bytes[..last - 40]), BundleError::Closed));
    assert!(!site.at("there").exists());
    let wrong = Lock::Recipients(vec!["age1nobody".to_owned()]);
    assert!(matches!(
        bundle(&site.at("crosspoint.toml"), &site.source(), &wrong),
        Err(BundleError::Recipient(_))
    ));
}
