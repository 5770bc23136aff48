//! Logging
pub fn local_time(time: jiff::Timestamp) -> String { time.to_string() }
