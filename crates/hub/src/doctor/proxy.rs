//! The way through a proxy: to its port, and then what it makes of the broker's address.
//!
//! The name and the port that are tried are those of the proxy. The broker's name is looked up by whoever does so for the
//! connector: the proxy, or with `socks5://` this machine, as a part of asking the proxy.

use crosspoint_client::Transport as Network;
use crosspoint_net::{DialError, DialOptions, ProxyFault, dial};

use super::reach::seen;
use super::report::{Chart, Stage};
use super::{Found, Visit};
use crate::config::plan::{ProxyKind, ProxyPlan, Transport};
use crate::connect;
use crate::diagnosis::{Diagnosis, Fault, of_dial};

impl Visit<'_> {
    /// Goes to the proxy, and through it to the broker's port; `false` when there is no way.
    pub(super) async fn reach_through(&self, chart: &mut Chart<'_>, proxy: &ProxyPlan) -> bool {
        let way =
            DialOptions::new(Network::Tcp, proxy.host.clone(), proxy.port).connect_timeout(self.patience);
        let unusable = |error| self.proxy_unusable(&way, error);
        let named = self.look_up(&proxy.host, proxy.port).await.map(|seen| format!("the proxy {seen}"));
        if !chart.found(Stage::Name, named.map_err(unusable)) {
            return false;
        }
        let connected = dial(&way).await.map(|stream| format!("{}, the proxy", seen(&stream)));
        chart.found(Stage::Tcp, connected.map_err(unusable))
            && chart.found(Stage::Proxy, self.ask_proxy(proxy).await)
    }

    /// Says of a proxy that cannot be reached what the running connector says.
    fn proxy_unusable(&self, way: &DialOptions, error: DialError) -> Diagnosis {
        let fault = ProxyFault::Unreachable(Box::new(error));
        of_dial(&DialError::Proxy { proxy: way.target(), target: self.target(), fault })
    }

    async fn ask_proxy(&self, proxy: &ProxyPlan) -> Found {
        match self.dial_over(Transport::Tcp).await {
            Ok(_) => Ok(format!("{proxy} connects us to {}", self.target())),
            Err(error) => {
                let diagnosis = of_dial(&error);
                Err(match (diagnosis.fault, proxy.kind) {
                    (Fault::NameNotFound, ProxyKind::Socks5) => for_the_proxy_to_find(diagnosis),
                    _ => diagnosis,
                })
            }
        }
    }

    fn target(&self) -> String {
        connect::dial_options(&self.patient.mqtt, self.address).target()
    }
}

/// A name that is not known here may well be known behind the proxy.
fn for_the_proxy_to_find(diagnosis: Diagnosis) -> Diagnosis {
    let next_step = "write socks5h:// so that the proxy looks the name up, unless it is misspelt";
    Diagnosis { next_step: next_step.to_owned(), ..diagnosis }.setting("proxy")
}
