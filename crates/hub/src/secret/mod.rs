//! Sealed secrets: a password that may stand in a file which everybody reads, because only a key opens it.
//!
//! ```text
//!   KeySource ──► KeyRing ─┐
//!   (file, variable,       ├─► seal ──► "sealed:v1:..." ──► unseal ──► Secret
//!    credential, phrase)   │
//!   Seat (project, path) ──┘
//! ```
//!
//! A sealed value names the key, the project and the path that it was sealed for, and opens nowhere else. The bytes are
//! written down in `docs/formats/sealed.md`. What is not here: which keys of the project file are secrets (that is
//! declared in `config/settings`), and asking a person for anything.
//!
//! Invariant: nothing here that can be printed holds a secret or a key; errors name places.

mod bundle;
mod envelope;
mod fields;
mod key;
mod key_file;
mod place;
mod project_id;
mod redacted;
mod source;
mod vault;

pub use bundle::{Bundle, BundleError, Lock, Opened, Unlock, bundle, open};
pub use envelope::{Label, SealError, Seat, seal, unseal};
pub use fields::{Field, FieldKind};
pub use key::{KeyId, KeyRing, SealingKey, WrongKey};
pub use key_file::{KEY_FILE, make_key_file, replace_key_file};
pub use place::{Reason, secrets_to_enter_again};
pub use project_id::ProjectId;
pub use redacted::redacted;
pub use source::{KeyError, KeyOrigin, KeySource};
pub use vault::{Listed, Rotated, Standing, Vault, VaultError, Written};

pub(crate) use source::Opener;
