//! The server's side.

use std::fmt;

use super::{
    Iterations, Keys, ScramFault,
    attributes::{self, Attributes},
    keys::{self, Key},
};

/// The first message of a client.
#[derive(Debug)]
pub struct ClientFirst {
    username: String,
    /// What stands before the message, which the last one repeats.
    header: String,
    bare: String,
    nonce: String,
}

impl ClientFirst {
    /// Reads the first message of a client.
    ///
    /// # Errors
    /// It cannot be read, binds a channel, or acts for another user.
    pub fn read(first: &[u8]) -> Result<Self, ScramFault> {
        let text = attributes::text(first)?;
        let mut header = Attributes::of(text);
        match header.next() {
            // `y` is a client that would bind a channel and saw that we do not.
            Some("n" | "y") => {}
            Some(binding) if binding.starts_with("p=") => {
                return Err(ScramFault::Unsupported("a channel binding"));
            }
            _ => return Err(ScramFault::Malformed("it says nothing of channel binding")),
        }
        match header.next() {
            Some("") => {}
            Some(_) => return Err(ScramFault::Unsupported("to act for another user")),
            None => return Err(ScramFault::Malformed("it ends before the user name")),
        }
        // "n,," and "y,,".
        let (header, bare) = text.split_at_checked(3).ok_or(ScramFault::Malformed("it is too short"))?;
        let mut attributes = Attributes::of(bare);
        let username = unescape(attributes.take('n')?)?;
        let nonce = attributes::check_nonce(attributes.take('r')?)?;
        Ok(Self { username, nonce: nonce.to_owned(), header: header.to_owned(), bare: bare.to_owned() })
    }

    /// Returns the user name, not checked in any way.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// Challenges the client with the salt and the iterations of its user. `nonce` was never used before and cannot
    /// be guessed: see [`nonce`](super::nonce).
    pub fn challenge(self, salt: &[u8], iterations: Iterations, nonce: &str) -> ServerExchange {
        let nonce = format!("{}{nonce}", self.nonce);
        let challenge = format!("r={nonce},s={},i={}", attributes::encode(salt), iterations.get());
        let channel = attributes::encode(self.header.as_bytes());
        ServerExchange { first_bare: self.bare, challenge, channel, nonce }
    }
}

/// An exchange that waits for the client's proof.
#[derive(Debug)]
pub struct ServerExchange {
    first_bare: String,
    challenge: String,
    /// What the client must say again of the channel.
    channel: String,
    nonce: String,
}

impl ServerExchange {
    /// Returns the challenge to send.
    pub fn challenge(&self) -> &str {
        &self.challenge
    }

    /// Reads the last message of the client.
    ///
    /// # Errors
    /// It cannot be read, or belongs to another exchange.
    pub fn read(self, last: &[u8]) -> Result<ClientProof, ScramFault> {
        let text = attributes::text(last)?;
        let mut attributes = Attributes::of(text);
        if attributes.take('c')? != self.channel {
            return Err(ScramFault::Malformed("it says something else of channel binding than before"));
        }
        if attributes.take('r')? != self.nonce {
            return Err(ScramFault::Nonce);
        }
        let (bare, proof) =
            text.rsplit_once(",p=").ok_or(ScramFault::Malformed("there is no proof in it"))?;
        let said = format!("{},{},{bare}", self.first_bare, self.challenge);
        Ok(ClientProof { proof: attributes::decode_key(proof)?, said })
    }
}

/// What a client says to prove that it knows the password.
pub struct ClientProof {
    proof: Key,
    said: String,
}

impl ClientProof {
    /// Checks the proof, and returns the message that proves to the client that we know the keys.
    ///
    /// # Errors
    /// [`ScramFault::ClientUnproven`] if the proof is not of these keys.
    pub fn verify(&self, keys: &Keys) -> Result<String, ScramFault> {
        let said = self.said.as_bytes();
        let client_key = keys::xor(&self.proof, &keys::sign(&keys.stored, said));
        if !keys::is_equal(&keys::hash(&client_key), &keys.stored) {
            return Err(ScramFault::ClientUnproven);
        }
        Ok(format!("v={}", attributes::encode(&keys::sign(&keys.server, said))))
    }
}

impl fmt::Debug for ClientProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientProof(hidden)")
    }
}

/// Takes the escapes out of a user name: `=2C` is a comma, `=3D` an equals sign, and nothing else stands behind one.
fn unescape(name: &str) -> Result<String, ScramFault> {
    let mut parts = name.split('=');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (sign, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return Err(ScramFault::Malformed("the user name has a wrong escape")),
        };
        plain.push(sign);
        plain.push_str(rest);
    }
    if plain.is_empty() {
        return Err(ScramFault::Malformed("the user name is empty"));
    }
    Ok(plain)
}
