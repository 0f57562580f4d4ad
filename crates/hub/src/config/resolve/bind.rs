//! Addresses to listen on.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::super::diagnostic::Findings;
use super::super::plan::PortChoice;
use super::Place;

/// Reads `IP:PORT`, `IP` alone, or `localhost` with or without a port.
pub(super) fn parse(
    text: &str,
    default_port: u16,
    place: &Place,
    findings: &mut Findings,
) -> Option<(SocketAddr, PortChoice)> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some((address, PortChoice::Written));
    }
    let bare = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(text);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Some((SocketAddr::new(ip, default_port), PortChoice::Default));
    }
    let (host, port) = text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    if host == "localhost" {
        match port.map(str::parse::<u16>) {
            None => {
                return Some((
                    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), default_port),
                    PortChoice::Default,
                ));
            }
            Some(Ok(port)) => {
                return Some((SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port), PortChoice::Written));
            }
            Some(Err(_)) => {}
        }
    }
    let message = format!("`{}` is not an address to listen on", place.path);
    let finding = findings.error(&place.span, message).label("not an IP address with a port");
    finding.help(format!(
        "write \"127.0.0.1:{default_port}\" for this machine only, \"0.0.0.0:{default_port}\" or \"[::]:{default_port}\" for every network"
    ));
    None
}
