//! From CONNECT to an open session: who is it, may it come in, whose session does it get.

use std::{
    future::Future,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
};

use bytes::Bytes;
use bytestring::ByteString;
use crosspoint_net::{Peer, PeerAddress};
use crosspoint_protocol::{
    ReasonCode,
    limits::PACKET_BYTES_MAX,
    packet::{AuthProperties, ConnAckProperties, Connect},
    scram::METHOD,
};

use crate::{
    access::{Identity, LoginRequest, Permissions, Refusal, ScramExchange},
    is_reserved,
    listener::{Durability, Entrance},
    mailbox::Receiver,
    sessions::{OpenSession, Opened},
    shared::Shared,
    will::Testament,
};

/// The decision on one CONNECT, or on the answer to a challenge, while it is being made.
pub(crate) struct Admission(Pin<Box<dyn Future<Output = Result<Verdict, Refused>> + Send>>);

/// What is decided on a client that is not refused.
pub(crate) enum Verdict {
    Admitted(Box<Admitted>),
    Challenged(Box<Challenged>),
}

/// A client that is let in.
pub(crate) struct Admitted {
    pub(crate) opened: Opened,
    pub(crate) permissions: Arc<Permissions>,
    pub(crate) will: Option<Arc<Testament>>,
    pub(crate) session_expiry_s: u32,
    pub(crate) is_bridge: bool,
    pub(crate) properties: Box<ConnAckProperties>,
}

/// A client that is to answer a challenge.
pub(crate) struct Challenged {
    asked: Asked,
    exchange: ScramExchange,
}

/// A client that is not let in.
pub(crate) struct Refused {
    pub(crate) reason: ReasonCode,
    pub(crate) properties: Box<ConnAckProperties>,
    pub(crate) client_id: ByteString,
}

/// What a client asks for.
struct Asked {
    shared: Arc<Shared>,
    connect: Box<Connect>,
    login: LoginRequest,
    properties: Box<ConnAckProperties>,
    is_kept: bool,
}

impl Admission {
    pub(crate) fn begin(
        shared: Arc<Shared>,
        connect: Box<Connect>,
        peer: &Peer,
        entrance: &Entrance,
    ) -> Self {
        let mut properties = Box::new(ConnAckProperties::default());
        let mut login = LoginRequest::new(choose_client_id(&connect, &mut properties));
        login.username = connect.login.username.clone();
        login.password = connect.login.password.clone();
        login.anonymous_allowed = entrance.anonymous.load(Relaxed);
        login.peer = ip_of(peer);
        let is_kept = entrance.durability != Durability::Memory;
        let asked = Asked { shared, connect, login, properties, is_kept };
        Self(Box::pin(async {
            match &asked.connect.properties.authentication_method {
                None => asked.by_password().await,
                Some(method) if method == METHOD => asked.challenge(),
                Some(_) => Err(asked.refuse(Refusal::BadAuthenticationMethod)),
            }
        }))
    }
}

impl Future for Admission {
    type Output = Result<Verdict, Refused>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl Challenged {
    pub(crate) fn challenge(&self) -> AuthProperties {
        AuthProperties { data: Some(self.exchange.challenge()), ..AuthProperties::default() }
    }

    /// Decides on the client's answer.
    pub(crate) fn answered(self, answer: Bytes) -> Admission {
        Admission(Box::pin(self.asked.by_scram(self.exchange, answer)))
    }
}

/// Returns the network address of a peer, if it has one.
pub(crate) fn ip_of(peer: &Peer) -> Option<IpAddr> {
    match peer.address() {
        PeerAddress::Ip(address) => Some(address.ip()),
        PeerAddress::Unix => None,
    }
}

impl Asked {
    async fn by_password(self) -> Result<Verdict, Refused> {
        match self.shared.access.authenticate(self.login.clone()).await {
            Ok(identity) => self.let_in(identity).await,
            Err(refusal) => Err(self.refuse(refusal)),
        }
    }

    fn challenge(self) -> Result<Verdict, Refused> {
        let first = self.connect.properties.authentication_data.as_deref().unwrap_or_default();
        match self.shared.access.begin_scram(first) {
            Ok(exchange) => Ok(Verdict::Challenged(Box::new(Challenged { asked: self, exchange }))),
            Err(refusal) => Err(self.refuse(refusal)),
        }
    }

    async fn by_scram(mut self, exchange: ScramExchange, answer: Bytes) -> Result<Verdict, Refused> {
        match self.shared.access.end_scram(exchange, answer, self.login.clone()).await {
            Ok(proven) => {
                self.properties.authentication_data = Some(proven.shown);
                self.let_in(proven.identity).await
            }
            Err(refusal) => Err(self.refuse(refusal)),
        }
    }

    fn refuse(&self, refusal: Refusal) -> Refused {
        let why = match refusal {
            Refusal::BadAuthenticationMethod => {
                "this method of enhanced authentication is not offered; SCRAM-SHA-256 is, where users have it"
            }
            Refusal::Scram(_) => "the exchange of SCRAM-SHA-256 is wrong in itself",
            _ => "user name and password do not let this client in",
        };
        self.refused(refusal.reason_code(), why)
    }

    fn refused(&self, reason: ReasonCode, why: &'static str) -> Refused {
        let properties =
            ConnAckProperties { reason_string: Some(why.into()), ..ConnAckProperties::default() };
        Refused { reason, properties: Box::new(properties), client_id: self.login.client_id.clone() }
    }

    /// Opens the session of a client that has shown who it is.
    async fn let_in(mut self, identity: Identity) -> Result<Verdict, Refused> {
        let (shared, connect) = (&self.shared, &self.connect);
        let may_publish = |topic: &str| !is_reserved(topic) && identity.permissions.may_publish(topic);
        if connect.will.as_ref().is_some_and(|will| !may_publish(will.topic.as_str())) {
            let why = "this client may not publish to the topic of its will";
            return Err(self.refused(ReasonCode::NotAuthorized, why));
        }
        let session_expiry_s =
            choose_expiry(connect, shared.options.session_expiry_max_s, &mut self.properties);
        let will = connect.will.as_ref().map(|will| Arc::new(Testament::of(will)));
        let open = OpenSession {
            client_id: self.login.client_id.clone(),
            username: identity.username,
            clean_start: connect.clean_start,
            receiver: receiver_of(connect),
            expiry_s: session_expiry_s,
            will: will.clone(),
            is_kept: self.is_kept,
        };
        let opened = shared.open_session(open).await.map_err(|reason| self.not_opened(reason))?;
        // Users may have changed while this client was being let in, and before its session could be found.
        let mut permissions = identity.permissions;
        if permissions.generation() != shared.access.generation() {
            let session = &opened.session;
            if let Some(now) = shared.access.permissions_for(session.username.as_deref(), &session.client_id)
            {
                permissions = now;
            }
        }
        let is_bridge = connect.is_bridge;
        let properties = self.properties;
        Ok(Verdict::Admitted(Box::new(Admitted {
            opened,
            permissions,
            will,
            session_expiry_s,
            is_bridge,
            properties,
        })))
    }

    fn not_opened(&self, reason: ReasonCode) -> Refused {
        let why = match reason {
            ReasonCode::QuotaExceeded => "the disk is full",
            ReasonCode::ServerUnavailable => "the store has failed",
            _ => "another client with this identifier is connected, as another user or without end",
        };
        self.refused(reason, why)
    }
}

fn choose_client_id(connect: &Connect, properties: &mut ConnAckProperties) -> ByteString {
    if !connect.client_id.is_empty() {
        return connect.client_id.clone();
    }
    let made_up: ByteString = format!("auto-{:016x}{:08x}", fastrand::u64(..), fastrand::u32(..)).into();
    properties.assigned_client_id = Some(made_up.clone());
    made_up
}

/// Returns how long the session outlives the connection. MQTT 5 asks for it; before, a session is for ever or not.
fn choose_expiry(connect: &Connect, max_s: u32, properties: &mut ConnAckProperties) -> u32 {
    if !connect.version.is_v5() {
        return if connect.clean_start { 0 } else { max_s };
    }
    let asked_s = connect.properties.session_expiry_s.unwrap_or(0);
    if asked_s > max_s {
        properties.session_expiry_s = Some(max_s);
    }
    asked_s.min(max_s)
}

fn receiver_of(connect: &Connect) -> Receiver {
    let max = connect.properties.maximum_packet_bytes.map_or(PACKET_BYTES_MAX, |bytes| bytes as usize);
    Receiver { version: connect.version, packet_bytes_max: max, is_local: false }
}
