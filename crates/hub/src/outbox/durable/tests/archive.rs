//! What was sent, where it is kept.

use super::*;
use crate::config::plan::ArchivePlan;

async fn archived(outbox: &Outbox) -> Vec<String> {
    let items = soon(outbox.archived(0, 1_000)).await.unwrap();
    items.iter().map(|(_, item)| String::from_utf8_lossy(item.message.payload()).into_owned()).collect()
}

#[tokio::test]
async fn what_was_sent_is_kept_within_its_bytes_and_nothing_without_an_archive() {
    for (archive, expected) in [
        (None, 0..0),
        (Some(ArchivePlan { bytes_max: 1 << 20, age_max: None }), 0..20),
        // Each counts for 67 bytes.
        (Some(ArchivePlan { bytes_max: 700, age_max: None }), 10..20),
        (Some(ArchivePlan { bytes_max: 1 << 20, age_max: Some(Duration::ZERO) }), 20..20),
    ] {
        let broker = Scripted::start(|payload| Some(if payload == "25" { 0x87 } else { 0 })).await;
        let mut kit = Kit::new(OutboxPlan { archive, ..OutboxPlan::default() }).await;
        let pump = kit.start(&broker);
        let padded = |number: usize| Item {
            message: message("t", format!("{number:02}").as_bytes(), QoS::AtLeastOnce),
            ..item(number)
        };
        kit.append_all((0..20).chain([25]).map(padded)).await;
        until(&kit.outbox, |figures| figures.waiting() == 0).await;
        let expected: Vec<String> = expected.map(|number| format!("{number:02}")).collect();
        kit.backlog = Some(pump.stop(Duration::from_secs(5)).await);
        // What is too much goes at the latest when somebody is at work again.
        let pump = kit.start(&broker);
        soon(async {
            while archived(&kit.outbox).await != expected {
                tokio::task::yield_now().await;
            }
        })
        .await;
        pump.stop(Duration::from_secs(5)).await;
        assert_eq!(archived(&kit.outbox).await, expected, "what is dead was not sent");
        let again = Kit::on(kit.store.clone(), OutboxPlan::default()).await;
        assert_eq!(again.outbox.figures(), kit.outbox.figures());
    }
}
