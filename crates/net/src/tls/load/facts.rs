//! What stands in a certificate, for people: its name and its dates.

use x509_parser::oid_registry::{OID_KEY_TYPE_EC_PUBLIC_KEY, OID_PKCS1_RSAENCRYPTION, Oid};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Name};
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;
use x509_parser::x509::SubjectPublicKeyInfo;

const DAY_S: i64 = 86_400;

/// How many days before its end a certificate begins to be warned of.
const WARNING_DAYS: i64 = 30;

/// What stands in a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Whose it is: the common name, or the whole name where there is none, or the first alternative name.
    pub subject: String,
    /// Who signed it, named in the same way.
    pub issuer: String,
    /// The host names and addresses that it is for.
    pub names: Vec<String>,
    /// From when it is valid, in seconds since 1970.
    pub not_before_s: i64,
    /// Until when it is valid, in seconds since 1970.
    pub not_after_s: i64,
    /// The day on which it begins to be valid, such as `2026-11-21`.
    pub valid_from: String,
    /// The day on which it expires.
    pub expires_on: String,
}

/// How a certificate stands at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Its time has not come.
    NotYetValid,
    /// It is valid for longer than 30 days.
    Valid {
        /// Whole days that are left.
        days_left: i64,
    },
    /// It is valid, and expires within 30 days.
    ExpiresSoon {
        /// Whole days that are left.
        days_left: i64,
    },
    /// It has expired.
    Expired {
        /// Whole days since then.
        days: i64,
    },
}

impl Standing {
    /// Returns the word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NotYetValid => "not yet valid",
            Self::Valid { .. } => "valid",
            Self::ExpiresSoon { .. } => "expires soon",
            Self::Expired { .. } => "expired",
        }
    }
}

impl CertificateFacts {
    /// Returns what stands in a certificate; `None` where it cannot be understood.
    pub(super) fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let names = alternative_names(&certificate);
        let validity = certificate.validity();
        Some(Self {
            subject: Some(name(certificate.subject()))
                .filter(|name| !name.is_empty())
                .or_else(|| names.first().cloned())
                .unwrap_or_else(|| "without a name".to_owned()),
            issuer: name(certificate.issuer()),
            names,
            not_before_s: validity.not_before.timestamp(),
            not_after_s: validity.not_after.timestamp(),
            valid_from: day(validity.not_before),
            expires_on: day(validity.not_after),
        })
    }

    /// Returns how it stands at a time, given in seconds since 1970.
    pub const fn standing(&self, now_s: i64) -> Standing {
        let left_s = self.not_after_s.saturating_sub(now_s);
        let days_left = left_s.div_euclid(DAY_S);
        if now_s < self.not_before_s {
            Standing::NotYetValid
        } else if left_s < 0 {
            Standing::Expired { days: now_s.saturating_sub(self.not_after_s) / DAY_S }
        } else if days_left < WARNING_DAYS {
            Standing::ExpiresSoon { days_left }
        } else {
            Standing::Valid { days_left }
        }
    }

    /// Says what is wrong with its dates at a time, in the words of a sentence that begins with its name; `None` when
    /// nothing is.
    pub fn trouble(&self, now_s: i64) -> Option<String> {
        self.trouble_as(self.standing(now_s))
    }

    /// Says what [`trouble`](Self::trouble) says, for a standing that was found before.
    pub fn trouble_as(&self, standing: Standing) -> Option<String> {
        let Self { subject, valid_from, expires_on, .. } = self;
        Some(match standing {
            Standing::Valid { .. } => return None,
            Standing::NotYetValid => format!("{subject:?} is not valid before {valid_from}"),
            Standing::ExpiresSoon { days_left: 0 } => {
                format!("{subject:?} expires within a day ({expires_on})")
            }
            Standing::ExpiresSoon { days_left: 1 } => format!("{subject:?} expires in a day ({expires_on})"),
            Standing::ExpiresSoon { days_left } => {
                format!("{subject:?} expires in {days_left} days ({expires_on})")
            }
            Standing::Expired { .. } => format!("{subject:?} expired on {expires_on}"),
        })
    }
}

/// Says what kind of key a certificate is for.
pub(super) fn key_kind(certificate: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(kind_of(certificate.public_key()))
}

/// Says what kind of key SubjectPublicKeyInfo holds.
pub(super) fn kind_of_spki(der: &[u8]) -> Option<String> {
    SubjectPublicKeyInfo::from_der(der).ok().map(|(_, spki)| kind_of(&spki))
}

fn kind_of(spki: &SubjectPublicKeyInfo<'_>) -> String {
    let algorithm = &spki.algorithm.algorithm;
    if *algorithm == OID_PKCS1_RSAENCRYPTION {
        return match spki.parsed() {
            Ok(PublicKey::RSA(key)) => format!("RSA with {} bits", key.key_size()),
            _ => "RSA".to_owned(),
        };
    }
    let curve = spki.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
    match curve.filter(|_| *algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY) {
        Some(curve) => kind_of_oid(&curve),
        None => kind_of_oid(algorithm),
    }
}

/// Says what kind of key an identifier of an algorithm or curve means.
pub(super) fn kind_of_oid(oid: &Oid<'_>) -> String {
    let dotted = oid.to_id_string();
    match dotted.as_str() {
        "1.2.840.113549.1.1.1" => "RSA",
        "1.2.840.113549.1.1.10" => "RSA-PSS",
        "1.2.840.10040.4.1" => "DSA",
        "1.2.840.10045.2.1" => "EC",
        "1.2.840.10045.3.1.1" => "EC on P-192",
        "1.2.840.10045.3.1.7" => "EC on P-256",
        "1.3.132.0.33" => "EC on P-224",
        "1.3.132.0.34" => "EC on P-384",
        "1.3.132.0.35" => "EC on P-521",
        "1.3.132.0.10" => "EC on secp256k1",
        "1.3.101.110" | "1.3.101.111" => "X25519 or X448, which cannot sign",
        "1.3.101.112" => "Ed25519",
        "1.3.101.113" => "Ed448",
        dotted if dotted.starts_with("1.3.36.3.3.2.8.1.1.") => "EC on a Brainpool curve",
        _ => return dotted,
    }
    .to_owned()
}

fn name(name: &X509Name<'_>) -> String {
    let common = name.iter_common_name().next().and_then(|common| common.as_str().ok());
    common.map_or_else(|| name.to_string(), str::to_owned)
}

fn alternative_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let names = extension.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => None,
    });
    names.collect()
}

fn address(bytes: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|bytes| std::net::Ipv4Addr::from(bytes).to_string());
    let v6 = || <[u8; 16]>::try_from(bytes).map(|bytes| std::net::Ipv6Addr::from(bytes).to_string());
    v4.or_else(|_| v6()).ok()
}

fn day(time: ASN1Time) -> String {
    time.to_datetime().date().to_string()
}
