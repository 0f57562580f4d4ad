//! Requests about subscriptions: what is planned goes out as far as there are identifiers.

use crosspoint_protocol::{
    PacketId,
    connection::ClientConnection,
    packet::{SubscribeProperties, UserProperties},
};

use super::Online;
use crate::{engine::Engine, subscriptions::Request};

impl Engine {
    /// Sends the next requests about subscriptions; returns whether there were any.
    pub(super) fn ask(&mut self, online: &mut Online) -> bool {
        let mut has_asked = false;
        while online.is_open()
            && let Some(request) = self.subscriptions.next_request()
        {
            match send_request(&mut online.core, &request) {
                Some(packet_id) => self.subscriptions.on_sent(packet_id, request),
                // With nothing in flight there are identifiers, so the packet is too large.
                None if online.core.session().outgoing.is_empty() && !self.subscriptions.awaits_answer() => {
                    self.subscriptions.on_unsendable(request);
                }
                None => {
                    self.subscriptions.on_unsent(request);
                    return has_asked;
                }
            }
            has_asked = true;
        }
        has_asked
    }
}

fn send_request(core: &mut ClientConnection, request: &Request) -> Option<PacketId> {
    match request {
        Request::Subscribe { filters, id, user_properties } => {
            let properties =
                SubscribeProperties { subscription_id: *id, user_properties: user_properties.clone() };
            core.subscribe(filters.clone(), properties)
        }
        Request::Clear { filters } => core.unsubscribe(filters.clone(), UserProperties::new()),
        Request::Unsubscribe { filters, user_properties } => {
            core.unsubscribe(filters.clone(), user_properties.clone())
        }
    }
}
