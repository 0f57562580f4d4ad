//! The users and roles that the project file names.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use super::directory::{Credential, Directory};
use super::hashing::{Check, Hashing, HashingCounts, HashingOptions, Remembering, Verify};
use super::keyed::ProcessKey;
use super::login::{Authenticating, Authenticator, Identity, LoginRequest, Refusal};
use super::password::{Hash, PASSWORD_BYTES_MAX, Password};
use super::permissions::Permissions;
use super::rule::Rule;
use super::salts::SaltKey;
use super::scram::{Proving, ScramExchange};

/// Permissions that belong to no [`Users`] are of generation 0.
const FIRST_GENERATION: u64 = 1;

/// A user of the broker.
#[derive(Clone, Debug)]
pub struct User {
    /// The user name, which is not empty.
    pub name: String,
    /// The password.
    pub password: Password,
    /// The names of the roles, whose rules add up. **Without any role nothing is restricted**; a user who may do
    /// nothing has a role without rules.
    pub roles: Vec<String>,
}

/// A named list of rules.
#[derive(Clone, Debug)]
pub struct Role {
    /// The name that users refer to.
    pub name: String,
    /// What is allowed, unless a rule of this or another role of the user denies it.
    pub allow: Vec<Rule>,
    /// What is denied.
    pub deny: Vec<Rule>,
}

/// Who is known, and what each may do.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    /// Every user.
    pub users: Vec<User>,
    /// Every role that users or anonymous clients refer to.
    pub roles: Vec<Role>,
    /// The names of the roles of clients without a name, where a listener admits them. `None` restricts them in
    /// nothing; an empty list lets them do nothing.
    pub anonymous_roles: Option<Vec<String>>,
}

/// The [`Authenticator`] of users and roles that stand in the project file.
///
/// Anonymous clients, where a listener admits them, are not restricted unless they have roles. While there is no user at all, such a listener
/// also admits clients that give a user name; nothing is proven then, so their identity has none.
///
/// A plain password is compared at once; an Argon2id hash is checked by a few threads, and a right one is remembered
/// for a while. Refusing an unknown name costs the same as refusing a wrong password.
///
/// Users whose password is plain, or kept for SCRAM, can come in by SCRAM-SHA-256 too.
///
/// Dropping it waits for the hashes that have begun, tens of milliseconds as a rule.
#[derive(Debug)]
pub struct Users {
    pub(super) key: ProcessKey,
    pub(super) salts: SaltKey,
    pub(super) hashing: Hashing,
    pub(super) directory: RwLock<Arc<Directory>>,
    generation: AtomicU64,
    /// Held by [`replace`](Self::replace), so that generations are counted one by one.
    replacing: Mutex<()>,
}

/// Why users and roles do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidUsers {
    /// A user has an empty name.
    #[error("a user name has at least one character")]
    EmptyName,
    /// Two users have one name.
    #[error("there are two users `{user}`")]
    TwoUsers {
        /// The name.
        user: String,
    },
    /// Two roles have one name.
    #[error("there are two roles `{role}`")]
    TwoRoles {
        /// The name.
        role: String,
    },
    /// Anonymous clients have a role that does not exist.
    #[error("anonymous clients have the role `{role}`, which does not exist")]
    UnknownAnonymousRole {
        /// The role.
        role: String,
    },
    /// A user refers to a role that does not exist.
    #[error("user `{user}` has the role `{role}`, which does not exist")]
    UnknownRole {
        /// The user.
        user: String,
        /// The role.
        role: String,
    },
    /// A plain password is longer than [`PASSWORD_BYTES_MAX`].
    #[error("the password of user `{user}` has more than {PASSWORD_BYTES_MAX} bytes")]
    PasswordTooLong {
        /// The user.
        user: String,
    },
}

impl Users {
    /// Takes users and roles, with default [`HashingOptions`]; anonymous clients are not restricted.
    ///
    /// # Errors
    /// They do not fit together.
    pub fn new(users: Vec<User>, roles: Vec<Role>) -> Result<Self, InvalidUsers> {
        Self::of_accounts(Accounts { users, roles, anonymous_roles: None })
    }

    /// Takes users, roles and what anonymous clients may do, with default [`HashingOptions`].
    ///
    /// # Errors
    /// They do not fit together.
    pub fn of_accounts(accounts: Accounts) -> Result<Self, InvalidUsers> {
        Self::with_verify(accounts, HashingOptions::default(), Box::new(Hash::verify))
    }

    /// Takes users and roles.
    ///
    /// # Errors
    /// As of [`new`](Self::new).
    pub fn with_options(
        users: Vec<User>,
        roles: Vec<Role>,
        options: HashingOptions,
    ) -> Result<Self, InvalidUsers> {
        let accounts = Accounts { users, roles, anonymous_roles: None };
        Self::with_verify(accounts, options, Box::new(Hash::verify))
    }

    pub(super) fn with_verify(
        accounts: Accounts,
        options: HashingOptions,
        verify: Box<Verify>,
    ) -> Result<Self, InvalidUsers> {
        let key = ProcessKey::generate();
        let directory = Directory::new(FIRST_GENERATION, &key, accounts)?;
        Ok(Self::assemble(key, directory, Hashing::new(options, verify)))
    }

    /// Makes the salts of SCRAM that no hash has under this key, which outlives the process. Default: one of this process.
    #[must_use]
    pub fn salt_key(mut self, key: SaltKey) -> Self {
        self.salts = key;
        self
    }

    /// Replaces all users and roles, and what anonymous clients may do.
    ///
    /// Clients that are in stay in until the broker asks [`Authenticator::permissions_for`] again, which it does when
    /// [`Authenticator::generation`] changes. A new password does not put out who came in with the old one; logins
    /// that are being checked against the old one are refused. Passwords that were found right stay remembered as long
    /// as their hash is the same.
    ///
    /// # Errors
    /// They do not fit together; then nothing changes.
    pub fn replace(&self, accounts: Accounts) -> Result<(), InvalidUsers> {
        let _one_at_a_time = self.replacing.lock();
        let directory = Directory::new(self.generation() + 1, &self.key, accounts)?;
        let generation = directory.generation();
        *self.directory.write() = Arc::new(directory);
        self.generation.store(generation, Ordering::Release);
        Ok(())
    }

    /// Returns what password hashing has done so far.
    pub fn hashing(&self) -> HashingCounts {
        self.hashing.counts()
    }

    fn assemble(key: ProcessKey, directory: Directory, hashing: Hashing) -> Self {
        Self {
            salts: SaltKey::new(&key.salt_secret()),
            key,
            hashing,
            generation: AtomicU64::new(directory.generation()),
            directory: RwLock::new(Arc::new(directory)),
            replacing: Mutex::new(()),
        }
    }

    async fn log_in(&self, login: LoginRequest) -> Result<Identity, Refusal> {
        let directory = self.directory.read().clone();
        let name = login.username.as_deref().filter(|name| !name.is_empty());
        let Some(name) = name.filter(|_| !(directory.is_empty() && login.anonymous_allowed)) else {
            return self.admit_anonymous(&directory, &login);
        };
        let user = directory.user(name);
        let name_id = self.key.name_id(name);
        let credential = user.map(|user| user.credential()).or_else(|| directory.stand_in(name_id));
        let credential = credential.ok_or(Refusal::BadUserNameOrPassword)?;
        let remembering = if user.is_some() { Remembering::Yes } else { Remembering::No };
        let is_right = self.is_right(credential, name, name_id, &login, remembering).await?;
        let identity = if is_right { self.admit(name, credential, &login.client_id) } else { None };
        identity.ok_or(Refusal::BadUserNameOrPassword)
    }

    fn admit_anonymous(&self, directory: &Directory, login: &LoginRequest) -> Result<Identity, Refusal> {
        let permissions = directory.permissions(None, &login.client_id).filter(|_| login.anonymous_allowed);
        permissions.map(|permissions| Identity { username: None, permissions }).ok_or(Refusal::NotAuthorized)
    }

    /// Admits a user whose password was right, unless there is no such user, or user or password were replaced while
    /// it was checked.
    pub(super) fn admit(&self, name: &str, checked: &Credential, client_id: &str) -> Option<Identity> {
        let directory = self.directory.read().clone();
        let user = directory.user(name).filter(|user| user.credential() == checked)?;
        let permissions = user.permissions(&directory, client_id);
        Some(Identity { username: Some(user.name().clone()), permissions })
    }

    /// Compares the password of a login. A missing one costs as much as a wrong one, and is never right.
    async fn is_right(
        &self,
        credential: &Credential,
        name: &str,
        name_id: u64,
        login: &LoginRequest,
        remembering: Remembering,
    ) -> Result<bool, Refusal> {
        let given = login.password.as_deref().filter(|password| password.len() <= PASSWORD_BYTES_MAX);
        let password = given.unwrap_or_default();
        let hash = match credential {
            Credential::Plain(tag, _) => return Ok(self.key.plain_tag(password) == *tag && given.is_some()),
            Credential::Hashed(hash) => hash,
        };
        let check = Check {
            hash,
            password,
            tag: self.key.login_tag(name, password, hash),
            remembering,
            address: login.peer,
            name_id,
        };
        Ok(self.hashing.is_right(check).await? && given.is_some())
    }
}

impl Default for Users {
    /// Starts without users and roles: whoever comes to a listener that admits anonymous clients may do everything.
    fn default() -> Self {
        let hashing = Hashing::new(HashingOptions::default(), Box::new(Hash::verify));
        Self::assemble(ProcessKey::generate(), Directory::empty(FIRST_GENERATION), hashing)
    }
}

impl Authenticator for Users {
    fn authenticate(&self, login: LoginRequest) -> Authenticating<'_> {
        Box::pin(self.log_in(login))
    }

    fn begin_scram(&self, first: &[u8]) -> Result<ScramExchange, Refusal> {
        self.challenge(first)
    }

    fn end_scram(&self, exchange: ScramExchange, last: Bytes, login: LoginRequest) -> Proving<'_> {
        Box::pin(self.prove(exchange, last, login))
    }

    fn permissions_for(&self, username: Option<&str>, client_id: &str) -> Option<Arc<Permissions>> {
        self.directory.read().permissions(username, client_id)
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}
