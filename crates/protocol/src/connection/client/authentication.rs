//! Enhanced authentication: the steps of AUTH, before CONNACK and afterwards.
//!
//! Whether a step is good is for the driver to judge. Here is only who may take the next one, and that the last one
//! shows the proof which the driver expects: before that, nothing of the session is touched.

use super::{ClientConnection, ClientEvent, State};
use crate::{
    Offence, ReasonCode, Violation,
    packet::{Auth, AuthProperties, Packet, PacketType},
    scram::ServerProof,
};

impl ClientConnection {
    /// Answers a challenge of the server.
    pub fn continue_auth(&mut self, properties: AuthProperties) {
        self.send_auth(ReasonCode::ContinueAuthentication, properties);
    }

    /// Names what the server is to show when it says "success" for the authentication that is under way.
    ///
    /// With [`server_must_prove`](super::ClientOptions::server_must_prove) the connection ends if it does not.
    pub fn expect_proof(&mut self, proof: ServerProof) {
        self.proof = Some(proof);
    }

    /// Begins to authenticate again on an open connection whose CONNECT named a method [MQTT-4.12.1-1]; does nothing
    /// on any other, and while the last time is not over.
    pub fn reauthenticate(&mut self, properties: AuthProperties) {
        let has_method = self.options.connect.properties.authentication_method.is_some();
        if self.is_open() && has_method && !self.is_reauthenticating {
            self.is_reauthenticating = true;
            self.send_auth(ReasonCode::ReAuthenticate, properties);
        }
    }

    pub(super) fn on_auth(&mut self, auth: Box<Auth>) -> Result<ClientEvent, Violation> {
        let own = &self.options.connect.properties.authentication_method;
        let method = &auth.properties.method;
        // The last AUTH of an exchange may leave everything out.
        if own.is_none() {
            return Err(wrong_auth("CONNECT named no method", "MQTT-4.12.0-6"));
        }
        if method.is_some() && method != own {
            return Err(wrong_auth("another method than CONNECT named", "MQTT-4.12.0-5"));
        }
        let is_expected = match self.state {
            State::AwaitingConnAck { .. } => auth.reason == ReasonCode::ContinueAuthentication,
            _ => self.is_reauthenticating,
        };
        if !is_expected {
            return Err(wrong_auth("it was not the server's turn", "MQTT-4.12.0-2"));
        }
        if auth.reason == ReasonCode::Success {
            self.check_proof(PacketType::Auth, auth.properties.data.as_deref())?;
            self.is_reauthenticating = false;
        }
        Ok(ClientEvent::Auth(auth))
    }

    /// Checks what the server shows at the end of an authentication; a proof counts once.
    pub(super) fn check_proof(&mut self, packet: PacketType, shown: Option<&[u8]>) -> Result<(), Violation> {
        let is_shown = match (self.proof.take(), shown) {
            (Some(proof), Some(shown)) => proof.is_shown_by(shown),
            _ => false,
        };
        if is_shown || !self.options.server_must_prove {
            return Ok(());
        }
        Err(Violation { packet, field: "authentication data", offence: Offence::ServerUnproven, rule: None })
    }

    fn send_auth(&mut self, reason: ReasonCode, mut properties: AuthProperties) {
        if properties.method.is_none() {
            properties.method.clone_from(&self.options.connect.properties.authentication_method);
        }
        if matches!(self.state, State::AwaitingConnAck { .. } | State::Open) {
            self.exchange.send(&Packet::Auth(Box::new(Auth { reason, properties })));
        }
    }
}

pub(super) const fn wrong_auth(what: &'static str, rule: &'static str) -> Violation {
    Violation {
        packet: PacketType::Auth,
        field: "authentication method",
        offence: Offence::Protocol(what),
        rule: Some(rule),
    }
}
