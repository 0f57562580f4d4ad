//! AUTH: the answer of a client that is not in yet, and a client that proves anew who it is.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use crosspoint_net::FirstBytes;
use crosspoint_protocol::{
    ReasonCode,
    packet::{Auth, AuthProperties},
};
use tracing::{debug, info};

use super::{Connection, Stage};
use crate::{
    access::{LoginRequest, Proven, Refusal, ScramExchange},
    admission::ip_of,
};

/// A client that is in and authenticates again. Until it has, it stays who it is.
pub(super) enum Reauthentication {
    /// The answer to our challenge is awaited.
    Challenged(ScramExchange),
    /// The answer is being checked.
    Proving(Pin<Box<dyn Future<Output = Result<Proven, Refusal>> + Send>>),
}

impl Connection {
    pub(super) fn on_auth(&mut self, auth: Auth) {
        let data = auth.properties.data.unwrap_or_default();
        match std::mem::replace(&mut self.stage, Stage::Greeting { bytes: 0, first: FirstBytes::default() }) {
            Stage::Challenged { challenged, .. } => {
                self.stage = Stage::Admitting(challenged.answered(data));
            }
            stage => {
                self.stage = stage;
                match self.reauthentication.take().map(|again| *again) {
                    Some(Reauthentication::Challenged(exchange)) => self.check_again(exchange, data),
                    // The core lets nothing through while an answer is being checked.
                    Some(Reauthentication::Proving(_)) | None => self.challenge_again(&data),
                }
            }
        }
    }

    fn challenge_again(&mut self, first: &[u8]) {
        let Stage::Open(member) = &self.stage else { return };
        match self.shared.access.begin_scram(first) {
            // The session is its user's: nobody else takes it over like this.
            Ok(exchange) if Some(exchange.username()) == member.session.username.as_ref() => {
                let data = Some(exchange.challenge());
                self.core.challenge(AuthProperties { data, ..AuthProperties::default() });
                self.reauthentication = Some(Box::new(Reauthentication::Challenged(exchange)));
            }
            Ok(_) => self.refuse_again(&"it gave another user name"),
            Err(refusal) => self.refuse_again(&refusal),
        }
    }

    fn check_again(&mut self, exchange: ScramExchange, answer: bytes::Bytes) {
        let Stage::Open(member) = &self.stage else { return };
        let mut login = LoginRequest::new(member.session.client_id.clone());
        login.peer = ip_of(self.stream.peer());
        let shared = self.shared.clone();
        let proving = async move { shared.access.end_scram(exchange, answer, login).await };
        self.reauthentication = Some(Box::new(Reauthentication::Proving(Box::pin(proving))));
    }

    /// Tells the client that it is who it says, or ends its connection, once that is decided; tells whether it has been
    /// now.
    pub(super) fn poll_reauthentication(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(Reauthentication::Proving(proving)) = self.reauthentication.as_deref_mut() else {
            return false;
        };
        let Poll::Ready(result) = proving.as_mut().poll(cx) else { return false };
        self.reauthentication = None;
        let Stage::Open(member) = &mut self.stage else { return false };
        match result {
            Ok(Proven { identity, shown }) => {
                debug!(client_id = %member.session.client_id, "A client authenticated again.");
                member.permissions = identity.permissions;
                self.core.reauthenticated(AuthProperties { data: Some(shown), ..AuthProperties::default() });
            }
            Err(refusal) => self.refuse_again(&refusal),
        }
        true
    }

    fn refuse_again(&mut self, why: &dyn std::fmt::Display) {
        if let Stage::Open(member) = &self.stage {
            info!(client_id = %member.session.client_id, %why, "A client could not authenticate again.");
        }
        self.core.disconnect(ReasonCode::NotAuthorized);
    }
}
