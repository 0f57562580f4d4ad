use crosspoint_protocol::QoS;

use super::*;

fn limits(subscription_ids: bool) -> ServerLimits {
    ServerLimits {
        keep_alive_s: 0,
        session_expiry_s: None,
        receive_maximum: 10,
        packet_bytes_max: None,
        qos_max: QoS::ExactlyOnce,
        topic_alias_max: 0,
        retain: true,
        wildcards: true,
        subscription_ids,
        shared_subscriptions: true,
    }
}

fn wanted(filter: &str) -> SubscribedFilter {
    let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..SubscriptionOptions::default() };
    SubscribedFilter { filter: TopicFilter::parse(filter).unwrap(), options }
}

fn connected(filters: &[&str], subscription_ids: bool) -> Subscriptions {
    let filters: Vec<SubscribedFilter> = filters.iter().map(|filter| wanted(filter)).collect();
    let mut subscriptions = Subscriptions::new(&filters, Vec::new());
    subscriptions.on_connected(limits(subscription_ids), Kept::None);
    subscriptions
}

fn requested(subscriptions: &mut Subscriptions) -> Vec<String> {
    let mut names = Vec::new();
    let mut id = PacketId::MIN;
    while let Some(request) = subscriptions.next_request() {
        names.extend(request.filters().map(ToString::to_string));
        subscriptions.on_sent(id, request);
        id = id.next();
    }
    names
}

#[test]
fn of_two_filters_that_cover_each_other_one_is_subscribed() {
    let mut subscriptions = connected(&["+/#", "#", "a"], false);
    assert_eq!(requested(&mut subscriptions), ["+/#"]);
}

#[test]
fn a_shared_filter_neither_covers_nor_is_covered() {
    let mut subscriptions = connected(&["$share/g/#", "a/b", "a/#"], false);
    assert_eq!(requested(&mut subscriptions), ["$share/g/#", "a/#"]);
}

#[test]
fn at_most_so_many_requests_are_open_at_once() {
    let names: Vec<String> = (0..200).map(|i| format!("t/{i}")).collect();
    let mut subscriptions = connected(&names.iter().map(String::as_str).collect::<Vec<_>>(), true);
    assert_eq!(requested(&mut subscriptions).len(), REQUESTS_MAX);
    subscriptions.on_suback(PacketId::MIN, &[ReasonCode::GrantedQoS1]);
    assert_eq!(requested(&mut subscriptions).len(), 1);
}

#[test]
fn what_the_server_does_not_offer_is_not_asked_for() {
    let mut subscriptions = connected(&[], true);
    subscriptions.on_connected(ServerLimits { wildcards: false, ..limits(true) }, Kept::None);
    let (reply, mut reasons) = oneshot::channel();
    subscriptions.subscribe(vec![wanted("a/#"), wanted("a")], reply);
    assert_eq!(requested(&mut subscriptions), ["a"]);
    subscriptions.on_suback(PacketId::MIN, &[ReasonCode::GrantedQoS1]);
    subscriptions.answer_waiters();
    let expected = vec![ReasonCode::WildcardSubscriptionsNotSupported, ReasonCode::GrantedQoS1];
    assert_eq!(reasons.try_recv(), Ok(expected));
}

#[test]
fn a_refused_first_filter_does_not_swallow_the_copies_of_the_second() {
    let mut subscriptions = connected(&["a/#", "a/+", "b"], true);
    requested(&mut subscriptions);
    assert!(!subscriptions.counts("a/x", &[2], false));
    subscriptions.on_suback(PacketId::MIN, &[ReasonCode::NotAuthorized]);
    assert!(subscriptions.counts("a/x", &[2], false));
}

#[test]
fn retained_messages_of_filters_subscribed_together_count_once() {
    let mut subscriptions = connected(&["a/#", "a/+"], true);
    requested(&mut subscriptions);
    assert!(subscriptions.counts("a/x", &[1], true));
    assert!(!subscriptions.counts("a/x", &[2], true));
}

#[test]
fn a_filter_that_leaves_our_own_messages_out_does_not_swallow_the_copy_of_another() {
    let mut own_left_out = wanted("a/x");
    own_left_out.options.no_local = true;
    let mut subscriptions = Subscriptions::new(&[own_left_out, wanted("a/#")], Vec::new());
    subscriptions.on_connected(limits(true), Kept::None);
    requested(&mut subscriptions);
    assert!(subscriptions.counts("a/x", &[2], false), "our own message comes for this filter alone");
    assert!(!subscriptions.counts("a/x", &[1], false), "another's message comes for both");
}
