//! Why a host cannot be found or reached.

use std::io;
use std::net::SocketAddr;

use crosspoint_net::Attempt;

use super::{Diagnosis, Fault};

/// What a system says before its reason for not finding a name.
const LOOK_UP_FAILED: &str = "failed to lookup address information: ";

/// The ports on which brokers usually are.
const USUAL_PORTS: &str = "usually 1883, and 8883 with TLS";

/// Returns what it means that a name has no address.
pub(super) fn of_name(host: &str, source: &io::Error) -> Diagnosis {
    let said = source.to_string();
    let said = said.strip_prefix(LOOK_UP_FAILED).unwrap_or(&said);
    let diagnosis = |cause: String, next_step: String| {
        Diagnosis::new(Fault::NameNotFound, cause, next_step).setting("url")
    };
    if said.starts_with("Temporary failure") || said.contains("does not answer") {
        return diagnosis(
            format!("the name server of this machine does not answer for {host:?} ({said})"),
            "check this machine's network and its name server; an address instead of the name goes without"
                .to_owned(),
        );
    }
    let cause = format!("the name {host:?} has no address that is known here ({said})");
    match host.trim_end_matches('.').contains('.') {
        true => diagnosis(
            cause,
            "correct the spelling; if it is right, ask whoever runs the network why this machine's name server does not know it"
                .to_owned(),
        ),
        // A short name is completed by the search domain of a machine, which another one does not have.
        false => diagnosis(
            cause,
            format!("write the whole name, such as {host}.example.com: a short one is known only where its domain is searched"),
        ),
    }
}

/// Returns what it means that nobody listens at a port.
pub(super) fn of_refused(cause: String, attempts: &[Attempt]) -> Diagnosis {
    let is_here = attempts.iter().all(|attempt| attempt.address.ip().is_loopback());
    let next_step = match is_here {
        true => format!("start the broker on this machine, or correct the port ({USUAL_PORTS})"),
        false => format!(
            "start the broker, let it listen to other machines than its own (Mosquitto without a `listener` line does not), or correct the port ({USUAL_PORTS})"
        ),
    };
    Diagnosis::new(Fault::Refused, cause, next_step).setting("url")
}

/// Returns what it means that there is no way to any address; `hint` is for when nothing more is known.
pub(super) fn of_unreachable(cause: String, attempts: &[Attempt], hint: &str) -> Diagnosis {
    let is_v6_alone = !attempts.is_empty() && attempts.iter().all(|attempt| is_v6(attempt.address));
    let next_step = match is_v6_alone {
        true => {
            "give this machine a way to IPv6, or write an address or a name that has IPv4: this one is IPv6 alone"
        }
        false => hint,
    };
    Diagnosis::new(Fault::Unreachable, cause, next_step).setting("url")
}

const fn is_v6(address: SocketAddr) -> bool {
    matches!(address, SocketAddr::V6(address) if address.ip().to_ipv4_mapped().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn says(diagnosis: &Diagnosis, cause: &str, next_step: &str) {
        assert!(diagnosis.cause.contains(cause) && diagnosis.next_step.contains(next_step), "{diagnosis:?}");
    }

    #[test]
    fn a_name_is_misspelt_or_short_or_the_name_server_is_away() {
        let unknown = || io::Error::other(format!("{LOOK_UP_FAILED}Name or service not known"));
        let known_nowhere = "has no address that is known here (Name or service not known)";
        says(&of_name("brokr.example.com", &unknown()), known_nowhere, "correct the spelling");
        says(
            &of_name("plantbroker", &unknown()),
            known_nowhere,
            "write the whole name, such as plantbroker.example.com",
        );
        let away = io::Error::other(format!("{LOOK_UP_FAILED}Temporary failure in name resolution"));
        says(&of_name("b.example.com", &away), "name server of this machine does not answer", "network");
    }

    fn attempts(addresses: &[&str]) -> Vec<Attempt> {
        let error = || io::ErrorKind::ConnectionRefused.into();
        addresses
            .iter()
            .map(|address| Attempt { address: address.parse().unwrap(), error: error() })
            .collect()
    }

    #[test]
    fn a_refusal_from_afar_names_the_broker_that_listens_to_itself_alone() {
        let refused = |address| of_refused("refused".to_owned(), &attempts(&[address]));
        says(&refused("127.0.0.1:1"), "refused", "start the broker on this machine, or correct the port");
        says(&refused("192.0.2.1:1"), "refused", "Mosquitto without a `listener`");
    }

    #[test]
    fn a_name_that_has_ipv6_alone_is_told_from_a_network_that_is_down() {
        let unreachable = |addresses: &[&str]| {
            of_unreachable("no way".to_owned(), &attempts(addresses), "check the network")
        };
        says(&unreachable(&["[2001:db8::1]:1"]), "no way", "this one is IPv6 alone");
        says(&unreachable(&["[2001:db8::1]:1", "192.0.2.1:1"]), "no way", "check the network");
        says(&unreachable(&[]), "no way", "check the network");
    }
}
