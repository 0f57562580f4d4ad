//! The hub over loopback sockets, between brokers that stop, start, and lose connections.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

mod actions;
mod bridge_bit;
mod certificates;
mod crashes;
mod credentials;
mod delivery;
mod disk;
mod hearing;
mod kept;
mod listening;
mod loops;
mod outages;
mod proxy;
mod reload;
mod stopping;
mod support;
