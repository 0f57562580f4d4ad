//! Reading a connector's session back from the store.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use crosspoint_client::{
    Message, NO_COOKIE, QoS, RetainHandling, StoredSession, StoredSubscription, SubscriptionOptions,
    TopicFilter,
};
use crosspoint_protocol::PacketId;
use crosspoint_protocol::message::MessageParts;
use crosspoint_protocol::session::{IncomingId, Outgoing, OutgoingId, Stage as Sent};
use crosspoint_store::bytes_in::{self, BytesIn};
use crosspoint_store::{Batch, Store};
use tracing::info;

use super::rows::{NO_POSITION, Row, Rows, Stage};
use super::{FORM, INCOMING, OUTGOING, SUBSCRIPTIONS, key, outbox_queue};
use crate::outbox::{self, Gone, Restored};

/// How many rows or messages are read at once, and about how many bytes of messages.
const READ_MAX: usize = 1_024;
const READ_BYTES_MAX: usize = 1 << 20;

/// Whose session it is: when nothing of it stays the same, what is kept of the session is void.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) client_id: String,
    /// Where its servers are, in the order of failover.
    pub(crate) servers: Vec<String>,
}

/// What a store kept of a session.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) rows: Rows,
    pub(super) stored: StoredSession,
    pub(super) restored: Vec<Restored>,
}

impl Identity {
    /// A session is the same where the client identifier is, at one server at least.
    fn is_of(&self, other: &Self) -> bool {
        self.client_id == other.client_id && self.servers.iter().any(|server| other.servers.contains(server))
    }

    /// Returns the row that says whose session it is and what is subscribed in it.
    pub(super) fn row(&self, subscriptions: &[StoredSubscription]) -> Bytes {
        let mut value = vec![FORM];
        bytes_in::put_counted(&mut value, self.client_id.as_bytes());
        bytes_in::put_varint(&mut value, self.servers.len() as u64);
        self.servers.iter().for_each(|server| bytes_in::put_counted(&mut value, server.as_bytes()));
        bytes_in::put_varint(&mut value, subscriptions.len() as u64);
        for subscription in subscriptions {
            bytes_in::put_counted(&mut value, subscription.filter.as_bytes());
            value.push(options_byte(subscription.options));
            bytes_in::put_varint(&mut value, subscription.subscription_id.unwrap_or_default().into());
        }
        value.into()
    }

    fn read(value: &[u8]) -> Option<(Self, Vec<StoredSubscription>)> {
        let mut bytes = BytesIn::of_form(FORM, value)?;
        let client_id = bytes.text()?.to_owned();
        let mut servers = Vec::new();
        for _ in 0..bytes.varint()? {
            servers.push(bytes.text()?.to_owned());
        }
        let mut subscriptions = Vec::new();
        for _ in 0..bytes.varint()? {
            let filter = TopicFilter::parse(bytes.text()?.to_owned()).ok()?;
            let options = options_of(bytes.u8()?)?;
            let subscription_id = u32::try_from(bytes.varint()?).ok().filter(|id| *id != 0);
            subscriptions.push(StoredSubscription { filter, options, subscription_id });
        }
        Some((Self { client_id, servers }, subscriptions))
    }
}

/// Reads the session of a connector.
///
/// # Errors
/// The store refuses, or a row is of a form that this program does not know.
pub(super) async fn load(store: &Store, number: u64, identity: &Identity) -> Result<Loaded, String> {
    let queue = outbox_queue(number);
    let mut rows = Rows::new(number, outgoing_rows(store, number)?, incoming_rows(store, number)?);
    let mut batch = Batch::new();
    rows.forget_before(store.queue_status(queue).map_or(0, |status| status.head), &mut batch);
    let subscriptions = subscriptions(store, number, identity, &mut rows, &mut batch)?;
    if !batch.is_empty() {
        batch.essential();
        store.commit(batch).await.map_err(|error| error.to_string())?;
    }
    let mut messages = messages(store, queue, &rows).await?;
    // What was given up while its exchange was open must not be sent after all: the exchange ends without it.
    let gone = Gone::of_store(store, number);
    messages.retain(|place, _| gone.at(*place).is_none());
    let mut open: Vec<(u64, Row)> = rows.outgoing().iter().map(|(place, row)| (*place, *row)).collect();
    open.sort_by_key(|(_, row)| row.order);
    let (mut outgoing, mut restored) = (Vec::new(), Vec::new());
    for (place, row) in open {
        let message = messages.remove(&place);
        let is_done = row.stage == Stage::Done;
        if is_done || message.is_some() {
            restored.push(Restored { position: place, is_done });
        }
        if !is_done {
            outgoing.push(exchange(place, row, message));
        }
    }
    restored.sort_by_key(|restored| restored.position);
    let incoming = rows.incoming().iter().map(|id| IncomingId::from_stored(*id)).collect();
    Ok(Loaded { rows, stored: StoredSession { outgoing, incoming, subscriptions }, restored })
}

/// Returns what is subscribed; another server or another client id makes everything void.
fn subscriptions(
    store: &Store,
    number: u64,
    identity: &Identity,
    rows: &mut Rows,
    batch: &mut Batch,
) -> Result<Vec<StoredSubscription>, String> {
    let place = key(number, []);
    let kept = match store.value(SUBSCRIPTIONS, &place) {
        Some(value) => Some(Identity::read(&value).ok_or_else(|| newer("subscriptions", number))?),
        None => None,
    };
    let subscriptions = match kept {
        Some((before, subscriptions)) if identity.is_of(&before) => {
            if *identity == before {
                return Ok(subscriptions);
            }
            subscriptions
        }
        Some((before, _)) => {
            info!(
                client_id = before.client_id,
                servers = before.servers.join(" "),
                "The session of these settings is left behind: what it had not finished is sent anew."
            );
            rows.discard(0, batch);
            Vec::new()
        }
        None => Vec::new(),
    };
    batch.put(SUBSCRIPTIONS, place, identity.row(&subscriptions));
    Ok(subscriptions)
}

fn outgoing_rows(store: &Store, number: u64) -> Result<BTreeMap<u64, Row>, String> {
    let mut rows = BTreeMap::new();
    for (rest, value) in of_number(store, OUTGOING, number) {
        let place = rest.first_chunk().map(|place| u64::from_be_bytes(*place));
        let (Some(place), Some(row)) = (place, Row::decode(&value)) else {
            return Err(newer("an exchange", number));
        };
        rows.insert(place, row);
    }
    Ok(rows)
}

fn incoming_rows(store: &Store, number: u64) -> Result<BTreeSet<PacketId>, String> {
    let mut ids = BTreeSet::new();
    for (rest, value) in of_number(store, INCOMING, number) {
        let id = rest.first_chunk().and_then(|id| PacketId::new(u16::from_be_bytes(*id)));
        match (id, value.first()) {
            (Some(id), Some(&FORM)) => ids.insert(id),
            _ => return Err(newer("an identifier", number)),
        };
    }
    Ok(ids)
}

/// Returns the rest of the keys that begin with a number, and their values.
fn of_number(store: &Store, table: u32, number: u64) -> Vec<(Bytes, Bytes)> {
    let prefix = key(number, []);
    let mut found = Vec::new();
    let mut after = prefix.clone();
    loop {
        let some = store.scan(table, Some(&after), READ_MAX);
        let Some((last, _)) = some.last() else { return found };
        after = last.clone();
        let is_behind = !last.starts_with(&prefix);
        let ours = some.into_iter().take_while(|(key, _)| key.starts_with(&prefix));
        found.extend(ours.map(|(key, value)| (key.slice(prefix.len()..), value)));
        if is_behind {
            return found;
        }
    }
}

/// Reads the messages of unfinished exchanges back, by their positions.
async fn messages(store: &Store, queue: u64, rows: &Rows) -> Result<HashMap<u64, Outgoing>, String> {
    let open = rows.outgoing().iter().filter(|(_, row)| row.stage != Stage::Done);
    let wanted: BTreeSet<u64> = open.map(|(place, _)| *place).filter(|place| *place < NO_POSITION).collect();
    let mut messages = HashMap::new();
    let mut next = wanted.first().copied();
    while let Some(from) = next {
        let read =
            store.read(queue, from, READ_MAX, READ_BYTES_MAX).await.map_err(|error| error.to_string())?;
        let Some(last) = read.last().map(|waiting| waiting.position) else { break };
        for waiting in read.iter().filter(|waiting| wanted.contains(&waiting.position)) {
            if let Some(item) = outbox::decode_entry(waiting) {
                let outgoing = Outgoing {
                    message: item.message,
                    subscription_ids: Default::default(),
                    cookie: waiting.position,
                    qos: item.qos,
                    retain: item.retain,
                };
                messages.insert(waiting.position, outgoing);
            }
        }
        next = wanted.range(last + 1..).next().copied();
    }
    Ok(messages)
}

/// Returns what the client goes on with. Where there is no message any more, only the exchange is brought to its end,
/// so that the server does not take the next message of this identifier for the same.
fn exchange(place: u64, row: Row, message: Option<Outgoing>) -> (OutgoingId, Sent, Outgoing) {
    match message {
        Some(message) if place < NO_POSITION => {
            let stage = if row.stage == Stage::Received { Sent::Released } else { Sent::Published };
            (row.id, stage, message)
        }
        _ => (row.id, Sent::Released, nothing()),
    }
}

/// A publication without a message: its PUBREL goes out, and nothing else ever.
fn nothing() -> Outgoing {
    let parts = MessageParts { topic: b"-", properties: b"", payload: b"", expires_wall_ms: u64::MAX };
    Outgoing {
        message: Message::from_parts(&parts, QoS::ExactlyOnce, false),
        subscription_ids: Default::default(),
        cookie: NO_COOKIE,
        qos: QoS::ExactlyOnce,
        retain: false,
    }
}

fn newer(what: &str, number: u64) -> String {
    format!(
        "what is kept of the session ({what} of connector number {number}) was written by a newer version"
    )
}

fn options_byte(options: SubscriptionOptions) -> u8 {
    let retain = match options.retain_handling {
        RetainHandling::Send => 0,
        RetainHandling::SendIfNew => 1,
        RetainHandling::DoNotSend => 2,
    };
    options.qos.bits()
        | u8::from(options.no_local) << 2
        | u8::from(options.retain_as_published) << 3
        | retain << 4
}

fn options_of(byte: u8) -> Option<SubscriptionOptions> {
    Some(SubscriptionOptions {
        qos: QoS::from_bits(byte & 0b11)?,
        no_local: byte & 0b100 != 0,
        retain_as_published: byte & 0b1000 != 0,
        retain_handling: match byte >> 4 {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests;
