//! Errors that say that there is no such model, as providers word them.

use serde_json::Value;

use crate::said::words;

/// True if an error is that there is no such model.
pub(crate) fn is_of_model(body: &[u8]) -> bool {
    const CODES: [&str; 3] = ["model_not_found", "model_not_exist", "invalid_model"];
    const WHOLE: [&str; 8] = [
        "unknown model",
        "no such model",
        "invalid model",
        "unsupported model",
        "is not a valid model",
        "not a known model",
        "unrecognized model",
        "model is not supported",
    ];
    const BEHIND: [&str; 5] = [" not found", " does not exist", " doesn't exist", " not exist", " is unknown"];
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let kinds = ["/error/code", "/error/type", "/code", "/type", "/error_type"].map(|place| json.pointer(place));
    if kinds.into_iter().flatten().filter_map(Value::as_str).any(|kind| CODES.contains(&&*kind.to_lowercase())) {
        return true;
    }
    let words = words(body).to_lowercase();
    // The name stands between the two: no sentence ends there.
    let missing = |(at, _): (usize, &str)| {
        let rest = &words[at..];
        BEHIND.iter().filter_map(|behind| rest.find(behind)).any(|end| end <= 120 && !rest[..end].contains(". "))
    };
    WHOLE.iter().any(|whole| words.contains(whole)) || words.match_indices("model").any(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_is_not_there_is_known_by_its_words() {
        let of = |words: &str| is_of_model(format!(r#"{{"error": {{"message": "{words}"}}}}"#).as_bytes());
        for words in [
            "The model `m` does not exist or you do not have access to it.",
            "model 'm' not found, try pulling it first",
            "models/m is not found for API version v1beta",
            "Model Not Exist",
            "unknown model: m",
            "Invalid model name passed in model=m",
            "m is not a valid model",
        ] {
            assert!(of(words), "{words}");
        }
        for words in [
            "This model does not support dimensions",
            "This model's maximum context length is 8192 tokens",
            "no such deployment",
            "the model is loading. Route not found",
            "an input is not allowed",
        ] {
            assert!(!of(words), "{words}");
        }
        assert!(is_of_model(br#"{"error": {"message": "no", "code": "model_not_found"}}"#));
    }
}
