//! What must hold for any bytes that claim to be a message of SCRAM.

use super::{ClientExchange, ClientFirst, Iterations, Keys};

/// Keys of which nobody has the password.
const KEYS: Keys = Keys::new([1; 32], [2; 32]);

/// Reads the input as each message of an exchange: as the client's first, the server's challenge and the client's last.
pub(crate) fn scram(input: &[u8]) {
    if let Ok(first) = ClientFirst::read(input) {
        assert!(!first.username().is_empty(), "a user has a name");
        let exchange = first.challenge(b"salt", Iterations::DEFAULT, "server");
        assert!(exchange.challenge().ends_with("server,s=c2FsdA==,i=16384"), "{exchange:?}");
    }
    let Ok(client) = ClientExchange::begin("user", b"pencil", "nonce") else { panic!("the login is right") };
    let Ok(first) = ClientFirst::read(client.first().as_bytes()) else { panic!("our own first message") };
    // Whatever it asks for, nothing is hashed here.
    drop(client.challenged(input));
    if let Ok(proof) = first.challenge(b"salt", Iterations::DEFAULT, "server").read(input) {
        assert!(proof.verify(&KEYS).is_err(), "a proof is made up");
    }
}
