//! A broker on a simulated disk, whose store writes when the test lets it, and that can be killed and started again.

use std::sync::Arc;

use crosspoint_broker::{Broker, BrokerOptions, Durability, ListenerOptions};
use crosspoint_net::{ListenOptions, Transport};
use crosspoint_store::{Options, SimulatedDisk, Store, Writer};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
};

use crate::support::*;

/// A broker and what it stands on.
pub(crate) struct Rig {
    pub(crate) disk: SimulatedDisk,
    pub(crate) store: Store,
    pub(crate) broker: Broker,
    gate: Arc<Gate>,
    writing: JoinHandle<()>,
}

/// Lets the store's writer go on.
struct Gate {
    is_open: watch::Sender<bool>,
    /// Turns that it may take although the gate is closed.
    turns: Semaphore,
}

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::on(SimulatedDisk::new()).await
    }

    pub(crate) async fn on(disk: SimulatedDisk) -> Self {
        Self::with(disk, options()).await
    }

    pub(crate) async fn with(disk: SimulatedDisk, options: BrokerOptions) -> Self {
        Self::with_store(disk, options, Options::new().room_bytes(0).reserve_bytes(0).segment_bytes(1 << 20))
            .await
    }

    pub(crate) async fn with_store(
        disk: SimulatedDisk,
        options: BrokerOptions,
        store_options: Options,
    ) -> Self {
        let (store, writer) = Store::open_driven(disk.clone(), store_options).unwrap();
        let gate = Arc::new(Gate { is_open: watch::Sender::new(true), turns: Semaphore::new(0) });
        let writing = tokio::spawn(write(writer, gate.clone()));
        let mut builder = Broker::builder().options(options).store(store.clone());
        for (name, durability) in
            [("main", Durability::Synced), ("written", Durability::Written), ("memory", Durability::Memory)]
        {
            let listen = ListenOptions::new(Transport::Tcp, loopback());
            builder = builder.listener(ListenerOptions::new(name, listen).durability(durability));
        }
        let broker = builder.start().await.unwrap();
        Self { disk, store, broker, gate, writing }
    }

    /// Holds every commit back from now on. What was handed in before is on disk when this returns.
    pub(crate) async fn hold(&self) {
        // A batch that changes nothing is behind all others.
        self.store.commit(crosspoint_store::Batch::new()).await.unwrap();
        self.gate.is_open.send_replace(false);
    }

    /// Lets the next commit through, with whatever has been gathered for it.
    pub(crate) fn let_one(&self) {
        self.gate.turns.add_permits(1);
    }

    /// Lets everything through again.
    pub(crate) fn release(&self) {
        self.gate.is_open.send_replace(true);
        self.gate.turns.add_permits(1);
    }

    /// Ends the broker as a power cut does, with all that is not synced lost, and starts it anew.
    pub(crate) async fn cut_power(self) -> Self {
        self.cut_power_with(options()).await
    }

    pub(crate) async fn cut_power_with(self, options: BrokerOptions) -> Self {
        let disk = self.disk.after_total_loss();
        self.end();
        Self::with(disk, options).await
    }

    /// Ends the broker as `kill -9` does: what was written is there.
    pub(crate) async fn kill(self) -> Self {
        let disk = self.disk.after_kill();
        self.end();
        Self::on(disk).await
    }

    /// Stops the broker, closes the store, and starts both anew.
    pub(crate) async fn restart_with(self, options: BrokerOptions) -> Self {
        self.broker.stop().await;
        self.store.close();
        within("the writer's end", self.writing).await.unwrap();
        Self::with(self.disk.after_total_loss(), options).await
    }

    fn end(self) {
        self.writing.abort();
    }
}

async fn write(mut writer: Writer, gate: Arc<Gate>) {
    while writer.arrived().await {
        if !*gate.is_open.borrow() {
            // The permit is spent.
            gate.turns.acquire().await.unwrap().forget();
        }
        writer.turn();
    }
    writer.close();
}
