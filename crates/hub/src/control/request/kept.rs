//! A kept subscription as JSON.

use std::time::Duration;

use crosspoint_protocol::{QoS, TopicFilter};
use serde_json::{Value, json};

use crate::config::plan::WhenFull;
use crate::kept::{KeptLimits, KeptSubscription};

pub(super) fn encode(kept: &KeptSubscription) -> Value {
    let KeptSubscription { name, connector, filters, qos, limits } = kept;
    let filters: Vec<&str> = filters.iter().map(TopicFilter::as_str).collect();
    json!({
        "name": name, "connector": connector, "filters": filters, "qos": qos.bits(),
        "bytes": limits.bytes_max, "messages": limits.messages_max,
        "age_s": limits.age_max.map(|age| age.as_secs()), "when_full": word(limits.when_full),
    })
}

pub(super) fn decode(value: &Value) -> Option<KeptSubscription> {
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    let number = |key: &str| value.get(key).and_then(Value::as_u64);
    let filter = |filter: &Value| TopicFilter::parse(filter.as_str()?.to_owned()).ok();
    Some(KeptSubscription {
        name: text("name")?.to_owned(),
        connector: text("connector")?.to_owned(),
        filters: value.get("filters")?.as_array()?.iter().map(filter).collect::<Option<_>>()?,
        qos: QoS::from_bits(u8::try_from(number("qos")?).ok()?)?,
        limits: KeptLimits {
            bytes_max: number("bytes")?,
            messages_max: number("messages"),
            age_max: number("age_s").map(Duration::from_secs),
            when_full: WhenFull::of_word(text("when_full")?),
        },
    })
}

/// Returns the word of the project file.
pub(crate) const fn word(when_full: WhenFull) -> &'static str {
    match when_full {
        WhenFull::Block => "block",
        WhenFull::DropOldest => "drop_oldest",
        WhenFull::DropNewest => "drop_newest",
    }
}
