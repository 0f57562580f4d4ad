//! What tables of outboxes and dead letters show.

use crosspoint_hub::control::Kept;
use serde_json::Value;

use crate::amount;
use crate::moment::time;
use crate::table::Column;

/// Returns the columns of a list of connectors.
pub(super) const fn of_list(of: Kept) -> &'static [Column] {
    match of {
        Kept::Outbox | Kept::Archive => OUTBOXES,
        Kept::Dead => DEAD_LISTS,
    }
}

/// Returns the columns of a list of messages.
pub(super) const fn of_messages(of: Kept) -> &'static [Column] {
    match of {
        Kept::Outbox | Kept::Archive => WAITING,
        Kept::Dead => DEAD,
    }
}

const OUTBOXES: &[Column] = &[
    Column::text("connector", "CONNECTOR"),
    Column::number("waiting", "WAITING").shown(count),
    Column::number("waiting_bytes", "BYTES").shown(bytes),
    Column::text("oldest_wall_ms", "OLDEST").shown(time),
    Column::number("accepted", "ACCEPTED").shown(count),
    Column::number("confirmed", "CONFIRMED").shown(count),
    Column::number("sent", "SENT").shown(count),
    Column::number("dead", "DIED").shown(count),
    Column::number("dropped", "DROPPED").shown(count),
    Column::text("holds_up_flow", "HOLDS UP FLOW"),
    Column::hidden("dropped_full"),
    Column::hidden("dropped_expired"),
    Column::hidden("replaced"),
    Column::hidden("dropped_by_command"),
    Column::hidden("damaged"),
    Column::hidden("maybe_twice"),
    Column::hidden("reordered"),
];

const DEAD_LISTS: &[Column] = &[
    Column::text("connector", "CONNECTOR"),
    Column::number("dead", "DEAD LETTERS").shown(count),
    Column::text("oldest_wall_ms", "OLDEST").shown(time),
    Column::text("newest_wall_ms", "NEWEST").shown(time),
    Column::text("reason", "LAST REASON"),
];

const WAITING: &[Column] = &[
    Column::number("position", "POSITION"),
    Column::text("accepted_wall_ms", "ACCEPTED").shown(time),
    Column::text("expires_wall_ms", "EXPIRES").shown(time),
    Column::text("flow", "FLOW"),
    Column::number("qos", "QOS"),
    Column::text("retain", "RETAIN"),
    Column::text("topic", "TOPIC"),
    Column::number("payload_bytes", "BYTES"),
    Column::text("payload", "PAYLOAD"),
    Column::hidden("payload_base64"),
    Column::hidden("properties"),
];

const DEAD: &[Column] = &[
    Column::number("position", "POSITION"),
    Column::text("died_wall_ms", "DIED").shown(time),
    Column::hidden("accepted_wall_ms"),
    Column::hidden("expires_wall_ms"),
    Column::text("flow", "FLOW"),
    Column::number("qos", "QOS"),
    Column::hidden("retain"),
    Column::text("topic", "TOPIC"),
    Column::number("payload_bytes", "BYTES"),
    Column::text("payload", "PAYLOAD"),
    Column::hidden("payload_base64"),
    Column::hidden("properties"),
    Column::number("attempts", "ATTEMPTS"),
    Column::text("may_be_delivered", "MAY BE THERE"),
    Column::text("reason", "REASON"),
    Column::hidden("last_error"),
];

fn count(value: &Value) -> String {
    value.as_u64().map_or_else(none, amount::count)
}

fn bytes(value: &Value) -> String {
    value.as_u64().map_or_else(none, amount::bytes)
}

fn none() -> String {
    "-".to_owned()
}
