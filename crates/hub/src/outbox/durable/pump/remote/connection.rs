//! What the connection does, and what follows for a message that may end it each time.

use crosspoint_client::State as ClientState;
use tokio::sync::watch;
use tracing::warn;

use super::Sending;
use crate::outbox::durable::pump::outgoing::Link;
use crate::outbox::durable::queue::Verdict;
use crate::outbox::durable::suspicion::Order;

/// Why a message is given up that ends the connection.
const SUSPECT: &str =
    "the connection ended each time this message alone was on its way, and not with another";

impl Sending {
    /// Looks at what the client is doing.
    pub(super) fn look_at(&mut self, states: &mut watch::Receiver<ClientState>) {
        // In this order: of a connection that is counted, the state is not older than its beginning.
        let connections = self.client.counters().connected;
        self.on_state(&states.borrow_and_update(), connections);
    }

    fn on_state(&mut self, client: &ClientState, connections: u64) {
        let now_ms = self.pumping.shared.now().monotonic_ms;
        let is_same = match (client, &self.link) {
            (ClientState::Connected(connected), Some(link)) => link.is_on(connected),
            (_, link) => link.is_none(),
        };
        let shared = self.pumping.shared.clone();
        let mut state = shared.state();
        let mut orders = Vec::new();
        if !is_same && self.link.take().is_some() {
            orders.extend(state.queue.on_disconnected(&cause_of(client), now_ms));
        }
        let new = match (client, &self.link) {
            (ClientState::Connected(connected), None) => Some(connected),
            _ => None,
        };
        // One that ended as soon as it had begun is over before anybody has looked: it ended quickly all the same.
        let begun = connections.saturating_sub(self.connections);
        for _ in u64::from(new.is_some())..begun {
            state.queue.on_connected(now_ms);
            orders.extend(state.queue.on_disconnected(&cause_of(client), now_ms));
        }
        self.connections = connections.max(self.connections + u64::from(new.is_some()));
        if let Some(connected) = new {
            self.link = Some(Link::new(connected, shared.now()));
            state.queue.on_connected(now_ms);
        }
        state.is_connected = self.link.is_some();
        drop(state);
        orders.into_iter().for_each(|order| self.obey(order));
    }

    /// Does what follows from what has got through lately, or from nothing else being there to try.
    pub(super) fn judge(&mut self, now_ms: u64) {
        loop {
            let order = self.pumping.shared.state().queue.judge(now_ms);
            match order {
                Some(order) => self.obey(order),
                None => return,
            }
        }
    }

    /// Lets the client end the exchanges of what has left without having been sent again.
    pub(super) fn give_up_ended(&mut self) {
        if self.withdrawn.is_empty() {
            return;
        }
        let state = self.pumping.shared.state();
        let ended: Vec<u64> =
            self.withdrawn.iter().copied().filter(|position| !state.queue.waits(*position)).collect();
        drop(state);
        for position in ended {
            self.withdrawn.remove(&position);
            self.client.give_up(position);
        }
    }

    fn obey(&mut self, order: Order) {
        let connector = &*self.pumping.shared.connector;
        match order {
            Order::Narrow => {
                warn!(
                    connector,
                    "The connection ends again and again with the same message on its way: one at a time now."
                );
                self.client.limit_in_flight(Some(1));
            }
            Order::Withdraw(position) => {
                self.withdrawn.insert(position);
                self.client.withdraw(position);
            }
            Order::Acquit(_) => {}
            Order::Condemn(position) => {
                let mut state = self.pumping.shared.state();
                if !state.queue.is_kept_back(position) {
                    return;
                }
                let cause = state.queue.disconnect_cause().to_owned();
                let verdict = state.queue.bury(position, SUSPECT.to_owned());
                drop(state);
                if let Verdict::Bury(reason) = verdict {
                    self.pumping.doomed.push((position, reason, cause));
                }
            }
            Order::Widen => self.client.limit_in_flight(None),
        }
    }
}

/// Returns why a client is not connected.
fn cause_of(client: &ClientState) -> String {
    match client {
        ClientState::BackingOff { cause, .. } | ClientState::Refused { cause, .. } => cause.to_string(),
        _ => "the connection ended".to_owned(),
    }
}
