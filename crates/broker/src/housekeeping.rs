//! What happens without anybody asking: sessions end, Wills are published, retained messages expire, `$SYS` is kept
//! up to date.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use crosspoint_protocol::{Message, Now, QoS, TopicName, packet::PublishProperties};
use tokio::{sync::watch, time::Instant};

use crate::{
    durable::{Changes, RETAINED},
    shared::Shared,
};

/// How often retained messages that have expired are dropped.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// How often is looked whether Wills are on disk that have been published.
const OWED_INTERVAL: Duration = Duration::from_secs(1);

/// Runs until the broker stops.
pub(crate) async fn run(shared: Arc<Shared>, mut stopping: watch::Receiver<bool>) {
    let started = shared.clock.now();
    let mut next_sys = shared.options.sys_interval.map(|_| Instant::now());
    let mut next_sweep = Instant::now() + SWEEP_INTERVAL;
    let mut next_owed = None;
    loop {
        if next_owed.is_none() && !shared.owed.is_empty() {
            next_owed = Some(Instant::now() + OWED_INTERVAL);
        }
        let next_look = shared.schedule.next_ms().map(|at_ms| shared.clock.instant(at_ms));
        let next = [next_look, next_sys, next_owed].into_iter().flatten().fold(next_sweep, Instant::min);
        tokio::select! {
            biased;
            _ = stopping.wait_for(|is_stopping| *is_stopping) => return,
            () = shared.schedule.changed() => {}
            () = shared.owed.begun() => {}
            () = tokio::time::sleep_until(next) => {}
        }
        look_after_due(&shared);
        if next_owed.is_some_and(|at| at <= Instant::now()) {
            shared.pay_wills(shared.clock.now());
            next_owed = None;
        }
        if next_sys.is_some_and(|at| at <= Instant::now()) {
            publish_sys(&shared, started);
            next_sys = shared.options.sys_interval.map(|interval| Instant::now() + interval);
        }
        if next_sweep <= Instant::now() {
            drop_expired(&shared);
            next_sweep = Instant::now() + SWEEP_INTERVAL;
        }
    }
}

/// Drops retained messages that have expired, from the store as well. Their table is locked meanwhile, so that none that
/// comes now is taken for one of them.
fn drop_expired(shared: &Shared) {
    let router = shared.router.read();
    let mut retained = router.retained.lock();
    retained.drop_expired(shared.clock.now());
    let expired = retained.take_expired();
    let mut changes = Changes::default();
    for message in expired {
        changes.delete(RETAINED, Bytes::copy_from_slice(message.topic_bytes()));
    }
    shared.commit_lazily(&mut changes);
}

/// Does what has come due for sessions.
pub(crate) fn look_after_due(shared: &Shared) {
    let now = shared.clock.now();
    while let Some(session) = shared.schedule.take_due(now.monotonic_ms) {
        if let Some(session) = session.upgrade() {
            shared.look_after(&session, now);
        }
    }
}

fn publish_sys(shared: &Shared, started: Now) {
    let now = shared.clock.now();
    let statistics = shared.statistics();
    let uptime_s = Duration::from_millis(now.monotonic_ms - started.monotonic_ms).as_secs();
    let version = concat!("crosspoint ", env!("CARGO_PKG_VERSION")).to_owned();
    let values = [
        ("version", version),
        ("uptime", format!("{uptime_s} seconds")),
        ("clients/connected", statistics.connections.to_string()),
        ("clients/total", statistics.sessions.to_string()),
        ("clients/accepted", statistics.connections_accepted.to_string()),
        ("clients/refused", statistics.connections_refused.to_string()),
        ("subscriptions/count", statistics.subscriptions.to_string()),
        ("retained messages/count", statistics.retained_messages.to_string()),
        ("messages/received", statistics.messages_received.to_string()),
        ("messages/sent", statistics.messages_sent.to_string()),
        ("bytes/received", statistics.bytes_received.to_string()),
        ("bytes/sent", statistics.bytes_sent.to_string()),
        ("dropped/queue full", statistics.dropped_queue_full.to_string()),
        ("dropped/expired", statistics.dropped_expired.to_string()),
        ("dropped/too large", statistics.dropped_too_large.to_string()),
        ("dropped/not authorized", statistics.dropped_not_authorized.to_string()),
        ("dropped/receiver gone", statistics.dropped_receiver_gone.to_string()),
        ("dropped/unsubscribed", statistics.dropped_unsubscribed.to_string()),
    ];
    let of_store = [
        ("store/sessions", statistics.stored_sessions),
        ("store/messages", statistics.stored_messages),
        ("store/commits", statistics.commits),
    ];
    let of_store = of_store.into_iter().filter(|_| shared.durable.is_some());
    let of_store = of_store.map(|(name, value)| (name, value.to_string()));
    for (name, value) in values.into_iter().chain(of_store) {
        let Ok(topic) = TopicName::parse(format!("$SYS/broker/{name}")) else { continue };
        let properties = PublishProperties::default();
        shared.publish(&Message::new(&topic, value.as_bytes(), QoS::AtMostOnce, true, &properties, now), now);
    }
}
