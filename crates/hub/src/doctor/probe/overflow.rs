//! More messages for a client that is away than many brokers keep.

use bytes::Bytes;
use crosspoint_protocol::QoS;

use super::super::line::Retain;
use super::ground::{Ground, payloads, subscribe};
use super::sessions::with_session;
use super::{Answer, Trouble};

/// How many messages are sent: twice what the most widespread limit allows, of few bytes each.
const MANY: usize = 2_000;

/// What became of messages that waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kept {
    /// How many the publisher was told to be accepted.
    accepted: usize,
    came: usize,
    dropped: Dropped,
}

/// Which messages were dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dropped {
    Nothing,
    Oldest,
    Newest,
    Others,
}

pub(super) async fn told(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    with_session(ground, async |client_id| {
        let (mut first, _) = ground.line_with(ground.durable(client_id)).await?;
        subscribe(&mut first, &ground.filter("overflow"), QoS::AtLeastOnce).await?;
        first.close().await;
        let topic = ground.topic("overflow");
        let mut other = ground.line().await?;
        let messages = (0..MANY).map(|number| (topic.clone(), payload(number)));
        let accepted = other.publish_many(messages, Retain::No, ground.window()).await?;
        other.close().await;
        let (mut back, _) = ground.line_with(ground.durable(client_id)).await?;
        let came = payloads(&mut back, MANY).await?;
        back.close().await;
        Ok(Kept::of(accepted, &came).answer())
    })
    .await
}

fn payload(number: usize) -> Bytes {
    format!("{number:05}").into()
}

impl Kept {
    fn of(accepted: usize, came: &[Bytes]) -> Self {
        let dropped = match (came.first(), came.last()) {
            _ if came.len() >= MANY => Dropped::Nothing,
            (Some(first), _) if is_run(came) && *first == payload(0) => Dropped::Newest,
            (_, Some(last)) if is_run(came) && *last == payload(MANY - 1) => Dropped::Oldest,
            (None, _) => Dropped::Newest,
            _ => Dropped::Others,
        };
        Self { accepted, came: came.len(), dropped }
    }

    fn answer(self) -> Answer {
        let Self { accepted, came, dropped } = self;
        let which = match dropped {
            Dropped::Nothing => return Answer::Yes(format!("all {MANY} were kept")),
            Dropped::Oldest => "the oldest are gone",
            Dropped::Newest => "the newest are gone",
            Dropped::Others => "some in between are gone",
        };
        if came >= accepted {
            let refused = MANY - accepted;
            return Answer::Yes(format!(
                "kept {came} of {MANY}, and refused {refused} by their acknowledgement"
            ));
        }
        Answer::No(format!("kept {came} of {MANY}: {which}, though {accepted} were acknowledged as accepted"))
    }
}

/// Tells whether each message is the successor of the one before.
fn is_run(came: &[Bytes]) -> bool {
    let start = came.first().and_then(|first| std::str::from_utf8(first).ok()?.parse::<usize>().ok());
    start.is_some_and(|start| came.iter().enumerate().all(|(at, message)| *message == payload(start + at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(accepted: usize, came: impl Iterator<Item = usize>) -> (bool, String) {
        let came: Vec<Bytes> = came.map(payload).collect();
        match Kept::of(accepted, &came).answer() {
            Answer::Yes(seen) => (true, seen),
            Answer::No(seen) => (false, seen),
            Answer::NotAsked(_) => panic!("it was asked"),
        }
    }

    #[test]
    fn which_messages_are_gone_is_told_and_only_a_silent_loss_counts_against_a_broker() {
        assert_eq!(seen(MANY, 0..MANY), (true, "all 2000 were kept".to_owned()));
        let (holds, newest) = seen(MANY, 0..1_000);
        assert!(!holds && newest.starts_with("kept 1000 of 2000: the newest are gone"), "{newest}");
        let (holds, oldest) = seen(MANY, 1_500..MANY);
        assert!(!holds && oldest.starts_with("kept 500 of 2000: the oldest are gone"), "{oldest}");
        let (holds, others) = seen(MANY, (0..MANY).filter(|number| number % 7 != 3));
        assert!(!holds && others.contains("some in between"), "{others}");
        let (holds, refused) = seen(1_000, 0..1_000);
        assert!(holds && refused.ends_with("refused 1000 by their acknowledgement"), "{refused}");
        assert!(!seen(MANY, std::iter::empty()).0, "nothing came at all");
    }
}
