//! Our client, with deadlines on all its waits.

use std::time::Duration;

use crosspoint_client::{
    Client, ClientOptions, Connected, Deliveries, DialOptions, Message, Publication, QoS, ReasonCode,
    Receipt, State, SubscribedFilter, SubscriptionOptions, TopicFilter, Transport,
};

use crate::{DEADLINE, soon};

/// Returns options that dial a port of this machine over TCP and come back quickly.
pub fn client_options(port: u16) -> ClientOptions {
    ClientOptions::default().server(DialOptions::new(Transport::Tcp, "127.0.0.1", port)).reconnect_ms(50, 500)
}

/// Our client.
#[derive(Debug)]
pub struct OurClient {
    /// The client itself.
    pub client: Client,
    deliveries: Deliveries,
}

impl OurClient {
    /// Starts it, and waits until it is connected.
    ///
    /// # Panics
    /// When it is not connected in time.
    pub async fn connect(options: ClientOptions) -> Self {
        let (client, deliveries) = Client::start(options).unwrap();
        if tokio::time::timeout(DEADLINE, client.connected()).await != Ok(true) {
            panic!("there is no connection: {:?}", client.state().borrow().clone());
        }
        Self { client, deliveries }
    }

    /// Starts a client that cannot get in, and returns why.
    ///
    /// # Panics
    /// When it is told nothing in time, or gets in.
    pub async fn refused(options: ClientOptions) -> String {
        let (client, _deliveries) = Client::start(options).unwrap();
        let mut state = client.state();
        let decided = |state: &State| !matches!(state, State::Connecting { .. });
        let state = soon("a refusal", state.wait_for(decided)).await.unwrap().clone();
        match state {
            State::Refused { cause, .. } | State::BackingOff { cause, .. } => cause.to_string(),
            other => panic!("the client is {other:?}"),
        }
    }

    /// Returns what was agreed upon with the server.
    ///
    /// # Panics
    /// When it is not connected.
    pub fn agreed(&self) -> Connected {
        match &*self.client.state().borrow() {
            State::Connected(connected) => (**connected).clone(),
            other => panic!("the client is {other:?}"),
        }
    }

    /// Subscribes, and returns what the server said.
    ///
    /// # Panics
    /// When it says nothing in time.
    pub async fn subscribe(&self, filter: &str, qos: QoS) -> ReasonCode {
        let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
        let filter = SubscribedFilter { filter: TopicFilter::parse(filter).unwrap(), options };
        let granted = soon("SUBACK", self.client.subscribe(vec![filter])).await.unwrap();
        *granted.first().unwrap()
    }

    /// Publishes, and waits until the server has confirmed.
    ///
    /// # Panics
    /// When it does not in time, or refuses.
    pub async fn publish(&self, topic: &str, payload: impl Into<Vec<u8>>, qos: QoS) -> Receipt {
        let publication = Publication::new(topic, payload.into()).unwrap().qos(qos);
        soon("a confirmation", self.client.publish(publication)).await.unwrap()
    }

    /// Waits for the next message, accepts it, and returns topic, payload and QoS.
    ///
    /// # Panics
    /// When none comes in time.
    pub async fn next(&mut self) -> (String, Vec<u8>, QoS) {
        let message = self.next_message().await;
        (message.topic().to_owned(), message.payload().to_vec(), message.qos())
    }

    /// Waits for the next message, accepts it, and returns all of it.
    ///
    /// # Panics
    /// When none comes in time.
    pub async fn next_message(&mut self) -> Message {
        let delivery = soon("a message", self.deliveries.next()).await.unwrap();
        delivery.ack.accept();
        delivery.message
    }

    /// Closes it and returns how many publications are unconfirmed.
    pub async fn close(self) -> usize {
        self.client.close(Duration::from_secs(5)).await.unconfirmed
    }
}
