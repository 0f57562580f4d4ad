//! What may be done at run time on connectors that run.

use std::time::Duration;

use crosspoint_protocol::packet::SubscribedFilter;
use crosspoint_protocol::{Message, ReasonCode};
use serde_json::json;

use super::desk::{Desk, Ended, Teller, refused};
use super::request::{Answer, encode_message};
use crate::actions::{ActionError, Place};

impl Desk {
    /// Publishes past the outbox, and tells what the broker said.
    pub(super) async fn publish_now(
        &self,
        teller: &Teller,
        name: String,
        message: Message,
        within: Duration,
    ) -> Ended {
        let place = Place::Connector(name);
        let reason = self.actions().publish(&place, message, within).await.map_err(|error| failed(&error))?;
        teller.row(json!({"reason": reason.byte(), "said": reason.to_string()})).await?;
        Ok(1)
    }

    /// Tells what the broker said to each filter, then each message, acknowledged when it is on its way to the caller.
    pub(super) async fn subscribe(
        &self,
        teller: &Teller,
        name: String,
        filters: Vec<SubscribedFilter>,
        within: Duration,
    ) -> Ended {
        let Some(_permit) = self.may_listen() else {
            return Err(refused("too many listen already", "end one of them"));
        };
        let place = Place::Connector(name);
        let subscribed = self.actions().subscribe(&place, filters, within).await;
        let mut subscribed = subscribed.map_err(|error| failed(&error))?;
        let reasons: Vec<u8> = subscribed.reasons().iter().map(|reason: &ReasonCode| reason.byte()).collect();
        teller.row(json!({"reasons": reasons})).await?;
        let mut count = 0;
        while let Some(arrived) = subscribed.next().await {
            let packet_id = arrived.packet_id.map_or(0, |id| id.value());
            teller.row(json!({"message": encode_message(&arrived.message), "packet_id": packet_id})).await?;
            arrived.accept();
            count += 1;
        }
        Ok(count)
    }
}

fn failed(error: &ActionError) -> Answer {
    match error {
        ActionError::NoSuchConnector { .. } => {
            Answer::NotThere { cause: error.to_string(), mend: error.mend() }
        }
        _ => refused(error.to_string(), error.mend()),
    }
}
