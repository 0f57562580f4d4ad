//! What is fuzzed: functions that take any bytes and panic where an invariant does not hold.
//!
//! The tests replay `fuzz/corpus`, one folder a target.

use crate::tls::{Certificates, Identity, PrivateKey};

/// A function to fuzz, and the name of its corpus.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[("certificates", certificates)];

/// Certificates and a key that were read are the same when they are read again from what is written of them. No password
/// is given: deriving keys is slow, and not ours.
fn certificates(input: &[u8]) {
    let certificates = Certificates::read(input);
    if let Ok(certificates) = &certificates {
        assert_eq!(Certificates::read(certificates.to_pem().as_bytes()).as_ref(), Ok(certificates));
        let count = certificates.facts().count();
        assert!(count <= certificates.as_der().len());
        // Whether they can be trusted is a question, not an invariant.
        drop(certificates.check_authorities());
    }
    let Ok(key) = PrivateKey::read(input, None) else { return };
    assert_eq!(PrivateKey::read(key.to_pem().as_bytes(), None).as_ref(), Ok(&key));
    if let Ok(certificates) = certificates
        && let Ok(identity) = Identity::pair(certificates, key)
    {
        assert!(!identity.certificates().as_der().is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_holds() {
        let folder = std::path::PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
        let mut count = 0;
        for (name, target) in TARGETS {
            for file in std::fs::read_dir(folder.join("../../fuzz/corpus").join(name)).unwrap() {
                target(&std::fs::read(file.unwrap().path()).unwrap());
                count += 1;
            }
        }
        assert!(count > 5);
    }
}
