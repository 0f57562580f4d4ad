//! What the protocol core tells of a connection: its beginning, what came, what was acknowledged.

use std::sync::Arc;

use crosspoint_protocol::{
    Message, Now, QoS, ReasonCode, Version,
    connection::{ClientEvent, EndCause, IncomingPublish},
    packet::{ConnAck, PublishProperty},
    session::Outgoing,
};

use super::Online;
use crate::{
    Cause, Connected, ServerLimits, SessionChange, SessionKeeping, State,
    counters::count,
    engine::{Engine, arrivals::Room},
    offers::{Offer, SubscriptionIds},
    subscriptions::{Kept, Terms},
};

/// How long the last bytes may take to leave, in milliseconds.
const LAST_BYTES_MS: u64 = 1_000;

impl Engine {
    pub(super) fn on_event(&mut self, online: &mut Online, event: ClientEvent, now: Now) {
        match event {
            ClientEvent::Connected { connack, lost } => self.on_connected(online, &connack, lost, now),
            ClientEvent::Refused(connack) => online.refusal = Some(connack),
            ClientEvent::Auth(auth) => self.on_auth(online, &auth),
            ClientEvent::Publish(incoming) => self.on_publish(online, incoming, now),
            ClientEvent::Acknowledged { cookie, reason } => self.sending.note_acknowledged(cookie, reason),
            ClientEvent::Subscribed(ack) | ClientEvent::Unsubscribed(ack) => {
                online.acks.on_progress();
                self.subscriptions.on_suback(ack.packet_id, &ack.reasons);
            }
            ClientEvent::Ended(end) => {
                let is_ours = matches!(end.cause, EndCause::Local(_) | EndCause::Violation(_));
                online.last_bytes_by_ms =
                    (is_ours && online.refusal.is_none()).then(|| now.monotonic_ms + LAST_BYTES_MS);
                online.end = Some(end);
            }
        }
    }

    fn on_connected(&mut self, online: &mut Online, connack: &ConnAck, lost: Vec<Outgoing>, now: Now) {
        self.end_authentication(online);
        online.connected_ms = Some(now.monotonic_ms);
        count(&self.shared.counters.connected);
        self.attempts.on_connected(now.monotonic_ms, &mut self.environment.random);
        let kept = self.kept(online.version, connack);
        match kept {
            Kept::All => self.arrivals.on_resumed(self.epoch, &self.shared.offers),
            Kept::None => self.changes.push(SessionChange::Discarded),
            Kept::Unknown => {}
        }
        if !lost.is_empty() {
            tracing::warn!(server = %online.server, count = lost.len(), "The server lost the session; what was in flight is published anew.");
        }
        self.sending.on_session_lost(lost, &self.shared.counters);
        if !online.core.session().outgoing.has_aside() {
            self.sending.forget_aside();
        }
        let limits = self.limits(online.version, connack);
        let terms = Terms {
            limits: limits.clone(),
            knows_options: online.version.is_v5(),
            is_bridge: online.is_bridge,
        };
        self.subscriptions.on_connected(terms, kept);
        let assigned = connack.properties.assigned_client_id.as_ref();
        let connected = Connected {
            server: online.server.clone(),
            version: online.version,
            is_bridge: online.is_bridge,
            session_present: connack.session_present,
            client_id: assigned.map_or_else(|| self.options.client_id.clone(), ToString::to_string),
            response_information: connack.properties.response_information.as_ref().map(ToString::to_string),
            limits,
        };
        tracing::debug!(
            server = %connected.server, client_id = %connected.client_id, version = %connected.version,
            session_present = connected.session_present, "Connected."
        );
        self.state.send_replace(State::Connected(Arc::new(connected)));
    }

    fn kept(&self, version: Version, connack: &ConnAck) -> Kept {
        let is_durable = self.options.session == SessionKeeping::Durable;
        match (connack.session_present, version) {
            (true, _) => Kept::All,
            (false, Version::V3_1) if is_durable => Kept::Unknown,
            _ => Kept::None,
        }
    }

    fn limits(&self, version: Version, connack: &ConnAck) -> ServerLimits {
        let is_durable = self.options.session == SessionKeeping::Durable;
        let expiry_s = is_durable.then_some(self.options.session_expiry_s);
        ServerLimits::of(connack, version, self.options.keep_alive_s, expiry_s)
    }

    fn on_publish(&mut self, online: &mut Online, incoming: IncomingPublish, now: Now) {
        let delta = incoming.delta();
        let IncomingPublish { publish, token } = incoming;
        let Some(topic) = &publish.topic else { return };
        if self.canary.as_mut().is_some_and(|canary| canary.takes(topic.as_str(), &publish.payload)) {
            if let Some(token) = token {
                online.core.accept(token);
            }
            return;
        }
        count(&self.shared.counters.received);
        let subscription_ids: SubscriptionIds = publish
            .properties
            .iter()
            .filter_map(|property| match property {
                PublishProperty::SubscriptionIdentifier(id) => Some(id),
                _ => None,
            })
            .collect();
        if !self.subscriptions.counts(topic.as_str(), &subscription_ids, publish.retain) {
            count(&self.shared.counters.duplicates);
            if let Some(token) = token {
                online.core.accept(token);
            }
            return;
        }
        match self.arrivals.room(&self.shared.offers) {
            // What came with the read that filled the queue is kept: it is bounded by the read.
            Room::Full | Room::Overfull if publish.qos == QoS::AtMostOnce && online.is_crowded => {
                count(&self.shared.counters.dropped_full);
                return;
            }
            Room::Overfull => online.end_for(Cause::DeliveriesNotTaken, ReasonCode::QuotaExceeded),
            Room::Full | Room::Free => {}
        }
        let message = Message::from_publish(topic, &publish, now);
        let packet_id = publish.packet_id;
        let offer =
            Offer { message, subscription_ids, delta, packet_id, token, epoch: self.epoch, attempt: 1 };
        self.arrivals.offer(offer, &self.shared.offers);
    }
}
