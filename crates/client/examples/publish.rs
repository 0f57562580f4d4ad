//! Publishes one message and waits until the server has it: `publish HOST PORT TOPIC PAYLOAD`.

use std::{error::Error, time::Duration};

use crosspoint_client::{Client, ClientOptions, DialOptions, Publication, QoS, Transport};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [host, port, topic, payload] = arguments.as_slice() else {
        return Err("usage: publish HOST PORT TOPIC PAYLOAD".into());
    };
    let server = DialOptions::new(Transport::Tcp, host.as_str(), port.parse()?);
    let (client, _deliveries) = Client::start(ClientOptions::default().server(server))?;

    let publication = Publication::new(topic, payload.clone())?.qos(QoS::AtLeastOnce);
    // The client tries until it can: whoever does not want to wait sets a time.
    let receipt = tokio::time::timeout(Duration::from_secs(30), client.publish(publication)).await??;
    println!("the server has it: {}", receipt.reason);

    client.close(Duration::from_secs(5)).await;
    Ok(())
}
