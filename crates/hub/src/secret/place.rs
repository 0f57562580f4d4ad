//! When a secret that was entered for one place would travel to another.
//!
//! Whoever may change a connector and not read its secrets, as through an API, could name a machine of his own and have
//! them sent there. So the secrets that a connector sends (its password, the headers of its WebSocket upgrade, the
//! password of its proxy) stay with their place, and a change of that asks for them again (C13). The owner of the project
//! file is not asked: he can read what he wrote.

use std::fmt;

use crate::config::plan::{Address, Auth, ClientTls, MqttPlan, ProxyPlan, Verify};

/// Why the secrets of a connector must be entered again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// A host, port, transport or path that was not there before.
    Address(Address),
    /// Another proxy, or none any more.
    Proxy(Option<ProxyPlan>),
    /// The password would be sent as it is, and was only proven before.
    Password,
    /// Less of the broker's certificate is checked.
    Verification,
    /// Another name is accepted in the broker's certificate.
    ServerName,
    /// An authority is trusted that was not before.
    Authority {
        /// Where it was read from.
        origin: String,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address} is a new address"),
            Self::Proxy(Some(proxy)) => write!(f, "{proxy} is a new proxy"),
            Self::Proxy(None) => f.write_str("the proxy would not be used any more"),
            Self::Password => f.write_str("the password would be sent, and not only proven"),
            Self::Verification => f.write_str("less of the broker's certificate would be checked"),
            Self::ServerName => f.write_str("the broker's certificate may bear another name"),
            Self::Authority { origin } => write!(f, "the authorities in {origin} would be trusted"),
        }
    }
}

/// Returns why the secrets that a connector sends must be entered again after a change; empty when they may stay.
///
/// Fewer addresses, another order of them, and a stricter verification ask for nothing.
pub fn secrets_to_enter_again(old: &MqttPlan, new: &MqttPlan) -> Vec<Reason> {
    let is_new = |address: &&Address| !old.addresses.contains(address);
    let mut reasons: Vec<Reason> =
        new.addresses.iter().filter(is_new).cloned().map(Reason::Address).collect();
    let is_same_proxy = match (&old.proxy, &new.proxy) {
        (Some(old), Some(new)) => old.is_same_place(new),
        (old, new) => old.is_none() && new.is_none(),
    };
    if !is_same_proxy {
        reasons.push(Reason::Proxy(new.proxy.clone()));
    }
    if old.auth == Auth::ScramSha256 && new.auth == Auth::Password {
        reasons.push(Reason::Password);
    }
    // Where nothing is encrypted before and after, nothing of TLS counts.
    if new.addresses.iter().any(|address| address.transport.is_secure()) {
        reasons.extend(weaker(&old.tls, &new.tls));
    }
    reasons
}

fn weaker(old: &ClientTls, new: &ClientTls) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if strength(new.verify) < strength(old.verify) {
        reasons.push(Reason::Verification);
    }
    if new.verify == Verify::Full && old.verify == Verify::Full && new.server_name != old.server_name {
        reasons.push(Reason::ServerName);
    }
    if new.verify != Verify::None && old.verify != Verify::None {
        reasons.extend(new_authorities(old, new));
    }
    reasons
}

/// An empty list stands for the authorities of the system, which is more than any that was written.
fn new_authorities(old: &ClientTls, new: &ClientTls) -> Vec<Reason> {
    if new.ca.is_empty() && !old.ca.is_empty() {
        return vec![Reason::Authority { origin: "this system".to_owned() }];
    }
    let is_new = |text: &str| old.ca.iter().all(|known| known.text != text);
    let added = new.ca.iter().filter(|authority| is_new(&authority.text));
    added.map(|authority| Reason::Authority { origin: authority.origin.clone() }).collect()
}

const fn strength(verify: Verify) -> u8 {
    match verify {
        Verify::None => 0,
        Verify::Chain => 1,
        Verify::Full => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use crate::config::plan::{ConnectorPlan, Pem};

    fn plan(keys: &str) -> MqttPlan {
        let text = format!("[connector.a]\n{keys}\nusername = \"u\"\npassword = \"p\"\n");
        let (mut plan, _) = parse(&text, "crosspoint.toml", None).unwrap();
        match plan.connectors.remove("a") {
            Some(ConnectorPlan::Mqtt(mqtt)) => *mqtt,
            other => panic!("{other:?}"),
        }
    }

    fn check(old: &str, new: &str, asks: bool) {
        let reasons = secrets_to_enter_again(&plan(old), &plan(new));
        assert_eq!(!reasons.is_empty(), asks, "{old} -> {new}: {reasons:?}");
    }

    #[test]
    fn another_place_asks_for_the_secrets_again() {
        check("url = 'mqtts://h'", "url = 'mqtts://g'", true);
        check("url = 'mqtts://h'", "url = 'mqtts://h:8884'", true);
        check("url = 'mqtts://h'", "url = 'mqtt://h:8883'", true);
        check("url = 'wss://h/a'", "url = 'wss://h/b'", true);
        check("url = 'mqtts://h'", "url = ['mqtts://h', 'mqtts://g']", true);
        check("url = 'mqtts://h'", "host = 'g'\ntransport = 'tls'", true);
    }

    #[test]
    fn another_proxy_asks_for_the_secrets_again() {
        let through = |proxy: &str| format!("url = 'mqtts://h'\nproxy = '{proxy}'");
        check("url = 'mqtts://h'", &through("http://p:1"), true);
        check(&through("http://p:1"), &through("http://p:2"), true);
        check(&through("socks5://p:1"), &through("http://p:1"), true);
        check(&through("http://p:1"), "url = 'mqtts://h'", true);
        check(&through("http://p:1"), &through("http://u:v@p:1"), false);
    }

    #[test]
    fn what_stays_with_its_place_asks_for_nothing() {
        check("url = 'mqtts://h'", "url = 'mqtts://h'\nkeep_alive_s = 5", false);
        check("url = ['mqtts://h', 'mqtts://g']", "url = ['mqtts://g', 'mqtts://h']", false);
        check("url = ['mqtts://h', 'mqtts://g']", "url = 'mqtts://h'", false);
        check("url = 'mqtts://h'", "host = 'h'\ntransport = 'tls'", false);
    }

    #[test]
    fn a_password_that_would_be_sent_instead_of_proven_is_asked_for_again() {
        let scram = "url = 'mqtts://h'\nauth = 'scram-sha-256'";
        check(scram, "url = 'mqtts://h'", true);
        check("url = 'mqtts://h'", scram, false);
    }

    #[test]
    fn a_weaker_verification_asks_and_a_stricter_one_does_not() {
        let with = |verify: &str| format!("url = 'mqtts://h'\ntls.verify = '{verify}'");
        check(&with("full"), &with("chain"), true);
        check(&with("chain"), &with("none"), true);
        check(&with("none"), &with("full"), false);
        check("url = 'mqtts://h'", "url = 'mqtts://h'\ntls.server_name = 'g'", true);
        check(&with("none"), "url = 'mqtts://h'\ntls.server_name = 'g'", false);
        check("url = 'mqtt://h'", "url = 'mqtt://h'\ntls.verify = 'none'", false);
    }

    #[test]
    fn more_authorities_ask_and_fewer_do_not() {
        let authority = |text: &str| Pem { origin: format!("{text}.pem"), text: text.to_owned() };
        let with = |names: &[&str]| {
            let mut plan = plan("url = 'mqtts://h'");
            plan.tls.ca = names.iter().map(|name| authority(name)).collect();
            plan
        };
        let reasons = |old: &[&str], new: &[&str]| secrets_to_enter_again(&with(old), &with(new));
        assert_eq!(reasons(&["a"], &["a", "b"]), [Reason::Authority { origin: "b.pem".into() }]);
        assert_eq!(reasons(&["a"], &[]), [Reason::Authority { origin: "this system".into() }]);
        assert_eq!(reasons(&["a", "b"], &["b"]), []);
    }
}
