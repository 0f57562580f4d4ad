//! Enhanced authentication: the steps of AUTH, before the client is let in and afterwards.
//!
//! Whether a step is good is for the driver to judge. Here is only who may take the next one.

use super::{ServerConnection, ServerEvent, State, packets::protocol_error};
use crate::{
    ReasonCode, Violation,
    packet::{Auth, AuthProperties, Packet, PacketType},
};

/// Whose turn it is in an authentication on an open connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nobody is authenticating.
    Nobody,
    Client,
    Server,
}

impl ServerConnection {
    /// Sends AUTH with "continue authentication": the client is to answer.
    ///
    /// Does nothing when it is not our turn: no CONNECT or AUTH that names a method waits for an answer.
    pub fn challenge(&mut self, properties: AuthProperties) {
        match self.state {
            State::Deciding { deadline_ms } if self.authentication_method.is_some() => {
                self.send_auth(ReasonCode::ContinueAuthentication, properties);
                self.state = State::Challenged { deadline_ms };
            }
            State::Open if self.turn == Turn::Server => {
                self.send_auth(ReasonCode::ContinueAuthentication, properties);
                self.turn = Turn::Client;
            }
            _ => {}
        }
    }

    /// Sends AUTH with "success": the client has authenticated itself again. Does nothing when it has not asked.
    pub fn reauthenticated(&mut self, properties: AuthProperties) {
        if self.is_open() && self.turn == Turn::Server {
            self.send_auth(ReasonCode::Success, properties);
            self.turn = Turn::Nobody;
        }
    }

    pub(super) fn on_auth(&mut self, auth: Box<Auth>) -> Result<ServerEvent, Violation> {
        if self.authentication_method.is_none() || auth.properties.method != self.authentication_method {
            return Err(protocol_error(
                PacketType::Auth,
                "another method than CONNECT named",
                "MQTT-4.12.0-5",
            ));
        }
        let expected = match (&self.state, self.turn) {
            (State::Open, Turn::Nobody) => Some(ReasonCode::ReAuthenticate),
            (State::Open, Turn::Server) => None,
            _ => Some(ReasonCode::ContinueAuthentication),
        };
        if expected != Some(auth.reason) {
            return Err(protocol_error(PacketType::Auth, "not the step that is awaited", "MQTT-4.12.0-3"));
        }
        match self.state {
            State::Challenged { deadline_ms } => self.state = State::Deciding { deadline_ms },
            _ => self.turn = Turn::Server,
        }
        Ok(ServerEvent::Auth(auth))
    }

    fn send_auth(&mut self, reason: ReasonCode, mut properties: AuthProperties) {
        if properties.method.is_none() {
            properties.method.clone_from(&self.authentication_method);
        }
        if !self.asked.wants_problem_information {
            properties.reason_string = None;
            properties.user_properties.clear();
        }
        self.exchange.send(&Packet::Auth(Box::new(Auth { reason, properties })));
    }
}
