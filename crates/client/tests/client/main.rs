//! The client against a scripted server, over a simulated network in paused time.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod authenticating;
mod closing;
mod connecting;
mod cuts;
mod delivering;
mod harness;
mod publishing;
mod returning;
mod storing;
mod subscribing;
mod versions;
mod watching;
mod withdrawing;
