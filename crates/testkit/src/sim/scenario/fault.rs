//! What goes wrong in a run, or is made to.

use fastrand::Rng;

use super::{HUB, REMOTES};
use crate::sim::bounds::OutboxBound;
use crate::sim::ledger::Place;

/// Something that goes wrong, or is made to.
#[derive(Debug, Clone, Copy)]
pub(in crate::sim) enum Fault {
    /// Every connection of a host is reset.
    Cut(Place),
    /// Every connection of a host falls silent; nobody is told.
    Silence(Place),
    /// Every connection of a host is slow for so long.
    Slow(Place, u64),
    /// Dialling a host is refused for so long.
    Refuse(Place, u64),
    /// Dialling a host comes to nothing for so long.
    Swallow(Place, u64),
    /// A host stops in order and is back after so long.
    Stop(Place, u64),
    /// The process on a host is killed and is back after so long.
    Kill(Place, u64),
    /// A host loses its power and is back after so long.
    PowerOff(Place, u64),
    /// The same two, in the middle of what the disk does, after so many operations.
    KillInDisk(Place, u64, u64),
    PowerOffInDisk(Place, u64, u64),
    /// An operation of the disk fails; the host is started anew after so long.
    FailDisk(Place, u64),
    /// The disk is full for so long.
    FillDisk(Place, u64),
    /// The wall clock of everybody jumps by so much.
    Jump(i64),
    /// The hub takes a changed project over.
    Reload(Change),
}

impl Fault {
    /// Tells whether it is one of the network: every process goes on.
    pub(super) const fn is_of_network(self) -> bool {
        matches!(
            self,
            Self::Cut(_)
                | Self::Silence(_)
                | Self::Slow(..)
                | Self::Refuse(..)
                | Self::Swallow(..)
                | Self::Jump(_)
        )
    }
}

/// What is changed in the project while the hub runs.
#[derive(Debug, Clone, Copy)]
pub(in crate::sim) enum Change {
    /// The connectors' keep alive: they connect anew.
    KeepAlive(u64),
    /// The limit of an outbox.
    Outbox(Place, OutboxBound),
    /// How much waits for a session: the embedded broker starts anew.
    Queue(usize),
}

/// Draws what goes wrong, if anything does.
pub(super) fn faults(rng: &mut Rng) -> Vec<(u64, Fault)> {
    let count = if rng.u8(0..8) == 0 { 0 } else { rng.usize(1..8) };
    (0..count).map(|_| (rng.u64(0..10_000), fault(rng))).collect()
}

fn fault(rng: &mut Rng) -> Fault {
    let place = match rng.u8(0..4) {
        0 => REMOTES[0],
        1 => REMOTES[1],
        _ => HUB,
    };
    let for_ms = rng.u64(1..15_000);
    match rng.u8(0..26) {
        0..=3 => Fault::Cut(place),
        4..=5 => Fault::Silence(place),
        6..=7 => Fault::Slow(place, for_ms),
        8 => Fault::Refuse(place, for_ms),
        9 => Fault::Swallow(place, for_ms),
        10..=11 => Fault::Stop(place, for_ms),
        12..=14 => Fault::Kill(place, for_ms),
        15..=16 => Fault::PowerOff(place, for_ms),
        17..=18 => Fault::KillInDisk(place, rng.u64(0..40), for_ms),
        19..=21 => Fault::PowerOffInDisk(place, rng.u64(0..40), for_ms),
        22 => Fault::FailDisk(place, for_ms),
        23..=24 => Fault::FillDisk(place, for_ms),
        _ => Fault::Jump(jump_ms(rng)),
    }
}

pub(super) fn change(rng: &mut Rng) -> Change {
    match rng.u8(0..3) {
        0 => Change::KeepAlive(rng.u64(4..20)),
        1 => {
            let [north, south] = REMOTES;
            Change::Outbox(if rng.bool() { north } else { south }, OutboxBound::draw(rng))
        }
        _ => Change::Queue(rng.usize(1..60)),
    }
}

/// A correction, an hour, or a board that has lost its battery.
fn jump_ms(rng: &mut Rng) -> i64 {
    const YEAR_MS: i64 = 365 * 24 * 3_600_000;
    match rng.u8(0..3) {
        0 => rng.i64(-2_000..2_000),
        1 => rng.i64(-3_600_000..3_600_000),
        _ => rng.i64(-50..50) * YEAR_MS,
    }
}
