//! The doctor against servers that show each fault.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: whatever goes wrong here fails the test that asked"
)]

mod access;
mod activemq;
mod behaviour;
mod ports;
mod probe;
mod rabbitmq;
mod rig;
mod running;
mod tls;
mod topics;
