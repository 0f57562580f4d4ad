//! Prints the messages that match a filter: `subscribe HOST PORT FILTER`.

use std::error::Error;

use crosspoint_client::{
    Client, ClientOptions, DialOptions, QoS, SubscribedFilter, SubscriptionOptions, TopicFilter, Transport,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [host, port, filter] = arguments.as_slice() else {
        return Err("usage: subscribe HOST PORT FILTER".into());
    };
    let server = DialOptions::new(Transport::Tcp, host.as_str(), port.parse()?);
    let (client, mut deliveries) = Client::start(ClientOptions::default().server(server))?;

    let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..SubscriptionOptions::default() };
    let wanted = SubscribedFilter { filter: TopicFilter::parse(filter.as_str())?, options };
    let granted = client.subscribe(vec![wanted]).await?;
    eprintln!("{filter}: {granted:?}");

    while let Some(delivery) = deliveries.next().await {
        println!("{} {}", delivery.message.topic(), String::from_utf8_lossy(delivery.message.payload()));
        delivery.ack.accept();
    }
    Ok(())
}
