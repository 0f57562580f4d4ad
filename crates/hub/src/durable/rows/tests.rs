use crosspoint_client::NO_COOKIE;
use crosspoint_protocol::session::IncomingId;
use crosspoint_store::{Options, Store};

use super::*;

/// Rows, and the store that gets what they change.
struct World {
    rows: Rows,
    store: Store,
}

impl World {
    fn new() -> Self {
        let store = Store::in_memory(Options::default()).unwrap();
        Self { rows: Rows::new(7, BTreeMap::new(), BTreeSet::new()), store }
    }

    fn does(&mut self, act: impl FnOnce(&mut Rows, &mut Batch)) {
        let mut batch = Batch::new();
        act(&mut self.rows, &mut batch);
        self.store.commit(batch).wait().unwrap();
    }

    fn change(&mut self, delta: Delta) -> Urgency {
        let mut urgency = Urgency::Lazy;
        self.does(|rows, batch| urgency = rows.change(SessionChange::Exchange(delta), 1, batch));
        urgency
    }

    /// Returns what the store has: place, identifier, stage.
    /// Returns the identifiers in the order in which they are restored.
    fn turns(&self) -> Vec<u16> {
        let rows = self.store.scan(OUTGOING, None, 100);
        let mut rows: Vec<Row> = rows.into_iter().map(|(_, value)| Row::decode(&value).unwrap()).collect();
        rows.sort_by_key(|row| row.order);
        rows.iter().map(|row| row.id.packet_id().value()).collect()
    }

    fn outgoing(&self) -> Vec<(u64, u16, Stage)> {
        let rows = self.store.scan(OUTGOING, None, 100);
        let rows = rows.into_iter().map(|(key, value)| {
            let row = Row::decode(&value).unwrap();
            assert_eq!(u64::from_be_bytes(key[..8].try_into().unwrap()), 7);
            (u64::from_be_bytes(key[8..].try_into().unwrap()), row.id.packet_id().value(), row.stage)
        });
        rows.collect()
    }

    fn incoming(&self) -> Vec<u16> {
        let rows = self.store.scan(INCOMING, None, 100);
        rows.into_iter().map(|(key, _)| u16::from_be_bytes(key[8..].try_into().unwrap())).collect()
    }
}

fn packet_id(id: u16) -> PacketId {
    PacketId::new(id).unwrap()
}

fn outgoing(id: u16) -> OutgoingId {
    OutgoingId::from_stored(packet_id(id))
}

fn assigned(id: u16, cookie: u64) -> Delta {
    Delta::Assigned { id: outgoing(id), cookie }
}

fn received(id: u16) -> Delta {
    Delta::Received { id: outgoing(id) }
}

fn finished(id: u16, cookie: u64) -> Delta {
    Delta::Finished { id: outgoing(id), cookie }
}

#[test]
fn an_exchange_is_kept_until_the_outbox_has_forgotten_its_message() {
    let mut world = World::new();
    assert_eq!(world.change(assigned(1, 40)), Urgency::Awaited);
    assert_eq!(world.outgoing(), [(40, 1, Stage::Published)]);
    assert_eq!(world.change(received(1)), Urgency::Awaited);
    assert_eq!(world.outgoing(), [(40, 1, Stage::Received)]);
    assert_eq!(world.change(finished(1, 40)), Urgency::Lazy);
    assert_eq!(world.outgoing(), [(40, 1, Stage::Done)]);
    world.does(|rows, batch| rows.forget_before(40, batch));
    assert_eq!(world.outgoing(), [(40, 1, Stage::Done)]);
    world.does(|rows, batch| rows.forget_before(41, batch));
    assert!(world.outgoing().is_empty());
}

#[test]
fn what_ends_before_it_was_received_is_not_done() {
    let mut world = World::new();
    world.change(assigned(1, 40));
    world.change(finished(1, 40));
    assert!(world.outgoing().is_empty());
    // It is sent again under another identifier.
    world.change(assigned(2, 40));
    assert_eq!(world.outgoing(), [(40, 2, Stage::Published)]);
}

#[test]
fn the_end_of_a_message_at_qos_1_changes_nothing() {
    let mut world = World::new();
    world.change(assigned(1, 40));
    assert_eq!(world.change(finished(2, 41)), Urgency::Lazy);
    assert_eq!(world.outgoing(), [(40, 1, Stage::Published)]);
}

#[test]
fn what_has_no_position_is_kept_by_itself_until_it_ends() {
    let mut world = World::new();
    world.change(assigned(1, NO_COOKIE));
    world.change(assigned(2, NO_COOKIE));
    world.change(received(2));
    assert_eq!(world.outgoing(), [(NO_POSITION, 1, Stage::Published), (NO_POSITION + 1, 2, Stage::Received)]);
    world.change(finished(2, NO_COOKIE));
    assert_eq!(world.outgoing(), [(NO_POSITION, 1, Stage::Published)]);
}

#[test]
fn a_lost_session_voids_what_is_open_and_nothing_that_is_done() {
    let mut world = World::new();
    for (id, cookie) in [(1, 40), (2, 41)] {
        world.change(assigned(id, cookie));
    }
    world.change(received(2));
    world.change(finished(2, 41));
    world.does(|rows, batch| rows.accept(1, packet_id(9), batch));
    assert_eq!(world.incoming(), [9]);
    world.does(|rows, batch| {
        rows.change(SessionChange::Discarded, 2, batch);
    });
    assert_eq!((world.outgoing(), world.incoming()), (vec![(41, 2, Stage::Done)], vec![]));
}

#[test]
fn what_came_in_a_lost_session_leaves_no_identifier_behind() {
    let mut world = World::new();
    world.does(|rows, batch| {
        rows.change(SessionChange::Discarded, 2, batch);
    });
    world.does(|rows, batch| rows.accept(1, packet_id(9), batch));
    assert!(world.incoming().is_empty(), "the server may use it for another message now");
    world.does(|rows, batch| rows.accept(2, packet_id(9), batch));
    assert_eq!(world.incoming(), [9]);
    assert_eq!(world.change(Delta::Released { id: IncomingId::from_stored(packet_id(9)) }), Urgency::Awaited);
    assert!(world.incoming().is_empty());
}

#[test]
fn an_identifier_is_forgotten_again_when_nobody_knows_whether_that_was_written() {
    let mut rows = Rows::new(7, BTreeMap::new(), BTreeSet::new());
    let mut batch = Batch::new();
    let released = SessionChange::Exchange(Delta::Released { id: IncomingId::from_stored(packet_id(9)) });
    assert_eq!(rows.change(released, 1, &mut batch), Urgency::Awaited, "PUBCOMP waits for it");
    assert!(!batch.is_empty());
}

#[test]
fn the_order_of_identifiers_goes_on_behind_what_was_kept() {
    let row = Row { id: outgoing(65_535), stage: Stage::Published, order: 12 };
    let mut rows = Rows::new(7, [(40, row)].into(), BTreeSet::new());
    let mut batch = Batch::new();
    rows.change(SessionChange::Exchange(assigned(1, 41)), 1, &mut batch);
    assert_eq!(rows.outgoing()[&41].order, 13);
    assert_eq!(Row::decode(&row.encode()), Some(row));
    assert_eq!(Row::decode(&[2, 0, 0, 0]), None);
}

#[test]
fn a_message_that_was_taken_back_and_is_sent_anew_leaves_its_exchange_a_place() {
    let mut world = World::new();
    world.change(assigned(1, 40));
    world.change(assigned(2, 41));
    // Taken back: its exchange goes on with PUBREL, and the message is sent under another identifier.
    world.change(assigned(3, 40));
    assert_eq!(
        world.outgoing(),
        [(40, 3, Stage::Published), (41, 2, Stage::Published), (NO_POSITION, 1, Stage::Published)]
    );
    world.change(finished(1, NO_COOKIE));
    assert_eq!(world.outgoing(), [(40, 3, Stage::Published), (41, 2, Stage::Published)]);
    world.change(received(3));
    world.change(finished(3, 40));
    assert_eq!(world.outgoing(), [(40, 3, Stage::Done), (41, 2, Stage::Published)]);
}

#[test]
fn an_exchange_that_is_said_anew_has_one_row_and_keeps_its_turn() {
    let mut world = World::new();
    for (id, cookie) in [(1, 40), (2, 41), (3, 42)] {
        world.change(assigned(id, cookie));
    }
    // The connection ended first. Message 40 was taken back, and 41 goes first.
    for (id, cookie) in [(2, 41), (1, NO_COOKIE), (4, 40), (1, NO_COOKIE)] {
        world.change(assigned(id, cookie));
    }
    assert_eq!(
        world.outgoing(),
        [
            (40, 4, Stage::Published),
            (41, 2, Stage::Published),
            (42, 3, Stage::Published),
            (NO_POSITION, 1, Stage::Published)
        ]
    );
    assert_eq!(world.turns(), [1, 2, 3, 4]);
    world.change(finished(1, NO_COOKIE));
    assert_eq!(world.turns(), [2, 3, 4]);
}
