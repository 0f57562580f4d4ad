//! Brings the subscriptions of a remote connector to what its flows want.

use crosspoint_client::{Client, QoS, RetainHandling, SubscribedFilter, SubscriptionOptions, TopicFilter};
use tokio::sync::watch;

/// A filter, the QoS at which it is wanted, and whether our own messages are left out.
pub(super) type Wanted = (TopicFilter, QoS, bool);

/// Asks the client for every change, until nobody can want anything any more.
///
/// The client remembers what it is asked for and does it as soon as its broker answers, however late that is; it says
/// itself what the broker refuses.
pub(super) async fn run(
    client: Client,
    mut wanted: watch::Receiver<Vec<Wanted>>,
    mut subscribed: Vec<Wanted>,
) {
    loop {
        let next = wanted.borrow_and_update().clone();
        let (gone, new) = difference(&subscribed, &next);
        subscribed = next;
        tokio::select! {
            // First, so that the client is asked before the next change is looked at.
            biased;
            () = ask(&client, gone, new) => if wanted.changed().await.is_err() { return },
            changed = wanted.changed() => if changed.is_err() { return },
        }
    }
}

/// Returns the filters that are not wanted any more, and what is wanted anew or otherwise.
pub(super) fn difference(before: &[Wanted], after: &[Wanted]) -> (Vec<TopicFilter>, Vec<Wanted>) {
    let is_kept = |filter: &TopicFilter| after.iter().any(|(kept, ..)| kept == filter);
    let gone = before.iter().filter(|(filter, ..)| !is_kept(filter)).map(|(filter, ..)| filter.clone());
    let new = after.iter().filter(|wanted| !before.contains(wanted)).cloned();
    (gone.collect(), new.collect())
}

pub(super) fn options_of(wanted: &Wanted) -> SubscriptionOptions {
    SubscriptionOptions {
        qos: wanted.1,
        no_local: wanted.2,
        retain_as_published: true,
        retain_handling: RetainHandling::Send,
    }
}

/// Asks for both at the first poll, and waits for the answers.
async fn ask(client: &Client, gone: Vec<TopicFilter>, new: Vec<Wanted>) {
    let new =
        new.iter().map(|wanted| SubscribedFilter { filter: wanted.0.clone(), options: options_of(wanted) });
    // With nothing to ask for it is an error that says so; a client that is closed is about to go.
    let (unsubscribed, subscribed) = tokio::join!(client.unsubscribe(gone), client.subscribe(new.collect()));
    drop((unsubscribed, subscribed));
}
