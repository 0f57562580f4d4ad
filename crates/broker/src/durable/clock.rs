//! Table 7: what the wall clock said last, so that a start notices a clock that has lost the time.
//!
//! ```text
//! form u8 │ ms of the wall clock u64
//! ```

use bytes::Bytes;
use crosspoint_protocol::{Message, Now, message::MessageParts};
use crosspoint_store::{Batch, Store};

use super::{
    CLOCK,
    fields::{self, FORM},
};

/// No broker is taken to have been away for longer; a clock that says so has jumped. 400 days.
const AWAY_MS_MAX: u64 = 400 * 24 * 3_600 * 1_000;

/// How old what the store says may be, while there is something to commit.
const STAMP_INTERVAL_MS: u64 = 60_000;

const KEY: Bytes = Bytes::from_static(b"wall");

/// Returns how much later than `at_wall_ms` it is, or `None` if nobody can know.
pub(super) fn elapsed_ms(at_wall_ms: u64, now: Now) -> Option<u64> {
    now.wall_ms.checked_sub(at_wall_ms).filter(|elapsed| *elapsed <= AWAY_MS_MAX)
}

/// Returns how far the clock has jumped since the store was last written, in milliseconds; 0 if time may just have
/// passed.
pub(super) fn jump_ms(store: &Store, now: Now) -> i64 {
    let last = store.value(CLOCK, &KEY).and_then(|record| decode(&record));
    match last {
        Some(last_ms) if elapsed_ms(last_ms, now).is_none() => {
            now.wall_ms.cast_signed().saturating_sub(last_ms.cast_signed())
        }
        _ => 0,
    }
}

/// Adds what the clock says to a batch, if it was last added some time ago.
pub(super) fn stamp(batch: &mut Batch, last_ms: &mut Option<u64>, now: Now) {
    if last_ms.is_none_or(|last_ms| now.wall_ms >= last_ms.saturating_add(STAMP_INTERVAL_MS)) {
        *last_ms = Some(now.wall_ms);
        let mut record = vec![FORM];
        record.extend_from_slice(&now.wall_ms.to_le_bytes());
        batch.put(CLOCK, KEY, record.into());
    }
}

/// Moves the expiry of a message by so much as the clock has jumped since it was stored.
pub(super) fn shifted(message: &Message, jump_ms: i64) -> Message {
    match message.expires_wall_ms() {
        Some(expires_wall_ms) if jump_ms != 0 => {
            let expires_wall_ms = expires_wall_ms.saturating_add_signed(jump_ms);
            let parts = MessageParts { expires_wall_ms, ..message.parts() };
            Message::from_parts(&parts, message.qos(), message.retain())
        }
        _ => message.clone(),
    }
}

fn decode(record: &[u8]) -> Option<u64> {
    let mut fields = fields::of(record)?;
    let wall_ms = fields.u64()?;
    fields.end()?;
    Some(wall_ms)
}

#[cfg(test)]
mod tests {
    use crosspoint_protocol::{
        QoS, TopicName,
        packet::{PublishProperties, PublishPropertyValues},
    };
    use crosspoint_store::Options;

    use super::*;

    fn at(wall_ms: u64) -> Now {
        Now { monotonic_ms: 0, wall_ms }
    }

    #[test]
    fn a_clock_that_lost_the_time_is_noticed_in_either_direction() {
        let store = Store::in_memory(Options::new().reserve_bytes(0)).unwrap();
        assert_eq!(jump_ms(&store, at(5)), 0, "nothing is known");
        let mut batch = Batch::new();
        let mut last = None;
        stamp(&mut batch, &mut last, at(1_700_000_000_000));
        stamp(&mut batch, &mut last, at(1_700_000_000_001));
        store.commit(batch).wait().unwrap();
        assert_eq!(jump_ms(&store, at(1_700_000_000_500)), 0);
        assert_eq!(jump_ms(&store, at(1_000)), 1_000 - 1_700_000_000_000);
        assert_eq!(jump_ms(&store, at(1_900_000_000_000)), 200_000_000_000);
    }

    #[test]
    fn what_had_a_minute_left_still_has_it_after_a_jump() {
        let values = PublishPropertyValues { message_expiry_s: Some(60), ..PublishPropertyValues::default() };
        let properties = PublishProperties::from_values(&values).unwrap();
        let topic = TopicName::parse("a").unwrap();
        let message = Message::new(&topic, b"", QoS::AtLeastOnce, false, &properties, at(5_000_000));
        let back = shifted(&message, -4_000_000);
        assert_eq!(back.expires_wall_ms(), Some(1_060_000));
        assert_eq!(shifted(&message, 0).expires_wall_ms(), Some(5_060_000));
    }
}
