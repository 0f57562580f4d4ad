//! SCRAM on a connection of the doctor, between CONNECT and CONNACK.

use crosspoint_client::ScramFault;
use crosspoint_protocol::ReasonCode;
use crosspoint_protocol::packet::{Auth, AuthProperties, ConnAck, Packet};
use crosspoint_protocol::scram::{ClientExchange, METHOD, ServerProof};

/// Where the exchange stands that CONNECT began, if it began one.
pub(super) enum Login {
    ByPassword,
    /// The broker's challenge is awaited.
    Asked(ClientExchange),
    /// The broker is to show this.
    Answered(ServerProof),
    /// It went wrong.
    Failed,
}

impl Login {
    pub(super) fn of(scram: Option<ClientExchange>) -> Self {
        scram.map_or(Self::ByPassword, Self::Asked)
    }

    pub(super) const fn awaits_challenge(&self) -> bool {
        matches!(self, Self::Asked(_))
    }

    /// Answers the broker's challenge. The password is hashed on a thread for blocking work.
    pub(super) async fn answer(&mut self, auth: &Auth) -> Result<Packet, ScramFault> {
        let Self::Asked(exchange) = std::mem::replace(self, Self::Failed) else {
            return Err(ScramFault::Malformed("there is one challenge too many"));
        };
        let challenged = exchange.challenged(auth.properties.data.as_deref().unwrap_or_default())?;
        let hashed = tokio::task::spawn_blocking(move || challenged.answer()).await;
        let (last, proof) =
            hashed.unwrap_or(Err(ScramFault::Malformed("the password could not be hashed")))?;
        *self = Self::Answered(proof);
        let properties = AuthProperties {
            method: Some(METHOD.into()),
            data: Some(last.into()),
            ..AuthProperties::default()
        };
        Ok(Packet::Auth(Box::new(Auth { reason: ReasonCode::ContinueAuthentication, properties })))
    }

    /// Checks that a broker which lets us in has proven itself, where it has to.
    pub(super) fn check(&self, connack: &ConnAck) -> Result<(), ScramFault> {
        let shown = connack.properties.authentication_data.as_deref().unwrap_or_default();
        match self {
            Self::ByPassword => Ok(()),
            Self::Answered(proof) if proof.is_shown_by(shown) => Ok(()),
            _ => Err(ScramFault::ServerUnproven),
        }
    }
}
