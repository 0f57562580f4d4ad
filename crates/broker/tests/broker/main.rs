//! What the broker promises, asked by devices on real sockets.

mod support;

mod access;
mod retained;
mod sessions;
mod shared;
mod subscriptions;
mod versions;
mod wills;
