//! Access control: who may come in, and what they may publish and subscribe to.
//!
//! ```text
//! CONNECT ──► Authenticator::authenticate ──► Identity { username, Arc<Permissions> }
//!               │ Users: users and roles of the project file        │
//!               └─ Hashing: few threads, a bounded line, a memory   ├─ may_publish(topic)    per PUBLISH
//!                                                                   ├─ may_subscribe(filter) per SUBSCRIBE
//!                                                                   └─ may_receive(topic)    per delivery, if Filtered
//! ```
//!
//! With SCRAM it is `begin_scram` with the client's first message, and `end_scram` with its last.
//!
//! What is not here: listeners, limits on connections, and sessions. Nothing here reads a project file.
//!
//! Invariants: deny wins, roles add up, and what no rule allows is denied; a name that a peer chose never widens a
//! rule; no password is ever printed, and none is hashed on the thread of a connection.

mod cache;
mod crypted;
mod directory;
mod explain;
mod hashing;
mod keyed;
mod line;
mod login;
mod password;
mod pattern;
mod permissions;
mod rule;
mod salts;
mod scram;
mod scrammed;
mod secret;
mod users;

pub use explain::{Because, Explanation};
pub use hashing::{HashingCounts, HashingOptions};
pub use login::{Authenticating, Authenticator, Identity, LoginRequest, Refusal};
pub use password::{InvalidPassword, PASSWORD_BYTES_MAX, Password, hash_password, hash_password_for_scram};
pub use permissions::{Permissions, Subscribing};
pub use rule::{InvalidRule, Rule, RuleFault};
pub use salts::SaltKey;
pub use scram::{Proven, Proving, ScramExchange};
pub use secret::Secret;
pub use users::{Accounts, InvalidUsers, Role, User, Users};

#[cfg(test)]
mod tests;
