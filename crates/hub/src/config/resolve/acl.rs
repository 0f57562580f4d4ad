//! `[broker.user.NAME]` and `[broker.role.NAME]`.

use std::collections::BTreeMap;

use crosspoint_broker::access::Password;
use crosspoint_protocol::TopicFilter;

use super::super::diagnostic::Findings;
use super::super::plan::{Access, AclRule, Effect, UserPassword, UserPlan};
use super::super::section::{Section, Text};
use super::super::setting::Setting;
use super::super::settings::broker as keys;
use super::super::suggest::{closest, listed};
use super::material::{Material, Origin};

/// Who may sign in, and what each may do.
pub(super) struct Accounts {
    pub(super) users: BTreeMap<String, UserPlan>,
    /// What clients without a name may do; `None` when nothing is said about it.
    pub(super) anonymous_rules: Option<Vec<AclRule>>,
}

/// Resolves the users and clients without a name, each with the rules of all its roles.
pub(super) fn accounts(broker: &Section<'_>, material: &Material, findings: &mut Findings) -> Accounts {
    let roles = roles(broker, findings);
    let mut users = BTreeMap::new();
    for (name, section) in broker.named(&keys::USER) {
        let rules = rules_of_user(&section, &roles, findings);
        // A user whose password is wrong still counts, or every listener would complain about it.
        let password = password(&section, material, findings);
        let password = password.unwrap_or(UserPassword::Plain(super::super::secret::Secret::new([])));
        let named = section.texts(&keys::USER_ROLES);
        let roles = named.iter().map(|role| role.text.to_owned()).collect();
        users.insert(name.to_owned(), UserPlan { password, roles, rules });
    }
    let is_restricted = broker.has(&keys::ANONYMOUS_ROLES);
    let anonymous_rules = is_restricted.then(|| rules(broker, &keys::ANONYMOUS_ROLES, &roles, findings));
    Accounts { users, anonymous_rules }
}

fn roles(broker: &Section<'_>, findings: &mut Findings) -> BTreeMap<String, Vec<AclRule>> {
    let mut roles = BTreeMap::new();
    for (name, section) in broker.named(&keys::ROLE) {
        let mut rules = Vec::new();
        for (setting, effect) in [(&keys::ROLE_ALLOW, Effect::Allow), (&keys::ROLE_DENY, Effect::Deny)] {
            rules.extend(lines(&section, setting, name, effect, findings));
        }
        roles.insert(name.to_owned(), rules);
    }
    roles
}

fn lines(
    section: &Section<'_>,
    setting: &Setting,
    role: &str,
    effect: Effect,
    findings: &mut Findings,
) -> Vec<AclRule> {
    let path = section.path_of(setting);
    let mut rules = Vec::new();
    for text in section.texts(setting) {
        match rule(text.text, role, effect) {
            Ok(rule) => rules.push(rule),
            Err(what) => {
                let finding = findings.error(text.span, format!("`{path}`: {what}")).label("not a rule");
                finding.help("write \"publish FILTER\", \"subscribe FILTER\" or \"both FILTER\"; %u is the user, %c the client identifier");
            }
        }
    }
    rules
}

fn rule(text: &str, role: &str, effect: Effect) -> Result<AclRule, String> {
    let (word, filter) = text.trim().split_once(' ').ok_or("a rule is a word and a topic filter")?;
    let access = match word {
        "publish" => Access::Publish,
        "subscribe" => Access::Subscribe,
        "both" => Access::Both,
        other => return Err(format!("\"{}\" is none of publish, subscribe and both", other.escape_debug())),
    };
    let filter = filter.trim();
    for (at, _) in filter.match_indices('%') {
        if !matches!(filter.as_bytes().get(at + 1), Some(b'u' | b'c')) {
            return Err("`%` stands before `u` or `c` only".to_owned());
        }
    }
    let example = filter.replace("%u", "u").replace("%c", "c");
    TopicFilter::parse(example).map_err(|error| error.to_string())?;
    Ok(AclRule { role: role.to_owned(), effect, access, filter: filter.to_owned() })
}

fn rules_of_user(
    user: &Section<'_>,
    roles: &BTreeMap<String, Vec<AclRule>>,
    findings: &mut Findings,
) -> Vec<AclRule> {
    if user.texts(&keys::USER_ROLES).is_empty() {
        let finding = findings.warning(&user.span, format!("`{}` has no roles", user.path));
        finding.label("may connect, and neither publish nor subscribe");
        finding.help("write roles = [\"NAME\"] and a section [broker.role.NAME] with allow = [\"both #\"]");
    }
    rules(user, &keys::USER_ROLES, roles, findings)
}

/// Adds up the rules of the roles that a key names.
fn rules(
    section: &Section<'_>,
    setting: &Setting,
    roles: &BTreeMap<String, Vec<AclRule>>,
    findings: &mut Findings,
) -> Vec<AclRule> {
    let path = section.path_of(setting);
    let mut rules = Vec::new();
    for name in section.texts(setting) {
        match roles.get(name.text) {
            Some(more) => rules.extend(more.iter().cloned()),
            None => unknown_role(name, &path, roles, findings),
        }
    }
    rules
}

fn unknown_role(name: Text<'_>, path: &str, roles: &BTreeMap<String, Vec<AclRule>>, findings: &mut Findings) {
    let message = format!("`{path}`: there is no role \"{}\"", name.text.escape_debug());
    let finding = findings.error(name.span, message).label("not a role");
    let known: Vec<_> = roles.keys().map(String::as_str).collect();
    match closest(name.text, known.iter().copied()) {
        Some(meant) => finding.help(format!("did you mean \"{meant}\"?")),
        None if known.is_empty() => {
            finding.help(format!("add a section [broker.role.{}]", name.text.escape_debug()))
        }
        None => finding.help(format!("the roles are {}", listed(&known).replace(" or ", " and "))),
    };
}

fn password(section: &Section<'_>, material: &Material, findings: &mut Findings) -> Option<UserPassword> {
    let path = section.path_of(&keys::USER_PASSWORD);
    let Some(text) = section.text(&keys::USER_PASSWORD) else {
        if !section.has(&keys::USER_PASSWORD) {
            let finding = findings.error(&section.span, format!("`{path}` is missing")).label("no password");
            finding.help(
                "write password = \"$argon2id$...\", \"env:NAME\", \"file:PATH\" or the password itself",
            );
        }
        return None;
    };
    let (secret, origin) = material.secret(text, &path, findings)?;
    let value = secret.expose_text().unwrap_or_default();
    if value.starts_with("$argon2id$") {
        if is_argon2id(value) {
            return Some(UserPassword::Argon2id(secret));
        }
        let finding =
            findings.error(text.span, format!("`{path}` is not a whole Argon2id hash")).label("incomplete");
        finding.help("it looks like $argon2id$v=19$m=19456,t=2,p=1$SALT$HASH");
        return None;
    }
    if value.starts_with("$7$") || value.starts_with("$6$") {
        if is_crypted(value) {
            return Some(UserPassword::Crypted(secret));
        }
        let finding = findings.error(text.span, format!("`{path}` is not a whole hash of mosquitto_passwd"));
        finding.label("incomplete").help("it looks like $7$ITERATIONS$SALT$HASH or $6$SALT$HASH");
        return None;
    }
    if value.starts_with("$scram-sha-256$") {
        return match Password::scram(value) {
            Ok(_) => Some(UserPassword::Scram(secret)),
            Err(error) => {
                let finding = findings.error(text.span, format!("`{path}`: {error}")).label("not usable");
                finding.help("write what `crosspoint user hash --scram` prints");
                None
            }
        };
    }
    if ["$argon2", "$2", "$5$", "$pbkdf2"].iter().any(|hash| value.starts_with(hash)) {
        let finding =
            findings.error(text.span, format!("`{path}` is a hash of another kind")).label("not Argon2id");
        finding.help("write one of Argon2id (\"$argon2id$...\") or of mosquitto_passwd (\"$7$...\"), or the password itself");
        return None;
    }
    if origin == Origin::Plain {
        let finding = findings.warning(text.span, format!("`{path}` is plain text"));
        finding.label("readable for everyone who has the file");
        finding.help(format!(
            "seal it: crosspoint secret set {path} --keep; or write what `crosspoint user hash` prints"
        ));
    }
    Some(UserPassword::Plain(secret))
}

/// Tells whether the broker reads a hash of mosquitto_passwd.
fn is_crypted(text: &str) -> bool {
    Password::crypted(text).is_ok()
}

/// Tells whether all parts of a PHC string are there; the broker checks their content when it starts.
fn is_argon2id(text: &str) -> bool {
    let parts: Vec<_> = text.split('$').collect();
    let ["", "argon2id", version, parameters, salt, hash] = parts.as_slice() else { return false };
    let is_base64 = |text: &str| {
        text.len() >= 8
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
    };
    *version == "v=19" && parameters.split(',').count() >= 3 && is_base64(salt) && is_base64(hash)
}
