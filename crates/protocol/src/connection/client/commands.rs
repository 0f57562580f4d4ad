//! What the driver tells an open connection to do: publish, subscribe, answer, disconnect.

use super::ClientConnection;
use crate::{
    Now, PacketId, ReasonCode, TopicFilter,
    connection::{EndCause, PublishError},
    packet::{
        Disconnect, Packet, Subscribe, SubscribeProperties, SubscribedFilter, Unsubscribe, UserProperties,
    },
    session::{Outgoing, OutgoingId, Slot, Token},
};

impl ClientConnection {
    /// Sends a message again that was [set aside](crate::session::OutgoingWindow::set_aside), under its identifier, so
    /// that a server that has it does not take it twice. Its end bears `cookie`. Returns `false` when there is none.
    ///
    /// # Errors
    /// Says why it cannot be sent on this connection; nothing has changed then.
    pub fn resume(&mut self, id: OutgoingId, cookie: u64, now: Now) -> Result<bool, PublishError> {
        if !self.is_open() {
            return Err(PublishError::NotOpen);
        }
        self.exchange.resume(id, cookie, now)
    }

    /// Lets the exchange of a message that was [set aside](crate::session::OutgoingWindow::set_aside) come to its end
    /// without the message. Its end bears `cookie`.
    pub fn give_up(&mut self, id: OutgoingId, cookie: u64) {
        if self.is_open() {
            self.exchange.give_up(id, cookie);
        } else {
            self.exchange.session.outgoing.give_up(id, cookie);
        }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// Says why it cannot be sent on this connection; nothing has changed then.
    pub fn publish(&mut self, outgoing: Outgoing, now: Now) -> Result<(), PublishError> {
        if !self.is_open() {
            return Err(PublishError::NotOpen);
        }
        if outgoing.qos > self.maximum_qos {
            return Err(PublishError::QosNotSupported);
        }
        if outgoing.retain && !self.retain_available {
            return Err(PublishError::RetainNotSupported);
        }
        self.exchange.publish(outgoing, now)
    }

    /// Sends SUBSCRIBE and returns the identifier that its SUBACK will bear, or `None` when the connection is not
    /// open, no identifier is free, or the packet is larger than the server accepts.
    pub fn subscribe(
        &mut self,
        filters: Vec<SubscribedFilter>,
        properties: SubscribeProperties,
    ) -> Option<PacketId> {
        let count = u32::try_from(filters.len()).ok()?;
        self.request(Slot::Subscribe(count), |packet_id| {
            Packet::Subscribe(Box::new(Subscribe { packet_id, filters, properties }))
        })
    }

    /// Sends UNSUBSCRIBE and returns the identifier that its UNSUBACK will bear, or `None` as for `subscribe`.
    pub fn unsubscribe(
        &mut self,
        filters: Vec<TopicFilter>,
        user_properties: UserProperties,
    ) -> Option<PacketId> {
        let count = u32::try_from(filters.len()).ok()?;
        self.request(Slot::Unsubscribe(count), |packet_id| {
            Packet::Unsubscribe(Box::new(Unsubscribe { packet_id, filters, user_properties }))
        })
    }

    /// Accepts a message: PUBACK or PUBREC follows in its turn. Call it when the message is durable.
    ///
    /// The token may be of an earlier connection of the session: the answer then leaves when the server repeats the
    /// message.
    pub fn accept(&mut self, token: Token) {
        self.decide(token, ReasonCode::Success);
    }

    /// Rejects a message. MQTT 5 says so in PUBACK or PUBREC; 3.1 and 3.1.1 cannot, and acknowledge it.
    pub fn reject(&mut self, token: Token, reason: ReasonCode) {
        let reason = if self.exchange.version.is_v5() { reason } else { ReasonCode::Success };
        self.decide(token, reason);
    }

    /// Says DISCONNECT and ends the connection.
    pub fn disconnect(&mut self, mut disconnect: Disconnect) {
        if self.is_open() {
            // Only a server may say it.
            disconnect.server_reference = None;
            let reason = disconnect.reason;
            self.exchange.send_disconnect(disconnect);
            self.end(EndCause::Local(reason));
        } else {
            self.end(EndCause::Local(disconnect.reason));
        }
    }

    fn decide(&mut self, token: Token, reason: ReasonCode) {
        if self.is_open() {
            self.exchange.decide(token, reason);
        } else {
            self.exchange.session.incoming.decide(token, reason);
        }
    }

    fn request(&mut self, slot: Slot, packet: impl FnOnce(PacketId) -> Packet) -> Option<PacketId> {
        if !self.is_open() {
            return None;
        }
        let id = self.exchange.session.outgoing.assign(slot)?;
        if self.exchange.send(&packet(id.packet_id())) {
            return Some(id.packet_id());
        }
        // The identifier is free again when sending fails.
        self.exchange.session.outgoing.finish(id.packet_id());
        None
    }
}
