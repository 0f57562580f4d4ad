//! A broker on one port: `cargo run --release --example broker -- 127.0.0.1:1883`.

use crosspoint_broker::{Broker, ListenerOptions};
use crosspoint_net::{ListenOptions, Transport};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address: std::net::SocketAddr =
        std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:1883").parse()?;
    let listener = ListenerOptions::new("main", ListenOptions::new(Transport::Tcp, address));
    let broker = Broker::builder().listener(listener).start().await?;
    println!("listening on {address}; Ctrl-C stops");
    tokio::signal::ctrl_c().await?;
    broker.stop().await;
    Ok(())
}
