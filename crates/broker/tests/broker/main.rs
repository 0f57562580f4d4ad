//! What the broker promises, asked by devices on real sockets.

mod support;

mod access;
mod flow;
mod hostile;
mod lifecycle;
mod local;
mod retained;
mod sessions;
mod shared;
mod subscriptions;
mod versions;
mod wills;
