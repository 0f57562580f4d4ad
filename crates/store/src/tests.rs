//! The store as a whole, on a simulated disk: against a model, under faults, with damage, on a full disk.

mod checkpoints;
mod crash;
mod damage;
mod front;
mod full;
mod model;
mod queues;
mod room;
mod support;
mod written;

pub(crate) use support::Model;
