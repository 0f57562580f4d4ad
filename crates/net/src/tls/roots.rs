//! Which authorities are trusted.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use rustls::RootCertStore;

use super::{Pem, TlsOptionsError};

/// Which authorities a client trusts: the named ones; the public ones when it is said, or when none is named the system's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Trusted {
    pub(super) named: Vec<Pem>,
    /// Whether those of the system and of this program are trusted whatever is named.
    pub(super) public: bool,
}

impl Trusted {
    /// Reads them.
    pub(super) fn roots(&self) -> Result<Arc<RootCertStore>, TlsOptionsError> {
        match (self.public, self.named.is_empty()) {
            (false, true) => system_roots(),
            (false, false) => roots_of(&self.named).map(Arc::new),
            (true, true) => Ok(public_roots()),
            (true, false) => {
                let mut roots = roots_of(&self.named)?;
                roots.extend(public_roots().roots.iter().cloned());
                Ok(Arc::new(roots))
            }
        }
    }
}

/// Reads trusted certificates: one that cannot serve as an authority is an error here, since a person named it.
pub(super) fn roots_of(pems: &[Pem]) -> Result<RootCertStore, TlsOptionsError> {
    let mut roots = RootCertStore::empty();
    for pem in pems {
        roots.extend(pem.authorities()?.roots);
    }
    Ok(roots)
}

/// Reads the system's authorities once a process: some hundred files, and they change with the system only.
fn system_roots() -> Result<Arc<RootCertStore>, TlsOptionsError> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(roots) = ROOTS.get() {
        return Ok(roots.clone());
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(TlsOptionsError::NoSystemRoots);
    }
    Ok(ROOTS.get_or_init(|| Arc::new(roots)).clone())
}

/// Returns the system's authorities, as far as it has some, and those that come with this program.
fn public_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let both = || {
        let system = system_roots().map_or_else(|_| Vec::new(), |system| system.roots.clone());
        let mut known = HashSet::new();
        let all = system.into_iter().chain(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        // Most are in both: one that stands twice would be tried twice.
        let once =
            all.filter(|root| known.insert((root.subject.to_vec(), root.subject_public_key_info.to_vec())));
        Arc::new(RootCertStore { roots: once.collect() })
    };
    ROOTS.get_or_init(both).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_authorities_are_the_bundled_and_the_systems_each_once() {
        let roots = public_roots();
        let mut known = HashSet::new();
        assert!(
            roots
                .roots
                .iter()
                .all(|root| { known.insert((root.subject.to_vec(), root.subject_public_key_info.to_vec())) })
        );
        let has = |bundled: &rustls_pki_types::TrustAnchor<'_>| {
            known.contains(&(bundled.subject.to_vec(), bundled.subject_public_key_info.to_vec()))
        };
        assert!(webpki_roots::TLS_SERVER_ROOTS.iter().all(has));
        let system = system_roots().map_or(0, |system| system.len());
        assert!(roots.len() >= system.max(100), "{} of {system}", roots.len());
    }
}
