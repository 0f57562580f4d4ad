//! A client that subscribes, and keeps its own side of every exchange.

use fastrand::Rng;

use crate::books::{Books, FENCE, PROBE};
use crate::client::{Client, Connected, Halt, Session};
use crate::connection::Connection;
use crate::exchange::{Incoming, Receipt};
use crate::message::Stamp;
use crate::progress::Phase;
use crate::wire::{self, Packet, Publish, Step};

/// The packet identifier of SUBSCRIBE; a subscriber has no other of its own.
const SUBSCRIBE_ID: u16 = 1;

/// A subscriber of one filter at QoS 2.
#[derive(Debug)]
pub(crate) struct Subscriber {
    pub(crate) client: Client,
    /// Which one it is in the books.
    index: usize,
    /// What its topics begin with.
    prefix: &'static str,
    incoming: Incoming,
    /// Whether SUBACK was read.
    is_subscribed: bool,
    /// One in how many packets makes it cut its own connection; 0 is none.
    cut_one_in: u32,
    rng: Rng,
}

impl Subscriber {
    pub(crate) fn new(client: Client, index: usize, prefix: &'static str, cut_one_in: u32, rng: Rng) -> Self {
        Self { client, index, prefix, incoming: Incoming::default(), is_subscribed: false, cut_one_in, rng }
    }

    /// Reads on one connection, until `is_done` says so after SUBACK.
    pub(crate) fn live(
        &mut self,
        books: &Books,
        phase: &Phase,
        is_done: &dyn Fn() -> bool,
    ) -> Result<(), Halt> {
        let Connected { mut connection, session, .. } = self.client.connect(books, phase)?;
        if session == Session::Forgotten {
            self.incoming.forget();
            self.is_subscribed = false;
        }
        if !self.is_subscribed {
            let filter = format!("{}/#", self.prefix);
            wire::subscribe(&mut connection.out, self.client.version, SUBSCRIBE_ID, &filter, 2);
        }
        loop {
            while let Some(packet) = connection.take()? {
                self.on_packet(&mut connection, packet, books)?;
            }
            connection.flush()?;
            if self.is_subscribed && is_done() {
                return self.leave(connection);
            }
            connection.fill()?;
            self.client.go_on(books, phase, "a subscriber waits for messages")?;
        }
    }

    /// Says goodbye, or does not.
    fn leave(&mut self, mut connection: Connection) -> Result<(), Halt> {
        if self.rng.bool() {
            wire::disconnect(&mut connection.out);
            connection.flush()?;
        }
        Ok(())
    }

    fn on_packet(&mut self, connection: &mut Connection, packet: Packet, books: &Books) -> Result<(), Halt> {
        match packet {
            Packet::Publish(publish) => self.on_publish(connection, &publish, books),
            Packet::Exchange { step: Step::Rel, id, .. } => {
                self.incoming.on_pubrel(id);
                wire::acknowledge(&mut connection.out, Step::Comp, id);
            }
            Packet::Subscribed { codes, .. } if codes == [2] => {
                self.is_subscribed = true;
                books.progress.touch();
            }
            Packet::Subscribed { codes, .. } => {
                return Err(Halt::failed(format!(
                    "{}: SUBSCRIBE was answered with {codes:?}",
                    self.client.name
                )));
            }
            other => return Err(Halt::Ended(format!("a subscriber was sent {other:?}"))),
        }
        if self.cut_one_in > 0 && self.rng.u32(..self.cut_one_in) == 0 {
            return Err(Halt::Ended("cut by the client itself".to_owned()));
        }
        Ok(())
    }

    fn on_publish(&mut self, connection: &mut Connection, publish: &Publish, books: &Books) {
        let stamp = Stamp::read(&publish.payload).filter(|stamp| publish.topic == topic(self.prefix, *stamp));
        if publish.qos < 2 {
            books.arrived(self.index, stamp, publish.qos);
            if publish.qos == 1 {
                wire::acknowledge(&mut connection.out, Step::Ack, publish.id);
            }
            return;
        }
        let key = stamp.map_or((usize::MAX, 0), |stamp| (stamp.publisher, stamp.number));
        match self.incoming.on_publish(publish.id, key) {
            Receipt::New => books.arrived(self.index, stamp, publish.qos),
            Receipt::Again => books.progress.touch(),
            Receipt::Clash => books.clash(&self.client.name, publish.id),
        }
        wire::acknowledge(&mut connection.out, Step::Rec, publish.id);
    }
}

/// Returns the topic of a message, which ends with who sent it.
pub(crate) fn topic(prefix: &str, stamp: Stamp) -> String {
    match stamp.publisher {
        FENCE => format!("{prefix}/fence"),
        PROBE => format!("{prefix}/probe"),
        publisher => format!("{prefix}/p{publisher}"),
    }
}
