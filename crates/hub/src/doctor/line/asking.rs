//! What the doctor asks of a broker, and waits for the answer to.

use std::time::Duration;

use bytes::Bytes;
use crosspoint_protocol::packet::{
    Ack, Packet, Publish, PublishProperties, Subscribe, SubscribeProperties, SubscribedFilter,
    SubscriptionOptions, Unsubscribe,
};
use crosspoint_protocol::{QoS, ReasonCode, TopicFilter, TopicName};
use tokio::time::Instant;

use super::{Line, Lost, Stop};

/// Whether a message is published to be retained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::doctor) enum Retain {
    /// It is.
    Yes,
    /// It is not.
    No,
}

impl Line {
    /// Subscribes, and returns what the broker says.
    pub(in crate::doctor) async fn subscribe(
        &mut self,
        filter: &TopicFilter,
        options: SubscriptionOptions,
        subscription_id: Option<u32>,
    ) -> Result<ReasonCode, Lost> {
        let packet_id = self.packet_id();
        let filters = vec![SubscribedFilter { filter: filter.clone(), options }];
        let properties = SubscribeProperties { subscription_id, ..SubscribeProperties::default() };
        self.send(&Packet::Subscribe(Box::new(Subscribe { packet_id, filters, properties }))).await?;
        let until = Instant::now() + self.patience;
        let reason = self.answer(until, |packet| match packet {
            Packet::SubAck(ack) if ack.packet_id == packet_id => ack.reasons.first().copied(),
            _ => None,
        });
        reason.await?.ok_or(Lost::TimedOut("SUBACK"))
    }

    /// Unsubscribes.
    pub(in crate::doctor) async fn unsubscribe(&mut self, filter: &TopicFilter) -> Result<(), Lost> {
        let packet_id = self.packet_id();
        let (filters, user_properties) = (vec![filter.clone()], Vec::new());
        self.send(&Packet::Unsubscribe(Box::new(Unsubscribe { packet_id, filters, user_properties })))
            .await?;
        let until = Instant::now() + self.patience;
        let answer = self.answer(until, |packet| match packet {
            Packet::UnsubAck(ack) if ack.packet_id == packet_id => Some(()),
            _ => None,
        });
        answer.await?.ok_or(Lost::TimedOut("UNSUBACK"))
    }

    /// Publishes, and returns what the broker says; at QoS 0 it says nothing, and that is "success".
    pub(in crate::doctor) async fn publish(
        &mut self,
        topic: &TopicName,
        payload: impl Into<Bytes>,
        qos: QoS,
        retain: Retain,
    ) -> Result<ReasonCode, Lost> {
        let packet_id = (qos != QoS::AtMostOnce).then(|| self.packet_id());
        let publish = Publish {
            topic: Some(topic.clone()),
            payload: payload.into(),
            properties: PublishProperties::default(),
            packet_id,
            qos,
            dup: false,
            retain: retain == Retain::Yes,
        };
        self.publish_packet(publish).await
    }

    /// Sends a PUBLISH as it is, and finishes its exchange.
    pub(in crate::doctor) async fn publish_packet(&mut self, publish: Publish) -> Result<ReasonCode, Lost> {
        let Some(packet_id) = publish.packet_id else {
            self.send(&Packet::Publish(publish)).await?;
            return Ok(ReasonCode::Success);
        };
        self.send(&Packet::Publish(publish)).await?;
        let until = Instant::now() + self.patience;
        let first = self.answer(until, |packet| match packet {
            Packet::PubAck(ack) if ack.packet_id == packet_id => Some((ack.reason, true)),
            Packet::PubRec(ack) if ack.packet_id == packet_id => Some((ack.reason, ack.reason.is_error())),
            _ => None,
        });
        let (reason, is_over) = first.await?.ok_or(Lost::TimedOut("PUBACK or PUBREC"))?;
        if !is_over {
            self.send(&Packet::PubRel(Ack::new(packet_id, ReasonCode::Success))).await?;
            let last = self.answer(until, |packet| match packet {
                Packet::PubComp(ack) if ack.packet_id == packet_id => Some(()),
                _ => None,
            });
            last.await?.ok_or(Lost::TimedOut("PUBCOMP"))?;
        }
        Ok(reason)
    }

    /// Publishes many messages at QoS 1, `window` of them unacknowledged, and returns how many the broker took.
    pub(in crate::doctor) async fn publish_many(
        &mut self,
        publishes: impl Iterator<Item = (TopicName, Bytes)>,
        retain: Retain,
        window: u16,
    ) -> Result<usize, Lost> {
        let (mut sent, mut taken, mut answered) = (0_usize, 0, 0);
        let mut publishes = publishes.fuse();
        loop {
            let next = if sent - answered < usize::from(window) { publishes.next() } else { None };
            match next {
                Some((topic, payload)) => {
                    let publish = Publish {
                        topic: Some(topic),
                        payload,
                        properties: PublishProperties::default(),
                        packet_id: Some(self.packet_id()),
                        qos: QoS::AtLeastOnce,
                        dup: false,
                        retain: retain == Retain::Yes,
                    };
                    self.send(&Packet::Publish(publish)).await?;
                    sent += 1;
                }
                None if answered == sent => return Ok(taken),
                None => {
                    let until = Instant::now() + self.patience;
                    let reason = self.answer(until, |packet| match packet {
                        Packet::PubAck(ack) => Some(ack.reason),
                        _ => None,
                    });
                    let reason = reason.await?.ok_or(Lost::TimedOut("PUBACK"))?;
                    answered += 1;
                    taken += usize::from(!reason.is_error());
                }
            }
        }
    }

    /// Asks for a sign of life, and returns how long it took.
    pub(in crate::doctor) async fn ping(&mut self) -> Result<Duration, Lost> {
        let start = Instant::now();
        self.send(&Packet::PingReq).await?;
        let until = start + self.patience;
        let answer = self.answer(until, |packet| matches!(packet, Packet::PingResp).then_some(()));
        answer.await?.ok_or(Lost::TimedOut("PINGRESP"))?;
        Ok(start.elapsed())
    }

    /// Returns the next message, or `None` when none comes until then.
    pub(in crate::doctor) async fn message(&mut self, until: Instant) -> Result<Option<Publish>, Lost> {
        loop {
            if let Some(message) = self.messages.pop_front() {
                return Ok(Some(message));
            }
            if self.turn(until, Stop::AtMessage).await?.is_none() && Instant::now() >= until {
                return Ok(self.messages.pop_front());
            }
        }
    }

    /// Returns the next message that fits, or `None` when none comes until then; others are dropped.
    pub(in crate::doctor) async fn message_that(
        &mut self,
        until: Instant,
        fits: impl Fn(&Publish) -> bool,
    ) -> Result<Option<Publish>, Lost> {
        while let Some(message) = self.message(until).await? {
            if fits(&message) {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }
}
