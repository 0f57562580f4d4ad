//! Each setting of a connector against mosquitto: what mosquitto logs, answers and delivers shows that the setting came
//! through, and would not without it. `table.rs` says which test is that of which key.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what goes wrong in a helper fails its test"
)]

mod connecting;
mod outboxes;
mod proxies;
mod refusing;
mod sessions;
mod support;
mod table;
mod tls;
