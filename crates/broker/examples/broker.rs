//! A broker on one port, which keeps what it has in a directory if one is given:
//! `cargo run --release --example broker -- 127.0.0.1:1883 [directory]`.

use crosspoint_broker::{Broker, ListenerOptions};
use crosspoint_net::{ListenOptions, Transport};
use crosspoint_store::{Directory, Options, Store};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address: std::net::SocketAddr = arguments.next().as_deref().unwrap_or("127.0.0.1:1883").parse()?;
    let listener = ListenerOptions::new("main", ListenOptions::new(Transport::Tcp, address));
    let mut builder = Broker::builder().listener(listener);
    let store = match arguments.next() {
        Some(directory) => Some(Store::open(Directory::open(directory)?, Options::new())?),
        None => None,
    };
    if let Some(store) = &store {
        builder = builder.store(store.clone());
    }
    let broker = builder.start().await?;
    println!("listening on {address}; Ctrl-C stops");
    tokio::signal::ctrl_c().await?;
    println!("{:#?}", broker.statistics());
    broker.stop().await;
    if let Some(store) = &store {
        store.close();
        println!("{:#?}", store.stats());
    }
    Ok(())
}
