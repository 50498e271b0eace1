//! A server's messages besides vectors: error texts, retry times, remaining quotas.

use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde_json::Value;
use std::time::{Duration, SystemTime};

/// The longest wait that a server may ask for; beyond it, the quota of a day or a month is used up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3600);

/// The remaining quota of a minute by the server, and the time of its reset.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Allowance {
    pub(crate) requests: Option<(u64, Duration)>,
    pub(crate) tokens: Option<(u64, Duration)>,
}

impl Allowance {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let text = |name: String| headers.get(name).and_then(|value| value.to_str().ok());
        let of = |what: &str| {
            let left = text(format!("x-ratelimit-remaining-{what}"))?.trim().parse().ok()?;
            Some((left, duration(text(format!("x-ratelimit-reset-{what}"))?)?))
        };
        Self { requests: of("requests"), tokens: of("tokens") }
    }
}

/// A server's error message, in its own words.
pub(crate) fn words(body: &[u8]) -> String {
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let said = json.as_ref().and_then(|json| {
        let places = ["/error/message", "/error", "/message", "/detail"];
        let said = places.iter().find_map(|place| json.pointer(place))?;
        // FastAPI's way: a list of what is wrong, each with the whole input beside it.
        let wrong = said.as_array().map(|list| list.iter().filter_map(|wrong| wrong.get("msg")?.as_str()).collect());
        let wrong: Option<Vec<&str>> = wrong.filter(|list: &Vec<&str>| !list.is_empty());
        Some(
            wrong.map_or_else(|| said.as_str().map_or_else(|| said.to_string(), str::to_owned), |list| list.join("; ")),
        )
    });
    let text = said.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None if text.is_empty() => "no details".to_owned(),
        None => text,
    }
}

/// True if waiting will not help.
pub(crate) fn is_used_up(body: &[u8], after: Option<Duration>) -> bool {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let codes = ["/error/code", "/error/type"].map(|place| json.pointer(place).and_then(Value::as_str));
    codes.contains(&Some("insufficient_quota")) || after.is_some_and(|after| after > PATIENCE)
}

/// `Retry-After`: seconds, or a date.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let milliseconds = headers.get("retry-after-ms").and_then(|value| value.to_str().ok()?.trim().parse::<f64>().ok());
    let text = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::trim);
    let seconds = milliseconds.map(|ms| ms / 1000.0).or_else(|| text?.parse::<f64>().ok());
    if let Some(seconds) = seconds.filter(|seconds| (0.0..1e9).contains(seconds)) {
        return Some(Duration::from_secs_f64(seconds));
    }
    let date = httpdate::parse_http_date(text?).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// Google's equivalent: `details` with a `retryDelay` such as "34s".
pub(crate) fn retry_info(body: &[u8]) -> Option<Duration> {
    let json: Value = serde_json::from_slice(body).ok()?;
    let details = json.pointer("/error/details")?.as_array()?;
    let delay = details.iter().find_map(|detail| detail.get("retryDelay")?.as_str())?;
    duration(delay)
}

/// "1s", "6m0s", "120ms", "1h2m3.5s", or seconds.
fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Some(seconds) = text.parse::<f64>().ok().filter(|seconds| (0.0..1e9).contains(seconds)) {
        return Some(Duration::from_secs_f64(seconds));
    }
    let (mut rest, mut total) = (text, 0.0);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let unit = rest[end..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |next| end + next);
        total += number
            * match &rest[end..unit] {
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                "d" => 86400.0,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    (total < 1e9).then(|| Duration::from_secs_f64(total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderName;

    #[test]
    fn retry_after_comes_as_seconds_or_as_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let after = |name: &'static str, value: &str| {
            retry_after(&HeaderMap::from_iter([(HeaderName::from_static(name), value.parse().unwrap())]), now)
        };
        assert_eq!(after("retry-after", "3"), Some(Duration::from_secs(3)));
        assert_eq!(after("retry-after", " 0.25 "), Some(Duration::from_millis(250)));
        assert_eq!(after("retry-after-ms", "120"), Some(Duration::from_millis(120)));
        assert_eq!(after("retry-after", "Sun, 06 Nov 1994 08:49:47 GMT"), Some(Duration::from_secs(10)));
        assert_eq!(after("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        for nonsense in ["soon", "-1", "NaN", "1e99"] {
            assert_eq!(after("retry-after", nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn durations_as_providers_write_them() {
        let cases =
            [("1s", 1.0), ("6m0s", 360.0), ("120ms", 0.12), ("1h2m3.5s", 3723.5), ("34", 34.0), ("2d", 172_800.0)];
        for (text, seconds) in cases {
            assert_eq!(duration(text), Some(Duration::from_secs_f64(seconds)), "{text}");
        }
        for nonsense in ["s", "1x", "1.2.3s", "-3s", "nan", "9999999999999h", "1s2"] {
            assert_eq!(duration(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn a_servers_own_words() {
        let cases = [
            (r#"{"error": {"message": "no  such model", "code": "x"}}"#, "no such model"),
            (r#"{"error": "overloaded", "error_type": "overloaded"}"#, "overloaded"),
            (r#"{"message": "invalid api token", "id": "1"}"#, "invalid api token"),
            (
                r#"{"detail": [{"input": "long", "msg": "at most 9 characters"}, {"msg": "no"}]}"#,
                "at most 9 characters; no",
            ),
            (r#"{"detail": [1]}"#, "[1]"),
            ("<html>\n  Bad gateway </html>", "<html> Bad gateway </html>"),
            ("", "no details"),
        ];
        for (body, said) in cases {
            assert_eq!(words(body.as_bytes()), said);
        }
        assert_eq!(words("é".repeat(1000).as_bytes()).chars().count(), 303);
    }
}
