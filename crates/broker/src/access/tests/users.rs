use std::sync::Arc;

use super::super::login::{Authenticator, LoginRequest, Refusal};
use super::super::password::{InvalidPassword, PASSWORD_BYTES_MAX, Password, hash_password};
use super::super::users::{Accounts, InvalidUsers, Users};
use super::{accounts, begin, cheap_hash, hashed, login, plain, refusal, role, try_login, user};
use Refusal::{BadUserNameOrPassword, NotAuthorized};

#[tokio::test]
async fn a_user_comes_in_with_the_right_password_only() {
    for alice in [plain("alice", "right"), hashed("alice", "right")] {
        let users = Users::new(vec![alice], vec![]).unwrap();
        let identity = try_login(&users, login("alice", "right")).await.unwrap();
        assert_eq!(identity.username.as_deref(), Some("alice"));
        for wrong in ["wrong", "", "right ", "righ", "Right"] {
            assert_eq!(
                refusal(&users, login("alice", wrong)).await,
                Some(BadUserNameOrPassword),
                "{wrong:?}"
            );
        }
        assert_eq!(refusal(&users, login("Alice", "right")).await, Some(BadUserNameOrPassword));
        let mut without = login("alice", "");
        without.password = None;
        assert_eq!(refusal(&users, without).await, Some(BadUserNameOrPassword));
    }
}

#[tokio::test]
async fn an_empty_password_is_a_password_and_a_missing_one_is_not() {
    for alice in [plain("alice", ""), hashed("alice", "")] {
        let users = Users::new(vec![alice], vec![]).unwrap();
        assert_eq!(refusal(&users, login("alice", "")).await, None);
        let mut without = login("alice", "");
        without.password = None;
        assert_eq!(refusal(&users, without).await, Some(BadUserNameOrPassword));
    }
}

#[tokio::test]
async fn anonymous_clients_come_in_where_the_listener_says_so() {
    let users = Users::new(vec![plain("alice", "p")], vec![role("r", &[], &[])]).unwrap();
    let mut anonymous = LoginRequest::new("c");
    assert_eq!(refusal(&users, anonymous.clone()).await, Some(NotAuthorized));
    anonymous.anonymous_allowed = true;
    let identity = try_login(&users, anonymous.clone()).await.unwrap();
    assert!(identity.username.is_none() && identity.permissions.is_unrestricted());
    anonymous.username = Some("".into());
    assert_eq!(refusal(&users, anonymous.clone()).await, None, "an empty user name is none");
    anonymous.username = Some("nobody".into());
    assert_eq!(refusal(&users, anonymous).await, Some(BadUserNameOrPassword), "a name has to be proven");
}

#[tokio::test]
async fn without_users_a_name_is_taken_as_anonymous_or_refused() {
    let users = Users::default();
    let mut named = login("somebody", "p");
    assert_eq!(refusal(&users, named.clone()).await, Some(BadUserNameOrPassword));
    named.anonymous_allowed = true;
    assert_eq!(try_login(&users, named).await.unwrap().username, None, "nobody has proven the name");
}

#[tokio::test]
async fn a_user_without_roles_may_do_everything_and_one_with_an_empty_role_nothing() {
    let users = vec![plain("free", "p"), user("bound", Password::plain("p"), &["none"])];
    let users = Users::new(users, vec![role("none", &[], &[])]).unwrap();
    assert!(try_login(&users, login("free", "p")).await.unwrap().permissions.is_unrestricted());
    let bound = try_login(&users, login("bound", "p")).await.unwrap();
    assert!(!bound.permissions.is_unrestricted() && !bound.permissions.may_publish("a"));
}

#[tokio::test]
async fn clients_of_one_user_share_permissions_unless_a_rule_names_the_client() {
    let users =
        vec![user("fleet", Password::plain("p"), &["u"]), user("each", Password::plain("p"), &["u", "c"])];
    let roles = vec![role("u", &["both %u/#"], &[]), role("c", &["both own/%c"], &[])];
    let users = Users::new(users, roles).unwrap();
    let of = |name, client| users.permissions_for(Some(name), client).unwrap();
    assert!(Arc::ptr_eq(&of("fleet", "1"), &of("fleet", "2")));
    assert!(of("each", "1").may_publish("own/1") && of("each", "2").may_publish("own/2"));
    assert!(!of("each", "1").may_publish("own/2"));
}

#[tokio::test]
async fn users_that_do_not_fit_together_are_refused_and_change_nothing() {
    let twice = || vec![plain("a", "p"), plain("a", "q")];
    let cases = [
        (vec![plain("", "p")], vec![], InvalidUsers::EmptyName),
        (twice(), vec![], InvalidUsers::TwoUsers { user: "a".into() }),
        (vec![], vec![role("r", &[], &[]), role("r", &[], &[])], InvalidUsers::TwoRoles { role: "r".into() }),
        (
            vec![user("a", Password::plain("p"), &["x"])],
            vec![role("r", &[], &[])],
            InvalidUsers::UnknownRole { user: "a".into(), role: "x".into() },
        ),
        (
            vec![plain("a", &"x".repeat(PASSWORD_BYTES_MAX + 1))],
            vec![],
            InvalidUsers::PasswordTooLong { user: "a".into() },
        ),
    ];
    let users = Users::new(vec![plain("alice", "p")], vec![]).unwrap();
    let generation = users.generation();
    for (invalid_users, roles, expected) in cases {
        assert_eq!(users.replace(accounts(invalid_users.clone(), roles.clone())).unwrap_err(), expected);
        assert_eq!(Users::new(invalid_users, roles).unwrap_err(), expected);
    }
    assert_eq!(users.generation(), generation);
    assert_eq!(refusal(&users, login("alice", "p")).await, None);
}

#[tokio::test]
async fn replaced_users_are_in_force_at_once() {
    let users = Users::new(vec![plain("old", "p"), plain("both", "p")], vec![]).unwrap();
    let before = try_login(&users, login("both", "p")).await.unwrap().permissions;
    assert_eq!(before.generation(), users.generation());
    let kept = user("both", Password::plain("q"), &["r"]);
    users.replace(accounts(vec![kept, plain("new", "p")], vec![role("r", &["publish a"], &[])])).unwrap();
    assert_ne!(before.generation(), users.generation());

    assert!(users.permissions_for(Some("old"), "c").is_none(), "the user is gone");
    let after = users.permissions_for(Some("both"), "c").unwrap();
    assert_eq!(after.generation(), users.generation());
    assert!(after.may_publish("a") && !after.may_publish("b") && before.may_publish("b"));
    assert_eq!(users.permissions_for(None, "c").unwrap().generation(), users.generation());

    assert_eq!(refusal(&users, login("old", "p")).await, Some(BadUserNameOrPassword));
    assert_eq!(refusal(&users, login("both", "p")).await, Some(BadUserNameOrPassword));
    assert_eq!(refusal(&users, login("both", "q")).await, None);
    assert_eq!(refusal(&users, login("new", "p")).await, None);
}

#[tokio::test]
async fn a_remembered_password_does_not_outlive_its_hash() {
    let old = hashed("alice", "old");
    let users = Users::new(vec![old.clone()], vec![]).unwrap();
    assert_eq!(refusal(&users, login("alice", "old")).await, None);
    users.replace(accounts(vec![old], vec![])).unwrap();
    assert_eq!(refusal(&users, login("alice", "old")).await, None);
    assert_eq!(users.hashing().hashed, 1, "it outlives a reload that leaves the hash alone");
    users.replace(accounts(vec![hashed("alice", "new")], vec![])).unwrap();
    assert_eq!(refusal(&users, login("alice", "old")).await, Some(BadUserNameOrPassword));
    assert_eq!(refusal(&users, login("alice", "new")).await, None);
    users.replace(accounts(vec![plain("bob", "p")], vec![])).unwrap();
    assert_eq!(refusal(&users, login("alice", "new")).await, Some(BadUserNameOrPassword), "nor its user");
}

#[tokio::test]
async fn an_unknown_name_costs_a_hash_and_never_comes_in() {
    let users = Users::new(vec![hashed("alice", "right")], vec![]).unwrap();
    // The only user's password stands in for that of the unknown one, and this is it.
    for attempt in 1..=2 {
        assert_eq!(refusal(&users, login("nobody", "right")).await, Some(BadUserNameOrPassword));
        assert_eq!(users.hashing().hashed, attempt, "as much work as for a wrong password, each time");
    }
    assert_eq!(refusal(&users, login("alice", "wrong")).await, Some(BadUserNameOrPassword));
    assert_eq!(users.hashing().hashed, 3);
    let mut without = login("alice", "");
    without.password = None;
    assert_eq!(refusal(&users, without).await, Some(BadUserNameOrPassword));
    assert_eq!(users.hashing().hashed, 4, "a missing password costs as much");
}

#[tokio::test]
async fn plain_users_alone_need_no_thread() {
    let users = Users::new(vec![plain("alice", "p")], vec![]).unwrap();
    for (name, password) in [("alice", "p"), ("alice", "wrong"), ("nobody", "p")] {
        let mut attempt = users.authenticate(login(name, password));
        assert!(begin(&mut attempt).is_some(), "{name} has an answer without waiting");
    }
    assert_eq!(users.hashing().hashed, 0);
}

#[tokio::test]
async fn too_long_a_password_is_wrong() {
    let users = Users::new(vec![plain("alice", ""), hashed("bob", "")], vec![]).unwrap();
    for name in ["alice", "bob", "nobody"] {
        let mut long = login(name, "");
        long.password = Some(vec![b'x'; PASSWORD_BYTES_MAX + 1].into());
        assert_eq!(refusal(&users, long).await, Some(BadUserNameOrPassword), "{name}");
    }
}

#[tokio::test]
async fn nothing_that_prints_shows_a_password() {
    let phc = cheap_hash("hunter-h");
    let written = [plain("alice", "hunter-p"), hashed("bob", "hunter-h")];
    let request = login("alice", "hunter-r");
    let users = Users::new(written.to_vec(), vec![]).unwrap();
    let mut printed = format!("{written:?} {written:#?} {request:?} {request:#?} {users:?} {users:#?}");
    printed += &format!("{:?} {:?}", Password::argon2id(&phc), super::super::Secret::new("hunter-s"));
    assert_eq!(try_login(&users, login("bob", "hunter-h")).await.unwrap().username.as_deref(), Some("bob"));
    printed += &format!("{users:?} {:?}", try_login(&users, login("bob", "hunter-h")).await);
    printed += &format!("{:?}", try_login(&users, login("bob", "hunter-w")).await);
    assert!(printed.contains("alice") && printed.contains("hidden"));
    for secret in ["hunter", "argon2id$", &format!("{:?}", b"hunter-p")] {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
}

#[test]
fn refusals_have_reason_codes() {
    let codes =
        [BadUserNameOrPassword, NotAuthorized, Refusal::Busy].map(|refusal| refusal.reason_code() as u8);
    assert_eq!(codes, [0x86, 0x87, 0x89]);
}

#[test]
fn password_hashes_are_checked_when_they_are_read() {
    const TAIL: &str = "c29tZXNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA";
    let parse = |text: &str| Password::parse(text).err();
    assert_eq!(parse("plain text"), None);
    assert_eq!(parse("$5$not-argon"), None, "any other text is a plain password");
    assert_eq!(parse("$6$half"), Some(InvalidPassword::NotCrypted));
    assert_eq!(parse(&format!("$argon2id$v=19$m=8,t=1,p=1${TAIL}")), None);
    assert_eq!(
        parse(&format!("$argon2i$v=19$m=8,t=1,p=1${TAIL}")),
        Some(InvalidPassword::OtherAlgorithm("argon2i".into()))
    );
    assert_eq!(parse("$argon2id$v=19$m=8,t=1,p=1"), Some(InvalidPassword::Incomplete));
    assert_eq!(parse("$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHRzYWx0"), Some(InvalidPassword::Incomplete));
    assert_eq!(parse("$argon2id$v=19$m=8,t=1,p=1$!$!"), Some(InvalidPassword::NotPhc));
    for parameters in
        ["m=1048577,t=1,p=1", "m=4294967295,t=1,p=1", "m=8,t=65,p=1", "m=8192,t=1,p=65", "m=1,t=1,p=1", "q=1"]
    {
        let phc = format!("$argon2id$v=19${parameters}${TAIL}");
        assert_eq!(parse(&phc), Some(InvalidPassword::Parameters), "{parameters}");
    }
    assert_eq!(parse(&format!("$argon2id$v=18$m=8,t=1,p=1${TAIL}")), Some(InvalidPassword::Parameters));
}

#[tokio::test]
async fn a_hash_that_we_make_lets_its_user_in() {
    let phc = hash_password(b"right").unwrap();
    assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
    assert_ne!(phc, hash_password(b"right").unwrap(), "each has its own salt");
    let alice = user("alice", Password::argon2id(&phc).unwrap(), &[]);
    let users = Users::new(vec![alice], vec![]).unwrap();
    assert_eq!(refusal(&users, login("alice", "right")).await, None);
    assert_eq!(hash_password(&[b'x'; PASSWORD_BYTES_MAX + 1]), Err(InvalidPassword::TooLong));
}

#[tokio::test]
async fn a_hash_of_mosquitto_lets_its_user_in_and_nobody_else() {
    // `right` with 101 iterations, as mosquitto_passwd of version 2 writes it.
    let hash = "$7$101$AAECAwQFBgcICQoL$CmWjm9GQ0b/TFtVqI++DmxHzRaZvVjKradTSgwsqtaLZH66zJbhnLlRf+TNl+5gPVd9Iq12DdIfQYk2veiOjDQ==";
    let alice = user("alice", Password::crypted(hash).unwrap(), &[]);
    let users = Users::new(vec![alice], vec![]).unwrap();
    assert_eq!(refusal(&users, login("alice", "right")).await, None);
    assert_eq!(refusal(&users, login("alice", "wrong")).await, Some(BadUserNameOrPassword));
    assert_eq!(refusal(&users, login("bob", "right")).await, Some(BadUserNameOrPassword));
    assert!(!format!("{users:?}").contains("$7$"));
}

#[tokio::test]
async fn anonymous_clients_have_the_rules_of_their_roles() {
    let roles = vec![role("guests", &["subscribe public/#", "publish from/%c", "publish of/%u"], &[])];
    let accounts = Accounts { anonymous_roles: Some(vec!["guests".into()]), ..accounts(vec![], roles) };
    let users = Users::of_accounts(accounts.clone()).unwrap();
    let mut anonymous = LoginRequest::new("client");
    anonymous.anonymous_allowed = true;
    let permissions = try_login(&users, anonymous).await.unwrap().permissions;
    assert!(permissions.may_receive("public/a") && !permissions.may_publish("public/a"));
    assert!(permissions.may_publish("from/client") && !permissions.may_publish("from/other"));
    assert!(!permissions.may_publish("of/") && !permissions.may_publish("of/client"));

    let unknown = Accounts { anonymous_roles: Some(vec!["guest".into()]), ..accounts.clone() };
    let error = users.replace(unknown).unwrap_err();
    assert_eq!(error, InvalidUsers::UnknownAnonymousRole { role: "guest".into() });
    users.replace(Accounts { anonymous_roles: Some(vec![]), ..accounts.clone() }).unwrap();
    assert!(!users.permissions_for(None, "client").unwrap().may_receive("public/a"));
    users.replace(Accounts { anonymous_roles: None, ..accounts }).unwrap();
    assert!(users.permissions_for(None, "client").unwrap().is_unrestricted());
}
