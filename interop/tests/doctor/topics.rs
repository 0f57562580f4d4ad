//! What flows wait for, and what is live instead.

use std::time::Duration;

use crosspoint_client::{Client, Publication, QoS};
use crosspoint_hub::diagnosis::Fault;
use crosspoint_hub::doctor::Stage;
use interop::{Mosquitto, client_options, soon};

use crate::rig::{examined, impatient, warned, well};

fn project(mosquitto: &Mosquitto, filters: &[&str]) -> String {
    format!(
        "[connector.a]\nurl = \"mqtt://127.0.0.1:{}\"\n[flow.f]\nfrom = {{ connector = \"a\", topics = {filters:?} }}\nto = {{ connector = \"broker\", topic = \"in/{{topic}}\" }}\n",
        mosquitto.port()
    )
}

async fn publish(client: &Client, topic: &str) {
    let publication = Publication::new(topic, "1").unwrap().qos(QoS::AtLeastOnce).retain(true);
    soon("a confirmation", client.publish(publication)).await.unwrap();
}

#[tokio::test]
async fn near_misses_are_told_with_what_is_live() {
    let Some(mosquitto) = Mosquitto::start().await else { return };
    let (client, _deliveries) = Client::start(client_options(mosquitto.port())).unwrap();
    for topic in ["sensors/temp", "plant/line1/rpm", "right/on"] {
        publish(&client, topic).await;
    }
    for (filter, cause, next) in [
        (
            "Sensors/temp",
            "nothing on `Sensors/temp`; `sensors/temp` is live",
            "write `sensors/temp` in the source of flow f",
        ),
        ("/sensors/temp", "nothing on `/sensors/temp`; `sensors/temp` is live", "write `sensors/temp`"),
        ("plant/+", "nothing on `plant/+`; `plant/line1/rpm` is live", "write `plant/#`"),
        ("$share/g/Sensors/+", "`sensors/temp` is live", "write `sensors/+`"),
    ] {
        let examination = examined(&project(&mosquitto, &["right/on", filter]), &impatient()).await;
        let diagnosis = warned(&examination, Stage::Topics, Fault::NearMiss);
        assert!(diagnosis.cause.contains(cause), "{diagnosis:?}");
        assert!(diagnosis.next_step.starts_with(next), "{diagnosis:?}");
    }
    let examination = examined(&project(&mosquitto, &["plant/line1/temperature"]), &impatient()).await;
    let diagnosis = warned(&examination, Stage::Topics, Fault::NothingLive);
    assert!(diagnosis.cause.contains("live beside it: `plant/line1/rpm`"), "{diagnosis:?}");
    well(&examined(&project(&mosquitto, &["right/on", "sensors/#"]), &impatient()).await);
    client.close(Duration::ZERO).await;
}
