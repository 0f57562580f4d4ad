//! Enhanced authentication: SCRAM on the way in, and again on an open connection.
//!
//! The password is hashed on a thread for blocking work, never here: a server chooses how often, and meanwhile pings
//! and messages go on.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use crosspoint_protocol::{
    Now, ReasonCode, Version,
    packet::{Auth, AuthProperties, Connect},
    scram::{ClientExchange, ScramFault, ServerProof},
};
use tokio::{
    sync::oneshot,
    task::{JoinError, JoinHandle},
};

use super::Online;
use crate::{
    Authentication, Cause, ClientOptions, Password, ReauthenticateError, begin_scram, engine::Engine,
    shared::Reauthenticated,
};

/// What came of hashing the password: our last message, and what the server is to show.
pub(in crate::engine) type Hashed = Result<Result<(String, ServerProof), ScramFault>, JoinError>;

/// An authentication that is under way.
pub(in crate::engine) struct Authenticating {
    stage: Stage,
    /// The program asked for it, on an open connection.
    again: Option<Again>,
}

enum Stage {
    /// Our first message is on its way.
    Asked(ClientExchange),
    /// A thread hashes. Left alone it ends by itself, within a second or so: the iterations have a bound.
    Hashing(JoinHandle<Result<(String, ServerProof), ScramFault>>),
    /// Our proof is on its way.
    Answered,
}

struct Again {
    password: Password,
    reply: oneshot::Sender<Reauthenticated>,
    /// Until when the server must have said yes.
    by_ms: u64,
}

impl Authenticating {
    /// Begins what CONNECT with these options begins, and puts its first message into it.
    ///
    /// # Errors
    /// User name or password cannot be used, or the system gives no randomness.
    pub(in crate::engine) fn begin(
        options: &ClientOptions,
        connect: &mut Connect,
    ) -> Result<Option<Box<Self>>, Cause> {
        if options.authentication != Authentication::ScramSha256 || connect.version != Version::V5 {
            return Ok(None);
        }
        let exchange = exchange(options, options.password.as_ref())?;
        connect.properties.authentication_data = Some(exchange.first().into());
        Ok(Some(Box::new(Self { stage: Stage::Asked(exchange), again: None })))
    }
}

fn exchange(options: &ClientOptions, password: Option<&Password>) -> Result<ClientExchange, Cause> {
    let missing = || Cause::Connect { what: "SCRAM needs a user name and a password".to_owned() };
    let (username, password) = options.username.as_deref().zip(password).ok_or_else(missing)?;
    begin_scram(username, password)
}

impl Online {
    pub(in crate::engine) const fn is_authenticating(&self) -> bool {
        self.authenticating.is_some()
    }

    pub(in crate::engine) fn poll_hash(&mut self, cx: &mut Context<'_>) -> Poll<Hashed> {
        match self.authenticating.as_mut().map(|authenticating| &mut authenticating.stage) {
            Some(Stage::Hashing(thread)) => Pin::new(thread).poll(cx),
            _ => Poll::Pending,
        }
    }

    /// Answers the server's challenge with what the hash came to.
    pub(in crate::engine) fn on_hashed(&mut self, hashed: Hashed) {
        let Some(authenticating) = &mut self.authenticating else { return };
        match hashed {
            Ok(Ok((last, proof))) => {
                authenticating.stage = Stage::Answered;
                self.core.expect_proof(proof);
                self.core.continue_auth(said(last));
            }
            Ok(Err(fault)) => self.fail_authentication(fault),
            // The hash panicked: the runtime has reported it.
            Err(_) => {
                authenticating.stage = Stage::Answered;
                self.end_for(
                    Cause::Connect { what: "the password could not be hashed".to_owned() },
                    ReasonCode::NotAuthorized,
                );
            }
        }
    }

    /// Returns until when the server must have answered what the program asked for.
    pub(super) fn authentication_due_ms(&self) -> Option<u64> {
        Some(self.authenticating.as_ref()?.again.as_ref()?.by_ms)
    }

    fn fail_authentication(&mut self, fault: ScramFault) {
        if let Some(authenticating) = &mut self.authenticating {
            authenticating.stage = Stage::Answered;
        }
        self.end_for(Cause::Scram(fault), ReasonCode::NotAuthorized);
    }

    fn on_challenge(&mut self, challenge: &[u8]) {
        let Some(authenticating) = &mut self.authenticating else { return };
        match std::mem::replace(&mut authenticating.stage, Stage::Answered) {
            Stage::Asked(exchange) => match exchange.challenged(challenge) {
                Ok(challenged) => {
                    let thread = tokio::task::spawn_blocking(move || challenged.answer());
                    authenticating.stage = Stage::Hashing(thread);
                }
                Err(fault) => self.fail_authentication(fault),
            },
            Stage::Hashing(_) | Stage::Answered => {
                self.fail_authentication(ScramFault::Malformed("there is one challenge too many"));
            }
        }
    }

    /// Tells the program that what it asked for did not come to pass, if it asked.
    pub(super) fn give_up_authentication(&mut self, cause: &Cause) {
        if let Some(again) = self.authenticating.take().and_then(|authenticating| authenticating.again) {
            // The program may not wait for it any more.
            drop(again.reply.send(Err(ReauthenticateError::Ended(Box::new(cause.clone())))));
        }
    }
}

impl Engine {
    pub(super) fn on_auth(&mut self, online: &mut Online, auth: &Auth) {
        if auth.reason == ReasonCode::Success {
            // The core has checked the server's proof.
            self.end_authentication(online);
        } else {
            online.on_challenge(auth.properties.data.as_deref().unwrap_or_default());
        }
    }

    /// Notes that the server has said yes, with a proof where one is asked for.
    pub(super) fn end_authentication(&mut self, online: &mut Online) {
        let again = online.authenticating.take().and_then(|authenticating| authenticating.again);
        if let Some(Again { password, reply, .. }) = again {
            Arc::make_mut(&mut self.options).password = Some(password);
            drop(reply.send(Ok(())));
        }
    }

    /// Begins to authenticate again, if the program has asked for it.
    pub(super) fn authenticate_again(&mut self, online: &mut Online, now: Now) {
        let Some((password, reply)) = self.asked_again.take() else { return };
        let begun = if self.options.authentication != Authentication::ScramSha256 {
            Err(ReauthenticateError::NotScram)
        } else if !online.is_open() {
            Err(ReauthenticateError::NotConnected)
        } else if online.is_authenticating() {
            Err(ReauthenticateError::Busy)
        } else {
            exchange(&self.options, Some(&password))
                .map_err(|cause| ReauthenticateError::Ended(Box::new(cause)))
        };
        match begun {
            Ok(exchange) => {
                online.core.reauthenticate(said(exchange.first()));
                let by_ms = now.monotonic_ms.saturating_add(self.options.connect_timeout_ms);
                let again = Some(Again { password, reply, by_ms });
                online.authenticating =
                    Some(Box::new(Authenticating { stage: Stage::Asked(exchange), again }));
            }
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// Ends a connection whose server does not answer an authentication.
    pub(super) fn watch_authentication(&self, online: &mut Online, now: Now) {
        if online.is_open() && online.authentication_due_ms().is_some_and(|by_ms| by_ms <= now.monotonic_ms) {
            let after_ms = self.options.connect_timeout_ms;
            online.end_for(Cause::ConnectTimeout { after_ms }, ReasonCode::ImplementationSpecificError);
        }
    }
}

fn said(message: String) -> AuthProperties {
    AuthProperties { data: Some(Bytes::from(message)), ..AuthProperties::default() }
}
