//! The steps that an input takes, one function each.

use super::World;
use crate::{
    QoS, ReasonCode, Version,
    connection::{ClientConnection, ClientOptions, ServerConnection, ServerOptions},
    fuzz::{
        pair::{connect, outgoing},
        session::side::topic,
    },
    packet::{Disconnect, SubscribeProperties, SubscribedFilter, SubscriptionOptions},
};

impl World {
    pub(super) fn publish_up(&mut self, amount: u8) {
        let qos = qos(amount);
        let number = self.up.publish(qos);
        if qos != QoS::AtMostOnce {
            self.client.outbox.insert(number);
        } else if let Some(end) = &mut self.client.end {
            // Lost when not connected, as QoS 0 may be.
            end.core.publish(outgoing(topic(number), qos, number), self.now).ok();
        }
    }

    pub(super) fn publish_down(&mut self, amount: u8) {
        let qos = qos(amount);
        let number = self.down.publish(qos);
        if qos != QoS::AtMostOnce {
            self.server.outbox.insert(number);
        } else if let Some(end) = &mut self.server.end {
            end.core.publish(outgoing(topic(number), qos, number), self.now).ok();
        }
    }

    pub(super) fn wait(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        if let Some(end) = &mut self.client.end {
            end.tick(self.now);
        }
        if let Some(end) = &mut self.server.end {
            end.tick(self.now);
        }
    }

    pub(super) fn connect(&mut self) {
        if self.client.end.is_some() {
            return;
        }
        let mut connect = connect(self.version);
        connect.keep_alive_s = 30;
        connect.clean_start = !self.client.has_session;
        if self.version.is_v5() {
            connect.properties.receive_maximum = Some(self.receive_maximums.0);
            connect.properties.topic_alias_maximum = Some(3);
        }
        let mut options = ClientOptions::new(connect);
        options.topic_alias_own_maximum = 3;
        options.in_flight_maximum = self.receive_maximums.1;
        let server = ServerOptions {
            receive_maximum: self.receive_maximums.1,
            in_flight_maximum: self.receive_maximums.0,
            ..ServerOptions::default()
        };
        let session = self.client.lend_session();
        match ClientConnection::new(options, session, self.now) {
            Ok(core) => self.client.begin(core, self.now),
            Err(error) => self.report.faults.push(format!("CONNECT cannot be encoded: {error}")),
        }
        self.server.begin(ServerConnection::new(server, self.now), self.now);
    }

    /// Breaks the link after some more bytes.
    pub(super) fn cut(&mut self, count: usize) {
        if self.client.end.is_some() {
            self.server.receive(count, self.now);
            self.client.receive(count / 2, self.now);
            self.handle_client_events();
            self.handle_server_events();
            self.hang_up();
        }
    }

    pub(super) fn crash_client(&mut self) {
        self.report.crashes += 1;
        self.hang_up();
        self.client.crash(&self.up);
    }

    pub(super) fn crash_server(&mut self) {
        self.report.crashes += 1;
        self.hang_up();
        self.server.crash(&self.down);
    }

    pub(super) fn do_rare(&mut self, amount: u8) {
        match amount % 8 {
            0 if self.loses_sessions && self.client.end.is_none() && self.client.has_session => {
                self.client.lose_session();
                self.void_unfinished();
            }
            // In 3.1 a server cannot say that it has lost the session.
            1 if self.loses_sessions
                && self.server.end.is_none()
                && self.server.has_session
                && self.version != Version::V3_1 =>
            {
                self.server.lose_session();
                self.void_unfinished();
            }
            2 => {
                if let Some(end) = &mut self.client.end {
                    end.core.disconnect(Disconnect::new(ReasonCode::Success));
                }
            }
            3 => {
                if let Some(end) = &mut self.server.end {
                    end.core.disconnect(ReasonCode::ServerBusy);
                }
            }
            4 | 5 => self.subscribe(),
            _ => self.receive_maximums = (u16::from(amount / 8) + 1, u16::from(amount / 16) + 1),
        }
    }

    fn subscribe(&mut self) {
        let Ok(filter) = crate::TopicFilter::parse("#") else { return };
        if let Some(end) = &mut self.client.end {
            let filters = vec![SubscribedFilter { filter, options: SubscriptionOptions::default() }];
            end.core.subscribe(filters, SubscribeProperties::default());
        }
    }
}

const fn qos(amount: u8) -> QoS {
    match amount % 8 {
        0 => QoS::AtMostOnce,
        1..=3 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}
