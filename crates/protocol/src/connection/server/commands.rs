//! What the driver tells an open connection to do: answer, publish, disconnect.

use super::{ServerConnection, State};
use crate::{
    Now, PacketId, ReasonCode,
    connection::{EndCause, PublishError},
    packet::{ConnAckProperties, Disconnect, Packet, ReasonProperties, SubAck},
    session::{Outgoing, Token},
};

impl ServerConnection {
    /// Accepts a message: PUBACK or PUBREC follows in its turn. Call it when the message is durable.
    pub fn accept(&mut self, token: Token) {
        self.accept_with(token, ReasonCode::Success);
    }

    /// Accepts a message with a reason that is no error, such as "no matching subscribers".
    ///
    /// The token may be of an earlier connection of the session: the answer then leaves when the client repeats the
    /// message.
    pub fn accept_with(&mut self, token: Token, reason: ReasonCode) {
        self.decide(token, reason);
    }

    /// Rejects a message.
    ///
    /// MQTT 5 says so in PUBACK or PUBREC. 3.1 and 3.1.1 cannot: a message that is not authorised is acknowledged
    /// all the same [MQTT-3.3.5-2], and for any other reason the connection ends.
    pub fn reject(&mut self, token: Token, reason: ReasonCode) {
        if self.exchange.version.is_v5() {
            self.decide(token, reason);
        } else if reason == ReasonCode::NotAuthorized {
            self.decide(token, ReasonCode::Success);
        } else {
            self.disconnect(reason);
            // Now only the session learns of it: the identifier is free for the next attempt.
            self.decide(token, reason);
        }
    }

    /// Answers SUBSCRIBE with a reason code a filter.
    pub fn suback(&mut self, packet_id: PacketId, reasons: Vec<ReasonCode>) {
        let reasons =
            if self.exchange.version.is_v5() { reasons } else { reasons.into_iter().map(to_v3).collect() };
        self.send_if_open(&Packet::SubAck(Box::new(SubAck {
            packet_id,
            reasons,
            properties: ReasonProperties::default(),
        })));
    }

    /// Answers UNSUBSCRIBE with a reason code a filter.
    pub fn unsuback(&mut self, packet_id: PacketId, reasons: Vec<ReasonCode>) {
        let properties = ReasonProperties::default();
        self.send_if_open(&Packet::UnsubAck(Box::new(SubAck { packet_id, reasons, properties })));
    }

    /// Sends a message.
    ///
    /// # Errors
    /// Says why it cannot be sent on this connection; nothing has changed then.
    pub fn publish(&mut self, outgoing: Outgoing, now: Now) -> Result<(), PublishError> {
        if !self.is_open() {
            return Err(PublishError::NotOpen);
        }
        self.exchange.publish(outgoing, now)
    }

    /// Ends the connection from this side; MQTT 5 clients are told why.
    pub fn disconnect(&mut self, reason: ReasonCode) {
        self.disconnect_with(Disconnect::new(reason));
    }

    /// Ends the connection from this side with more to say, such as another server to use.
    pub fn disconnect_with(&mut self, mut disconnect: Disconnect) {
        // [MQTT-3.14.2-2]
        disconnect.session_expiry_s = None;
        let reason = disconnect.reason;
        match self.state {
            State::Open => {
                if self.exchange.version.is_v5() {
                    self.exchange.send_disconnect(disconnect);
                }
                self.end(EndCause::Local(reason), true);
            }
            State::Deciding { .. } => self.reject_connect(reason, ConnAckProperties::default()),
            State::AwaitingConnect { .. } | State::Challenged { .. } => {
                self.end(EndCause::Local(reason), false)
            }
            State::Ending(_) | State::Ended => {}
        }
    }

    fn decide(&mut self, token: Token, reason: ReasonCode) {
        if self.is_open() {
            self.exchange.decide(token, reason);
        } else {
            self.exchange.session.incoming.decide(token, reason);
        }
    }

    fn send_if_open(&mut self, packet: &Packet) {
        if self.is_open() {
            self.exchange.send(packet);
        }
    }
}

fn to_v3(reason: ReasonCode) -> ReasonCode {
    if reason.is_error() { ReasonCode::UnspecifiedError } else { reason }
}
