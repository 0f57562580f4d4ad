//! The programs on both sides: what they do with what their cores tell them.

use super::World;
use crate::{
    Offence, ReasonCode, Version,
    connection::{AcceptConnect, ClientEvent, EndCause, ServerEvent},
    fuzz::session::{
        disk::Record,
        ledger::{Ledger, Report},
    },
    packet::Connect,
};

impl World {
    pub(super) fn handle_client_events(&mut self) {
        let Some(end) = &mut self.client.end else { return };
        for event in std::mem::take(&mut end.events) {
            match event {
                ClientEvent::Connected { lost, connack } => {
                    let lost: Vec<u64> = lost.iter().map(|lost| lost.cookie).collect();
                    self.on_connected(&lost, connack.session_present);
                }
                ClientEvent::Publish(incoming) => {
                    let judgement = self.client.on_publish(&incoming, &mut self.down);
                    self.note(judgement);
                }
                ClientEvent::Acknowledged { cookie, reason } => {
                    let is_known = self.client.in_flight.remove(&cookie);
                    on_acknowledged(&mut self.report, &mut self.up, is_known, cookie, reason);
                }
                ClientEvent::Ended(end) => self.on_ended("client", &end.cause),
                ClientEvent::Subscribed(_) => {}
                event => self.report.faults.push(format!("the client was told {event:?}")),
            }
        }
    }

    pub(super) fn handle_server_events(&mut self) {
        let Some(end) = &mut self.server.end else { return };
        for event in std::mem::take(&mut end.events) {
            match event {
                ServerEvent::Connect(connect) => self.let_in(&connect),
                ServerEvent::Publish(incoming) => {
                    let judgement = self.server.on_publish(&incoming, &mut self.up);
                    self.note(judgement);
                }
                ServerEvent::Acknowledged { cookie, reason } => {
                    let is_known = self.server.in_flight.remove(&cookie);
                    on_acknowledged(&mut self.report, &mut self.down, is_known, cookie, reason);
                }
                ServerEvent::Subscribe(subscribe) => {
                    if let Some(end) = &mut self.server.end {
                        end.core.suback(subscribe.packet_id, vec![ReasonCode::Success]);
                    }
                }
                ServerEvent::Ended(end) => self.on_ended("server", &end.cause),
                event => self.report.faults.push(format!("the server was told {event:?}")),
            }
        }
    }

    fn on_connected(&mut self, lost: &[u64], session_present: bool) {
        // In 3.1 nobody says it: there the session goes on.
        let goes_on = session_present || (self.version == Version::V3_1 && self.client.has_session);
        self.client.has_session = true;
        if goes_on {
            return;
        }
        self.client.disk.push(Record::Discarded);
        for number in lost {
            if !self.client.in_flight.remove(number) {
                self.report.faults.push(format!("message {number} is lost and was not in flight"));
            }
            self.client.outbox.insert(*number);
        }
        if !self.client.in_flight.is_empty() {
            self.report.faults.push("messages of a lost session were not given back".to_owned());
        }
        // Their identifiers are of the session that is gone.
        for (_, _, id) in &mut self.client.offered {
            *id = None;
        }
        // Before the client says anything: after a crash it would go on with the session that is gone.
        self.write_client(usize::MAX);
    }

    fn let_in(&mut self, connect: &Connect) {
        if connect.clean_start && self.server.has_session {
            self.server.lose_session();
            self.void_unfinished();
        }
        let accept = AcceptConnect {
            session: self.server.lend_session(),
            session_present: self.server.has_session,
            ..AcceptConnect::default()
        };
        self.is_session_new = !self.server.has_session;
        self.server.has_session = true;
        if let Some(end) = &mut self.server.end {
            end.core.accept_connect(accept, self.now);
        }
    }

    fn on_ended(&mut self, who: &str, cause: &EndCause) {
        match cause {
            // Bytes are held back for as long as the input likes.
            EndCause::Violation(violation)
                if matches!(violation.offence, Offence::KeepAliveTimeout | Offence::DeadlineExceeded(_)) => {}
            EndCause::Violation(violation) => {
                self.report.faults.push(format!("the {who} was done wrong: {violation}"));
            }
            EndCause::Peer(disconnect) if disconnect.reason.is_error() => {
                // Said by the other side's timeout, or its own fault that it reports itself.
            }
            _ => {}
        }
    }

    fn note(&mut self, judgement: Result<(), &'static str>) {
        match judgement {
            Ok(()) => {}
            Err("order") => self.report.out_of_order += 1,
            Err(what) => self.report.faults.push(what.to_owned()),
        }
    }
}

fn on_acknowledged(
    report: &mut Report,
    ledger: &mut Ledger,
    is_known: bool,
    number: u64,
    reason: ReasonCode,
) {
    if !is_known {
        report.faults.push(format!("message {number} was finished and not in flight"));
    }
    match reason {
        ReasonCode::QuotaExceeded => ledger.refuse(number),
        reason if reason.is_error() => report.faults.push(format!("message {number} ended with {reason}")),
        _ => {}
    }
}
