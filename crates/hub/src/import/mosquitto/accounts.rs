//! Users and rules: `password_file` and `acl_file`.
//!
//! In Mosquitto a line of a user decides before a line of a pattern, and a deny before an allow; here every deny wins.
//! Where that is not the same it is named. Subscribing is always granted there, and filtered when it delivers; here it
//! is refused when nothing could ever come of it.

use std::collections::BTreeMap;
use std::path::Path;

use crosspoint_broker::access::Password;
use crosspoint_protocol::TopicFilter;

use crate::config::settings::{BROKER, broker as keys};

use super::super::draft::Section;
use super::super::{Import, ImportError, names, read_text};

/// The role of users whom no ACL file restricts.
const EVERYTHING: &str = "everything";
/// The role of the lines that begin with `pattern`.
const PATTERNS: &str = "patterns";
/// The role of the lines before the first user.
const ANONYMOUS: &str = "anonymous";

/// What a line of an ACL file allows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
    Both,
    Deny,
}

/// One line of an ACL file.
#[derive(Clone)]
struct Entry {
    at: String,
    access: Access,
    topic: String,
}

/// An ACL file.
#[derive(Default)]
struct Acl {
    anonymous: Vec<Entry>,
    users: BTreeMap<String, Vec<Entry>>,
    patterns: Vec<Entry>,
}

/// The rules of one role.
#[derive(Default)]
struct Rules {
    allow: Vec<String>,
    deny: Vec<String>,
}

/// The files that say who may do what.
pub(super) struct Files<'a> {
    pub(super) passwords: Option<&'a str>,
    pub(super) acl: Option<&'a str>,
    /// The ACL file that holds for clients without a name, where a listener lets them in.
    pub(super) anonymous_acl: Option<&'a str>,
}

/// Whether users stand in the draft, and what clients without a name may do.
pub(super) struct Accounts {
    pub(super) has_users: bool,
    /// The value of `anonymous_roles`; `None` restricts them in nothing.
    pub(super) anonymous_roles: Option<Vec<String>>,
}

/// Reads the files and adds users and roles to the draft.
pub(super) fn read(import: &mut Import<'_>, files: &Files<'_>) -> Result<Accounts, ImportError> {
    let users = match files.passwords {
        Some(file) => read_passwords(import, &import.beside(file))?,
        None => BTreeMap::new(),
    };
    let acl = files.acl.map(|file| read_acl(&import.beside(file))).transpose()?.filter(Acl::has_lines);
    let anonymous =
        files.anonymous_acl.map(|file| read_acl(&import.beside(file))).transpose()?.filter(Acl::has_lines);
    let mut roles: BTreeMap<String, Rules> = BTreeMap::new();
    for (name, (at, hash)) in &users {
        let mut section = Section::new(&[BROKER.key, keys::USER.key, name]);
        section.comment(format!("From {at}: the password is the one it was."));
        section.set(&keys::USER_PASSWORD, hash.as_str());
        section.set(&keys::USER_ROLES, roles_of(import, name, acl.as_ref(), &mut roles));
        import.draft.push(section);
    }
    if let Some(acl) = &acl {
        name_unknown_users(import, acl, &users, files);
    }
    let anonymous_roles = anonymous.map(|acl| anonymous_roles(import, &acl, &mut roles));
    for (name, rules) in roles {
        let mut section = Section::new(&[BROKER.key, keys::ROLE.key, &name]);
        section.set(&keys::ROLE_ALLOW, rules.allow);
        if !rules.deny.is_empty() {
            section.set(&keys::ROLE_DENY, rules.deny);
        }
        import.draft.push(section);
    }
    Ok(Accounts { has_users: !users.is_empty(), anonymous_roles })
}

impl Acl {
    /// A file without a line restricts nothing, as in Mosquitto.
    fn has_lines(&self) -> bool {
        !(self.anonymous.is_empty() && self.users.is_empty() && self.patterns.is_empty())
    }
}

/// Users by their names, each with where it stands and its hash.
type Users = BTreeMap<String, (String, String)>;

fn name_unknown_users(import: &mut Import<'_>, acl: &Acl, users: &Users, files: &Files<'_>) {
    for (name, entries) in acl.users.iter().filter(|(name, _)| !users.contains_key(*name)) {
        let at = entries.first().map_or_else(|| "the ACL file".to_owned(), |entry| entry.at.clone());
        let why = match files.passwords {
            Some(_) => "the password file has no such user, so nobody can be it",
            None => "without a password file nobody proves a name: add [broker.user.NAME] with a password",
        };
        import.left_out(at, format!("the rules of the user \"{}\"", name.escape_debug()), why);
    }
}

fn is_usable(name: &str) -> bool {
    (1..=64).contains(&name.chars().count())
        && !name.chars().any(|c| c.is_control() || matches!(c, '+' | '#'))
}

/// Returns the users with their hashes, and where each stands.
fn read_passwords(import: &mut Import<'_>, path: &Path) -> Result<Users, ImportError> {
    let text = read_text(path)?;
    let file = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let mut users = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let (at, line) = (format!("{file}:{}", index + 1), line.trim());
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, hash)) = line.split_once(':') else {
            import.left_out(at, "a line without a colon", "Mosquitto takes it for no user either");
            continue;
        };
        let what = format!("the user \"{}\"", name.escape_debug());
        let is_hash = ["$6$", "$7$", "$argon2id$"].iter().any(|start| hash.starts_with(start));
        if !is_usable(name) {
            import.left_out(
                at,
                what,
                "a name has 1 to 64 characters without `+`, `#` and control characters",
            );
        } else if !is_hash {
            import.left_out(at, what, "its password is no hash, which Mosquitto does not take either; run: mosquitto_passwd -U FILE");
        } else if let Err(error) = Password::parse(hash) {
            import.left_out(at, what, error.to_string());
        } else if users.contains_key(name) {
            import.left_out(at, what, "it stands twice; the first one counts");
        } else {
            users.insert(name.to_owned(), (at, hash.to_owned()));
        }
    }
    Ok(users)
}

fn read_acl(path: &Path) -> Result<Acl, ImportError> {
    let text = read_text(path)?;
    let file = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let mut acl = Acl::default();
    let mut user: Option<String> = None;
    for (index, line) in text.lines().enumerate() {
        let at = format!("{file}:{}", index + 1);
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (word, rest) = line.trim_start().split_once(' ').unwrap_or((line, ""));
        match word {
            "user" if !rest.trim().is_empty() => {
                let name = rest.trim().to_owned();
                acl.users.entry(name.clone()).or_default();
                user = Some(name);
            }
            "topic" | "pattern" => match entry(at.clone(), rest) {
                Some(entry) if word == "pattern" => acl.patterns.push(entry),
                Some(entry) => match &user {
                    Some(name) => acl.users.entry(name.clone()).or_default().push(entry),
                    None => acl.anonymous.push(entry),
                },
                None => {
                    return Err(unexpected(path, format!("line {} names no topic", index + 1)));
                }
            },
            _ => {
                return Err(unexpected(
                    path,
                    format!("line {} begins with none of user, topic and pattern", index + 1),
                ));
            }
        }
    }
    Ok(acl)
}

fn unexpected(path: &Path, reason: String) -> ImportError {
    ImportError::Unexpected { path: path.display().to_string(), expected: "an ACL file of Mosquitto", reason }
}

fn entry(at: String, rest: &str) -> Option<Entry> {
    let rest = rest.trim();
    let (word, topic) = rest.split_once(' ').unwrap_or((rest, ""));
    let access = match (word, topic.trim()) {
        (_, "") => Access::Both,
        ("read", _) => Access::Read,
        ("write", _) => Access::Write,
        ("readwrite", _) => Access::Both,
        ("deny", _) => Access::Deny,
        _ => return None,
    };
    let topic = if topic.trim().is_empty() { word } else { topic.trim() };
    (!topic.is_empty()).then(|| Entry { at, access, topic: topic.to_owned() })
}

/// Returns the roles of a user, which are made when they are missing.
fn roles_of(
    import: &mut Import<'_>,
    name: &str,
    acl: Option<&Acl>,
    roles: &mut BTreeMap<String, Rules>,
) -> Vec<String> {
    let Some(acl) = acl else {
        roles.entry(EVERYTHING.to_owned()).or_insert_with(|| Rules {
            allow: vec!["both #".to_owned(), "both $SYS/#".to_owned()],
            deny: Vec::new(),
        });
        return vec![EVERYTHING.to_owned()];
    };
    let own = acl.users.get(name).map_or(&[][..], Vec::as_slice);
    let is_taken = |role: &str| roles.contains_key(role) || [EVERYTHING, PATTERNS, ANONYMOUS].contains(&role);
    let role = names::usable(name, "user", is_taken);
    name_conflicts(import, own, &acl.patterns);
    roles.insert(role.clone(), rules(import, own, Names::AreText));
    let mut of_user = vec![role];
    if !acl.patterns.is_empty() {
        if !roles.contains_key(PATTERNS) {
            let patterns = rules(import, &acl.patterns, Names::AreFilled);
            roles.insert(PATTERNS.to_owned(), patterns);
        }
        of_user.push(PATTERNS.to_owned());
    }
    of_user
}

/// Returns the roles of clients without a name: the lines before the first user, and patterns without `%u`.
fn anonymous_roles(import: &mut Import<'_>, acl: &Acl, roles: &mut BTreeMap<String, Rules>) -> Vec<String> {
    let patterns: Vec<Entry> =
        acl.patterns.iter().filter(|entry| !entry.topic.contains("%u")).cloned().collect();
    name_conflicts(import, &acl.anonymous, &patterns);
    let mut all = rules(import, &acl.anonymous, Names::AreText);
    let Rules { allow, deny } = rules(import, &patterns, Names::AreFilled);
    all.allow.extend(allow);
    all.deny.extend(deny);
    roles.insert(ANONYMOUS.to_owned(), all);
    vec![ANONYMOUS.to_owned()]
}

/// Names patterns that deny what a line of the user allows: there the line counts, here the deny.
fn name_conflicts(import: &mut Import<'_>, own: &[Entry], patterns: &[Entry]) {
    for deny in patterns.iter().filter(|entry| entry.access == Access::Deny) {
        let Ok(denied) = TopicFilter::parse(deny.topic.replace("%u", "+").replace("%c", "+")) else {
            continue;
        };
        let overlaps = |entry: &&Entry| {
            entry.access != Access::Deny
                && TopicFilter::parse(entry.topic.clone()).is_ok_and(|allowed| allowed.overlaps(&denied))
        };
        if let Some(allow) = own.iter().find(overlaps) {
            let what = format!("`{}` of {}", allow.topic, allow.at);
            let why =
                "in Mosquitto it counts before the pattern, here every deny wins: what both match is denied";
            import.changed(&deny.at, what, why);
        }
    }
}

/// Whether `%u` and `%c` stand for names in a line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    AreFilled,
    AreText,
}

fn rules(import: &mut Import<'_>, entries: &[Entry], names: Names) -> Rules {
    let mut rules = Rules::default();
    for entry in entries {
        let word = match entry.access {
            Access::Read => "subscribe",
            Access::Write => "publish",
            Access::Both | Access::Deny => "both",
        };
        let to = if entry.access == Access::Deny { &mut rules.deny } else { &mut rules.allow };
        match filter(&entry.topic, names) {
            Some(filter) => to.push(format!("{word} {filter}")),
            None if entry.access == Access::Deny => {
                let wide = widened(&entry.topic, names);
                let why = format!("a rule cannot say it exactly; `{wide}` is denied, which is more");
                to.push(format!("{word} {wide}"));
                import.changed(&entry.at, format!("the topic `{}`", entry.topic), why);
            }
            None => {
                let why = "it is no topic filter that a rule can have: `%` stands before `u` and `c` of a pattern only";
                import.left_out(&entry.at, format!("the topic `{}`", entry.topic), why);
            }
        }
    }
    for list in [&mut rules.allow, &mut rules.deny] {
        let mut seen = std::collections::BTreeSet::new();
        list.retain(|rule| seen.insert(rule.clone()));
    }
    rules
}

/// Returns the filter of a rule; `None` when a rule cannot say it.
fn filter(topic: &str, names: Names) -> Option<String> {
    let is_filled =
        |rest: &str| names == Names::AreFilled && (rest.starts_with("%u") || rest.starts_with("%c"));
    let is_sayable = topic.match_indices('%').all(|(at, _)| topic.get(at..).is_some_and(is_filled));
    let is_shared = topic == "$share" || topic.starts_with("$share/");
    let example = topic.replace("%u", "u").replace("%c", "c");
    (is_sayable && !is_shared && topic.trim() == topic && TopicFilter::parse(example).is_ok())
        .then(|| topic.to_owned())
}

/// Returns a filter that covers a topic which no rule can say: each level that is at fault becomes `+`.
fn widened(topic: &str, names: Names) -> String {
    let level = |level: &str| match level {
        "+" | "#" => level.to_owned(),
        level if filter(level, names).is_some() => level.to_owned(),
        _ => "+".to_owned(),
    };
    let levels: Vec<_> = topic.split('/').map(level).collect();
    let wide = levels.join("/");
    if filter(&wide, names).is_some() { wide } else { "#".to_owned() }
}
