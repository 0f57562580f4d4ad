//! `crosspoint pub` and `crosspoint sub` as built, against an embedded broker and against what is none.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod failures;
mod messages;
mod requests;
mod site;
mod tls;
