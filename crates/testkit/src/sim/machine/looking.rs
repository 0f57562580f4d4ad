//! What the judge sees of a machine: who is subscribed, what waits, what was dropped, what became dead letters.

use std::collections::BTreeMap;

use crosspoint_broker::Durability;
use crosspoint_hub::control::{Control, Kept, Part, Request, Which};
use serde_json::{Map, Value};

use super::{Machine, Running, dropped_by};
use crate::sim::ledger::{Lane, Letter};
use crate::sim::scenario::{HUB, REMOTES};

impl Machine {
    /// Accuses what still waits on its disk when everything has arrived and everybody has gone.
    pub(in crate::sim) fn look_at_disk(&self) {
        let Some(disk) = &self.disk else { return };
        let found = match disk.waiting() {
            Ok(waiting) if waiting.is_empty() => return,
            Ok(waiting) => format!("{waiting:?} wait, by queue and how many"),
            Err(error) => error.to_string(),
        };
        self.bench.ledger.lock().accuse(format!("left over: on the disk of {}: {found}", self.place));
    }

    /// Tells the judge that it remembers again, once everybody is subscribed.
    pub(in crate::sim) fn look_at_subscriptions(&self) {
        if self.is_complete() {
            let now_ms = self.bench.clock.now().monotonic_ms;
            self.bench.ledger.lock().remember(self.place, now_ms);
        }
    }

    /// Tells whether everybody is subscribed.
    pub(in crate::sim) fn is_complete(&self) -> bool {
        self.broker().is_some_and(|broker| broker.statistics().subscriptions >= self.subscriptions())
    }

    /// Returns how many subscriptions there are when everybody is there.
    fn subscriptions(&self) -> u64 {
        let visitors = u64::from(*self.bench.visited.lock() == Some(self.place));
        self.scenario.subscriptions_at(self.place) as u64 + visitors
    }

    /// Accuses outboxes that have counted less than what went through them, restarts included (C9).
    pub(in crate::sim) fn look_at_accounts(&self) {
        let Some(Running::Hub(hub)) = &*self.running.lock() else { return };
        let mut ledger = self.bench.ledger.lock();
        for (name, connector) in &hub.status() {
            let place = REMOTES.into_iter().find(|remote| *remote == name.as_str()).unwrap_or(HUB);
            let (passed, outbox) = (ledger.passed(place), connector.outbox);
            if outbox.ended() + ledger.dropped() < passed {
                ledger.accuse(format!(
                    "accounting: {passed} messages went through the outbox of {name}: {outbox:?}"
                ));
            }
        }
    }

    /// Returns what waits in the outboxes of a hub.
    pub(in crate::sim) fn waiting(&self) -> u64 {
        let Some(Running::Hub(hub)) = &*self.running.lock() else { return 0 };
        hub.status().values().map(|connector| connector.outbox.waiting()).sum()
    }

    /// Accuses what is not within its bounds, and what is not accounted for (C8, C9).
    pub(in crate::sim) fn look_at_bounds(&mut self) {
        let (found, status) = match &*self.running.lock() {
            Some(Running::Hub(hub)) => (hub.audit(), hub.status()),
            Some(Running::Broker(broker)) => (broker.audit(), BTreeMap::new()),
            None => return,
        };
        let mut ledger = self.bench.ledger.lock();
        found.iter().for_each(|found| ledger.accuse(format!("bound: at {}: {found}", self.place)));
        self.dropped_by_outboxes = 0;
        for (name, connector) in status {
            let outbox = connector.outbox;
            self.dropped_by_outboxes += outbox.dropped_full + outbox.dropped_expired + outbox.replaced;
            let tricks = &self.scenario.tricks;
            let dead = if tricks.may_bury(&name) { 0 } else { outbox.dead };
            let replaced = if tricks.of(&name).keeps_latest { 0 } else { outbox.replaced };
            if dead + outbox.damaged + outbox.dropped_by_command + replaced > 0 {
                ledger.accuse(format!("accounting: the outbox of {name} has {outbox:?}"));
            }
            let waiting = outbox.waiting();
            let before = self.waited.insert(name.clone(), waiting).unwrap_or(waiting);
            let bound = self.scenario.bounds.outboxes.iter().find(|(place, _)| **place == name);
            // What was there before a limit was lowered, or waits again after a crash, may be beyond.
            if let Some((_, bound)) = bound.filter(|(_, bound)| waiting > bound.messages.max(before)) {
                ledger.accuse(format!("bound: {waiting} messages wait in the outbox of {name}: {bound:?}"));
            }
        }
    }

    /// Returns how many messages its limits have dropped.
    pub(in crate::sim) fn dropped(&self) -> u64 {
        let now = self.broker().map_or(0, |broker| dropped_by(&broker));
        self.dropped_before + self.dropped_by_outboxes + now
    }

    /// Returns how many messages its disk has for sessions and in outboxes, where what it promises is on disk.
    pub(in crate::sim) fn waiting_on_disk(&self) -> Option<(u64, u64)> {
        let store = self.store.as_ref().filter(|_| self.durability() == Durability::Synced)?;
        let waiting = |kind| {
            let queues = store.queues().into_iter().filter(|queue| queue % 8 == kind);
            queues.filter_map(|queue| Some(store.queue_status(queue)?.waiting)).sum()
        };
        // The kinds of queues: `docs/formats/records.md`. Dead letters have left no more than what waits.
        Some((waiting(0), waiting(1) + waiting(3)))
    }

    /// Returns how many dead letters there have been for a broker.
    pub(in crate::sim) fn dead(&self, name: &str) -> u64 {
        let Some(Running::Hub(hub)) = &*self.running.lock() else { return 0 };
        hub.status().get(name).map_or(0, |connector| connector.outbox.dead)
    }

    /// Returns the dead letters for a broker.
    pub(in crate::sim) async fn letters(&self, name: &str) -> Vec<Letter> {
        let request = Request::Show {
            of: Kept::Dead,
            name: name.to_owned(),
            from: 0,
            count: u64::MAX,
            payload_bytes: 64,
        };
        let mut letters = Vec::new();
        let taking = |part| {
            if let Part::Row(row) = part {
                letters.extend(letter(&row));
            }
            Ok(())
        };
        if let Some(mut control) = self.control()
            && let Err(error) = control.ask(request, taking).await
        {
            self.bench.ledger.lock().accuse(format!("letters: {name} does not show them: {error}"));
        }
        letters
    }

    /// Sends the dead letters for a broker again, as many as there is room for.
    pub(in crate::sim) async fn retry_letters(&self, name: &str) {
        let request = Request::Retry { of: Kept::Dead, name: name.to_owned(), which: Which::All };
        let Some(mut control) = self.control() else { return };
        if let Err(error) = control.ask(request, |_| Ok(())).await {
            self.bench.trace.note(format_args!("not all letters for {name} are sent again: {error}"));
        }
    }

    fn control(&self) -> Option<Control> {
        match &*self.running.lock() {
            Some(Running::Hub(hub)) => Some(hub.control()),
            _ => None,
        }
    }
}

fn letter(row: &Map<String, Value>) -> Option<Letter> {
    let mut words = row.get("payload")?.as_str()?.split(' ');
    let mut number = || words.next()?.parse::<usize>().ok();
    let (lane, number) = (Lane(number()?), number()?);
    Some(Letter { lane, number, may_be_delivered: row.get("may_be_delivered")?.as_bool()? })
}
