//! SCRAM-SHA-256 for the users of the project file.
//!
//! Who asks is not told which users there are: an unknown name, and one whose password is kept in a form that cannot do
//! SCRAM, get a challenge as good as any other, always the same one, and are refused when they have answered, after as
//! much work. What that work is with, and so its time, is lent from another user.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use crosspoint_protocol::ByteString;
use crosspoint_protocol::scram::{self, ClientFirst, Iterations, ServerExchange};
use ring::rand::{SecureRandom, SystemRandom};

use super::directory::{Credential, Entry};
use super::hashing::Derivation;
use super::login::{Identity, LoginRequest, Refusal};
use super::scrammed::{SALT_BYTES, Scrammed};
use super::users::Users;

/// What [`Authenticator::end_scram`](super::Authenticator::end_scram) returns.
pub type Proving<'a> = Pin<Box<dyn Future<Output = Result<Proven, Refusal>> + Send + 'a>>;

/// An exchange of SCRAM whose challenge is with the client.
#[derive(Debug)]
pub struct ScramExchange {
    exchange: ServerExchange,
    username: ByteString,
    /// What the client's proof is checked against.
    credential: Credential,
    salt: [u8; SALT_BYTES],
    iterations: Iterations,
    standing: Standing,
}

/// Whether the user may come in at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Known,
    /// There is such a user, whose hash cannot do SCRAM.
    OtherHash,
    Unknown,
}

/// A client that has proven who it is.
#[derive(Debug)]
pub struct Proven {
    /// Who it is.
    pub identity: Identity,
    /// What proves to the client that we know its password.
    pub shown: Bytes,
}

impl ScramExchange {
    /// Returns the challenge to send.
    pub fn challenge(&self) -> Bytes {
        Bytes::copy_from_slice(self.exchange.challenge().as_bytes())
    }

    /// Returns the user name that is to be proven.
    pub fn username(&self) -> &ByteString {
        &self.username
    }
}

impl Users {
    pub(super) fn challenge(&self, first: &[u8]) -> Result<ScramExchange, Refusal> {
        let directory = self.directory.read().clone();
        let first = ClientFirst::read(first).map_err(Refusal::Scram)?;
        let username = ByteString::from(first.username());
        let name_id = self.key.name_id(&username);
        // Without anybody who could come in the method is not offered.
        let stand_in = directory.scram_stand_in(name_id).ok_or(Refusal::BadAuthenticationMethod)?;
        let user = directory.user(&username).map(Entry::credential);
        let (credential, standing) = match user {
            Some(credential) if credential.can_scram() => (credential, Standing::Known),
            Some(_) => (stand_in, Standing::OtherHash),
            None => (stand_in, Standing::Unknown),
        };
        let (salt, iterations) = match (credential.scrammed(), standing) {
            (Some(kept), Standing::Known) => (kept.salt, kept.iterations),
            (kept, _) => {
                let iterations = kept.map_or(Iterations::DEFAULT, |kept| kept.iterations);
                (self.salts.salt(&username), iterations)
            }
        };
        let mut random = [0; scram::NONCE_BYTES];
        SystemRandom::new().fill(&mut random).map_err(|_| Refusal::Busy)?;
        let exchange = first.challenge(&salt, iterations, &scram::nonce(&random));
        Ok(ScramExchange { exchange, credential: credential.clone(), username, salt, iterations, standing })
    }

    pub(super) async fn prove(
        &self,
        scram: ScramExchange,
        last: Bytes,
        login: LoginRequest,
    ) -> Result<Proven, Refusal> {
        let ScramExchange { exchange, username, credential, salt, iterations, standing } = scram;
        let proof = exchange.read(&last).map_err(Refusal::Scram)?;
        let keys = match (&credential, credential.scrammed()) {
            (_, Some(Scrammed { keys, .. })) => keys.clone(),
            (Credential::Plain(_, Some(password)), None) => {
                let password = Arc::clone(password);
                let derivation = Derivation { password, salt, iterations };
                self.hashing.derive(derivation, login.peer, self.key.name_id(&username)).await?
            }
            _ => return Err(Refusal::BadUserNameOrPassword),
        };
        let shown = proof.verify(&keys).map_err(|_| Refusal::BadUserNameOrPassword);
        if standing == Standing::OtherHash {
            tracing::info!(
                user = %username,
                "A user tried SCRAM and cannot: the password is kept as a hash of another kind. Write it as \
                 `crosspoint user hash --scram` prints it, or plain and sealed."
            );
        }
        let shown = shown.and_then(|shown| match standing {
            Standing::Known => Ok(shown),
            Standing::OtherHash | Standing::Unknown => Err(Refusal::BadUserNameOrPassword),
        })?;
        let identity = self.admit(&username, &credential, &login.client_id);
        Ok(Proven { identity: identity.ok_or(Refusal::BadUserNameOrPassword)?, shown: shown.into() })
    }
}
