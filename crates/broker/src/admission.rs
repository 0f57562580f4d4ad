//! From CONNECT to an open session: who is it, may it come in, whose session does it get.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
};

use bytestring::ByteString;
use crosspoint_net::{Peer, PeerAddress};
use crosspoint_protocol::{
    ReasonCode,
    limits::PACKET_BYTES_MAX,
    packet::{ConnAckProperties, Connect},
};

use crate::{
    access::{LoginRequest, Permissions},
    is_reserved,
    listener::{Durability, Entrance},
    mailbox::Receiver,
    sessions::{OpenSession, Opened},
    shared::Shared,
    will::Testament,
};

/// The decision on one CONNECT, while it is being made.
pub(crate) struct Admission(Pin<Box<dyn Future<Output = Result<Admitted, Refused>> + Send>>);

/// A client that is let in.
pub(crate) struct Admitted {
    pub(crate) opened: Opened,
    pub(crate) permissions: Arc<Permissions>,
    pub(crate) will: Option<Arc<Testament>>,
    pub(crate) session_expiry_s: u32,
    pub(crate) is_bridge: bool,
    pub(crate) properties: Box<ConnAckProperties>,
}

/// A client that is not let in.
pub(crate) struct Refused {
    pub(crate) reason: ReasonCode,
    pub(crate) properties: Box<ConnAckProperties>,
    pub(crate) client_id: ByteString,
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
        login.peer = match peer.address() {
            PeerAddress::Ip(address) => Some(address.ip()),
            PeerAddress::Unix => None,
        };
        let is_kept = entrance.durability != Durability::Memory;
        Self(Box::pin(decide(shared, connect, login, properties, is_kept)))
    }
}

impl Future for Admission {
    type Output = Result<Admitted, Refused>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

async fn decide(
    shared: Arc<Shared>,
    connect: Box<Connect>,
    login: LoginRequest,
    mut properties: Box<ConnAckProperties>,
    is_kept: bool,
) -> Result<Admitted, Refused> {
    let client_id = login.client_id.clone();
    let refuse = |reason: ReasonCode, why: &'static str| {
        let properties =
            ConnAckProperties { reason_string: Some(why.into()), ..ConnAckProperties::default() };
        Refused { reason, properties: Box::new(properties), client_id: client_id.clone() }
    };
    if connect.properties.authentication_method.is_some() {
        return Err(refuse(
            ReasonCode::BadAuthenticationMethod,
            "no method of enhanced authentication is offered",
        ));
    }
    let identity = shared.access.authenticate(login).await.map_err(|refusal| {
        refuse(refusal.reason_code(), "user name and password do not let this client in")
    })?;
    let may_publish = |topic: &str| !is_reserved(topic) && identity.permissions.may_publish(topic);
    if connect.will.as_ref().is_some_and(|will| !may_publish(will.topic.as_str())) {
        return Err(refuse(
            ReasonCode::NotAuthorized,
            "this client may not publish to the topic of its will",
        ));
    }
    let session_expiry_s = choose_expiry(&connect, shared.options.session_expiry_max_s, &mut properties);
    let will = connect.will.as_ref().map(|will| Arc::new(Testament::of(will)));
    let open = OpenSession {
        client_id: client_id.clone(),
        username: identity.username,
        clean_start: connect.clean_start,
        receiver: receiver_of(&connect),
        expiry_s: session_expiry_s,
        will: will.clone(),
        is_kept,
    };
    let opened = shared.open_session(open).await.map_err(|reason| match reason {
        ReasonCode::QuotaExceeded => refuse(reason, "the disk is full"),
        ReasonCode::ServerUnavailable => refuse(reason, "the store has failed"),
        _ => {
            refuse(reason, "another client with this identifier is connected, as another user or without end")
        }
    })?;
    // Users may have changed while this client was being let in, and before its session could be found.
    let mut permissions = identity.permissions;
    if permissions.generation() != shared.access.generation() {
        let session = &opened.session;
        if let Some(now) = shared.access.permissions_for(session.username.as_deref(), &session.client_id) {
            permissions = now;
        }
    }
    Ok(Admitted { opened, permissions, will, session_expiry_s, is_bridge: connect.is_bridge, properties })
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
