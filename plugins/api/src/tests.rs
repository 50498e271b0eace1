//! Arbitrary answers of a server: no panic, and no vectors except those of a whole answer.

use fusemix_fuzzer::{WORDS, fuzz};
use fusemix_sdk::{Error, Host, Options};
use serde_json::{Value, json};

use super::*;
use crate::order::Counting;
use crate::provider::Provider;

fn options(provider: &str) -> Options {
    let options = Options::default()
        .with("provider", provider)
        .with("model", "m")
        .with("base_url", "http://localhost:1")
        .with("input_type", "search_document");
    match provider {
        "http" => options.with("body", json!({"texts": "{inputs}"})).with("vectors", "/data/*/embedding"),
        _ => options,
    }
}

fn open(options: &Options) -> Result<Box<dyn Provider>, Error> {
    provider::open(&Settings::read(options)?, options)
}

/// Each provider's answer for three inputs.
fn answers() -> Vec<(Box<dyn Provider>, String)> {
    let rows = json!([[0.1, -0.2], [0.3, 0.4], [-0.5, 0.6]]);
    let row = |at: usize| rows[at].clone();
    let data: Vec<Value> = (0..3).map(|at| json!({"index": at, "embedding": row(at)})).collect();
    let base64: Vec<Value> = (0..3).map(|at| json!({"index": at, "embedding": "zczMPc3MTL4="})).collect();
    let usage = json!({"prompt_tokens": 7, "total_tokens": 7});
    let answers = [
        ("openai", json!({"data": data, "usage": usage})),
        ("openai", json!({"data": base64, "usage": usage})),
        ("voyage", json!({"data": data, "usage": {"total_tokens": 7}})),
        ("jina", json!({"data": data, "usage": usage})),
        ("http", json!({"data": data})),
        ("cohere", json!({"embeddings": {"float": rows}, "meta": {"billed_units": {"input_tokens": 7}}})),
        ("gemini", json!({"embeddings": (0..3).map(|at| json!({"values": row(at)})).collect::<Vec<_>>()})),
        ("tei", rows.clone()),
        ("ollama", json!({"embeddings": rows, "prompt_eval_count": 7})),
    ];
    answers.into_iter().map(|(name, answer)| (open(&options(name)).unwrap(), answer.to_string())).collect()
}

#[test]
fn a_key_in_plugins_toml_is_refused_wherever_it_stands() {
    let open = |key: &str, value: Value| Api::open(&options("http").with(key, value), &Host::detached()).map(drop);
    let bodies = [json!({"texts": "{inputs}", "api_key": "sk-1"}), json!({"a": [{"Secret": "sk-1"}], "b": "{inputs}"})];
    for body in bodies {
        let error = open("body", body).unwrap_err();
        assert!(error.message.contains("api_key_env") && !error.message.contains("sk-1"), "{}", error.message);
    }
    assert!(open("key_prefix", "Bearer sk-1".into()).unwrap_err().message.contains("belongs into an environment"));
    assert!(open("base_url", "http://localhost:1/a#sk-1".into()).unwrap_err().message.contains("password or a query"));
    for (key, value) in [("key_prefix", json!("Api-Key ")), ("body", json!({"key": "{inputs}", "max_tokens": 9}))] {
        open(key, value).unwrap();
    }
}

#[test]
fn a_whole_answer_reads() {
    for (provider, body) in answers() {
        let answer = provider.answer(body.as_bytes()).unwrap();
        assert!(answer.usage.values().all(|&tokens| tokens == 7.0), "{body}");
        assert!(
            answer
                .clone()
                .judge(2, Counting::default())
                .unwrap_err()
                .reason
                .contains("wrong number of vectors: 3 instead of 2")
        );
        let vectors = answer.judge(3, Counting::default()).unwrap();
        assert_eq!(vectors[0], Ok(vec![0.1, -0.2]), "{body}");
        assert!(vectors.iter().all(Result::is_ok), "{body}");
    }
}

#[test]
fn fuzz_answers() {
    let (providers, bodies): (Vec<_>, Vec<_>) =
        answers().into_iter().map(|(from, body)| (from, body.into_bytes())).unzip();
    let own: [&[u8]; 3] = [b"\"index\":", b"\"embedding\":", b"\"zczM\""];
    let pieces: Vec<&[u8]> = WORDS.into_iter().chain(own).collect();
    let (mut refused, mut whole) = (0, 0);
    // Every provider reads every answer.
    fuzz("answers", &bodies, &pieces, 13_000, |bytes| {
        for provider in &providers {
            match provider.answer(bytes).and_then(|answer| answer.judge(3, Counting::default())) {
                Ok(vectors) => {
                    let good: Vec<&Vec<f32>> = vectors.iter().flatten().collect();
                    whole += usize::from(good.len() == 3);
                    assert_eq!(vectors.len(), 3);
                    assert!(good.iter().all(|vector| !vector.is_empty() && vector.len() == good[0].len()));
                    assert!(good.iter().all(|vector| vector.iter().all(|value| value.is_finite())));
                    assert!(good.iter().all(|vector| vector.iter().any(|&value| value != 0.0)));
                }
                Err(bad) => {
                    refused += 1;
                    assert!(bad.reason.len() < 1000, "{}", bad.reason);
                }
            }
        }
    });
    assert!(refused > 40_000 && whole > 300, "{refused} refused, {whole} whole");
}

#[test]
fn a_bad_vector_costs_the_others_nothing() {
    let openai = open(&options("openai")).unwrap();
    let judge = |embeddings: &str| {
        let rows =
            embeddings.split(';').enumerate().map(|(at, row)| format!(r#"{{"index": {at}, "embedding": {row}}}"#));
        let body = format!(r#"{{"data": [{}], "usage": {{}}}}"#, rows.collect::<Vec<_>>().join(","));
        openai.answer(body.as_bytes()).unwrap().judge(embeddings.split(';').count(), Counting::default())
    };
    let good = Ok(vec![1.0, 2.0]);
    for (bad, reason) in [
        ("[1, NaN]", "has no finite value at position 1"),
        ("[-Infinity, 1]", "has no finite value at position 0"),
        ("[1, null]", "has no finite value at position 1"),
        ("[1, \"x\"]", "has the text \"x\" at position 1, not a number"),
        ("[1, true]", "has true or false at position 1, not a number"),
        ("[1e99, 1]", "has no finite value at position 0"),
        ("null", "is null"),
        ("[]", "is empty"),
        ("[0, -0.0]", "is all zeros"),
        ("[1, 2, 3]", "has 3 values, but the others in its answer have 2"),
        ("\"AAA=\"", "has 2 bytes in base64, not a whole number of f32 values"),
    ] {
        let judged = judge(&format!("[1, 2];{bad};[1, 2]")).unwrap();
        let judged: Vec<_> = judged.into_iter().map(|vector| vector.map_err(|fault| fault.reason)).collect();
        assert_eq!(judged, [good.clone(), Err(reason.to_owned()), good.clone()], "{bad}");
    }
    assert_eq!(judge("[1, 2];[1, 2, 3]").unwrap_err().reason, "vectors of 3 and of 2 values in one answer");
}

#[test]
fn what_is_said_of_one_item_costs_the_others_nothing() {
    let good = Ok(vec![1.0, 2.0]);
    let judge = |provider: &str, body: &str, inputs, first| {
        let answer = open(&options(provider)).unwrap().answer(body.as_bytes()).unwrap();
        let judged = answer.judge(inputs, Counting { first, leaves_gaps: false }).unwrap();
        judged.into_iter().map(|vector| vector.map_err(|fault| fault.reason)).collect::<Vec<_>>()
    };
    let row = |index: usize| format!(r#"{{"index": {index}, "embedding": [1, 2]}}"#);
    let (zero, two) = (row(0), row(2));
    for error in [
        r#"{"index": 1, "error": {"message": "too long"}}"#,
        r#"{"index": 1, "embedding": null, "error": "too long"}"#,
        r#"{"index": 1, "embedding": [], "detail": "too long"}"#,
        r#"{"object": "error", "message": "too long", "code": 400}"#,
        r#"{"index": 1, "embedding": {"error": {"message": "too long"}}}"#,
    ] {
        for data in [format!("{zero},{error},{two}"), format!("{two},{zero},{error}")] {
            let body = format!(r#"{{"data": [{data}], "usage": "3 tokens", "model": 7}}"#);
            assert_eq!(judge("openai", &body, 3, None), [good.clone(), Err("too long".into()), good.clone()], "{body}");
        }
    }
    for (provider, body) in [
        ("gemini", r#"{"embeddings": [{"values": [1, 2]}, {"error": {"message": "too long"}}]}"#),
        ("cohere", r#"{"embeddings": {"float": [[1, 2], {"message": "too long"}]}, "meta": null}"#),
        ("tei", r#"[[1, 2], {"error": "too long", "error_type": "validation"}]"#),
        ("ollama", r#"{"embeddings": [[1, 2], {"error": "too long"}], "prompt_eval_count": "?"}"#),
        ("http", r#"{"data": [{"embedding": [1, 2]}, {"error": "too long"}]}"#),
    ] {
        assert_eq!(judge(provider, body, 2, None), [good.clone(), Err("too long".into())], "{provider}");
    }
    // Null in place of a row, or of its vector.
    for data in [
        format!("{zero},null,{two}"),
        format!("{two},{zero},null"),
        format!("{zero},{{\"index\": 1, \"embedding\": null}},{two}"),
    ] {
        let body = format!(r#"{{"data": [{data}]}}"#);
        assert_eq!(judge("openai", &body, 3, None), [good.clone(), Err("is null".into()), good.clone()], "{body}");
    }
    assert_eq!(
        judge("gemini", r#"{"embeddings": [null, {"values": [1, 2]}]}"#, 2, None),
        [Err("is null".into()), good.clone()]
    );
    // Where the server counts from decides who is left out, and a null at the end says nothing of it.
    let body = format!(r#"{{"data": [{},{two},null]}}"#, row(1));
    assert_eq!(judge("openai", &body, 3, Some(0)), [Err("is null".into()), good.clone(), good.clone()]);
    for (provider, body) in
        [("openai", r#"{"data": [[1, 2], [1, 2]]}"#), ("openai", r#"{"data": ["AACAPwAAAEA=", [1, 2]]}"#)]
    {
        assert_eq!(judge(provider, body, 2, None), [good.clone(), good.clone()], "{body}");
    }
    // 0 is left out, and 1 too, but for another reason.
    let body = format!(r#"{{"data": [{{"embedding": [1, 2]}},{two},{}]}}"#, row(3));
    assert_eq!(judge("openai", &body, 4, None), [good.clone(), Err("is missing".into()), good.clone(), good.clone()]);
    // What is left out is known by the indices of the others.
    let body = format!(r#"{{"data": [{two}, {zero}], "errors": ["1 is too long"]}}"#);
    let missing = Err("is missing; the server says: 1 is too long".to_owned());
    assert_eq!(judge("openai", &body, 3, None), [good.clone(), missing, good.clone()]);
    let body = format!(r#"{{"data": [{two}, {}]}}"#, row(1));
    let answer = open(&options("openai")).unwrap().answer(body.as_bytes()).unwrap();
    // It may be that of a server that counts anew without the one that it leaves out.
    assert!(answer.judge(3, Counting { first: Some(1), leaves_gaps: false }).is_err());
    assert_eq!(judge("openai", &body, 3, Some(0)), [Err("is missing".into()), good.clone(), good]);
    let answer = open(&options("openai")).unwrap().answer(body.as_bytes()).unwrap();
    assert_eq!(answer.judge(3, Counting::default()).unwrap_err().reason, "wrong number of vectors: 2 instead of 3");
}

#[test]
fn what_is_no_vector_is_named_for_what_it_is() {
    let openai = open(&options("openai")).unwrap();
    for (shape, words) in [
        (
            "[[1, 2], [3, 4], [5, 6]]",
            "each vector is a list of 3 vectors, one for each token: pooling is off at the server",
        ),
        ("[[1, 2]]", "each vector is a list of vectors with one in it"),
        (r#"["0.1", "0.2"]"#, "each vector has numbers that are written as text, such as \"0.1\""),
        (r#"{"values": [1, 2]}"#, "each vector is an object (`values`), not a list of numbers"),
        (r#"{"indices": [1], "values": [2]}"#, "each vector is an object (`indices`, `values`)"),
        ("0.25", "each vector is the number 0.25, not a list of numbers"),
        ("true", "each vector is `true`, not a list of numbers"),
        (r#"[{"value": 1}]"#, "each vector has an object at position 0"),
    ] {
        let body = format!(r#"{{"data": [{{"embedding": {shape}}}, {{"embedding": {shape}}}]}}"#);
        let bad = openai.answer(body.as_bytes()).and_then(|answer| answer.judge(2, Counting::default())).unwrap_err();
        assert!(bad.kind == crate::vector::Kind::Form && bad.reason.starts_with(words), "{shape}: {}", bad.reason);
    }
    // Nothing in the form of one says that another answer has it too.
    for (shape, words) in [("null", "is null"), ("[]", "is empty"), ("[0, 0]", "is all zeros")] {
        let body = format!(r#"{{"data": [{{"embedding": {shape}}}]}}"#);
        let judged = openai.answer(body.as_bytes()).and_then(|answer| answer.judge(1, Counting::default())).unwrap();
        assert!(judged[0].as_ref().unwrap_err().reason.starts_with(words), "{shape}: {judged:?}");
    }
    // A flat list, as some servers answer to a single input.
    let tei = open(&options("tei")).unwrap();
    let bad = tei.answer(b"[0.1, 0.2, 0.3]").and_then(|answer| answer.judge(1, Counting::default())).unwrap_err();
    assert!(bad.kind == crate::vector::Kind::Form && bad.reason.contains("is the number 0.1"), "{}", bad.reason);
    // More than one for a single item.
    let bad = tei.answer(b"[[1, 2], [1, 2]]").and_then(|answer| answer.judge(1, Counting::default())).unwrap_err();
    assert_eq!(bad.reason, "2 vectors for one item, where there must be one");
    assert!(bad.kind == crate::vector::Kind::Form);
}

#[test]
fn sizes_are_those_of_what_is_sent() {
    let api = Api::open(&options("openai").with("model", "text-embedding-3-small"), &Host::detached()).unwrap();
    let sizes = api.measure(&[Item::text("hello world"), Item::text("\"a\\b\"")]);
    assert_eq!(sizes[0].tokens, 2, "as cl100k_base has it");
    assert!(sizes[1].bytes >= 9);
    let prompted = Api::open(&options("jina").with("prompt", "query: "), &Host::detached()).unwrap();
    assert_eq!(prompted.measure(&[Item::text("hello world")])[0].tokens, 5);
    let estimated = Api::open(&options("jina"), &Host::detached()).unwrap();
    let sizes = estimated.measure(&[Item::text("hello world"), Item::text("\u{5317}\u{4eac}")]);
    assert_eq!([sizes[0].tokens, sizes[1].tokens], [3, 2]);
}
