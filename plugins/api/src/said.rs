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
    let said = json.as_ref().and_then(|json| said(json).or_else(|| json.as_array()?.first().and_then(said)));
    short(&said.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned()))
}

/// A text on one line, and not too long.
fn short(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None if text.is_empty() => "no details".to_owned(),
        None => text,
    }
}

/// The message in an answer that is an error, wherever the server puts it, with the key that it is about.
fn said(json: &Value) -> Option<String> {
    const PLACES: [&str; 13] = [
        "/error/message",
        "/error",
        "/message",
        "/detail",
        "/errors/0/message",
        "/errors/0",
        "/errors",
        "/error_msg",
        "/error_message",
        "/errmsg",
        "/msg",
        "/base_resp/status_msg",
        "/title",
    ];
    let said = PLACES.iter().filter_map(|place| json.pointer(place)).find(|said| !is_nothing(said))?;
    let said = match said {
        Value::String(text) => text.clone(),
        // FastAPI's way: a list of what is wrong, each with its place, and with the whole input beside it.
        Value::Array(list) if list.iter().any(|wrong| wrong.get("msg").is_some()) => {
            list.iter().filter_map(complaint).collect::<Vec<_>>().join("; ")
        }
        other => other.to_string(),
    };
    let about = json.pointer("/error/param").and_then(Value::as_str);
    Some(match about.filter(|key| !key.is_empty() && !said.contains(*key)) {
        Some(key) => format!("{said} (`{key}`)"),
        None => said,
    })
}

/// One of FastAPI's complaints, after the key that it is about.
fn complaint(wrong: &Value) -> Option<String> {
    let message = wrong.get("msg")?.as_str()?;
    let key = wrong.get("loc").and_then(Value::as_array).and_then(|path| path.iter().rev().find_map(Value::as_str));
    Some(match key.filter(|key| *key != "body") {
        Some(key) => format!("{key}: {message}"),
        None => message.to_owned(),
    })
}

/// True for what says nothing: null, an empty text, or a list or object without entries.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.trim().is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
        _ => false,
    }
}

/// An error in an answer that HTTP calls a success.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) words: String,
    /// The status of HTTP that it stands for, if it says so.
    pub(crate) status: Option<u16>,
    /// True if its words are those of something that passes.
    pub(crate) passes: bool,
    /// The time that it asks to wait.
    pub(crate) after: Option<Duration>,
}

/// The error that an answer without vectors holds in place of them, if it does.
pub(crate) fn refusal(body: &[u8]) -> Option<Refusal> {
    let json: Value = serde_json::from_slice(body).ok()?;
    refusal_in(json.as_array().and_then(|list| list.first()).unwrap_or(&json))
}

/// The error that a value holds in place of a vector, if it does.
pub(crate) fn refusal_in(json: &Value) -> Option<Refusal> {
    const CODES: [&str; 11] = [
        "/error/code",
        "/error/status",
        "/error/status_code",
        "/errors/0/code",
        "/code",
        "/status",
        "/status_code",
        "/statusCode",
        "/error_code",
        "/base_resp/status_code",
        "/error/http_code",
    ];
    // The words of what passes, as providers have them.
    const PASSING: [&str; 13] = [
        "rate limit",
        "ratelimit",
        "limit reached",
        "throttl",
        "too many requests",
        "overload",
        "busy",
        "try again",
        "timeout",
        "timed out",
        "unavailable",
        "loading",
        "capacity",
    ];
    let words = short(&said(json).filter(|words| !matches!(&*words.to_lowercase(), "ok" | "success"))?);
    let number = |code: &Value| code.as_u64().or_else(|| code.as_str()?.trim().parse().ok());
    let status = CODES.iter().find_map(|place| number(json.pointer(place)?).filter(|code| (400..600).contains(code)));
    let kind = ["/error/type", "/error/code", "/error/status", "/code", "/type"].map(|place| json.pointer(place));
    let kind = kind.into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(" ");
    let all = format!("{words} {kind}").to_lowercase();
    let passes = PASSING.iter().any(|passing| all.contains(passing));
    let after = said_wait(json).or_else(|| in_words(&words));
    Some(Refusal { words, status: status.map(|code| code as u16), passes, after })
}

/// The keys of an error that say how long to wait.
pub(crate) const WAITS: [&str; 6] =
    ["retry_after", "retry-after", "retryAfter", "retry_after_seconds", "retry_after_ms", "retryAfterMs"];

/// The time that an error's own keys ask to wait: "retry_after", in seconds or milliseconds, or Google's "retryDelay".
fn said_wait(json: &Value) -> Option<Duration> {
    let of = |error: &Value| {
        let (key, wait) = WAITS.iter().find_map(|key| Some((key, error.get(key)?)))?;
        let wait = wait.as_f64().and_then(retry_after::seconds_of).or_else(|| duration(wait.as_str()?))?;
        Some(if key.to_lowercase().ends_with("ms") { wait / 1000 } else { wait })
    };
    let details = ["/error/details", "/details"].iter().filter_map(|place| json.pointer(place)?.as_array());
    let delay = || details.flatten().find_map(|detail| duration(detail.get("retryDelay")?.as_str()?));
    [json.get("error"), Some(json)].into_iter().flatten().find_map(of).or_else(delay)
}

/// True if waiting will not help.
pub(crate) fn is_used_up(body: &[u8], after: Option<Duration>) -> bool {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let codes = ["/error/code", "/error/type"].map(|place| json.pointer(place).and_then(Value::as_str));
    codes.contains(&Some("insufficient_quota")) || after.is_some_and(|after| after > PATIENCE)
}

/// `Retry-After`, or in milliseconds, as OpenAI has it.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let milliseconds = text("retry-after-ms").and_then(|value| value.trim().parse::<f64>().ok());
    let wait = milliseconds.and_then(|milliseconds| retry_after::seconds_of(milliseconds / 1000.0));
    wait.or_else(|| retry_after::wait(text(RETRY_AFTER.as_str())?, now))
}

/// The time that a server asks to wait: in a header, in its details, or in its words.
pub(crate) fn asked(headers: &HeaderMap, body: &[u8], now: SystemTime) -> Option<Duration> {
    let said = || said_wait(&serde_json::from_slice(body).ok()?);
    retry_after(headers, now).or_else(said).or_else(|| in_words(&words(body))).or_else(|| {
        // What is left of a minute says until when it holds.
        let Allowance { requests, tokens } = Allowance::of(headers);
        [requests, tokens].into_iter().flatten().filter(|(left, _)| *left == 0).map(|(_, reset)| reset).max()
    })
}

/// "Please try again in 20s", "retry after 26 seconds".
fn in_words(words: &str) -> Option<Duration> {
    let words = words.to_lowercase();
    let places = ["try again in ", "try again after ", "retry in ", "retry after "];
    let rest = places.iter().find_map(|place| words.split_once(place))?.1;
    let mut parts = rest.split_whitespace();
    let time = parts.next()?.trim_end_matches(['.', ',', ';', '!', ')']);
    let unit = parts.next().unwrap_or_default();
    // A bare number has its unit after it.
    match (time.parse::<f64>().is_ok(), unit.get(..3)) {
        (false, _) => duration(time),
        (true, Some("sec")) => duration(&format!("{time}s")),
        (true, Some("min")) => duration(&format!("{time}m")),
        (true, Some("hou")) => duration(&format!("{time}h")),
        (true, Some("mil")) => duration(&format!("{time}ms")),
        (true, _) => None,
    }
}

/// "1s", "6m0s", "120ms", "1h2m3.5s", or seconds.
fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Some(wait) = text.parse().ok().and_then(retry_after::seconds_of) {
        return Some(wait);
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
    fn retry_after_may_come_in_milliseconds() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let after = |name: &'static str, value: &str| {
            retry_after(&HeaderMap::from_iter([(HeaderName::from_static(name), value.parse().unwrap())]), now)
        };
        assert_eq!(after("retry-after", "3"), Some(Duration::from_secs(3)));
        assert_eq!(after("retry-after-ms", "120"), Some(Duration::from_millis(120)));
        assert_eq!(after("retry-after", "Sun, 06 Nov 1994 08:49:47 GMT"), Some(Duration::from_secs(10)));
        assert_eq!(after("retry-after-ms", "soon"), None);
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
            (
                r#"{"detail": [{"loc": ["body", "encoding_format"], "msg": "Extra inputs are not permitted"}]}"#,
                "encoding_format: Extra inputs are not permitted",
            ),
            (r#"{"error": {"message": "not supported", "param": "dimensions"}}"#, "not supported (`dimensions`)"),
            (r#"{"errors": [{"code": 7003, "message": "no such route"}]}"#, "no such route"),
            (r#"{"data": [], "errors": ["text 3 is too long"]}"#, "text 3 is too long"),
            (r#"{"errors": "text 3 is too long", "error": 0}"#, "text 3 is too long"),
            (r#"[{"error": {"code": 400, "message": "no such task"}}]"#, "no such task"),
            (r#"{"error": "", "message": "out of memory"}"#, "out of memory"),
            ("<html>\n  Bad gateway </html>", "<html> Bad gateway </html>"),
            ("", "no details"),
        ];
        for (body, said) in cases {
            assert_eq!(words(body.as_bytes()), said);
        }
        assert_eq!(words("é".repeat(1000).as_bytes()).chars().count(), 303);
    }

    #[test]
    fn an_error_in_a_success_is_one() {
        let of =
            |body: &str| refusal(body.as_bytes()).map(|Refusal { words, status, passes, .. }| (words, status, passes));
        let cases = [
            (r#"{"error": "model not loaded"}"#, "model not loaded", None, false),
            (r#"{"error": {"message": "no", "code": 429}}"#, "no", Some(429), false),
            (r#"{"error": {"message": "no", "code": "503"}}"#, "no", Some(503), false),
            (r#"{"object": "error", "message": "too long", "code": 40303}"#, "too long", None, false),
            (r#"{"code": "Throttling.RateQuota", "message": "slow down"}"#, "slow down", None, true),
            (
                r#"{"error_code": 18, "error_msg": "Open api qps request limit reached"}"#,
                "Open api qps request limit reached",
                None,
                true,
            ),
            (
                r#"{"base_resp": {"status_code": 1004, "status_msg": "login fail"}, "vectors": null}"#,
                "login fail",
                None,
                false,
            ),
            (
                r#"{"success": false, "errors": [{"code": 10000, "message": "who are you"}], "result": null}"#,
                "who are you",
                None,
                false,
            ),
            (r#"{"detail": "Not Found", "status": 404}"#, "Not Found", Some(404), false),
            (r#"[{"error": {"code": 503, "message": "later", "status": "UNAVAILABLE"}}]"#, "later", Some(503), true),
        ];
        for (body, words, status, passes) in cases {
            assert_eq!(of(body), Some((words.to_owned(), status, passes)), "{body}");
        }
        for none in [r#"{"data": []}"#, r#"{"error": null}"#, r#"{"error": {}}"#, "[[1.0]]", "<html>", "[]"] {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn waits_are_those_that_the_server_asks_for() {
        let asked = |header: Option<(&'static str, &str)>, body: &str| {
            let header = header.map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
            asked(&HeaderMap::from_iter(header), body.as_bytes(), SystemTime::UNIX_EPOCH)
        };
        let error = |words: &str| format!(r#"{{"error": {{"message": "{words}"}}}}"#);
        let cases = [
            ("Limit 3, Used 3. Please try again in 20s. Visit the page.", Some(20.0)),
            ("Please try again in 6m0s.", Some(360.0)),
            ("Please retry after 26 seconds.", Some(26.0)),
            ("try again in 2 minutes", Some(120.0)),
            ("Please try again in 120ms", Some(0.12)),
            ("no payment method", None),
            ("3 requests a minute", None),
            ("please try again later", None),
            ("try again in 3 of 4 cases", None),
        ];
        for (words, seconds) in cases {
            assert_eq!(asked(None, &error(words)), seconds.map(Duration::from_secs_f64), "{words}");
        }
        assert_eq!(asked(Some(("retry-after", "7")), &error("try again in 20s")), Some(Duration::from_secs(7)));
        for (body, seconds) in [
            (r#"{"error": {"message": "busy", "retry_after": 2}}"#, Some(2.0)),
            (r#"{"error": "busy", "retry_after": "1.5"}"#, Some(1.5)),
            (r#"{"error": "busy", "retryAfter": "6m0s"}"#, Some(360.0)),
            (r#"{"message": "busy", "retry_after_ms": 250}"#, Some(0.25)),
            (r#"{"error": {"message": "busy", "details": [{"a": 1}, {"retryDelay": "34s"}]}}"#, Some(34.0)),
            (r#"{"error": "busy", "retry_after": null}"#, None),
            (r#"{"error": "busy", "retry_after": -1}"#, None),
        ] {
            assert_eq!(asked(None, body), seconds.map(Duration::from_secs_f64), "{body}");
            assert_eq!(refusal(body.as_bytes()).unwrap().after, seconds.map(Duration::from_secs_f64), "{body}");
        }
    }
}
