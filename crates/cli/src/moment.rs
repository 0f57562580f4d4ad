//! Moments for people, on the clock of this place.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

/// Returns a moment, given in milliseconds since 1970, as date and time.
pub(crate) fn time(value: &Value) -> String {
    shown(value, "%Y-%m-%d %H:%M:%S")
}

/// Returns a moment, given in milliseconds since 1970, as the time of its day.
pub(crate) fn time_of_day(value: &Value) -> String {
    shown(value, "%H:%M:%S")
}

fn shown(value: &Value, format: &str) -> String {
    let moment = value.as_i64().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let local = moment.map(|moment| moment.to_zoned(TimeZone::system()));
    local.map_or_else(|| "-".to_owned(), |local| local.strftime(format).to_string())
}
