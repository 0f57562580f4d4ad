//! Two sides and the link between them, from the first step to the judgement.
//!
//! [`steps`] is what an input does to them, [`programs`] what they do by themselves.

mod programs;
mod steps;

use super::{
    ledger::{Ledger, Report},
    side::Side,
};
use crate::{
    Now, Version,
    connection::{ClientConnection, ServerConnection},
    fuzz::pair::START,
};

/// More rounds than any mended world needs.
const ROUNDS_MAX: usize = 10_000;

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

    fn write_client(&mut self, count: usize) {
        self.client.write(count, &mut self.up, &mut self.down, self.now);
    }

    fn write_server(&mut self, count: usize) {
        self.server.write(count, &mut self.down, &mut self.up, self.now);
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

    fn void_unfinished(&mut self) {
        self.report.sessions_lost += 1;
        self.up.void_unfinished();
        self.down.void_unfinished();
    }
}
