/// Why options cannot be used. Each names the setting and its bound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// There is no server to connect to.
    #[error("no server is given: add one with `server`")]
    NoServer,
    /// A number is out of its bounds.
    #[error("{setting} is {value}; it must be {min} to {max}")]
    OutOfBounds {
        /// The setting.
        setting: &'static str,
        /// What was given.
        value: u64,
        /// The lowest that is allowed.
        min: u64,
        /// The highest that is allowed.
        max: u64,
    },
    /// The shortest reconnect wait is longer than the longest.
    #[error("reconnect_min_ms is {min} and reconnect_max_ms is {max}: the first must not be larger")]
    ReconnectRange {
        /// The shortest wait.
        min: u64,
        /// The longest wait.
        max: u64,
    },
    /// A durable session needs a name under which the server keeps it.
    #[error("a durable session needs a client id: set `client_id`, or use a clean session")]
    DurableWithoutClientId,
    /// The client identifier is not one that the protocol allows.
    #[error("the client id {what}")]
    ClientId {
        /// What is wrong with it.
        what: &'static str,
    },
    /// A password was given without a user name, which only MQTT 5 allows.
    #[error("MQTT 3.1 and 3.1.1 need a user name with the password: set `username`")]
    PasswordWithoutUsername,
    /// SCRAM is asked for with an earlier version.
    #[error("SCRAM needs MQTT 5.0: set `protocol` to 5.0, or authenticate by password")]
    ScramVersion,
    /// SCRAM is asked for without what it is about.
    #[error("SCRAM needs a user name and a password: set both")]
    ScramWithoutLogin,
    /// SCRAM cannot be done with this user name and password.
    #[error("SCRAM cannot be done: {0}")]
    Scram(crosspoint_protocol::scram::ScramFault),
    /// The topic of the canary is one that a server may treat in its own way.
    #[error("the topic of the canary begins with `$`: use another")]
    CanaryTopic,
    /// A field is longer than MQTT allows.
    #[error("{setting} has {bytes} bytes; 65,535 are allowed")]
    TooLong {
        /// The setting.
        setting: &'static str,
        /// How long it is.
        bytes: usize,
    },
    /// CONNECT cannot be encoded with these options.
    #[error("the connection request cannot be built: {0}")]
    Connect(String),
    /// The session store could not be read.
    #[error("the stored session cannot be read: {0}")]
    Store(String),
}
