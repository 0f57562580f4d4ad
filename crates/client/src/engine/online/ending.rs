//! Why a connection ended, and what comes next.

use std::io;

use crosspoint_net::TlsCause;
use crosspoint_protocol::{
    Now, Offence, ReasonCode, Version, Violation,
    connection::EndCause,
    packet::{ConnAck, PacketType},
    scram::ScramFault,
};

use super::Online;
use crate::{
    Cause,
    engine::{Engine, Link},
};

impl Engine {
    /// Leaves a connection that has ended, for the next one or for good.
    pub(in crate::engine) fn leave(&mut self, mut online: Online, now: Now) -> Link {
        let cause = online.cause(self.options.connect_timeout_ms);
        online.give_up_authentication(&cause);
        self.sending.on_disconnected();
        self.subscriptions.on_disconnected();
        if let Some(canary) = &mut self.canary {
            canary.rest();
        }
        self.changes.clear();
        self.session = online.core.into_session();
        if self.is_done_closing(now) {
            return self.stop();
        }
        let random = &mut self.environment.random;
        let (cause, next) = match online.connected_ms {
            Some(connected_ms) => {
                let lived_ms = now.monotonic_ms.saturating_sub(connected_ms);
                if cause == Cause::VersionUpward {
                    self.attempts.step_up();
                }
                self.attempts.on_lost(cause, lived_ms, random)
            }
            None => self.attempts.on_failed(cause, random),
        };
        self.wait(cause, next, now)
    }
}

impl Online {
    /// Returns why it ended.
    fn cause(&mut self, connect_timeout_ms: u64) -> Cause {
        if let Some(cause) = self.cause.take() {
            return cause;
        }
        if let Some(refusal) = self.refusal.take() {
            return refused(&refusal, self.version);
        }
        match self.end.take().map(|end| end.cause) {
            Some(EndCause::Peer(said)) => Cause::Disconnected {
                reason: said.reason,
                text: said.reason_string.map(|text| text.to_string()),
                other_server: said.server_reference.map(|server| server.to_string()),
            },
            Some(EndCause::Violation(violation)) => self.cause_of(violation, connect_timeout_ms),
            _ => self.transport_cause(),
        }
    }

    fn cause_of(&self, violation: Violation, connect_timeout_ms: u64) -> Cause {
        match violation.offence {
            Offence::ServerUnproven => Cause::Scram(ScramFault::ServerUnproven),
            Offence::KeepAliveTimeout => Cause::KeepAliveTimeout,
            Offence::DeadlineExceeded(_) => Cause::ConnectTimeout { after_ms: connect_timeout_ms },
            // A server of old refuses 5.0 in a form that 5.0 cannot read: [MQTT-3.1.2-2] of 3.1.1. One that takes the
            // bridge bit for a version after 5.0 may refuse it in the form of 5.0.
            _ if self.connected_ms.is_none()
                && violation.packet == PacketType::ConnAck
                && (self.is_bridge || (self.version.is_v5() && violation.field == "reason code")) =>
            {
                Cause::UnsupportedVersion { version: self.version }
            }
            _ => match self.spoken {
                Some(spoken) => Cause::OtherProtocol { spoken },
                None if self.connected_ms.is_none() => Cause::NotMqtt(violation),
                None => Cause::Violation(violation),
            },
        }
    }

    fn transport_cause(&mut self) -> Cause {
        use io::ErrorKind as K;
        let error = self.stream_error.take();
        if let Some(cause) = error.as_ref().and_then(TlsCause::of) {
            return Cause::Tls(cause);
        }
        match error {
            Some(error)
                if !matches!(
                    error.kind(),
                    K::ConnectionReset
                        | K::BrokenPipe
                        | K::UnexpectedEof
                        | K::ConnectionAborted
                        | K::NotConnected
                ) =>
            {
                Cause::Stream { what: error.to_string() }
            }
            _ if self.connected_ms.is_none() => Cause::ClosedWithoutConnAck,
            _ => Cause::ConnectionLost,
        }
    }
}

fn refused(connack: &ConnAck, version: Version) -> Cause {
    if connack.reason == ReasonCode::UnsupportedProtocolVersion {
        return Cause::UnsupportedVersion { version };
    }
    let said = &connack.properties;
    Cause::Refused {
        reason: connack.reason,
        text: said.reason_string.as_ref().map(ToString::to_string),
        other_server: said.server_reference.as_ref().map(ToString::to_string),
    }
}
