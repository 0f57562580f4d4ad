//! With what a connector's client goes on: the session that the store keeps, or none.

use crosspoint_client::{MemoryStore, SessionStore};
use tokio::task::JoinSet;

use super::Keeping;
use crate::config::plan::{MqttPlan, SessionKind};
use crate::connect;
use crate::durable::{Identity, Opened, Session};
use crate::intake::Surroundings;
use crate::outbox::Restored;

/// With what a client goes on.
pub(super) struct Resumed {
    /// `None` when the server keeps no session of ours: then neither do we.
    pub(super) session: Option<Session>,
    pub(super) store: Box<dyn SessionStore>,
    pub(super) restored: Vec<Restored>,
}

/// Reads the session of a connector back. What it has to do while the client runs becomes one of `tasks`.
pub(super) async fn resume(
    keeping: &Keeping,
    surroundings: &Surroundings,
    plan: &MqttPlan,
    client_id: &str,
    tasks: &mut JoinSet<()>,
) -> Result<Resumed, String> {
    if plan.session == SessionKind::Clean {
        return Ok(Resumed { session: None, store: Box::new(MemoryStore), restored: Vec::new() });
    }
    let identity = Identity {
        client_id: connect::client_id(plan, client_id),
        servers: plan.addresses.iter().map(ToString::to_string).collect(),
    };
    let sink = keeping.sink();
    let Opened { session, store, restored, receipts } =
        Session::open(&surroundings.storage, sink.number, identity, sink.durability, sink.outbox).await?;
    tasks.spawn(receipts);
    Ok(Resumed { session: Some(session), store, restored })
}
