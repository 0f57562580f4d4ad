//! Which messages `sub` prints, and how each looks.

use std::time::{SystemTime, UNIX_EPOCH};

use crosspoint_client::{Message, TopicFilter};
use jiff::Zoned;

use crate::{
    failure::Voice,
    format::{Format, Received},
};

/// How a message looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Look {
    /// The payload as it came.
    Payload { end: &'static [u8] },
    /// The topic, a blank, the payload.
    WithTopic { end: &'static [u8] },
    /// As the user wrote it.
    Formatted { format: Format, end: &'static [u8] },
}

/// Which messages are printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selection {
    /// How many are still to be printed; absent is no limit.
    pub(crate) left: Option<u64>,
    pub(crate) skips_retained: bool,
    pub(crate) ends_after_retained: bool,
    pub(crate) filters_out: Vec<TopicFilter>,
}

/// What a message bore on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wire {
    /// 0 at QoS 0.
    pub(crate) packet_id: u16,
    /// Where one was asked for.
    pub(crate) subscription_id: Option<u32>,
}

/// What happens with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Print,
    /// It is printed, and nothing after it.
    PrintLast,
    Skip,
    /// It is not printed, and nothing after it.
    End,
}

impl Selection {
    /// Decides on a message, and counts it if it is to be printed.
    pub(crate) fn judge(&mut self, message: &Message) -> Verdict {
        if self.ends_after_retained && !message.retain() {
            return Verdict::End;
        }
        let is_stale = self.skips_retained && message.retain();
        if is_stale || self.filters_out.iter().any(|filter| filter.matches(message.topic())) {
            return Verdict::Skip;
        }
        match &mut self.left {
            Some(left @ ..=1) => {
                *left = 0;
                Verdict::PrintLast
            }
            Some(left) => {
                *left -= 1;
                Verdict::Print
            }
            None => Verdict::Print,
        }
    }
}

impl Look {
    /// Appends a message as it looks.
    pub(crate) fn append(&self, message: &Message, wire: Wire, out: &mut Vec<u8>, voice: Voice) {
        let end = match self {
            Self::Payload { end } => {
                out.extend_from_slice(message.payload());
                end
            }
            Self::WithTopic { end } => {
                out.extend_from_slice(message.topic_bytes());
                out.push(b' ');
                // As mosquitto_sub: an empty payload can be told from a blank one.
                out.extend_from_slice(if message.payload().is_empty() {
                    b"(null)"
                } else {
                    message.payload()
                });
                end
            }
            Self::Formatted { format, end } => {
                append_formatted(format, message, wire, out, voice);
                end
            }
        };
        out.extend_from_slice(end);
    }
}

fn append_formatted(format: &Format, message: &Message, wire: Wire, out: &mut Vec<u8>, voice: Voice) {
    let received = Received {
        topic: message.topic(),
        payload: message.payload(),
        qos: message.qos(),
        retain: message.retain(),
        packet_id: wire.packet_id,
        expiry_s: message.expires_wall_ms().map(left_s),
        subscription_id: wire.subscription_id,
        properties: &message.properties(),
    };
    if format.render(&received, &Zoned::now(), out).is_err() {
        voice.warn(format_args!("the payload on {} is not JSON, which %J needs", message.topic()));
    }
}

/// Returns how many seconds are left until a time on the wall clock.
fn left_s(at_wall_ms: u64) -> u32 {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis());
    let left_ms = u128::from(at_wall_ms).saturating_sub(now_ms);
    u32::try_from(left_ms.div_ceil(1_000)).unwrap_or(u32::MAX)
}
