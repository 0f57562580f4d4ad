//! Is there life on the topics that the flows wait for, and if not, on which ones nearly the same?

use std::collections::BTreeSet;
use std::time::Duration;

use crosspoint_protocol::packet::SubscriptionOptions;
use crosspoint_protocol::{QoS, TopicFilter};
use tokio::time::Instant;

use super::admit::Admitted;
use super::line::{Line, Lost};
use super::near_miss::{Miss, near_miss, neighbours};
use super::report::{Chart, Stage};
use super::{Listened, Visit};
use crate::diagnosis::{Diagnosis, Fault};

/// How many topics are remembered while everything is listened to.
const TOPICS_MAX: usize = 10_000;

/// How many neighbours are named.
const NEIGHBOURS_SHOWN: usize = 3;

impl Visit<'_> {
    /// Listens to what the flows subscribe to, and to everything where they hear nothing.
    pub(super) async fn topics(&self, chart: &mut Chart<'_>, admitted: &mut Admitted) {
        let listened = self.listened();
        if listened.is_empty() {
            return;
        }
        match self.listen(&mut admitted.line, &listened).await {
            Ok((seen, diagnoses)) => chart.warned(Stage::Topics, seen, diagnoses),
            Err(lost) => {
                chart.found(Stage::Topics, Err(lost.into_diagnosis(&self.patient.mqtt)));
            }
        }
    }

    fn listened(&self) -> Vec<Listened> {
        let asked = self.order.listen.iter().map(|filter| Listened { filter: filter.clone(), flow: None });
        self.patient.listened.iter().cloned().chain(asked).collect()
    }

    async fn listen(&self, line: &mut Line, listened: &[Listened]) -> Result<(String, Vec<Diagnosis>), Lost> {
        let mut diagnoses = Vec::new();
        let mut waiting = Vec::new();
        for one in listened {
            let filter = unshared(&one.filter);
            let reason = line.subscribe(&filter, SubscriptionOptions::default(), None).await?;
            match reason.is_error() {
                true => diagnoses.push(crate::diagnosis::of_subscribe(one.filter.as_str(), reason)),
                false => waiting.push((one, filter)),
            }
        }
        let subscribed = waiting.len();
        let until = Instant::now() + self.order.listen_for;
        while !waiting.is_empty()
            && let Some(message) = line.message(until).await?
        {
            let topic = message.topic.as_ref().map_or("", |topic| topic.as_str());
            waiting.retain(|(_, filter)| !filter.matches(topic));
        }
        let seen =
            format!("{} of {} filters have heard something", subscribed - waiting.len(), listened.len());
        if !waiting.is_empty() {
            let live = everything(line, self.order.listen_for).await?;
            diagnoses.extend(waiting.iter().map(|(one, filter)| self.silent(one, filter, &live)));
        }
        Ok((seen, diagnoses))
    }

    fn silent(&self, one: &Listened, filter: &TopicFilter, live: &BTreeSet<String>) -> Diagnosis {
        let place = match &one.flow {
            Some(flow) => format!("in the source of flow {flow}"),
            None => "instead".to_owned(),
        };
        if let Some(Miss { topic, meant, what }) = near_miss(filter, live) {
            let cause = format!("nothing on `{filter}`; `{topic}` is live: {what}");
            let next_step = format!("write `{meant}` {place}");
            return Diagnosis::new(Fault::NearMiss, cause, next_step);
        }
        let near = neighbours(filter, live, NEIGHBOURS_SHOWN);
        let seconds = self.order.listen_for.as_secs_f64();
        let cause = match near.is_empty() {
            true => format!("nothing on `{filter}` within {seconds} s"),
            false => {
                format!("nothing on `{filter}` within {seconds} s; live beside it: `{}`", near.join("`, `"))
            }
        };
        let next_step = "check the topic with whoever publishes it; it may also just be quiet now, or not be allowed to be read";
        Diagnosis::new(Fault::NothingLive, cause, next_step)
    }
}

/// Listens to everything that may be read, and returns the topics.
async fn everything(line: &mut Line, listen_for: Duration) -> Result<BTreeSet<String>, Lost> {
    let mut live = BTreeSet::new();
    let Ok(all) = TopicFilter::parse("#") else { return Ok(live) };
    let options = SubscriptionOptions { qos: QoS::AtMostOnce, ..SubscriptionOptions::default() };
    if line.subscribe(&all, options, None).await?.is_error() {
        return Ok(live);
    }
    let until = Instant::now() + listen_for;
    while live.len() < TOPICS_MAX
        && let Some(message) = line.message(until).await?
    {
        let topic = message.topic.map(|topic| topic.as_str().to_owned()).unwrap_or_default();
        if !topic.starts_with("crosspoint/doctor/") {
            live.insert(topic);
        }
    }
    line.unsubscribe(&all).await?;
    Ok(live)
}

/// Returns a filter that takes no message from a group that shares it.
fn unshared(filter: &TopicFilter) -> TopicFilter {
    TopicFilter::parse(filter.topic_part().to_owned()).unwrap_or_else(|_| filter.clone())
}
