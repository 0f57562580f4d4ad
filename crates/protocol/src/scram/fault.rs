use super::keys::Iterations;

/// Why an exchange ends without success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScramFault {
    /// The user name or the password cannot be prepared (SASLprep): it is not text, or has characters that are
    /// forbidden there.
    #[error("the user name or the password has characters that SCRAM does not allow")]
    Unpreparable,
    /// A message cannot be read.
    #[error("a message of the exchange cannot be read: {0}")]
    Malformed(&'static str),
    /// The other side asks for what is not done here.
    #[error("the other side asks for {0}, which is not supported")]
    Unsupported(&'static str),
    /// The nonce is not the one of this exchange.
    #[error("the nonce is not that of this exchange: somebody may be in between")]
    Nonce,
    /// The server asks for so few iterations that whoever listens could guess the password.
    #[error(
        "the server asks for {0} iterations, fewer than {min}: whoever listens could guess the password",
        min = Iterations::MIN
    )]
    TooFewIterations(u32),
    /// The server asks for so many iterations that they would keep a CPU busy.
    #[error(
        "the server asks for {0} iterations, more than {max}: they would keep the CPU busy",
        max = Iterations::MAX
    )]
    TooManyIterations(u32),
    /// The server did not prove that it knows the password.
    #[error("the server did not prove that it knows the password: it may be an impostor")]
    ServerUnproven,
    /// The client did not prove that it knows the password.
    #[error("the client did not prove that it knows the password")]
    ClientUnproven,
}
