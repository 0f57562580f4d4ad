//! A client that publishes, and keeps what it sent until the broker has finished it.

use fastrand::Rng;

use crate::books::Books;
use crate::client::{Client, Connected, Halt, Session};
use crate::connection::Connection;
use crate::exchange::{Outgoing, Stage};
use crate::message::Stamp;
use crate::progress::Phase;
use crate::wire::{self, Packet, Publish, Step};

/// A message and its number.
#[derive(Clone, Debug)]
pub(crate) struct Numbered {
    pub(crate) stamp: Stamp,
    pub(crate) publish: Publish,
}

impl Numbered {
    /// Returns a message with the payload that belongs to its number, and some extra bytes of it.
    pub(crate) fn new(stamp: Stamp, topic: String, qos: u8, extra: usize) -> Self {
        let publish =
            Publish { is_again: false, qos, retain: false, topic, id: 0, payload: stamp.payload(extra) };
        Self { stamp, publish }
    }
}

/// What is to be published next.
#[derive(Debug)]
pub(crate) enum Feed {
    Next(Numbered),
    /// Something, but not yet.
    Later,
    /// Nothing more.
    End,
}

/// Where messages come from and acknowledgements go to.
pub(crate) trait Work {
    fn next(&mut self) -> Feed;

    /// PUBACK or PUBREC was read, for the first time: the broker has taken the message over.
    fn acknowledged(&mut self, stamp: Stamp);

    /// PUBCOMP was read.
    fn completed(&mut self, _: Stamp) {}
}

/// A publisher.
#[derive(Debug)]
pub(crate) struct Publisher {
    pub(crate) client: Client,
    outgoing: Outgoing<Numbered>,
    /// How many messages may be unfinished at once.
    window: usize,
    /// One in how many packets makes it cut its own connection; 0 is none.
    cut_one_in: u32,
    rng: Rng,
}

impl Publisher {
    pub(crate) const fn new(client: Client, window: usize, cut_one_in: u32, rng: Rng) -> Self {
        Self { client, outgoing: Outgoing::new(), window, cut_one_in, rng }
    }

    /// Publishes on one connection, until everything is finished.
    pub(crate) fn live(&mut self, books: &Books, phase: &Phase, work: &mut dyn Work) -> Result<(), Halt> {
        let Connected { mut connection, session, receive_max } = self.client.connect(books, phase)?;
        self.send_again(&mut connection, session);
        let window = self.window.min(receive_max.into());
        loop {
            let is_at_end = self.feed(&mut connection, window, work);
            connection.flush()?;
            if is_at_end && self.outgoing.len() == 0 {
                wire::disconnect(&mut connection.out);
                connection.flush()?;
                return Ok(());
            }
            connection.fill()?;
            while let Some(packet) = connection.take()? {
                self.on_packet(&mut connection, packet, work)?;
            }
            self.client.go_on(books, phase, "a publisher waits for acknowledgements")?;
        }
    }

    /// Sends what is unfinished again, in its order [MQTT-4.4.0-1].
    fn send_again(&self, connection: &mut Connection, session: Session) {
        for exchange in self.outgoing.unfinished() {
            if exchange.stage == Stage::Released {
                wire::acknowledge(&mut connection.out, Step::Rel, exchange.id);
                continue;
            }
            // To a broker that has forgotten the session it is a new message.
            let is_again = session != Session::Forgotten;
            let publish = Publish { is_again, id: exchange.id, ..exchange.message.publish.clone() };
            wire::publish(&mut connection.out, self.client.version, &publish);
        }
    }

    /// Begins as many messages as the window takes; returns whether there are no more.
    fn feed(&mut self, connection: &mut Connection, window: usize, work: &mut dyn Work) -> bool {
        while self.outgoing.len() < window {
            match work.next() {
                Feed::Next(numbered) => {
                    let id = self.outgoing.begin(numbered.clone());
                    let publish = Publish { id, ..numbered.publish };
                    wire::publish(&mut connection.out, self.client.version, &publish);
                }
                Feed::Later => return false,
                Feed::End => return true,
            }
        }
        false
    }

    fn on_packet(
        &mut self,
        connection: &mut Connection,
        packet: Packet,
        work: &mut dyn Work,
    ) -> Result<(), Halt> {
        let Packet::Exchange { step, id, reason } = packet else {
            return Err(Halt::Ended(format!("a publisher was sent {packet:?}")));
        };
        if reason >= 0x80 && step != Step::Comp {
            return Err(Halt::failed(format!("{}: {step:?} with reason {reason:#04x}", self.client.name)));
        }
        match step {
            Step::Ack => {
                if let Some(numbered) = self.outgoing.on_puback(id) {
                    work.acknowledged(numbered.stamp);
                }
            }
            Step::Rec => {
                if let Some(numbered) = self.outgoing.on_pubrec(id) {
                    work.acknowledged(numbered.stamp);
                }
                wire::acknowledge(&mut connection.out, Step::Rel, id);
            }
            Step::Comp => {
                if let Some(numbered) = self.outgoing.on_pubcomp(id) {
                    work.completed(numbered.stamp);
                }
            }
            Step::Rel => return Err(Halt::Ended("a publisher was sent PUBREL".to_owned())),
        }
        if self.cut_one_in > 0 && self.rng.u32(..self.cut_one_in) == 0 {
            return Err(Halt::Ended("cut by the client itself".to_owned()));
        }
        Ok(())
    }
}
