//! Why certificates or a key cannot be taken from some bytes.

use super::form::Form;

/// Why certificates or a key cannot be taken from some bytes.
///
/// The message begins with a verb: whoever shows it puts the name of the file before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// There is nothing.
    #[error("is empty")]
    Empty,
    /// It is something else.
    #[error("is {form} and no {wanted}")]
    Other {
        /// What it is.
        form: Form,
        /// What was wanted.
        wanted: Wanted,
    },
    /// What was wanted is not in it.
    #[error("holds no {wanted}")]
    Lacks {
        /// What was wanted.
        wanted: Wanted,
    },
    /// It is damaged.
    #[error("is damaged: {detail}")]
    Damaged {
        /// In which way.
        detail: String,
    },
    /// A certificate in it cannot serve as an authority.
    #[error("holds the certificate {subject:?}, which cannot serve as an authority: {detail}")]
    NotAnAuthority {
        /// Whose certificate it is.
        subject: String,
        /// What the TLS library says.
        detail: String,
    },
    /// It is encrypted, and there is no password.
    #[error("is {form} and needs a password")]
    PasswordNeeded {
        /// What it is.
        form: Form,
    },
    /// The password is not the one.
    #[error("is {form}, and the password does not open it")]
    WrongPassword {
        /// What it is.
        form: Form,
    },
    /// It is encrypted in a way that is not known here.
    #[error("is an encrypted private key ({scheme}), a way of encryption that is not known here")]
    UnknownScheme {
        /// How it is encrypted.
        scheme: String,
        /// Whether OpenSSL keeps it among its legacy ways.
        is_legacy: bool,
    },
    /// The PKCS#12 file is encrypted in a way that is not known here.
    #[error("is a PKCS#12 file that is encrypted in a way not known here")]
    UnknownPkcs12,
    /// The key is of a kind that cannot be used for TLS here.
    #[error("is a private key of the kind {kind}, which cannot be used here")]
    KeyKind {
        /// The kind.
        kind: String,
    },
    /// There are several keys.
    #[error("holds {count} different private keys")]
    SeveralKeys {
        /// How many.
        count: usize,
    },
    /// Certificate and key do not belong together.
    #[error("the private key ({key}) does not belong to the certificate {certificate}")]
    NotAPair {
        /// The kind of the key.
        key: String,
        /// The name in the certificate and the kind of its key.
        certificate: String,
    },
}

/// What was wanted of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// A certificate or several.
    Certificate,
    /// A private key.
    PrivateKey,
    /// A PKCS#12 file.
    Pkcs12,
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Certificate => "certificate",
            Self::PrivateKey => "private key",
            Self::Pkcs12 => "PKCS#12 file",
        })
    }
}

impl LoadError {
    /// Returns one next step in plain words.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Empty => "export it again; this file has nothing in it",
            Self::Other { form, wanted } => other(form, *wanted),
            Self::Lacks { wanted: Wanted::Certificate } => {
                "name a file with BEGIN CERTIFICATE, PKCS#7 or DER"
            }
            Self::Lacks { wanted: Wanted::PrivateKey } => {
                "export the certificate together with its private key"
            }
            Self::Lacks { wanted: Wanted::Pkcs12 } => "export certificate and key as PKCS#12 (.p12, .pfx)",
            Self::Damaged { .. } => "export it again",
            Self::NotAnAuthority { .. } => "name the certificate of the authority itself",
            Self::PasswordNeeded { .. } => "set its password as `key_password`",
            Self::WrongPassword { .. } => "set the password it was made with as `key_password`",
            Self::UnknownScheme { is_legacy: false, .. } => {
                "convert it: openssl pkcs8 -topk8 -v2 aes-256-cbc -in KEY -out NEW.pem"
            }
            Self::UnknownScheme { is_legacy: true, .. } => {
                "convert it: openssl pkcs8 -topk8 -v2 aes-256-cbc -in KEY -out NEW.pem -provider legacy -provider default"
            }
            Self::UnknownPkcs12 => "export it again with AES-256, as openssl pkcs12 -export does",
            Self::KeyKind { .. } => {
                "make a key that is RSA with 2,048 to 4,096 bits, EC on P-256 or P-384, or Ed25519, and a certificate for it"
            }
            Self::SeveralKeys { .. } => "leave the key of the certificate in it and take the others out",
            Self::NotAPair { .. } => "name the private key that the certificate was made for",
        }
    }
}

/// Says what to do with something that is not what was wanted.
fn other(form: &Form, wanted: Wanted) -> &'static str {
    match (form, wanted) {
        (Form::Pkcs12, Wanted::Certificate) => {
            "with its key: name it as `pkcs12`; without: openssl pkcs12 -in FILE -nokeys -out CERTIFICATES.pem"
        }
        (Form::Pkcs12, Wanted::PrivateKey) => "name it as `pkcs12`, instead of `certificate` and `key`",
        (Form::Certificate | Form::Pkcs7, Wanted::PrivateKey) => {
            "name the private key as `key` and this as `certificate`"
        }
        (Form::Certificate | Form::Pkcs7, Wanted::Pkcs12) => {
            "name it as `certificate`, and its private key as `key`"
        }
        (form, Wanted::Certificate | Wanted::Pkcs12) if form.is_key() => {
            "name it as `key`, and its certificate as `certificate`"
        }
        (Form::CertificateRequest, _) => "send it to the authority; what comes back is the certificate",
        (Form::OpenSshKey, _) => {
            "TLS needs a key of its own; if it must be this one: ssh-keygen -p -m PKCS8 -f COPY, on a copy of it"
        }
        (Form::SshPublicKey | Form::Pgp, _) => {
            "TLS needs a key and a certificate of X.509, not of SSH or PGP"
        }
        (Form::PuttyKey, _) => "TLS needs a key of X.509, not of SSH",
        (Form::PublicKey, _) => "name the private key; this is only its public half",
        (Form::RevocationList, _) => "name the certificate; revocation lists are not read",
        (Form::Parameters, _) => "name the key itself; parameters alone are none",
        (Form::DsaKey, _) => "make a key that is RSA, EC or Ed25519: TLS has no DSA any more",
        (Form::JavaKeystore, _) => {
            "convert it: keytool -importkeystore -srckeystore FILE -destkeystore NEW.p12 -deststoretype PKCS12"
        }
        (Form::WebPage, _) => "download it again: what was saved is the page of a web site",
        (_, Wanted::Certificate) => "name a certificate: PEM, DER or PKCS#7",
        (_, Wanted::PrivateKey) => "name a private key: PEM or DER, of the kind PKCS#8, PKCS#1 or SEC1",
        (_, Wanted::Pkcs12) => "name a PKCS#12 file (.p12, .pfx)",
    }
}
