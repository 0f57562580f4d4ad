use crosspoint_protocol::QoS;

use super::*;

fn terms(subscription_ids: bool) -> Terms {
    Terms { limits: limits(subscription_ids), knows_options: subscription_ids, is_bridge: false }
}

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
    subscriptions.on_connected(terms(subscription_ids), Kept::None);
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
    subscriptions.on_connected(
        Terms { limits: ServerLimits { wildcards: false, ..limits(true) }, ..terms(true) },
        Kept::None,
    );
    let (reply, mut reasons) = oneshot::channel();
    subscriptions.subscribe(vec![(wanted("a/#"), None), (wanted("a"), None)], &UserProperties::new(), reply);
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
    subscriptions.on_connected(terms(true), Kept::None);
    requested(&mut subscriptions);
    assert!(subscriptions.counts("a/x", &[2], false), "our own message comes for this filter alone");
    assert!(!subscriptions.counts("a/x", &[1], false), "another's message comes for both");
}

#[test]
fn a_copy_at_a_lower_qos_does_not_swallow_one_that_the_server_keeps_while_we_are_away() {
    let mut rarely = wanted("a/#");
    rarely.options.qos = QoS::AtMostOnce;
    let mut subscriptions = Subscriptions::new(&[rarely, wanted("a/x")], Vec::new());
    subscriptions.on_connected(terms(true), Kept::None);
    requested(&mut subscriptions);
    assert!(subscriptions.counts("a/x", &[2], false), "of what was kept for us this is the only copy");
    assert!(!subscriptions.counts("a/x", &[1], false));
}

#[test]
fn a_copy_without_the_retain_flag_as_published_does_not_swallow_one_that_has_it() {
    let mut as_published = wanted("a/#");
    as_published.options.retain_as_published = true;
    let mut subscriptions = Subscriptions::new(&[wanted("a/x"), as_published], Vec::new());
    subscriptions.on_connected(terms(true), Kept::None);
    requested(&mut subscriptions);
    assert!(subscriptions.counts("a/x", &[2], true));
    assert!(!subscriptions.counts("a/x", &[1], false));
}

#[test]
fn an_identifier_that_a_caller_gave_is_his_alone() {
    let mut subscriptions = connected(&["a/#"], true);
    requested(&mut subscriptions);
    subscriptions.on_suback(PacketId::MIN, &[ReasonCode::GrantedQoS1]);
    let given = Some(CALLER_SUBSCRIPTION_IDS);
    let subscribe = |subscriptions: &mut Subscriptions, id| {
        subscriptions.subscribe(vec![(wanted("b"), id)], &UserProperties::new(), oneshot::channel().0);
    };
    subscribe(&mut subscriptions, given);
    let ids = |subscriptions: &mut Subscriptions| {
        std::iter::from_fn(|| subscriptions.next_request())
            .map(|request| match request {
                Request::Subscribe { id, .. } => id,
                Request::Unsubscribe { .. } | Request::Clear { .. } => None,
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&mut subscriptions), [given]);
    subscriptions.on_disconnected();
    subscriptions.on_connected(terms(true), Kept::All);
    subscribe(&mut subscriptions, None);
    assert_eq!(ids(&mut subscriptions), [Some(2)], "whoever wants it now did not give it");

    let kept = |filter: &str, id| {
        let SubscribedFilter { filter, options } = wanted(filter);
        StoredSubscription { filter, options, subscription_id: Some(id) }
    };
    let stored = vec![kept("b", CALLER_SUBSCRIPTION_IDS + 7), kept("c", 4)];
    let mut another_life = Subscriptions::new(&[wanted("b"), wanted("d")], stored);
    another_life.on_connected(terms(true), Kept::All);
    assert_eq!(ids(&mut another_life), [Some(5), Some(6), None]);
}

/// What a connection asks for, in short: `-` for a filter that is cleared, `+` for one that is subscribed.
fn asked_as(subscriptions: &mut Subscriptions, is_bridge: bool) -> Vec<String> {
    subscriptions.on_connected(Terms { is_bridge, ..terms(false) }, Kept::All);
    let mut id = PacketId::MIN;
    let mut asked = Vec::new();
    while let Some(request) = subscriptions.next_request() {
        asked.push(match &request {
            Request::Subscribe { filters, .. } => {
                let as_bridge =
                    |one: &SubscribedFilter| (one.options.no_local, one.options.retain_as_published);
                assert!(filters.iter().all(|one| as_bridge(one) == (is_bridge, is_bridge)), "{filters:?}");
                format!("+{}", filters.iter().map(|one| one.filter.as_str()).collect::<String>())
            }
            Request::Clear { filters } => {
                format!("-{}", filters.iter().map(TopicFilter::as_str).collect::<String>())
            }
            other => panic!("{other:?}"),
        });
        subscriptions.on_sent(id, request);
        id = id.next();
    }
    asked
}

fn answered(subscriptions: &mut Subscriptions) {
    for (id, request) in subscriptions.requested.clone() {
        subscriptions.on_suback(id, &vec![ReasonCode::GrantedQoS1; request.filters().count()]);
    }
}

#[test]
fn what_a_session_has_is_made_anew_when_the_bridge_bit_comes_or_goes() {
    let mut subscriptions = Subscriptions::new(&[wanted("a"), wanted("b")], Vec::new());
    assert_eq!(asked_as(&mut subscriptions, false), ["+ab"]);
    answered(&mut subscriptions);
    for is_bridge in [true, false] {
        subscriptions.on_disconnected();
        assert_eq!(asked_as(&mut subscriptions, is_bridge), ["-ab", "+ab"]);
        answered(&mut subscriptions);
        assert!(subscriptions.is_granted(&wanted("a").filter));
        subscriptions.on_disconnected();
        assert!(asked_as(&mut subscriptions, is_bridge).is_empty(), "the session has it");
    }
}

#[test]
fn what_was_being_made_anew_when_the_connection_ended_is_made_anew_again() {
    for way in [true, false] {
        let mut subscriptions = Subscriptions::new(&[wanted("a")], Vec::new());
        asked_as(&mut subscriptions, !way);
        answered(&mut subscriptions);
        subscriptions.on_disconnected();
        asked_as(&mut subscriptions, way);
        // Neither answer comes.
        subscriptions.on_disconnected();
        assert_eq!(asked_as(&mut subscriptions, way), ["-a", "+a"]);
        subscriptions.on_disconnected();
        assert_eq!(asked_as(&mut subscriptions, !way), ["-a", "+a"]);
    }
}
