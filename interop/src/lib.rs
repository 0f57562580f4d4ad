//! What the interoperability tests share: finding and running the programs of others, and our broker beside them.
//!
//! Our own reading of the specification is no evidence: here brokers and clients that others wrote are the judges. Each
//! test starts what it needs on 127.0.0.1, on ports that the system chose, and ends it by its process id. Every wait
//! has a deadline. A program that could not be brought is named (`left out: ...`) and its test passes without it; with
//! `CI` set that is a failure.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "support of tests: whatever goes wrong here fails the test that asked"
)]

mod activemq;
mod certificates;
mod our_broker;
mod our_client;
mod peers;
mod process;
mod proxies;
mod rabbitmq;
mod scram;
mod server;

pub use activemq::ActiveMq;
pub use certificates::{Authority, Identity, Validity};
pub use our_broker::OurBroker;
pub use our_client::{OurClient, client_options};
pub use peers::{Peer, find, our_program};
pub use process::{Finished, Started, run, start, text};
pub use proxies::{Microsocks, Tinyproxy};
pub use rabbitmq::RabbitMq;
pub use scram::{mosquitto_with_scram, scram_options};
pub use server::{Mosquitto, Nats, Rumqttd};

use std::time::Duration;

/// How long anything in these tests may take that does not say otherwise.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Fails the test when something takes too long, with what was waited for.
///
/// # Panics
/// When [`DEADLINE`] is over.
pub async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    within(DEADLINE, what, work).await
}

/// Fails the test when something takes longer than `limit`, with what was waited for.
///
/// # Panics
/// When `limit` is over.
pub async fn within<T>(limit: Duration, what: &str, work: impl Future<Output = T>) -> T {
    let Ok(done) = tokio::time::timeout(limit, work).await else {
        panic!("waited {limit:?} for {what}");
    };
    done
}
