//! ActiveMQ keeps sessions and never says so: the doctor finds exactly that.

use crosspoint_hub::diagnosis::Fault;
use crosspoint_hub::doctor::{Outcome, Stage};
use interop::ActiveMq;

use crate::probe::{failing, probed};
use crate::rig::{doctor, warned};

#[tokio::test]
async fn a_session_is_kept_and_not_told() {
    let Some(activemq) = ActiveMq::start().await else { return };
    let lines = format!("url = \"mqtt://127.0.0.1:{}\"\nsession = \"durable\"", activemq.port());
    let examination = doctor(&lines).await;
    warned(&examination, Stage::Session, Fault::SessionNotTold);
    assert_eq!(examination.outcome(), Outcome::Warned, "{examination:#?}");
    assert_eq!(examination.diagnoses().count(), 1, "exactly that: {examination:#?}");

    let probed = probed(activemq.port(), "").await;
    let failing = failing(&probed);
    for statement in [
        "a session is there after its client left and came back: the broker says that there is none",
        "takes the session over: it goes over, and the broker says that there is none",
    ] {
        assert!(failing.contains(statement), "{failing}");
    }
    for statement in [
        "a filter with `+`",
        "5,000 retained",
        "come in their order",
        "comes at QoS 2, once",
        "a topic may begin with",
    ] {
        assert!(!failing.contains(statement), "{failing}");
    }
}
