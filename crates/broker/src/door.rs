//! What a listener says of clients that speak something else than it does.
//!
//! A TLS client on a plain port, a plain one on a TLS port and a browser on either are the most common mistakes there
//! are. Each is named for what it is, with the listener that would be right; once a minute a kind, however often it comes.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crosspoint_net::{FirstBytes, OpenError, PeerAddress, Spoken, Transport};
use tracing::{debug, warn};

use crate::shared::Shared;

/// How long a listener is silent after it has told of one kind of mistake, in milliseconds.
const PAUSE_MS: u64 = 60_000;

/// The first byte of a CONNECT.
const CONNECT: u8 = 0x10;

/// A listener, as others see it, and what it has told.
#[derive(Debug)]
pub(crate) struct Door {
    name: String,
    address: String,
    transport: Transport,
    /// When each kind of mistake may be told again, and how often it has come since it was told.
    told: [Told; Mistake::KINDS],
}

#[derive(Debug, Default)]
struct Told {
    again_ms: AtomicU64,
    untold: AtomicU64,
}

/// What a client speaks instead of what the listener does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mistake {
    /// TLS, where nothing is encrypted.
    Tls,
    /// HTTP, as a browser or a WebSocket client does.
    Http,
    /// MQTT, without the layers that the listener has.
    Mqtt,
}

impl Mistake {
    const KINDS: usize = 3;

    /// Judges a client's first bytes; `None` when they are none of these.
    fn of(first: FirstBytes) -> Option<Self> {
        match (first.spoken(), first.as_slice()) {
            (Some(Spoken::Tls), _) => Some(Self::Tls),
            (Some(Spoken::Http), _) => Some(Self::Http),
            (None, [CONNECT, ..]) => Some(Self::Mqtt),
            _ => None,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Tls => "TLS",
            Self::Http => "HTTP",
            Self::Mqtt => "plain MQTT",
        }
    }

    /// Returns the transport of a listener that would be right; `layer` is what this one has around the client's bytes.
    const fn wants(self, door: Transport, layer: Layer) -> Transport {
        match (self, layer) {
            (Self::Tls, _) if door.is_websocket() => Transport::Wss,
            (Self::Tls, _) | (Self::Mqtt, Layer::Tls) => Transport::Tls,
            (Self::Http, Layer::Tls) => Transport::Wss,
            (Self::Http, Layer::Nothing) => Transport::Ws,
            (Self::Mqtt, Layer::Nothing) => Transport::Tcp,
        }
    }
}

/// What is around the bytes that a client was judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layer {
    Nothing,
    Tls,
}

impl Door {
    pub(crate) fn new(name: &str, address: String, transport: Transport) -> Self {
        Self { name: name.to_owned(), address, transport, told: Default::default() }
    }

    /// Tells of a client that did not get as far as MQTT, when it was for what it speaks.
    pub(crate) fn on_not_opened(&self, error: &OpenError, peer: PeerAddress, shared: &Shared) {
        let mistaken = match error {
            OpenError::NotTls(first) => Mistake::of(*first).map(|mistake| (mistake, Layer::Nothing)),
            OpenError::NotWebSocket(first) => Mistake::of(*first).map(|mistake| (mistake, self.layer())),
            _ => None,
        };
        match mistaken {
            Some((mistake, layer)) => self.tell(mistake, layer, peer, shared),
            None => debug!(%peer, %error, "A connection did not get as far as MQTT."),
        }
    }

    /// Tells of a client that says something else than CONNECT, and whether it was that.
    pub(crate) fn on_greeting(&self, first: FirstBytes, peer: PeerAddress, shared: &Shared) -> bool {
        let mistake = Mistake::of(first).filter(|mistake| *mistake != Mistake::Mqtt);
        if let Some(mistake) = mistake {
            self.tell(mistake, self.layer(), peer, shared);
        }
        mistake.is_some()
    }

    const fn layer(&self) -> Layer {
        if self.transport.is_encrypted() { Layer::Tls } else { Layer::Nothing }
    }

    fn tell(&self, mistake: Mistake, layer: Layer, peer: PeerAddress, shared: &Shared) {
        let (spoken, expected) = (mistake.words(), words(self.transport));
        match self.may_tell(mistake, shared.clock.now().monotonic_ms) {
            Some(more) => {
                let next_step = self.next_step(mistake.wants(self.transport, layer), shared);
                warn!(
                    listener = %self.name, %peer, next_step, more,
                    "A client speaks {spoken} to a listener for {expected}."
                );
            }
            None => {
                debug!(listener = %self.name, %peer, "A client speaks {spoken} to a listener for {expected}.")
            }
        }
    }

    /// Returns how many have come since this was told last, if it may be told now.
    fn may_tell(&self, mistake: Mistake, now_ms: u64) -> Option<u64> {
        let told = self.told.get(mistake as usize)?;
        let again_ms = told.again_ms.load(Relaxed);
        let is_due = now_ms >= again_ms;
        let next_ms = now_ms.saturating_add(PAUSE_MS);
        if is_due && told.again_ms.compare_exchange(again_ms, next_ms, Relaxed, Relaxed).is_ok() {
            return Some(told.untold.swap(0, Relaxed));
        }
        told.untold.fetch_add(1, Relaxed);
        None
    }

    /// Names the listener that would be right; where there is none, how this one is spoken to.
    fn next_step(&self, wants: Transport, shared: &Shared) -> String {
        let scheme = scheme(wants);
        match shared.doors.lock().iter().find(|(_, door)| door.transport == wants) {
            Some((_, right)) => {
                format!("let it connect to {scheme}{}, listener {}", right.address, right.name)
            }
            None => {
                let here = self::scheme(self.transport);
                format!("let it connect with {here} here, or open a listener for {scheme}")
            }
        }
    }
}

const fn words(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp | Transport::Unix => "plain MQTT",
        Transport::Tls => "MQTT over TLS",
        Transport::Ws => "WebSocket",
        Transport::Wss => "WebSocket over TLS",
    }
}

const fn scheme(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp | Transport::Unix => "mqtt://",
        Transport::Tls => "mqtts://",
        Transport::Ws => "ws://",
        Transport::Wss => "wss://",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{BrokerOptions, access::Users};

    fn shared(doors: &[(&str, Transport)]) -> Shared {
        let users = Users::new(Vec::new(), Vec::new()).unwrap();
        let shared = Shared::new(BrokerOptions::default(), Arc::new(users), None, 1);
        for (number, (address, transport)) in doors.iter().enumerate() {
            let door = Door::new(transport.name(), (*address).to_owned(), *transport);
            shared.doors.lock().push((number as u64, Arc::new(door)));
        }
        shared
    }

    #[test]
    fn the_listener_that_would_be_right_is_named() {
        use Transport as T;
        let shared = shared(&[("h:1", T::Tcp), ("h:2", T::Tls), ("h:3", T::Ws)]);
        let (tls, http) = (&[0x16, 3, 1, 0, 0][..], &b"GET / HTTP/1.1"[..]);
        let mqtt = &[CONNECT, 12, 0, 4, b'M'][..];
        for (door, layer, first, expected) in [
            (T::Tcp, Layer::Nothing, tls, "let it connect to mqtts://h:2, listener tls"),
            (T::Tcp, Layer::Nothing, http, "let it connect to ws://h:3, listener ws"),
            (T::Tls, Layer::Nothing, mqtt, "let it connect to mqtt://h:1, listener tcp"),
            (T::Tls, Layer::Nothing, http, "let it connect to ws://h:3, listener ws"),
            (T::Tls, Layer::Tls, http, "let it connect with mqtts:// here, or open a listener for wss://"),
            (T::Ws, Layer::Nothing, tls, "let it connect with ws:// here, or open a listener for wss://"),
            (T::Ws, Layer::Nothing, mqtt, "let it connect to mqtt://h:1, listener tcp"),
            (T::Wss, Layer::Tls, mqtt, "let it connect to mqtts://h:2, listener tls"),
        ] {
            let mistake = Mistake::of(FirstBytes::of(first)).unwrap();
            let wants = mistake.wants(door, layer);
            let door = Door::new("d", "h:9".to_owned(), door);
            assert_eq!(door.next_step(wants, &shared), expected, "{mistake:?} on {door:?}");
        }
        assert_eq!(Mistake::of(FirstBytes::of(b"SSH-2.0")), None);
    }

    #[test]
    fn a_kind_is_told_once_a_minute_with_how_many_came_meanwhile() {
        let door = Door::new("d", "h:9".to_owned(), Transport::Tcp);
        assert_eq!(door.may_tell(Mistake::Tls, 5), Some(0));
        for _ in 0..3 {
            assert_eq!(door.may_tell(Mistake::Tls, PAUSE_MS), None);
        }
        assert_eq!(door.may_tell(Mistake::Http, PAUSE_MS), Some(0), "each kind by itself");
        assert_eq!(door.may_tell(Mistake::Tls, PAUSE_MS + 5), Some(3));
        assert_eq!(door.may_tell(Mistake::Tls, 3 * PAUSE_MS), Some(0));
    }
}
