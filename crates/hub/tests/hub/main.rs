//! The hub over loopback sockets, between brokers that stop, start, and lose connections.

mod delivery;
mod loops;
mod outages;
mod proxy;
mod reload;
mod stopping;
mod support;
