//! An asynchronous MQTT 3.1, 3.1.1 and 5.0 client that stays connected.
//!
//! A [`Client`] is a handle on one engine task. The engine dials, keeps the connection alive, reconnects, restores
//! subscriptions, sends again what was unfinished, and hands messages over with an [`Ack`] each.
//!
//! ```text
//!   Client::publish ──► queue ─┐                         ┌──► Dial (TCP, TLS, WebSocket, or simulated)
//!   Publisher::send ──► queue ─┼─► engine (one task) ◄───┘
//!   Client::subscribe ─────────┘       │    ▲
//!                                      ▼    │ Ack::accept, Ack::reject, or dropped
//!                              Deliveries::next ──► Delivery
//! ```
//!
//! What it does *not* do: it keeps no messages on disk (see [`SessionStore`] for the seam), it parses no payloads,
//! and it starts no task but the one that [`Client::start`] says, and a blocking one to hash the password where it
//! authenticates by SCRAM.
//!
//! Invariants: what [`Client::publish`] confirms, the server has confirmed; what is acknowledged to the server, the
//! program has accepted; no wait is without a deadline but that for the network to come back.
//!
//! # Examples
//! ```
//! use crosspoint_client::{Client, ClientOptions, DialOptions, Publication, QoS, Transport};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = DialOptions::new(Transport::Tcp, "127.0.0.1", 1883);
//! let (client, _deliveries) = Client::start(ClientOptions::default().server(server))?;
//!
//! let publication = Publication::new("sensors/a/temperature", "21.5")?.qos(QoS::AtLeastOnce);
//! # let reachable = false;
//! # if reachable {
//! client.publish(publication).await?;
//! # }
//! client.close(std::time::Duration::from_secs(5)).await;
//! # Ok(())
//! # }
//! ```

mod attempts;
mod authentication;
mod backoff;
mod canary;
mod cause;
mod client;
mod counters;
mod delivery;
mod engine;
mod environment;
mod offers;
mod options;
mod options_error;
mod password;
mod publication;
mod publish;
mod return_pace;
mod sending;
mod shared;
mod state;
mod store;
mod subscribe;
mod subscriptions;
mod version_choice;

pub use authentication::{Authentication, ReauthenticateError, begin_scram};
pub use cause::{Cause, Pace};
pub use client::{Client, Left};
pub use counters::Counters;
pub use delivery::{Ack, Deliveries, Delivery};
pub use engine::Engine;
pub use environment::{BoxFuture, ByteStream, Dial, DialFailure, Environment, Turn};
pub use options::{BridgeBit, ClientOptions, Protocol, SessionKeeping};
pub use options_error::OptionsError;
pub use password::Password;
pub use publication::{InvalidPublication, Publication};
pub use publish::{
    Confirmation, Confirmations, PublishError, PublishResult, Publisher, Receipt, TryPublishError,
};
pub use state::{Connected, ServerLimits, State};
pub use store::{
    MemoryStore, NO_COOKIE, SaveReceipt, SessionChange, SessionStore, StoredSession, StoredSubscription,
};
pub use subscribe::{SubscribeError, SubscriptionStatus};
pub use subscriptions::CALLER_SUBSCRIPTION_IDS;

pub use crosspoint_protocol as protocol;

pub use crosspoint_net::{
    DialOptions, Pem, PrivateKey, Spoken, TlsClientOptions, TlsVersion, Transport, Verify,
};
pub use crosspoint_protocol::{
    Message, QoS, ReasonCode, TopicFilter, TopicName, Version,
    connection::Delta,
    packet::{
        PublishPropertyValues, RetainHandling, SubscribedFilter, SubscriptionOptions, UserProperties, Will,
        WillProperties,
    },
    scram::ScramFault,
};
