//! Two sides, the link between them, and the steps that an input takes.

use std::collections::BTreeSet;

use super::{
    disk::{Disk, Record},
    ledger::{Ledger, Report},
};
use crate::{
    Now, Offence, QoS, ReasonCode, Version,
    connection::{
        AcceptConnect, ClientConnection, ClientEvent, ClientOptions, Delta, EndCause, IncomingPublish,
        ServerConnection, ServerEvent, ServerOptions,
    },
    fuzz::{
        ends::{Core, End, Persisting},
        pair::{START, connect, number, outgoing},
    },
    packet::{Connect, Disconnect, SubscribeProperties, SubscribedFilter, SubscriptionOptions},
    session::{IncomingId, SessionState, Token},
};

/// The topics of messages; few, so that aliases are used.
const TOPICS: [&str; 5] = ["a", "b/c", "a/longer/topic", "b", "c/d/e"];

/// More rounds than any mended world needs.
const ROUNDS_MAX: usize = 10_000;

/// One side: its connection or its session, its disk, and the program that uses it.
#[derive(Debug)]
struct Side<C: Core> {
    end: Option<End<C>>,
    /// The session while no connection has it.
    session: SessionState,
    /// Whether the connection has the session.
    is_lent: bool,
    has_session: bool,
    /// The number of the connection, so that a late confirmation does not reach another one.
    connection: u64,
    disk: Disk,
    /// Messages at QoS 1 and 2 that are to be published.
    outbox: BTreeSet<u64>,
    in_flight: BTreeSet<u64>,
    /// Messages that came and are not decided.
    offered: Vec<(Token, u64, Option<IncomingId>)>,
    /// Bytes on their way here.
    inbound: Vec<u8>,
}

impl<C: Core> Default for Side<C> {
    fn default() -> Self {
        Self {
            end: None,
            session: SessionState::default(),
            is_lent: false,
            has_session: false,
            connection: 0,
            disk: Disk::default(),
            outbox: BTreeSet::new(),
            in_flight: BTreeSet::new(),
            offered: Vec::new(),
            inbound: Vec::new(),
        }
    }
}

impl<C: Core> Side<C> {
    fn is_open(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end.core.is_open())
    }

    /// Takes the session out, for a connection.
    fn lend_session(&mut self) -> SessionState {
        self.is_lent = true;
        std::mem::take(&mut self.session)
    }

    fn begin(&mut self, core: C, now: Now) {
        self.connection += 1;
        self.inbound.clear();
        let mut end = End::new(core, Persisting::Late);
        end.drain(now);
        self.end = Some(end);
    }

    /// Hands the first `count` bytes that are on their way to the core.
    fn receive(&mut self, count: usize, now: Now) {
        let count = count.min(self.inbound.len());
        let chunk: Vec<u8> = self.inbound.drain(..count).collect();
        if let Some(end) = &mut self.end
            && !chunk.is_empty()
        {
            end.receive(&chunk, now);
        }
    }

    /// Publishes what waits, as far as the core takes it.
    fn publish(&mut self, ledger: &Ledger, now: Now) {
        while self.is_open()
            && let Some(end) = &mut self.end
            && end.core.send_quota() > 0
            && let Some(next) = self.outbox.pop_first()
        {
            let message = outgoing(topic(next), ledger.qos(next), next);
            if end.core.publish(message, now).is_ok() {
                self.in_flight.insert(next);
            } else {
                self.outbox.insert(next);
                break;
            }
        }
    }

    /// Takes the deltas to the disk and the bytes to send to the peer.
    fn collect(&mut self, now: Now) -> Vec<u8> {
        let Some(end) = &mut self.end else { return Vec::new() };
        end.drain(now);
        for (sequence, delta) in end.unconfirmed.drain(..) {
            self.disk.push(Record::Delta { connection: self.connection, sequence, delta });
        }
        end.sent_bytes(now)
    }

    /// Writes up to `count` records and confirms them.
    fn write(&mut self, count: usize, sent: &mut Ledger, received: &mut Ledger, now: Now) {
        for _ in 0..count {
            match self.disk.write_one() {
                None => return,
                Some(Record::Delta { connection, sequence, delta }) => {
                    if let Delta::Finished { cookie, .. } = delta {
                        sent.finish(cookie);
                    }
                    if connection == self.connection
                        && let Some(end) = &mut self.end
                    {
                        end.core.handle_persisted(sequence, now);
                    }
                }
                Some(Record::Accepted { token, number, .. }) => {
                    received.deliver(number);
                    match &mut self.end {
                        Some(end) if self.is_lent => end.core.accept(token),
                        _ => self.session.incoming.decide(token, ReasonCode::Success),
                    }
                }
                Some(Record::Discarded) => {}
            }
        }
    }

    /// Decides one of the messages that came.
    fn decide(&mut self, which: usize, is_rejected: bool) {
        if self.offered.is_empty() {
            return;
        }
        let (token, number, id) = self.offered.remove(which % self.offered.len());
        if !is_rejected {
            self.disk.push(Record::Accepted { token, number, id });
        } else if let Some(end) = &mut self.end
            && self.is_lent
        {
            end.core.reject(token, ReasonCode::QuotaExceeded);
        } else {
            self.session.incoming.decide(token, ReasonCode::QuotaExceeded);
        }
    }

    fn on_publish(&mut self, incoming: &IncomingPublish, ledger: &mut Ledger) -> Result<(), &'static str> {
        let number = number(&incoming.publish.payload);
        let id = match incoming.delta() {
            Some(Delta::Offered { id }) => Some(id),
            _ => None,
        };
        match incoming.token {
            Some(token) => self.offered.push((token, number, id)),
            None => ledger.deliver(number),
        }
        if incoming.publish.qos != ledger.qos(number) {
            return Err("a message with another QoS");
        }
        let restored = ["restored", topic(number)];
        if !incoming.publish.topic.as_ref().is_some_and(|topic| restored.contains(&topic.as_str())) {
            return Err("a message with another topic");
        }
        ledger.offer(number)
    }

    /// The link is broken: the session is what remains.
    fn hang_up(&mut self, now: Now) {
        if let Some(end) = &mut self.end {
            end.core.handle_eof();
        }
        self.collect(now);
        if let Some(end) = self.end.take()
            && std::mem::take(&mut self.is_lent)
        {
            self.session = end.core.into_session();
        }
        self.inbound.clear();
    }

    /// The process dies and comes back with what its disk has.
    fn crash(&mut self, ledger: &Ledger) {
        self.end = None;
        self.connection += 1;
        self.offered.clear();
        self.disk.crash();
        self.session = self.disk.restore();
        self.in_flight = self.disk.numbers().collect();
        self.outbox = ledger.unfinished().filter(|number| !self.in_flight.contains(number)).collect();
    }

    /// The session is gone; the program still has its messages.
    fn lose_session(&mut self) {
        self.disk.crash();
        self.disk.discard();
        self.session = SessionState::default();
        self.has_session = false;
        self.offered.clear();
        self.outbox.append(&mut self.in_flight);
    }

    fn is_idle(&self) -> bool {
        let is_quiet = self.inbound.is_empty() && self.offered.is_empty() && self.disk.is_idle();
        is_quiet && self.outbox.is_empty() && self.in_flight.is_empty()
    }

    /// At rest, nothing is left in the session and on the disk.
    fn judge(&self, name: &str, report: &mut Report) {
        if !self.session.is_empty() || !self.disk.is_empty() {
            let Self { session, disk, .. } = self;
            report.faults.push(format!("the {name} is at rest and has {session:?} and {disk:?}"));
        }
    }
}

fn topic(number: u64) -> &'static str {
    usize::try_from(number).ok().and_then(|number| TOPICS.get(number % TOPICS.len())).copied().unwrap_or("a")
}

/// Both sides, and what they are judged by.
#[derive(Debug)]
pub(super) struct World {
    client: Side<ClientConnection>,
    server: Side<ServerConnection>,
    /// What the client publishes.
    up: Ledger,
    /// What the server publishes.
    down: Ledger,
    now: Now,
    version: Version,
    receive_maximums: (u16, u16),
    /// Whether the server's session began with this connection.
    is_session_new: bool,
    /// Whether sessions get lost: where none does, no message at QoS 2 may ever come twice.
    loses_sessions: bool,
    /// Whether disks write as soon as they can.
    writes_at_once: bool,
    report: Report,
}

impl World {
    /// Makes a world under the conditions that an input begins with.
    pub(super) fn new([version, client_maximum, server_maximum, disks]: [u8; 4]) -> Self {
        let maximum = |byte: u8| match byte % 4 {
            0 => 1,
            1 => 2,
            2 => 7,
            _ => 100,
        };
        let version = match version % 4 {
            0 => Version::V3_1,
            1 => Version::V3_1_1,
            _ => Version::V5,
        };
        Self {
            client: Side::default(),
            server: Side::default(),
            up: Ledger::default(),
            down: Ledger::default(),
            now: START,
            version,
            receive_maximums: (maximum(client_maximum), maximum(server_maximum)),
            is_session_new: false,
            loses_sessions: disks >= 128,
            writes_at_once: disks % 4 == 0,
            report: Report::default(),
        }
    }

    /// Tells whether nothing has gone wrong yet that would make the rest meaningless.
    pub(super) const fn is_sound(&self) -> bool {
        self.report.faults.is_empty() && self.report.out_of_order == 0
    }

    /// Takes one step.
    pub(super) fn step(&mut self, action: u8, amount: u8) {
        let count = usize::from(amount);
        let bytes = if amount > 200 { usize::MAX } else { count };
        match action % 32 {
            0..4 => self.publish_up(amount),
            4..8 => self.publish_down(amount),
            8..12 => self.server.receive(bytes, self.now),
            12..16 => self.client.receive(bytes, self.now),
            16..18 => self.write_client(count % 4 + 1),
            18..20 => self.write_server(count % 4 + 1),
            20..22 => self.client.decide(count, self.version.is_v5() && amount > 240),
            22..24 => self.server.decide(count, self.version.is_v5() && amount > 240),
            24 => self.wait(u64::from(amount) * 40),
            25..28 => self.connect(),
            28 => self.cut(count),
            29 if amount < 64 => self.crash_client(),
            29 if amount < 128 => self.crash_server(),
            30 => self.do_rare(amount),
            _ => {
                self.server.receive(usize::MAX, self.now);
                self.client.receive(usize::MAX, self.now);
            }
        }
        self.settle();
    }

    /// Mends everything, and judges.
    pub(super) fn finish(mut self) -> Report {
        let mut round = 0;
        while self.is_sound() && !self.is_done() {
            self.mend();
            round += 1;
            if round == ROUNDS_MAX {
                self.report.faults.push("the two sides never came to rest".to_owned());
            }
        }
        if self.is_sound() {
            self.hang_up();
            self.write_client(usize::MAX);
            self.write_server(usize::MAX);
            self.client.judge("client", &mut self.report);
            self.server.judge("server", &mut self.report);
            self.up.judge(&mut self.report);
            self.down.judge(&mut self.report);
        }
        self.report
    }

    fn is_done(&self) -> bool {
        self.client.is_open() && self.server.is_open() && self.client.is_idle() && self.server.is_idle()
    }

    fn mend(&mut self) {
        self.connect();
        self.settle();
        self.server.receive(usize::MAX, self.now);
        self.client.receive(usize::MAX, self.now);
        self.settle();
        while !self.client.offered.is_empty() {
            self.client.decide(0, false);
        }
        while !self.server.offered.is_empty() {
            self.server.decide(0, false);
        }
        self.write_client(usize::MAX);
        self.write_server(usize::MAX);
        self.settle();
    }

    /// Lets both programs see what happened, and moves bytes onto the link.
    fn settle(&mut self) {
        if self.writes_at_once {
            self.write_client(usize::MAX);
            self.write_server(usize::MAX);
        }
        // What the programs do can make the cores say more.
        for _ in 0..3 {
            self.handle_client_events();
            self.handle_server_events();
            self.client.publish(&self.up, self.now);
            self.server.publish(&self.down, self.now);
            let sent = self.client.collect(self.now);
            self.server.inbound.extend(sent);
            let sent = self.server.collect(self.now);
            self.client.inbound.extend(sent);
        }
        let has_closed = |is_closed: Option<bool>| is_closed == Some(true);
        if has_closed(self.client.end.as_ref().map(|end| end.is_closed))
            || has_closed(self.server.end.as_ref().map(|end| end.is_closed))
        {
            // The last words still arrive.
            self.client.receive(usize::MAX, self.now);
            self.server.receive(usize::MAX, self.now);
            self.handle_client_events();
            self.handle_server_events();
            self.hang_up();
        }
    }

    fn handle_client_events(&mut self) {
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

    fn handle_server_events(&mut self) {
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

    // --- steps ---

    fn publish_up(&mut self, amount: u8) {
        let qos = qos(amount);
        let number = self.up.publish(qos);
        if qos != QoS::AtMostOnce {
            self.client.outbox.insert(number);
        } else if let Some(end) = &mut self.client.end {
            // Lost when not connected, as QoS 0 may be.
            end.core.publish(outgoing(topic(number), qos, number), self.now).ok();
        }
    }

    fn publish_down(&mut self, amount: u8) {
        let qos = qos(amount);
        let number = self.down.publish(qos);
        if qos != QoS::AtMostOnce {
            self.server.outbox.insert(number);
        } else if let Some(end) = &mut self.server.end {
            end.core.publish(outgoing(topic(number), qos, number), self.now).ok();
        }
    }

    fn write_client(&mut self, count: usize) {
        self.client.write(count, &mut self.up, &mut self.down, self.now);
    }

    fn write_server(&mut self, count: usize) {
        self.server.write(count, &mut self.down, &mut self.up, self.now);
    }

    fn wait(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        if let Some(end) = &mut self.client.end {
            end.tick(self.now);
        }
        if let Some(end) = &mut self.server.end {
            end.tick(self.now);
        }
    }

    fn connect(&mut self) {
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
    fn cut(&mut self, count: usize) {
        if self.client.end.is_some() {
            self.server.receive(count, self.now);
            self.client.receive(count / 2, self.now);
            self.handle_client_events();
            self.handle_server_events();
            self.hang_up();
        }
    }

    fn hang_up(&mut self) {
        self.report.cuts += 1;
        let has_answered = self.server.end.as_ref().is_none_or(|end| end.core.has_answered());
        self.client.hang_up(self.now);
        self.server.hang_up(self.now);
        if std::mem::take(&mut self.is_session_new) && !has_answered && self.version != Version::V3_1 {
            // The client may not know that it had no session. (In 3.1 it never does.)
            self.server.lose_session();
            self.void_unfinished();
        }
    }

    fn crash_client(&mut self) {
        self.report.crashes += 1;
        self.hang_up();
        self.client.crash(&self.up);
    }

    fn crash_server(&mut self) {
        self.report.crashes += 1;
        self.hang_up();
        self.server.crash(&self.down);
    }

    fn do_rare(&mut self, amount: u8) {
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

    fn void_unfinished(&mut self) {
        self.report.sessions_lost += 1;
        self.up.void_unfinished();
        self.down.void_unfinished();
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

const fn qos(amount: u8) -> QoS {
    match amount % 8 {
        0 => QoS::AtMostOnce,
        1..=3 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}
