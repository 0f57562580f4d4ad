//! What the broker promises, asked by devices on real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "what helps a test may fail like the test"
)]

mod rig;
mod support;

mod access;
mod durable;
mod exchanges;
mod flow;
mod hostile;
mod lifecycle;
mod local;
mod retained;
mod scram;
mod sessions;
mod shared;
mod subscriptions;
mod trouble;
mod versions;
mod wills;
