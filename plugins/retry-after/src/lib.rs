//! The wait that a server asks for in `Retry-After`.

use std::time::{Duration, SystemTime};

/// The time from `now` that a value of `Retry-After` says: seconds, or a date; zero of a date that is past.
pub fn wait(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    match value.parse::<f64>() {
        Ok(seconds) => seconds_of(seconds),
        Err(_) => Some(httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or_default()),
    }
}

/// So many seconds, if they are a time that anybody could wait.
pub fn seconds_of(seconds: f64) -> Option<Duration> {
    (0.0..1e9).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_comes_as_seconds_or_as_a_date() {
        let wait = |value| wait(value, SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777));
        assert_eq!(wait("3"), Some(Duration::from_secs(3)));
        assert_eq!(wait(" 0.25 "), Some(Duration::from_millis(250)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:47 GMT"), Some(Duration::from_secs(10)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        for nonsense in ["soon", "-1", "NaN", "1e99", ""] {
            assert_eq!(wait(nonsense), None, "{nonsense}");
        }
    }
}
