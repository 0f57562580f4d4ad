//! What may be done at run time on connectors that run.

use std::time::Duration;

use crosspoint_protocol::packet::{SubscribedFilter, UserProperties};
use crosspoint_protocol::{Message, ReasonCode, TopicFilter, TopicName};
use serde_json::json;

use super::desk::{Desk, Ended, Teller, refused};
use super::request::{Answer, encode_message};
use crate::actions::{ActionError, Place, Question, Subscribed};

impl Desk {
    /// Publishes past the outbox, and tells what the broker said to each message.
    pub(super) async fn publish_now(
        &self,
        teller: &Teller,
        name: String,
        messages: Vec<Message>,
        within: Duration,
    ) -> Ended {
        let place = Place::Connector(name);
        let outcomes = self.actions().publish_all(&place, messages, within).await;
        let outcomes = outcomes.map_err(|error| failed(&error))?;
        let mut count = 0;
        for outcome in outcomes {
            count += u64::from(outcome.is_ok());
            let row = match outcome {
                Ok(reason) => json!({"reason": reason.byte(), "said": reason.to_string()}),
                Err(error) => json!({"refused": error.to_string(), "mend": error.mend()}),
            };
            teller.row(row).await?;
        }
        Ok(count)
    }

    /// Tells what the broker said to each filter, then each message.
    pub(super) async fn subscribe(
        &self,
        teller: &Teller,
        name: String,
        filters: Vec<SubscribedFilter>,
        user_properties: UserProperties,
        within: Duration,
    ) -> Ended {
        let _permit = self.may_listen().ok_or_else(too_many)?;
        let place = Place::Connector(name);
        let subscribed = self.actions().subscribe(&place, filters, user_properties, within).await;
        let subscribed = subscribed.map_err(|error| failed(&error))?;
        let reasons: Vec<u8> = subscribed.reasons().iter().map(|reason: &ReasonCode| reason.byte()).collect();
        let before: Vec<&str> = subscribed.subscribed_before().iter().map(TopicFilter::as_str).collect();
        let row = json!({"reasons": reasons, "subscribed_before": before, "apart": subscribed.apart()});
        teller.row(row).await?;
        tell_what_comes(teller, subscribed).await
    }

    /// Tells where answers are awaited and what the broker said to the question, then each answer.
    pub(super) async fn ask(
        &self,
        teller: &Teller,
        name: String,
        message: &Message,
        response_topic: Option<TopicName>,
        within: Duration,
    ) -> Ended {
        let _permit = self.may_listen().ok_or_else(too_many)?;
        let Some(question) = Question::of_message(message, response_topic, self.now()) else {
            return Err(refused("the question has no topic", "name one"));
        };
        let asked = self.actions().ask(&Place::Connector(name), &question, within).await;
        let (subscribed, reason) = asked.map_err(|error| failed(&error))?;
        let answers_on = subscribed.answers_on().map(TopicFilter::as_str);
        let row = json!({"answers_on": answers_on, "reason": reason.byte(), "apart": subscribed.apart()});
        teller.row(row).await?;
        tell_what_comes(teller, subscribed).await
    }
}

/// Tells each message, acknowledged when it is on its way to the caller, and how many were left out.
async fn tell_what_comes(teller: &Teller, mut subscribed: Subscribed) -> Ended {
    let mut count = 0;
    while let Some(arrived) = subscribed.next().await {
        let missed = subscribed.take_missed();
        if missed > 0 {
            teller.row(json!({"missed": missed})).await?;
        }
        let packet_id = arrived.packet_id.map_or(0, |id| id.value());
        teller.row(json!({"message": encode_message(&arrived.message), "packet_id": packet_id})).await?;
        arrived.accept();
        count += 1;
    }
    Ok(count)
}

pub(super) fn too_many() -> Answer {
    refused("too many listen already", "end one of them")
}

pub(super) fn failed(error: &ActionError) -> Answer {
    match error {
        ActionError::NoSuchConnector { .. } | ActionError::NoSuchKept { .. } => {
            Answer::NotThere { cause: error.to_string(), mend: error.mend() }
        }
        _ => refused(error.to_string(), error.mend()),
    }
}
