use crosspoint_client::{Message, QoS, TopicName};
use crosspoint_protocol::{Now, packet::PublishProperties};

use super::*;

/// What became of promises, in the order in which it became known.
pub(crate) type Fates = Arc<Mutex<Vec<(usize, &'static str)>>>;

/// A promise whose fate a test can see.
#[derive(Debug)]
pub(crate) struct Watched {
    number: usize,
    fates: Fates,
}

impl Watched {
    pub(crate) fn promise(number: usize, fates: &Fates) -> Promise {
        Promise::Watched(Self { number, fates: fates.clone() })
    }

    pub(super) fn note(self, fate: &'static str) {
        self.fates.lock().unwrap().push((self.number, fate));
    }
}

fn shares(count: usize) -> (Vec<Share>, Fates) {
    let fates = Fates::default();
    (Receipt::divide(Watched::promise(1, &fates), count), fates)
}

fn fates_of(fates: &Fates) -> Vec<(usize, &'static str)> {
    fates.lock().unwrap().clone()
}

#[test]
fn a_promise_without_shares_is_kept_at_once() {
    let (shares, fates) = shares(0);
    assert!(shares.is_empty());
    assert_eq!(fates_of(&fates), [(1, "kept")]);
}

#[test]
fn a_promise_is_kept_when_the_last_share_is_settled() {
    let (shares, fates) = shares(3);
    let mut shares = shares.into_iter();
    shares.next().unwrap().settle();
    shares.next().unwrap().settle();
    assert_eq!(fates_of(&fates), []);
    shares.next().unwrap().settle();
    assert_eq!(fates_of(&fates), [(1, "kept")]);
}

#[test]
fn a_share_that_is_dropped_breaks_the_promise_exactly_once() {
    for dropped in 0..3 {
        let (shares, fates) = shares(3);
        for (number, share) in shares.into_iter().enumerate() {
            if number == dropped { drop(share) } else { share.settle() }
        }
        assert_eq!(fates_of(&fates), [(1, "broken")]);
    }
    let (shares, fates) = shares(3);
    drop(shares);
    assert_eq!(fates_of(&fates), [(1, "broken")]);
}

#[test]
fn shares_of_nothing_promise_nothing() {
    Share::of_nothing().settle();
    drop(Share::of_nothing());
}

#[tokio::test]
async fn what_comes_back_keeps_the_order_in_which_it_came() {
    let returned = Arc::<Returned>::default();
    let promises: Vec<Promise> = (0..5).map(|number| local(&returned, number)).collect();
    // Broken off in an order that is neither the one of coming nor its reverse; one is kept.
    let mut shares: Vec<_> =
        promises.into_iter().flat_map(|promise| Receipt::divide(promise, 1)).map(Some).collect();
    shares[1].take().unwrap().settle();
    for number in [3, 0, 4, 2] {
        shares[number].take();
    }
    returned.came().await;
    let topics: Vec<String> = std::iter::from_fn(|| returned.take())
        .map(|(_, delivery)| delivery.message.topic().to_owned())
        .collect();
    assert_eq!(topics, ["t/0", "t/2", "t/3", "t/4"]);
}

fn local(returned: &Arc<Returned>, number: usize) -> Promise {
    let topic = TopicName::parse(format!("t/{number}")).unwrap();
    let message =
        Message::new(&topic, b"x", QoS::AtLeastOnce, false, &PublishProperties::default(), Now::default());
    let delivery =
        LocalDelivery { message, qos: QoS::AtLeastOnce, retain: false, subscription_ids: Vec::new(), position: None };
    Promise::Local { place: returned.next_place(), returned: returned.clone(), delivery: Box::new(delivery) }
}
