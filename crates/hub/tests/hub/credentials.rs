//! New credentials of a connector that runs: tried beside the old ones, and used only when they work.

use crosspoint_protocol::QoS;

use crate::support::*;

fn alice(password: &str) -> String {
    format!(
        "[broker.listener.main]\nbind = \"127.0.0.1:0\"\n[broker.role.all]\nallow = [\"both #\"]\n\
         [broker.user.alice]\npassword = \"{password}\"\nroles = [\"all\"]\n"
    )
}

#[tokio::test]
async fn new_credentials_are_used_when_they_work_and_until_then_the_old_ones_stay() {
    let source = Remote::start().await;
    let mut guarded = Running::start(&alice("one")).await;
    let port = guarded.hub.listening()[0].address.port();
    let project = |password: &str| {
        let guarded = [
            &*connector("guarded", port),
            &format!("client_id = \"us\"\nusername = \"alice\"\npassword = \"{password}\"\n"),
        ]
        .concat();
        [NO_BROKER, &connector("a", source.port()), &guarded, &numbers("a", "guarded")].concat()
    };
    let mut running = Running::start(&project("one")).await;
    source.subscribed(1).await;
    until(|| running.is_connected("guarded")).await;
    let connections =
        || logged().lines().filter(|line| line.contains("Connected. connector=\"guarded\"")).count();
    let told = connections();

    running.apply(&project("two")).await;
    until(|| {
        running.hub.status()["guarded"].credentials.as_ref().is_some_and(|said| said.contains("do not work"))
    })
    .await;
    assert!(logged().contains("The new credentials do not work: the old ones stay in use."), "{}", logged());
    source.publish_numbers(0..10, QoS::AtLeastOnce);
    until(|| running.outbox("guarded").confirmed == 10).await;
    assert!(running.is_connected("guarded"));
    assert_eq!(connections(), told, "it has never been away");

    guarded.apply(&alice("two")).await;
    // A password that was refused is tried again only rarely: the next change begins anew.
    running.apply(&project("one")).await;
    assert_eq!(running.hub.status()["guarded"].credentials, None, "back to what is in use");
    running.apply(&project("two")).await;
    let works = soon(running.hub.credentials_work()).await;
    assert_eq!(works, "guarded");
    soon(running.hub.use_credentials(&works)).await;
    until(|| running.is_connected("guarded")).await;
    source.publish_numbers(10..20, QoS::AtLeastOnce);
    until(|| running.outbox("guarded").confirmed == 20).await;
    assert_eq!((running.hub.status()["guarded"].credentials.clone(), connections()), (None, told + 1));
    running.stop().await;
    guarded.stop().await;
}
