//! From a server's name to a connection on which CONNECT is under way.

use crosspoint_net::DialOptions;
use crosspoint_protocol::{Now, Version, connection, packet::Connect};

use super::{
    Engine, Link,
    online::{Authenticating, Online},
};
use crate::{BoxFuture, BridgeBit, ByteStream, Cause, DialFailure, State, version_choice::Dialect};

/// The shortest time that is left for CONNACK after a slow dial, in milliseconds.
const CONNACK_WAIT_MIN_MS: u64 = 1_000;

/// How long after its time a dial may still say at which stage the time ran out, in milliseconds. One that knows no time,
/// or waits for its turn, ends then.
const DIAL_GRACE_MS: u64 = 500;

/// A dial under way.
pub(super) struct Dialling {
    pub(super) stream: BoxFuture<Result<Box<dyn ByteStream>, DialFailure>>,
    pub(super) deadline_ms: u64,
    dialect: Dialect,
    server: String,
}

impl Engine {
    pub(super) fn dial(&mut self, now: Now) -> Link {
        self.attempts.set_bridge_bit(self.bridge_bit());
        if self.attempts.is_upward_due(now.monotonic_ms) && !has_exactly_once(&self.session) {
            self.attempts.step_up();
        }
        let Some((server, dialect, attempt)) = self.attempts.begin() else { return self.stop() };
        let server = server.clone();
        let name = server.target();
        let version = dialect.version;
        self.state.send_replace(State::Connecting { attempt, server: name.clone(), version });
        Link::Dialling(Box::new(Dialling {
            stream: self.open(&server, version),
            deadline_ms: self.dial_deadline_ms(now),
            dialect,
            server: name,
        }))
    }

    /// Opens a stream to a server, as the options say.
    pub(super) fn open(
        &self,
        server: &DialOptions,
        version: Version,
    ) -> BoxFuture<Result<Box<dyn ByteStream>, DialFailure>> {
        let server = server
            .clone()
            .connect_timeout(std::time::Duration::from_millis(self.options.connect_timeout_ms))
            .ws_message_bytes_max(self.options.packet_bytes_max as usize);
        (self.environment.dial)(&server, version)
    }

    /// Returns until when a dial that begins now must have come to something.
    pub(super) fn dial_deadline_ms(&self, now: Now) -> u64 {
        now.monotonic_ms.saturating_add(self.options.connect_timeout_ms).saturating_add(DIAL_GRACE_MS)
    }

    pub(super) fn turn_dialling(&mut self, dialling: Box<Dialling>, now: Now) -> Link {
        if now.monotonic_ms < dialling.deadline_ms {
            return Link::Dialling(dialling);
        }
        self.fail(Cause::ConnectTimeout { after_ms: self.options.connect_timeout_ms }, now)
    }

    pub(super) fn on_dialled(&mut self, result: Result<Box<dyn ByteStream>, DialFailure>) {
        let now = self.now();
        let Link::Dialling(dialling) = std::mem::replace(&mut self.link, Link::Stopped) else { return };
        self.link = match result {
            Ok(stream) => self.begin(*dialling, stream, now),
            Err(failure) => self.fail(Cause::Dial(failure), now),
        };
    }

    fn begin(&mut self, dialling: Dialling, stream: Box<dyn ByteStream>, now: Now) -> Link {
        let by_ms = dialling.deadline_ms.saturating_sub(DIAL_GRACE_MS);
        let left_ms = by_ms.saturating_sub(now.monotonic_ms).max(CONNACK_WAIT_MIN_MS);
        let Dialect { version, is_bridge } = dialling.dialect;
        let mut connect = Connect { is_bridge, ..self.options.connect(version) };
        let authenticating = match Authenticating::begin(&self.options, &mut connect) {
            Ok(authenticating) => authenticating,
            Err(cause) => return self.fail(cause, now),
        };
        let options = connection::ClientOptions {
            connect,
            connack_deadline_ms: left_ms,
            ping_deadline_ms: self.options.ping_timeout_ms,
            in_flight_maximum: self.in_flight_max(version),
            topic_alias_own_maximum: self.options.topic_alias_max,
            // It may be of an earlier process: its subscriptions and messages are welcome.
            refuse_unknown_session: false,
            // Mosquitto with `max_inflight_messages 0` knows no maximum. We pause reading instead of hanging up.
            receive_tolerance: u16::MAX,
            server_must_prove: authenticating.is_some(),
        };
        let session = std::mem::take(&mut self.session);
        match connection::ClientConnection::new(options, session, now) {
            Ok(core) => {
                self.epoch += 1;
                let Dialling { server, dialect, .. } = dialling;
                let ack_deadline_ms = self.options.ack_deadline_ms;
                let mut online = Online::new(core, stream, server, dialect, ack_deadline_ms);
                online.authenticating = authenticating;
                Link::Online(Box::new(online))
            }
            Err(error) => self.fail(Cause::Connect { what: error.to_string() }, now),
        }
    }

    /// Ends an attempt that did not come as far as CONNACK.
    pub(super) fn fail(&mut self, cause: Cause, now: Now) -> Link {
        let (cause, next) = self.attempts.on_failed(cause, &mut self.environment.random);
        self.wait(cause, next, now)
    }

    /// Returns whether the bridge bit is wanted. A canary would never come back to us.
    pub(super) fn bridge_bit(&self) -> BridgeBit {
        if self.canary.is_some() { BridgeBit::Never } else { self.shared.bridge_bit() }
    }
}

/// Tells whether an exchange at QoS 2 is open, in either direction.
pub(super) fn has_exactly_once(session: &crosspoint_protocol::session::SessionState) -> bool {
    !session.incoming.is_empty()
        || session.outgoing.has_aside()
        || session.outgoing.iter().any(|(_, _, sent)| sent.qos == crosspoint_protocol::QoS::ExactlyOnce)
}
