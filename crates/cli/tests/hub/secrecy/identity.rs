//! A certificate whose key holds the needle, in every form in which a project names one.

use std::fs;
use std::path::Path;

use p12_keystore::{KeyStore, KeyStoreEntry, PrivateKeyChain};
use pkcs8::PrivateKeyInfoRef;
use pkcs8::pkcs5::pbes2::Parameters;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_ED25519};

use super::needle::{NEEDLE, secret};

/// What stands before the 32 bytes of an Ed25519 key in PKCS#8 (RFC 8410, 7).
const PKCS8_ED25519: [u8; 16] = [0x30, 46, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 101, 112, 4, 34, 4, 32];

/// Writes `ca.pem`, `own.pem`, `own.key` (encrypted with the secret `key`) and `own.p12` (with the secret `pkcs12`), and returns the
/// PEM of the key.
pub(super) fn write(folder: &Path) -> String {
    let key = key();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = KeyPair::generate().unwrap();
    let ca = params.self_signed(&authority).unwrap();
    let params_of_own = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let own = params_of_own.signed_by(&key, &Issuer::new(params, authority)).unwrap();
    fs::write(folder.join("ca.pem"), ca.pem()).unwrap();
    fs::write(folder.join("own.pem"), own.pem()).unwrap();
    fs::write(folder.join("own.p12"), archive(&own, &key)).unwrap();
    fs::write(folder.join("own.key"), encrypted(&key)).unwrap();
    key.serialize_pem()
}

/// The needle is in the bytes of the key, and so also in its PEM, whose one line is whole in Base64.
fn key() -> KeyPair {
    let mut der = PKCS8_ED25519.to_vec();
    der.extend(NEEDLE.bytes().chain([7; 32]).take(32));
    KeyPair::from_pkcs8_der_and_sign_algo(&der.into(), &PKCS_ED25519).unwrap()
}

fn encrypted(key: &KeyPair) -> Vec<u8> {
    let (der, password) = (key.serialize_der(), secret("key"));
    let parameters = Parameters::generate_pbkdf2_sha256_aes256cbc(1_000, b"saltsalt", [7; 16]).unwrap();
    let key = PrivateKeyInfoRef::try_from(der.as_slice()).unwrap();
    key.encrypt_with_params(parameters, password).unwrap().to_bytes().to_vec()
}

fn archive(certificate: &rcgen::Certificate, key: &KeyPair) -> Vec<u8> {
    let chain = [p12_keystore::Certificate::from_der(certificate.der()).unwrap()];
    let key = p12_keystore::PrivateKey::from_der(&key.serialize_der()).unwrap();
    let mut store = KeyStore::new();
    // Few iterations: every command of these tests opens it.
    store.add_entry("own", KeyStoreEntry::PrivateKeyChain(PrivateKeyChain::new("1", key, chain)));
    store.writer(&secret("pkcs12")).encryption_iterations(1_000).mac_iterations(1_000).write().unwrap()
}
