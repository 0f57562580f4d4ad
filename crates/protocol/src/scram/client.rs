//! The client's side.

use std::fmt;

use super::{
    Iterations, Password, ScramFault,
    attributes::{self, Attributes},
    keys::{self, Key},
};

/// What stands before the first message: no channel is bound, and the user acts for itself.
const GS2_HEADER: &str = "n,,";

/// The same again, as base64, in the last message.
const CHANNEL: &str = "biws";

/// An exchange whose first message is on its way.
#[derive(Debug)]
pub struct ClientExchange {
    password: Password,
    first_bare: String,
    nonce: String,
}

impl ClientExchange {
    /// Begins an exchange. `nonce` was never used before and cannot be guessed: see [`nonce`](super::nonce).
    ///
    /// # Errors
    /// User name or password cannot be prepared, or the nonce is none.
    pub fn begin(username: &str, password: &[u8], nonce: &str) -> Result<Self, ScramFault> {
        let nonce = attributes::check_nonce(nonce)?;
        let username = stringprep::saslprep(username).map_err(|_| ScramFault::Unpreparable)?;
        let username = username.replace('=', "=3D").replace(',', "=2C");
        Ok(Self {
            password: Password::prepare(password)?,
            first_bare: format!("n={username},r={nonce}"),
            nonce: nonce.to_owned(),
        })
    }

    /// Returns the first message.
    pub fn first(&self) -> String {
        format!("{GS2_HEADER}{}", self.first_bare)
    }

    /// Reads the server's challenge.
    ///
    /// # Errors
    /// It cannot be read, answers another exchange, or asks for too few or too many iterations.
    pub fn challenged(self, challenge: &[u8]) -> Result<Challenged, ScramFault> {
        let text = attributes::text(challenge)?;
        let mut attributes = Attributes::of(text);
        let nonce = attributes::check_nonce(attributes.take('r')?)?;
        let salt = attributes::decode(attributes.take('s')?)?;
        let iterations = attributes.take('i')?;
        let iterations: u32 =
            iterations.parse().map_err(|_| ScramFault::Malformed("the iterations are no number"))?;
        // A server that adds nothing of its own could be one that plays an old exchange again.
        if nonce.len() <= self.nonce.len() || !nonce.starts_with(&self.nonce) {
            return Err(ScramFault::Nonce);
        }
        let iterations = Iterations::new(iterations)?;
        let last_bare = format!("c={CHANNEL},r={nonce}");
        let said = format!("{},{text},{last_bare}", self.first_bare);
        Ok(Challenged { password: self.password, salt, iterations, said, last_bare })
    }
}

/// An exchange that waits for our answer.
pub struct Challenged {
    password: Password,
    salt: Vec<u8>,
    iterations: Iterations,
    /// What both sides have said, up to the proof.
    said: String,
    last_bare: String,
}

impl Challenged {
    /// Returns the last message, and what the server's answer is checked with: **slow**, it hashes as many times as
    /// the server asked for.
    ///
    /// # Errors
    /// The salt is empty or too long.
    pub fn answer(&self) -> Result<(String, ServerProof), ScramFault> {
        let salted = self.password.salted(&self.salt, self.iterations)?;
        let made = salted.keys();
        let said = self.said.as_bytes();
        let proof = keys::xor(&salted.client_key(), &keys::sign(&made.stored, said));
        let message = format!("{},p={}", self.last_bare, attributes::encode(&proof));
        Ok((message, ServerProof(keys::sign(&made.server, said))))
    }
}

impl fmt::Debug for Challenged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Challenged").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// The answer that only a server can give that knows the password. It cannot be printed.
#[derive(Clone)]
pub struct ServerProof(Key);

impl ServerProof {
    /// Tells whether the server's last message shows it.
    pub fn is_shown_by(&self, last: &[u8]) -> bool {
        let shown = attributes::text(last).and_then(|text| Attributes::of(text).take('v'));
        shown.and_then(attributes::decode_key).is_ok_and(|shown| keys::is_equal(&shown, &self.0))
    }
}

impl fmt::Debug for ServerProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerProof(hidden)")
    }
}
