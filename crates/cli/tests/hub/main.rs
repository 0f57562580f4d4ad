//! `crosspoint up` and what asks a hub, as built: in an empty folder, with real output.
#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

mod acting;
mod certificates;
mod doors;
mod explain;
mod export;
mod import;
mod keeping;
mod kept;
mod pages;
mod running;
mod secrecy;
mod secret;
mod status;
mod store;
mod support;
mod told;
mod up;
mod users;
