//! RabbitMQ keeps retained messages and does not deliver them to wildcards: the doctor finds exactly that.

use crosspoint_hub::diagnosis::Fault;
use crosspoint_hub::doctor::{Outcome, Stage};
use interop::RabbitMq;

use crate::probe::{failing, probed};
use crate::rig::{doctor, warned};

#[tokio::test]
async fn retained_messages_do_not_come_to_wildcards() {
    let Some(rabbitmq) = RabbitMq::start().await else { return };
    let lines = format!("url = \"mqtt://127.0.0.1:{}\"\nsession = \"durable\"", rabbitmq.port());
    let examination = doctor(&lines).await;
    warned(&examination, Stage::Retained, Fault::RetainedNotToWildcards);
    assert_eq!(examination.outcome(), Outcome::Warned, "{examination:#?}");
    assert_eq!(examination.diagnoses().count(), 1, "exactly that: {examination:#?}");

    let probed = probed(rabbitmq.port(), "").await;
    let failing = failing(&probed);
    for statement in
        ["it comes to a filter with `+`", "it comes to a filter with `#`", "it comes to the filter `#` alone"]
    {
        assert!(failing.contains(&format!("{statement}: nothing came")), "{failing}");
    }
    for statement in ["exact topic", "an empty message removes it", "come in their order"] {
        assert!(!failing.contains(statement), "{failing}");
    }
}
