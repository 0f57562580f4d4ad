//! The project file that the first run writes.

/// The text of the sample: it checks without a finding and its flow works at once.
pub const SAMPLE: &str = include_str!("sample.toml");
