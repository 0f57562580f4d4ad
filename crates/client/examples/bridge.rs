//! Moves messages from one server to another: `bridge HOST PORT HOST PORT FILTER`.
//!
//! A message is acknowledged to the first server when the second has confirmed it, so none is lost when this program
//! dies. Many are on their way at once, without a task each.

use std::{collections::HashMap, error::Error};

use crosspoint_client::{
    Ack, Client, ClientOptions, Deliveries, DialOptions, Publication, PublishError, QoS, ReasonCode,
    SessionKeeping, SubscriptionOptions, TopicFilter, Transport,
};

/// How many messages may be on their way.
const ON_THEIR_WAY_MAX: usize = 1_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from_host, from_port, to_host, to_port, filter] = arguments.as_slice() else {
        return Err("usage: bridge HOST PORT HOST PORT FILTER".into());
    };
    let options = SubscriptionOptions { qos: QoS::ExactlyOnce, ..SubscriptionOptions::default() };
    let from = ClientOptions::default()
        .server(DialOptions::new(Transport::Tcp, from_host.as_str(), from_port.parse()?))
        .client_id("bridge-example")
        .session(SessionKeeping::Durable)
        .subscribe(TopicFilter::parse(filter.as_str())?, options);
    // Durable here too: else the second server forgets with each connection which messages at QoS 2 it has.
    let to = ClientOptions::default()
        .server(DialOptions::new(Transport::Tcp, to_host.as_str(), to_port.parse()?))
        .client_id("bridge-example-to")
        .session(SessionKeeping::Durable);
    let (_from, deliveries) = Client::start(from)?;
    let (to, _) = Client::start(to)?;
    bridge(deliveries, to).await?;
    Ok(())
}

async fn bridge(mut deliveries: Deliveries, to: Client) -> Result<(), PublishError> {
    let (publisher, mut confirmations) = to.publisher();
    let mut acks: HashMap<u64, Ack> = HashMap::new();
    let mut cookie = 0;
    loop {
        tokio::select! {
            delivery = deliveries.next(), if acks.len() < ON_THEIR_WAY_MAX => {
                let Some(delivery) = delivery else { return Ok(()) };
                cookie += 1;
                acks.insert(cookie, delivery.ack);
                publisher.send(Publication::of_message(delivery.message), cookie).await?;
            }
            Some((cookie, result)) = confirmations.next() => {
                let Some(ack) = acks.remove(&cookie) else { continue };
                match result {
                    Ok(_) => ack.accept(),
                    Err(PublishError::Refused(reason)) => ack.reject(reason),
                    // Dropped undecided, the message is offered again.
                    Err(PublishError::Closed | PublishError::Unconfirmed) => drop(ack),
                    Err(error) => {
                        eprintln!("{error}");
                        ack.reject(ReasonCode::ImplementationSpecificError);
                    }
                }
            }
        }
    }
}
