//! The users and roles that are in force, found by name.

use std::sync::{Arc, OnceLock};

use crosspoint_protocol::{ByteString, scram};
use rustc_hash::FxHashMap;

use super::keyed::{ProcessKey, Tag};
use super::password::{Hash, PASSWORD_BYTES_MAX, Written};
use super::permissions::{Effect, Origin, Permissions};
use super::rule::{Rule, Subject};
use super::scrammed::Scrammed;
use super::users::{Accounts, InvalidUsers, Role, User};

/// One state of the users and roles; another one replaces it whole.
#[derive(Debug)]
pub(super) struct Directory {
    generation: u64,
    users: FxHashMap<ByteString, Entry>,
    /// The passwords of all users: an unknown name is given one of them, so that refusing it takes as long.
    credentials: Vec<Credential>,
    /// Those of them that can do SCRAM, for the same end.
    scram_credentials: Vec<Credential>,
    anonymous: Grants,
    unrestricted: Arc<Permissions>,
}

/// One user.
#[derive(Debug)]
pub(super) struct Entry {
    name: ByteString,
    credential: Credential,
    grants: Grants,
}

/// The rules of all roles of a user, or of those without a name.
#[derive(Debug, Default)]
struct Grants {
    /// `None` without roles: nothing is restricted.
    rules: Option<Vec<Arc<Origin>>>,
    /// Shared by all clients that they are for, unless a rule names the client.
    shared: OnceLock<Arc<Permissions>>,
}

/// What a password is compared with. Plain passwords are kept as a keyed hash, and as SCRAM wants them if they can be
/// used there.
#[derive(Clone)]
pub(super) enum Credential {
    Plain(Tag, Option<Arc<scram::Password>>),
    Hashed(Arc<Hash>),
}

type RulesOfRoles = FxHashMap<Arc<str>, Vec<Arc<Origin>>>;

impl Directory {
    pub(super) fn new(generation: u64, key: &ProcessKey, accounts: Accounts) -> Result<Self, InvalidUsers> {
        let roles = index_roles(accounts.roles)?;
        let mut directory = Self::empty(generation);
        for user in accounts.users {
            directory.add(key, user, &roles)?;
        }
        if let Some(names) = accounts.anonymous_roles {
            let unknown = |role| InvalidUsers::UnknownAnonymousRole { role };
            directory.anonymous = Grants::new(rules_of(&names, &roles).map_err(unknown)?);
        }
        Ok(directory)
    }

    pub(super) fn empty(generation: u64) -> Self {
        Self {
            generation,
            users: FxHashMap::default(),
            credentials: Vec::new(),
            scram_credentials: Vec::new(),
            anonymous: Grants::default(),
            unrestricted: Permissions::unrestricted_since(generation),
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    pub(super) fn user(&self, name: &str) -> Option<&Entry> {
        self.users.get(name)
    }

    /// Returns a password to compare with for a user who does not exist: always the same one for a name, so that
    /// the time of the answer tells as little as with a name that exists. `None` without users.
    pub(super) fn stand_in(&self, name_id: u64) -> Option<&Credential> {
        let position = name_id.checked_rem(self.credentials.len() as u64)?;
        self.credentials.get(position as usize)
    }

    /// Returns what stands in for a user who cannot come in by SCRAM, in the same way. `None` if nobody can.
    pub(super) fn scram_stand_in(&self, name_id: u64) -> Option<&Credential> {
        let position = name_id.checked_rem(self.scram_credentials.len() as u64)?;
        self.scram_credentials.get(position as usize)
    }

    pub(super) fn permissions(&self, username: Option<&str>, client_id: &str) -> Option<Arc<Permissions>> {
        match username {
            None => Some(self.anonymous.permissions(self, Subject { username: None, client_id })),
            Some(name) => Some(self.user(name)?.permissions(self, client_id)),
        }
    }

    fn add(&mut self, key: &ProcessKey, user: User, roles: &RulesOfRoles) -> Result<(), InvalidUsers> {
        if user.name.is_empty() {
            return Err(InvalidUsers::EmptyName);
        }
        let credential = match user.password.written() {
            Written::Plain(secret) if secret.expose().len() > PASSWORD_BYTES_MAX => {
                return Err(InvalidUsers::PasswordTooLong { user: user.name });
            }
            Written::Plain(secret) => {
                let password = scram::Password::prepare(secret.expose()).ok().map(Arc::new);
                Credential::Plain(key.plain_tag(secret.expose()), password)
            }
            Written::Hashed(hash) => Credential::Hashed(hash.clone()),
        };
        let mut grants = Grants::default();
        if !user.roles.is_empty() {
            let unknown = |role| InvalidUsers::UnknownRole { user: user.name.clone(), role };
            grants = Grants::new(rules_of(&user.roles, roles).map_err(unknown)?);
        }
        let name = ByteString::from(user.name.as_str());
        let entry = Entry { name: name.clone(), credential: credential.clone(), grants };
        if self.users.insert(name, entry).is_some() {
            return Err(InvalidUsers::TwoUsers { user: user.name });
        }
        if credential.can_scram() {
            self.scram_credentials.push(credential.clone());
        }
        self.credentials.push(credential);
        Ok(())
    }
}

impl Entry {
    /// Returns the name, which shares the directory's memory.
    pub(super) fn name(&self) -> &ByteString {
        &self.name
    }

    pub(super) fn credential(&self) -> &Credential {
        &self.credential
    }

    pub(super) fn permissions(&self, directory: &Directory, client_id: &str) -> Arc<Permissions> {
        self.grants.permissions(directory, Subject { username: Some(&self.name), client_id })
    }
}

impl Credential {
    /// Tells whether its user can come in by SCRAM.
    pub(super) fn can_scram(&self) -> bool {
        matches!(self, Self::Plain(_, Some(_))) || self.scrammed().is_some()
    }

    /// Returns what is kept for SCRAM alone.
    pub(super) fn scrammed(&self) -> Option<&Scrammed> {
        match self {
            Self::Hashed(hash) => hash.scrammed(),
            Self::Plain(..) => None,
        }
    }
}

impl Grants {
    fn new(rules: Vec<Arc<Origin>>) -> Self {
        Self { rules: Some(rules), shared: OnceLock::new() }
    }

    fn permissions(&self, directory: &Directory, subject: Subject<'_>) -> Arc<Permissions> {
        let Some(rules) = &self.rules else { return directory.unrestricted.clone() };
        let compile = || Permissions::compile(directory.generation, rules.iter(), subject);
        if rules.iter().any(|origin| origin.rule.names_the_client()) {
            compile()
        } else {
            self.shared.get_or_init(compile).clone()
        }
    }
}

impl PartialEq for Credential {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Plain(a, _), Self::Plain(b, _)) => a == b,
            (Self::Hashed(a), Self::Hashed(b)) => a.as_str() == b.as_str(),
            _ => false,
        }
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credential(hidden)")
    }
}

fn index_roles(roles: Vec<Role>) -> Result<RulesOfRoles, InvalidUsers> {
    let mut index = RulesOfRoles::default();
    for role in roles {
        let name: Arc<str> = role.name.as_str().into();
        let origin = |rule: Rule, effect| Arc::new(Origin { role: name.clone(), rule, effect });
        let mut rules: Vec<_> = role.deny.into_iter().map(|rule| origin(rule, Effect::Deny)).collect();
        rules.extend(role.allow.into_iter().map(|rule| origin(rule, Effect::Allow)));
        if index.insert(name, rules).is_some() {
            return Err(InvalidUsers::TwoRoles { role: role.name });
        }
    }
    Ok(index)
}

/// Returns the rules of all roles that are named, or the name that is none of a role.
fn rules_of(names: &[String], roles: &RulesOfRoles) -> Result<Vec<Arc<Origin>>, String> {
    let mut rules = Vec::new();
    for name in names {
        rules.extend(roles.get(name.as_str()).ok_or_else(|| name.clone())?.iter().cloned());
    }
    Ok(rules)
}
