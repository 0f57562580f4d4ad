//! What may be asked about kept subscriptions.

use std::time::Duration;

use crosspoint_protocol::TopicFilter;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::acting::{failed, too_many};
use super::desk::{Desk, Ended, Teller, refused};
use super::request::{Answer, Confirmed, encode_message, when_full_word};
use crate::actions::{ActionError, Granted, KeptMessage, KeptStatus};
use crate::durable;
use crate::kept::{self, KeptSubscription, WhatWaits};
use crate::outbox::OutboxFigures;

impl Desk {
    /// Keeps a subscription, and tells what the broker says to it.
    pub(super) async fn keep(
        &self,
        teller: &Teller,
        subscription: KeptSubscription,
        within: Duration,
    ) -> Ended {
        let made = self.actions().keep(subscription, within).await.map_err(|error| failed(&error))?;
        let granted: Vec<Value> = made.granted.iter().map(of_granted).collect();
        let row =
            json!({"is_new": made.is_new, "granted": granted, "is_session_clean": made.is_session_clean});
        teller.row(row).await?;
        Ok(1)
    }

    pub(super) async fn list_kept(&self, teller: &Teller) -> Ended {
        let rows = self.kept_rows().await?;
        let count = rows.len() as u64;
        for row in rows {
            teller.row(Value::Object(row)).await?;
        }
        Ok(count)
    }

    /// Returns a row for each kept subscription, of a hub that runs or has stopped.
    pub(super) async fn kept_rows(&self) -> Result<Vec<Map<String, Value>>, Answer> {
        if self.is_running() {
            return Ok(self.actions().kept().await.iter().map(of_status).collect());
        }
        let mut rows = Vec::new();
        for (definition, number) in durable::definitions(&self.store).map_err(of_store)? {
            let opened = kept::open_outbox(&definition, number, &self.store, self.clock()).await;
            let (outbox, _) = opened.map_err(of_store)?;
            let first = outbox.waiting(0, 1).await.ok();
            let oldest = first.and_then(|first| Some(first.first()?.1.accepted_wall_ms));
            let mut row = of_definition(&definition);
            row.extend(of_figures(&outbox.figures(), oldest));
            row.insert("trouble".to_owned(), json!("the hub does not run"));
            rows.push(row);
        }
        Ok(rows)
    }

    /// Removes a kept subscription, of a hub that runs or has stopped.
    pub(super) async fn remove_kept(&self, name: &str, what_waits: WhatWaits) -> Ended {
        if self.is_running() {
            let removed = self.actions().remove_kept(name, what_waits).await;
            return removed.map_err(|error| failed(&error));
        }
        let all = durable::definitions(&self.store).map_err(of_store)?;
        let Some((definition, number)) = all.iter().find(|(kept, _)| kept.name == name) else {
            let known = all.iter().map(|(kept, _)| kept.name.clone()).collect();
            return Err(failed(&ActionError::NoSuchKept { name: name.to_owned(), known }));
        };
        let opened = kept::open_outbox(definition, *number, &self.store, self.clock()).await;
        let (outbox, _) = opened.map_err(of_store)?;
        let messages = outbox.figures().waiting();
        if messages > 0 && what_waits == WhatWaits::Stays {
            return Err(failed(&ActionError::KeptWaits { name: name.to_owned(), messages }));
        }
        kept::forget(&self.store, name).await.map_err(of_store)?;
        kept::drop_all(&outbox, &self.store, *number).await.map_err(of_store)
    }

    /// Tells each message that waits or comes, and lets go of those that whoever reads has.
    pub(super) async fn read(
        &self,
        teller: &Teller,
        name: &str,
        mut confirmed: mpsc::Receiver<Confirmed>,
    ) -> Ended {
        let _permit = self.may_listen().ok_or_else(too_many)?;
        let mut reading = self.actions().read_kept(name).await.map_err(|error| failed(&error))?;
        let mut count = 0;
        loop {
            tokio::select! {
                biased;
                said = confirmed.recv() => {
                    let Some(Confirmed { position, is_last }) = said else { return Ok(count) };
                    reading.confirm(position).await;
                    if is_last {
                        return Ok(count);
                    }
                }
                message = reading.next() => {
                    let Some(message) = message else { return Err(refused("the hub stops", "read it again")) };
                    teller.row(of_message(&message)).await?;
                    count += 1;
                }
            }
        }
    }
}

fn of_message(kept: &KeptMessage) -> Value {
    json!({
        "message": encode_message(&kept.message),
        "packet_id": 0,
        "position": kept.position,
        "accepted_wall_ms": kept.accepted_wall_ms,
    })
}

fn of_status(status: &KeptStatus) -> Map<String, Value> {
    let mut row = of_definition(&status.subscription);
    row.extend(of_figures(&status.figures, status.oldest_wall_ms));
    let granted: Vec<Value> = status.granted.iter().map(of_granted).collect();
    let more = [
        ("granted", json!(granted)),
        ("trouble", json!(status.trouble)),
        ("is_read", json!(status.is_read)),
        ("holds_up", json!(status.holds_up)),
    ];
    row.extend(more.map(|(key, value)| (key.to_owned(), value)));
    row
}

fn of_definition(kept: &KeptSubscription) -> Map<String, Value> {
    let filters: Vec<&str> = kept.filters.iter().map(TopicFilter::as_str).collect();
    let limits = &kept.limits;
    let members = [
        ("name", json!(kept.name)),
        ("connector", json!(kept.connector)),
        ("filters", json!(filters)),
        ("qos", json!(kept.qos.bits())),
        ("bytes_max", json!(limits.bytes_max)),
        ("messages_max", json!(limits.messages_max)),
        ("age_s_max", json!(limits.age_max.map(|age| age.as_secs()))),
        ("when_full", json!(when_full_word(limits.when_full))),
    ];
    members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn of_figures(figures: &OutboxFigures, oldest_wall_ms: Option<u64>) -> Map<String, Value> {
    let dropped =
        figures.dropped_full + figures.dropped_expired + figures.dropped_by_command + figures.damaged;
    let members = [
        ("waiting", json!(figures.waiting())),
        ("waiting_bytes", json!(figures.waiting_bytes)),
        ("oldest_wall_ms", json!(oldest_wall_ms)),
        ("accepted", json!(figures.accepted)),
        ("read", json!(figures.confirmed)),
        ("dropped", json!(dropped)),
        ("dropped_full", json!(figures.dropped_full)),
        ("dropped_expired", json!(figures.dropped_expired)),
        ("dropped_by_command", json!(figures.dropped_by_command)),
        ("damaged", json!(figures.damaged)),
        ("maybe_twice", json!(figures.maybe_twice)),
    ];
    members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Returns a filter with what the broker has said to it.
fn of_granted(granted: &Granted) -> Value {
    json!({
        "filter": granted.filter.as_str(),
        "reason": granted.reason.map(|reason| reason.byte()),
    })
}

fn of_store(cause: String) -> Answer {
    failed(&ActionError::Store(cause))
}
