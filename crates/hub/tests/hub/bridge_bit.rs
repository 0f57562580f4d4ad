//! Connectors that speak MQTT 3.1.1 to a broker that knows bridges.

use crosspoint_protocol::QoS;

use crate::support::*;

fn project(plant: &Remote, cloud: &Remote, more: &str) -> String {
    let old = "protocol = \"3.1.1\"\n";
    [
        NO_BROKER,
        &connector("plant", plant.port()),
        old,
        &connector("cloud", cloud.port()),
        &numbers("plant", "cloud"),
        more,
    ]
    .concat()
}

/// What the cloud says goes to the plant, and what is said there under a topic goes out in the cloud.
fn chain(read: &str) -> String {
    format!(
        "[flow.there]\nfrom = {{ connector = \"cloud\", topics = \"down/#\" }}\n\
         to = {{ connector = \"plant\", topic = \"mid/{{topic[1..]}}\" }}\n\
         [flow.back]\nfrom = {{ connector = \"plant\", topics = \"{read}/#\" }}\n\
         to = {{ connector = \"cloud\", topic = \"out/{{topic[1..]}}\" }}\n"
    )
}

#[tokio::test]
async fn live_messages_come_with_their_retain_flag() {
    let (plant, cloud) = (Remote::start().await, Remote::start().await);
    let running = Running::start(&project(&plant, &cloud, "")).await;
    plant.subscribed(1).await;
    for (payload, retain) in [("1", true), ("2", false)] {
        plant.publish("in/n", payload, QoS::AtLeastOnce, retain);
    }
    until(|| cloud.count() == 2).await;
    assert_eq!(cloud.came().iter().map(|came| came.3).collect::<Vec<_>>(), [true, false]);
    running.stop().await;
}

#[tokio::test]
async fn a_flow_that_reads_what_another_writes_gets_it_once_it_is_there() {
    let (plant, cloud) = (Remote::start().await, Remote::start().await);
    let mut running = Running::start(&project(&plant, &cloud, &chain("other"))).await;
    plant.subscribed(2).await;
    cloud.subscribed(1).await;
    cloud.publish("down/n", "1", QoS::AtLeastOnce, false);
    until(|| running.outbox("plant").confirmed == 1).await;

    // From here on the connector has to hear itself.
    running.apply(&project(&plant, &cloud, &chain("mid"))).await;
    until(|| logged().contains("without the bridge bit")).await;
    until(|| running.is_connected("plant")).await;
    plant.subscribed(2).await;
    cloud.publish("down/n", "2", QoS::AtLeastOnce, false);
    until(|| cloud.count() == 1).await;
    assert_eq!(cloud.numbers(), [2]);
    running.stop().await;
}
