//! How long a broker takes to start with many sessions and retained messages:
//! `cargo run --release --example restart -- [sessions] [retained messages]`.

use std::time::Instant;

use bytes::Bytes;
use crosspoint_broker::{Broker, BrokerOptions, LocalOptions};
use crosspoint_protocol::{
    QoS, TopicFilter, TopicName,
    packet::{PublishProperties, SubscriptionOptions},
};
use crosspoint_store::{Batch, Options, SimulatedDisk, Store};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>());
    let sessions = arguments.next().unwrap_or(Ok(100_000))?;
    let retained = arguments.next().unwrap_or(Ok(1_000_000))?;
    let disk = SimulatedDisk::new();
    let store = Store::open(disk.clone(), Options::new().reserve_bytes(0))?;
    let broker = start(&store).await?;
    fill(&broker, &store, sessions, retained).await?;
    broker.stop().await;
    store.close();
    drop(store);
    let begun = Instant::now();
    let store = Store::open(disk, Options::new().reserve_bytes(0))?;
    println!("the store: {:.2?}", begun.elapsed());
    let begun = Instant::now();
    let broker = start(&store).await?;
    let statistics = broker.statistics();
    println!(
        "the broker: {:.2?} for {} sessions, {} subscriptions and {} retained messages",
        begun.elapsed(),
        statistics.sessions,
        statistics.subscriptions,
        statistics.retained_messages
    );
    Ok(())
}

async fn start(store: &Store) -> Result<Broker, Box<dyn std::error::Error>> {
    let options = BrokerOptions::default().sys_interval(None);
    Ok(Broker::builder().options(options).store(store.clone()).start().await?)
}

async fn fill(
    broker: &Broker,
    store: &Store,
    sessions: usize,
    retained: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..SubscriptionOptions::default() };
    // Opened side by side, so that they share the waits for the disk.
    let mut opening = Vec::with_capacity(sessions);
    for n in 0..sessions {
        let handle = broker.handle();
        opening.push(tokio::spawn(async move {
            let client = LocalOptions::new(format!("session-{n}")).session_expiry_s(u32::MAX);
            let client = handle.connect_local(client).await;
            if let (Ok(client), Ok(filter)) = (&client, TopicFilter::parse(format!("devices/{n}/+"))) {
                client.subscribe(&filter, options, 0);
            }
        }));
    }
    for opening in opening {
        opening.await?;
    }
    let writer = broker.connect_local(LocalOptions::new("writer")).await?;
    for n in 0..retained {
        let topic = TopicName::parse(format!("site/{}/device/{n}", n % 100))?;
        let payload = Bytes::from_static(b"a payload of 32 bytes, more or less");
        let properties = PublishProperties::default();
        let published = writer.publish(topic, payload, QoS::AtLeastOnce, true, properties);
        published.map_err(|reason| reason.to_string())?;
        if n % 10_000 == 0 {
            store.commit(Batch::new()).await?;
        }
    }
    Ok(())
}
