//! What the broker promises, asked by devices on real sockets.

mod support;

mod versions;
mod retained;
mod shared;
mod wills;
