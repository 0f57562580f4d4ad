//! Each form is read, and each that cannot be used is named.
//!
//! Keys and files here are made by the libraries that the loader uses; what OpenSSL makes is read in `interop`.

use p12_keystore::{EncryptionAlgorithm, KeyStore, KeyStoreEntry, PrivateKeyChain};
use pkcs8::PrivateKeyInfoRef;
use pkcs8::pkcs5::pbes2::Parameters;
use rcgen::{CertificateParams, DnType, Issuer, KeyPair, PKCS_ED25519, date_time_ymd};

use super::*;

struct Made {
    key: KeyPair,
    certificate: rcgen::Certificate,
    authority: rcgen::Certificate,
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![format!("{name}.example"), "127.0.0.1".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2030, 1, 31);
    params
}

fn made() -> Made {
    let (key, authority_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let authority = named("authority").self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(named("authority"), authority_key);
    Made { certificate: named("device").signed_by(&key, &issuer).unwrap(), key, authority }
}

fn subjects(certificates: &Certificates) -> Vec<String> {
    certificates.facts().map(|facts| facts.subject).collect()
}

fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x82], &length[..], &content].concat()
}

/// Wraps certificates into SignedData without signers, as `openssl crl2pkcs7 -nocrl` does.
fn pkcs7(certificates: &[&[u8]]) -> Vec<u8> {
    let oid = |last: u8| vec![0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, last];
    let inner = element(0x30, &[&oid(1)]);
    let set = element(0xa0, certificates);
    let signed = element(0x30, &[&[2, 1, 1], &[0x31, 0], &inner, &set, &[0x31, 0]]);
    element(0x30, &[&oid(2), &element(0xa0, &[&signed])])
}

fn encrypted(key: &KeyPair, parameters: Parameters, password: &str) -> Vec<u8> {
    let der = key.serialize_der();
    let key = PrivateKeyInfoRef::try_from(der.as_slice()).unwrap();
    key.encrypt_with_params(parameters, password).unwrap().to_bytes().to_vec()
}

fn archive(made: &Made, password: &str, algorithm: EncryptionAlgorithm) -> Vec<u8> {
    let certificate = |der: &[u8]| p12_keystore::Certificate::from_der(der).unwrap();
    let chain = [certificate(made.certificate.der()), certificate(made.authority.der())];
    let key = p12_keystore::PrivateKey::from_der(&made.key.serialize_der()).unwrap();
    let mut store = KeyStore::new();
    let entry = PrivateKeyChain::new("one", key, chain);
    store.add_entry("device", KeyStoreEntry::PrivateKeyChain(entry));
    store.writer(password).encryption_algorithm(algorithm).write().unwrap()
}

#[test]
fn certificates_are_read_from_every_form() {
    let made = made();
    let (device, authority) = (made.certificate.pem(), made.authority.pem());
    let (device_der, authority_der) = (made.certificate.der().to_vec(), made.authority.der().to_vec());
    let bundle = pkcs7(&[&device_der, &authority_der]);
    let trusted =
        section::write("TRUSTED CERTIFICATE", &[&device_der, &b"\x30\x00"[..]].concat()).to_string();
    let wide: Vec<u8> = device.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let base64 = device.lines().filter(|line| !line.starts_with('-')).collect::<String>();
    for (form, bytes, expected) in [
        ("one", device.clone().into_bytes(), vec!["device"]),
        ("several", format!("{device}\nwords\n{authority}").into_bytes(), vec!["device", "authority"]),
        ("with its key", format!("{}{device}", made.key.serialize_pem()).into_bytes(), vec!["device"]),
        ("Windows", format!("\u{feff}{}", device.replace('\n', "\r\n")).into_bytes(), vec!["device"]),
        ("UTF-16", [&[0xff, 0xfe][..], &wide].concat(), vec!["device"]),
        ("latin-1 around", [b"M\xfcller\n", device.as_bytes()].concat(), vec!["device"]),
        ("trusted", trusted.into_bytes(), vec!["device"]),
        ("base64", base64.into_bytes(), vec!["device"]),
        ("DER", device_der.clone(), vec!["device"]),
        ("DER, several", [device_der.clone(), authority_der].concat(), vec!["device", "authority"]),
        ("PKCS#7", bundle.clone(), vec!["device", "authority"]),
        ("PKCS#7 in PEM", section::write("PKCS7", &bundle).as_bytes().to_vec(), vec!["device", "authority"]),
    ] {
        let read = Certificates::read(&bytes).unwrap_or_else(|error| panic!("{form}: {error}"));
        assert_eq!(subjects(&read), expected, "{form}");
        assert_eq!(Certificates::read(read.to_pem().as_bytes()).unwrap(), read, "{form}");
    }
}

#[test]
fn what_is_no_certificate_is_named() {
    let made = made();
    let request = named("x").serialize_request(&made.key).unwrap();
    for (bytes, expected) in [
        (b" \n".to_vec(), "is empty"),
        (made.key.serialize_pem().into_bytes(), "is a private key and no certificate"),
        (made.key.serialize_der(), "is a private key and no certificate"),
        (request.pem().unwrap().into_bytes(), "is a certificate request and no certificate"),
        (request.der().to_vec(), "is a certificate request and no certificate"),
        (
            archive(&made, "p", EncryptionAlgorithm::PbeWithHmacSha256AndAes256),
            "is a PKCS#12 file and no certificate",
        ),
        (pkcs7(&[]), "holds no certificate"),
        (vec![0xfe, 0xed, 0xfe, 0xed, 0, 0], "is a keystore of Java (JKS) and no certificate"),
        (b"<!DOCTYPE html><html>".to_vec(), "is a web page and no certificate"),
        (b"ssh-ed25519 AAAA me@here".to_vec(), "is a public key of SSH and no certificate"),
        (b"PuTTY-User-Key-File-3: ssh-rsa".to_vec(), "is a private key of PuTTY and no certificate"),
        (b"hello".to_vec(), "is a text without BEGIN and END lines and no certificate"),
        (vec![0, 1, 2, 0xff], "is a file of an unknown kind and no certificate"),
        (
            b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----".to_vec(),
            "is a private key of OpenSSH and no certificate",
        ),
    ] {
        let error = Certificates::read(&bytes).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert!(!error.hint().is_empty());
    }
}

#[test]
fn a_revocation_list_is_no_certificate_and_a_certificate_of_version_1_is_one() {
    let sequence = element(0x30, &[]);
    let signed = |body: &[&[u8]]| element(0x30, &[&element(0x30, body), &sequence, &[3, 2, 0, 0]]);
    let (time, number) = (b"\x17\x0d301231000000Z", b"\x02\x01\x01");
    let list = signed(&[number, &sequence, &sequence, time]);
    assert_eq!(Form::of_der(&list), Form::RevocationList);
    assert_eq!(Form::of_der(&signed(&[&sequence, &sequence, time])), Form::RevocationList);
    let old = signed(&[number, &sequence, &sequence, &sequence, &sequence, &sequence]);
    assert_eq!(Form::of_der(&old), Form::Certificate);
}

#[test]
fn keys_are_read_from_every_form_and_kept_secret() {
    for key in [KeyPair::generate().unwrap(), KeyPair::generate_for(&PKCS_ED25519).unwrap()] {
        let parameters = Parameters::generate_pbkdf2_sha256_aes256cbc(1_000, b"saltsalt", [7; 16]).unwrap();
        let sealed = encrypted(&key, parameters, "geheim");
        let plain = PrivateKey::read(&key.serialize_der(), None).unwrap();
        assert_eq!(PrivateKey::read(key.serialize_pem().as_bytes(), None).unwrap(), plain);
        assert_eq!(PrivateKey::read(plain.to_pem().as_bytes(), None).unwrap(), plain);
        assert!(!plain.was_encrypted());
        for bytes in [sealed.clone(), section::write("ENCRYPTED PRIVATE KEY", &sealed).as_bytes().to_vec()] {
            let opened = PrivateKey::read(&bytes, Some(b"geheim")).unwrap();
            assert_eq!((opened.spki(), opened.was_encrypted()), (plain.spki(), true));
            let wrong = PrivateKey::read(&bytes, Some(b"falsch")).unwrap_err();
            assert_eq!(wrong, LoadError::WrongPassword { form: Form::EncryptedKey });
            let none = PrivateKey::read(&bytes, None).unwrap_err();
            assert_eq!(none.to_string(), "is an encrypted private key and needs a password");
        }
        let printed = format!("{plain:?}");
        assert!(
            printed == "PrivateKey(\"EC on P-256\")" || printed == "PrivateKey(\"Ed25519\")",
            "{printed}"
        );
    }
}

#[test]
fn what_is_no_key_or_no_usable_one_is_named() {
    let made = made();
    let two = format!("{}{}", made.key.serialize_pem(), KeyPair::generate().unwrap().serialize_pem());
    let pbes1: &[u8] = &[0x06, 10, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 1, 3];
    let pbes1 = element(0x30, &[&element(0x30, &[pbes1]), &[4, 1, 0]]);
    let on_p_521: &[u8] = &[0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 0x06, 5, 0x2b, 0x81, 4, 0, 35];
    let on_p_521 = element(0x30, &[&[2, 1, 0], &element(0x30, &[on_p_521]), &[4, 1, 0]]);
    for (bytes, expected) in [
        (made.certificate.pem().into_bytes(), "is a certificate and no private key"),
        (two.into_bytes(), "holds 2 different private keys"),
        (
            b"-----BEGIN DSA PRIVATE KEY-----\nAAAA\n-----END DSA PRIVATE KEY-----".to_vec(),
            "is a private key for DSA and no private key",
        ),
        (pbes1, "is an encrypted private key (PBES1, SHA1-3DES), a way of encryption that is not known here"),
        (on_p_521, "is a private key of the kind EC on P-521, which cannot be used here"),
        (
            b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----".to_vec(),
            "is a set of parameters for keys and no private key",
        ),
    ] {
        assert_eq!(PrivateKey::read(&bytes, Some(b"x")).unwrap_err().to_string(), expected);
    }
    let twice = format!("{0}{0}", made.key.serialize_pem());
    PrivateKey::read(twice.as_bytes(), None).unwrap();
}

#[test]
fn pkcs12_gives_the_chain_and_its_key_with_the_password_only() {
    let made = made();
    for algorithm in [
        EncryptionAlgorithm::PbeWithHmacSha256AndAes256,
        EncryptionAlgorithm::PbeWithShaAnd3KeyTripleDesCbc,
        EncryptionAlgorithm::PbeWithShaAnd40BitRc4Cbc,
    ] {
        let bytes = archive(&made, "geheim", algorithm);
        let identity = Identity::read_pkcs12(&bytes, Some(b"geheim")).unwrap();
        assert_eq!(subjects(identity.certificates()), ["device", "authority"]);
        assert_eq!(identity.key().kind(), "EC on P-256");
        let wrong = Identity::read_pkcs12(&bytes, Some(b"falsch")).unwrap_err();
        assert_eq!(wrong, LoadError::WrongPassword { form: Form::Pkcs12 });
        let none = Identity::read_pkcs12(&bytes, None).unwrap_err();
        assert_eq!(none, LoadError::PasswordNeeded { form: Form::Pkcs12 });
    }
    let open = archive(&made, "", EncryptionAlgorithm::PbeWithHmacSha256AndAes256);
    Identity::read_pkcs12(&open, None).unwrap();
    let other = Identity::read_pkcs12(made.certificate.pem().as_bytes(), None).unwrap_err();
    assert_eq!(other.to_string(), "is a certificate and no PKCS#12 file");
}

#[test]
fn a_pair_has_the_keys_certificate_first_and_others_are_none() {
    let made = made();
    let key = || PrivateKey::read(made.key.serialize_pem().as_bytes(), None).unwrap();
    let turned = format!("{}{}", made.authority.pem(), made.certificate.pem());
    let identity = Identity::pair(Certificates::read(turned.as_bytes()).unwrap(), key()).unwrap();
    assert_eq!(subjects(identity.certificates()), ["device", "authority"]);
    let foreign = Certificates::read(made.authority.pem().as_bytes()).unwrap();
    let error = Identity::pair(foreign, key()).unwrap_err();
    let expected =
        "the private key (EC on P-256) does not belong to the certificate \"authority\" (EC on P-256)";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn dates_are_judged_at_a_time() {
    let facts = Certificates::read(made().certificate.pem().as_bytes()).unwrap().facts().next().unwrap();
    assert_eq!((facts.valid_from.as_str(), facts.expires_on.as_str()), ("2020-01-01", "2030-01-31"));
    assert_eq!(facts.names, ["device.example", "127.0.0.1"]);
    assert_eq!(facts.issuer, "authority");
    let (day, end) = (86_400, facts.not_after_s);
    for (now_s, standing, trouble) in [
        (facts.not_before_s - 1, Standing::NotYetValid, Some("\"device\" is not valid before 2020-01-01")),
        (end - 30 * day, Standing::Valid { days_left: 30 }, None),
        (
            end - 30 * day + 1,
            Standing::ExpiresSoon { days_left: 29 },
            Some("\"device\" expires in 29 days (2030-01-31)"),
        ),
        (end, Standing::ExpiresSoon { days_left: 0 }, Some("\"device\" expires within a day (2030-01-31)")),
        (end + 3 * day, Standing::Expired { days: 3 }, Some("\"device\" expired on 2030-01-31")),
    ] {
        assert_eq!(facts.standing(now_s), standing);
        assert_eq!(facts.trouble(now_s).as_deref(), trouble);
    }
}

/// Whatever is cut off or turned in a file, it is refused and not a panic.
#[test]
fn damaged_input_is_refused() {
    let made = made();
    let parameters = Parameters::generate_pbkdf2_sha256_aes256cbc(1, b"saltsalt", [7; 16]).unwrap();
    let files = [
        made.certificate.der().to_vec(),
        encrypted(&made.key, parameters, "x"),
        pkcs7(&[made.certificate.der()]),
        archive(&made, "x", EncryptionAlgorithm::PbeWithHmacSha256AndAes256),
    ];
    for file in &files {
        for length in 0..file.len() {
            assert!(Certificates::read(&file[..length]).is_err(), "{length}");
            assert!(PrivateKey::read(&file[..length], Some(b"x")).is_err());
            assert!(Identity::read_pkcs12(&file[..length], Some(b"x")).is_err());
        }
    }
    for place in 0..files[0].len() {
        let mut file = files[0].clone();
        file[place] ^= 0x55;
        // It may still be a certificate: only its signature would tell.
        if let Ok(certificates) = Certificates::read(&file) {
            certificates.facts().count();
        }
    }
}
