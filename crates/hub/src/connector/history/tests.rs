use crosspoint_client::{QoS, ReasonCode, ServerLimits, Version};
use crosspoint_net::{DialError, TlsCause};

use super::*;
use crate::config::plan::ConnectorPlan;
use crate::testing::plan;

/// Moves a clock and tells a history what happens.
struct Story {
    history: History,
    now: Now,
}

impl Story {
    fn new(identity: Identity) -> Self {
        let now = Now { monotonic_ms: 5, wall_ms: 1_000_000 };
        let mut history = History::new(now);
        history.begin(identity, now);
        Self { history, now }
    }

    fn after(&mut self, seconds: u64) -> &mut Self {
        self.now.monotonic_ms += seconds * 1_000;
        self.now.wall_ms += seconds * 1_000;
        self
    }

    fn on(&mut self, state: &State) -> ConnectorState {
        self.history.on(state, self.now);
        self.history.state(self.now)
    }

    fn fails(&mut self, cause: Cause) -> ConnectorState {
        self.on(&State::BackingOff { cause, until_wall_ms: self.now.wall_ms + 1_000 })
    }

    /// Connects and loses the connection after so many seconds.
    fn lives(&mut self, seconds: u64) -> ConnectorState {
        self.on(&connected());
        let state = self.after(seconds).fails(Cause::ConnectionLost);
        self.after(1);
        state
    }
}

fn identity() -> Identity {
    let plan = plan("[connector.a]\nurl = \"mqtt://h\"\n");
    let ConnectorPlan::Mqtt(mqtt) = &plan.connectors["a"] else { panic!() };
    Identity { plan: Arc::new((**mqtt).clone()), twin: None, is_on_network: true }
}

fn connected() -> State {
    State::Connected(Arc::new(Connected {
        server: "127.0.0.1:1883".to_owned(),
        version: Version::V5,
        is_bridge: false,
        session_present: false,
        client_id: "me".to_owned(),
        response_information: None,
        limits: ServerLimits {
            keep_alive_s: 60,
            session_expiry_s: None,
            receive_maximum: 10,
            packet_bytes_max: None,
            qos_max: QoS::ExactlyOnce,
            topic_alias_max: 0,
            retain: true,
            wildcards: true,
            subscription_ids: true,
            shared_subscriptions: true,
        },
    }))
}

fn connecting() -> State {
    State::Connecting { attempt: 1, server: String::new(), version: Version::V5 }
}

fn refused(reason: ReasonCode) -> Cause {
    Cause::Refused { reason, text: None, other_server: None }
}

#[test]
fn what_fails_again_and_again_is_one_state_since_it_began() {
    let mut story = Story::new(identity());
    assert_eq!(story.on(&connecting()).condition, Condition::Connecting);
    let first = story.fails(Cause::ConnectTimeout { after_ms: 10 });
    assert_eq!((first.condition, first.since_wall_ms), (Condition::BackingOff, 1_000_000));
    assert_eq!(first.next_try_wall_ms, Some(1_001_000));
    let tries = story.after(7).on(&connecting());
    assert_eq!(
        (tries.condition, tries.next_try_wall_ms),
        (Condition::BackingOff, None),
        "it tries right now"
    );
    assert!(tries.trouble.is_some_and(|trouble| trouble.cause.contains("0.01 s")));
    assert_eq!(story.fails(Cause::ConnectionLost).since_wall_ms, 1_000_000);
    let there = story.after(1).on(&connected());
    assert_eq!((there.condition, there.since_wall_ms), (Condition::Connected, 1_008_000));
    assert_eq!((there.trouble, there.drops), (None, 0), "no connection was lost");
    assert!(there.agreed.is_some());
}

fn tls(cause: TlsCause) -> Cause {
    Cause::Dial(DialError::Tls { target: "h:1883".to_owned(), cause }.into())
}

#[test]
fn each_kind_of_failure_has_its_word() {
    let mut story = Story::new(identity());
    for (cause, condition) in [
        (refused(ReasonCode::BadUserNameOrPassword), Condition::Refused),
        (refused(ReasonCode::NotAuthorized), Condition::Refused),
        (refused(ReasonCode::ServerBusy), Condition::BackingOff),
        (refused(ReasonCode::ClientIdentifierNotValid), Condition::Misconfigured),
        (Cause::UnsupportedVersion { version: Version::V3_1 }, Condition::Misconfigured),
        (Cause::OtherProtocol { spoken: crosspoint_client::Spoken::Tls }, Condition::Misconfigured),
        (Cause::ClientIdFight { client_id: "x".to_owned() }, Condition::Fighting),
        (Cause::ConnectionLost, Condition::BackingOff),
        (tls(TlsCause::UnknownAuthority), Condition::Misconfigured),
        (tls(TlsCause::Expired { days: Some(2) }), Condition::Misconfigured),
        (tls(TlsCause::NotTls), Condition::Misconfigured),
        (tls(TlsCause::Closed), Condition::BackingOff),
        (Cause::Tls(TlsCause::ClientCertificateRequired), Condition::Refused),
    ] {
        let state = story.fails(cause.clone());
        assert_eq!(state.condition, condition, "{cause}");
        assert!(state.trouble.is_some_and(|trouble| !trouble.next_step.is_empty()), "{cause}");
    }
}

#[test]
fn a_connection_that_is_left_for_a_better_one_is_not_lost() {
    let mut story = Story::new(identity());
    for cause in [Cause::ReturnToFirst, Cause::VersionUpward, Cause::WithoutBridgeBit] {
        for _ in 0..3 {
            story.on(&connected());
            assert_eq!(story.after(90).fails(cause.clone()).condition, Condition::BackingOff);
        }
    }
    let up = story.on(&connected());
    assert_eq!((up.condition, up.drops), (Condition::Connected, 0));
}

#[test]
fn connections_that_live_equally_long_are_told_while_connected_too_and_end() {
    let mut story = Story::new(identity());
    assert!(!story.lives(90).is_flapping);
    story.lives(90);
    let third = story.lives(91);
    assert_eq!(third.condition, Condition::BackingOff);
    assert!(third.trouble.unwrap().cause.starts_with("drops every 90 s = 1.5 x the keep alive"));
    let up = story.on(&connected());
    assert_eq!((up.condition, up.drops), (Condition::Degraded, 3));
    assert!(up.trouble.unwrap().next_step.contains("keep_alive_s"));
    let steady_ms = story.history.steady_in_ms(story.now).unwrap();
    story.after(steady_ms / 1_000 + 1);
    let mended = story.history.state(story.now);
    assert_eq!((mended.condition, mended.trouble), (Condition::Connected, None));
    assert_eq!(story.history.steady_in_ms(story.now), None);
}

#[test]
fn a_fight_names_our_own_twin_first_then_the_likeliest_other() {
    let fight = || Cause::ClientIdFight { client_id: "cell-7".to_owned() };
    let says = |twin: Option<&str>| {
        let identity = Identity { twin: twin.map(str::to_owned), ..identity() };
        let trouble = Story::new(identity).fails(fight()).trouble.unwrap();
        trouble.cause + "; " + &trouble.next_step
    };
    let twin = says(Some("press"));
    assert!(twin.contains("connector press") && twin.contains("cell-7"), "{twin}");
    assert!(says(None).contains("copy of this hub's data folder"));
}

#[test]
fn settings_that_changed_and_a_stop_begin_anew() {
    let mut story = Story::new(identity());
    for _ in 0..3 {
        story.lives(90);
    }
    let now = story.now;
    story.history.begin(identity(), now);
    let state = story.history.state(now);
    assert_eq!((state.condition, state.drops, state.trouble), (Condition::Connecting, 0, None));
    story.on(&connected());
    story.history.end(now);
    let off = story.history.state(now);
    assert_eq!((off.condition, off.agreed), (Condition::Off, None));
}

#[test]
fn what_is_not_clear_is_looked_at_once_and_again_after_long() {
    let target = "h:1883".to_owned();
    let closed = || tls(TlsCause::Closed);
    let mut story = Story::new(identity());
    story.on(&State::Connecting { attempt: 1, server: target.clone(), version: Version::V5 });
    assert_eq!(story.history.take_glance(story.now).map(|glance| glance.at_first), None, "nothing is wrong");
    let state = story.fails(closed());
    assert_eq!(state.condition, Condition::BackingOff, "the network's weather, until it is clear");
    let glance = story.history.take_glance(story.now).unwrap();
    assert_eq!((Some(&glance.at_first), glance.address.port), (state.trouble.as_ref(), 1_883));
    assert!(story.history.take_glance(story.now).is_none(), "it is being looked");

    let seen = Diagnosis::new(Fault::TlsToPlain, "port 1883 of h speaks plain MQTT", "use another one");
    story.history.on_glance(seen.clone(), story.now);
    for state in [story.history.state(story.now), story.after(500).fails(closed())] {
        assert_eq!((state.condition, state.trouble), (Condition::Misconfigured, Some(seen.clone())));
    }
    assert!(story.history.take_glance(story.now).is_none(), "it is known");
    // Something else is looked at by itself; it is not taken for what was seen before.
    let other = story.after(60).fails(Cause::ClosedWithoutConnAck);
    assert_eq!(other.trouble.unwrap().fault, Fault::ClosedWithoutAnswer);
    assert!(story.history.take_glance(story.now).is_some());
    let later = story.after(LOOK_ANEW_MS / 1_000).now;
    assert!(story.history.take_glance(later).is_some(), "it may have changed");
    // Where connectors have a way of their own, a look through the network would see something else.
    let elsewhere = Identity { is_on_network: false, ..identity() };
    let mut simulated = Story::new(elsewhere);
    simulated.on(&State::Connecting { attempt: 1, server: target.clone(), version: Version::V5 });
    simulated.fails(closed());
    assert!(simulated.history.take_glance(simulated.now).is_none());
}

#[test]
fn links_that_another_client_ends_tell_of_it_also_while_connected() {
    let mut story = Story::new(Identity { twin: Some("press".to_owned()), ..identity() });
    let taken_over =
        || Cause::Disconnected { reason: ReasonCode::SessionTakenOver, text: None, other_server: None };
    for _ in 0..3 {
        story.on(&connected());
        story.after(40).fails(taken_over());
        story.after(1);
    }
    let up = story.on(&connected());
    assert_eq!((up.condition, up.drops, up.lived_ms), (Condition::Degraded, 3, Some(40_000)));
    let trouble = up.trouble.unwrap();
    assert_eq!(trouble.fault, Fault::ClientIdFight);
    assert!(trouble.cause.starts_with("connector press of this project"), "{}", trouble.cause);
    assert!(trouble.cause.ends_with("; it drops every 40 s"), "{}", trouble.cause);
}
