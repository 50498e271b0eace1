//! The formats: the exact requests of each, and its answers.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

use super::{Asked, Fault, KEY, Request, WIDTH, vector};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    OpenAi,
    Azure,
    Infinity,
    Cohere,
    Voyage,
    VoyageMultimodal,
    Jina,
    Gemini,
    Tei,
    Ollama,
    /// A format that no provider uses.
    Own,
}

type Refusal = (u16, String);

/// Checks that an object has only these keys, and all required ones.
fn keys(object: &Map<String, Value>, must: &[&str], may: &[&str]) -> Result<(), Refusal> {
    if let Some(missing) = must.iter().find(|key| !object.contains_key(**key)) {
        return Err((422, format!("`{missing}` is missing")));
    }
    match object.keys().find(|key| !must.contains(&key.as_str()) && !may.contains(&key.as_str())) {
        Some(unknown) => Err((400, format!("unknown field `{unknown}`"))),
        None => Ok(()),
    }
}

fn texts(value: &Value) -> Result<Vec<String>, Refusal> {
    let texts = value.as_array().ok_or((400, "not a list".to_owned()))?;
    texts.iter().map(text).collect()
}

fn text(value: &Value) -> Result<String, Refusal> {
    match value.as_str() {
        Some("") => Err((400, "an input is empty".to_owned())),
        Some(text) => Ok(text.to_owned()),
        None => Err((400, "an input is no text".to_owned())),
    }
}

/// The base64 content of a data URI.
fn uri(value: &Value) -> Result<String, Refusal> {
    let rest = value.as_str().and_then(|uri| uri.strip_prefix("data:image/png;base64,"));
    rest.map(str::to_owned).ok_or((400, "no data URI of a PNG".to_owned()))
}

fn dimensions(body: &Value, key: &str) -> Result<(), Refusal> {
    match body.get(key).map(Value::as_u64) {
        None | Some(Some(24)) => Ok(()),
        Some(other) => Err((400, format!("{key} {other:?} is not supported"))),
    }
}

impl Wire {
    /// The plugin's name for it.
    pub fn provider(self) -> &'static str {
        match self {
            Self::OpenAi | Self::Azure | Self::Infinity => "openai",
            Self::Cohere => "cohere",
            Self::Voyage | Self::VoyageMultimodal => "voyage",
            Self::Jina => "jina",
            Self::Gemini => "gemini",
            Self::Tei => "tei",
            Self::Ollama => "ollama",
            Self::Own => "http",
        }
    }

    /// The path after the server's address in `base_url`.
    pub fn base(self) -> &'static str {
        match self {
            Self::OpenAi | Self::Voyage | Self::VoyageMultimodal | Self::Jina => "/v1",
            Self::Azure => "/openai/deployments/small",
            Self::Gemini => "/v1beta",
            Self::Infinity | Self::Cohere | Self::Tei | Self::Ollama | Self::Own => "",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::OpenAi | Self::Voyage | Self::Jina => "/v1/embeddings",
            Self::Azure => "/openai/deployments/small/embeddings?api-version=2024-10-21",
            Self::Infinity => "/embeddings",
            Self::VoyageMultimodal => "/v1/multimodalembeddings",
            Self::Cohere => "/v2/embed",
            Self::Gemini => "/v1beta/models/gemini-embedding-001:batchEmbedContents",
            Self::Tei => "/embed",
            Self::Ollama => "/api/embed",
            Self::Own => "/vectors",
        }
    }

    /// The answer to a request for information.
    pub fn info(self, request: &Request) -> Option<Value> {
        match (self, request.path.as_str()) {
            (Self::Tei, "/info") => {
                Some(json!({"model_id": "test/model", "model_sha": "abc", "model_dtype": "float32",
                    "max_client_batch_size": 8, "max_batch_tokens": 512, "max_input_length": 128, "version": "1.7"}))
            }
            (Self::Ollama, "/api/tags") => {
                Some(json!({"models": [{"name": "m:latest", "model": "m:latest", "size": 1, "digest": "a2af6cc3"}]}))
            }
            _ => None,
        }
    }

    pub fn complaint(self, reason: &str) -> Value {
        match self {
            Self::OpenAi | Self::Azure => {
                json!({"error": {"message": reason, "type": "invalid_request_error", "code": null}})
            }
            Self::Cohere => json!({"message": reason, "id": "1"}),
            Self::Gemini => json!({"error": {"code": 400, "message": reason, "status": "INVALID_ARGUMENT"}}),
            Self::Tei => json!({"error": reason, "error_type": "validation"}),
            Self::Ollama => json!({"error": reason}),
            _ => json!({"detail": reason}),
        }
    }

    /// Reads a request as strictly as a server may.
    pub fn read(self, request: &Request) -> Result<Asked, Refusal> {
        let header = |name: &str| request.headers.get(name).map_or("", String::as_str);
        if request.path != self.path() {
            return Err((404, format!("no route {}", request.path)));
        }
        if header("content-type") != "application/json" {
            return Err((415, "not JSON".to_owned()));
        }
        let key = match self {
            Self::Azure => header("api-key").to_owned(),
            Self::Gemini => header("x-goog-api-key").to_owned(),
            Self::Own => header("x-key").to_owned(),
            _ => header("authorization").strip_prefix("Bearer ").unwrap_or_default().to_owned(),
        };
        if key != KEY {
            return Err((401, format!("Incorrect API key provided: {key:?}")));
        }
        let body: Value = serde_json::from_slice(&request.body).map_err(|error| (400, error.to_string()))?;
        let object = body.as_object().ok_or((400, "no object".to_owned()))?;
        let most = |inputs: Vec<String>, most: usize, status: u16| match inputs.len() {
            0 => Err((400, "no inputs".to_owned())),
            count if count > most => Err((status, format!("{count} inputs, and no more than {most} are allowed"))),
            _ => Ok(inputs),
        };
        let mut base64 = false;
        let inputs = match self {
            Self::OpenAi | Self::Azure => {
                keys(object, &["model", "input"], &["encoding_format", "dimensions", "user"])?;
                dimensions(&body, "dimensions")?;
                base64 = body["encoding_format"] == "base64";
                most(texts(&body["input"])?, 2048, 400)?
            }
            Self::Infinity => {
                keys(object, &["model", "input", "modality"], &["encoding_format", "dimensions"])?;
                base64 = body["encoding_format"] == "base64";
                let inputs = body["input"].as_array().ok_or((400, "not a list".to_owned()))?;
                most(inputs.iter().map(uri).collect::<Result<_, _>>()?, 32, 422)?
            }
            Self::Cohere => {
                keys(
                    object,
                    &["model", "input_type", "embedding_types"],
                    &["texts", "images", "inputs", "output_dimension", "truncate", "max_tokens"],
                )?;
                dimensions(&body, "output_dimension")?;
                match (&body["texts"], &body["images"], &body["inputs"]) {
                    (texts_, Value::Null, Value::Null) => {
                        let types = ["search_document", "search_query", "classification", "clustering"];
                        if !types.iter().any(|wanted| body["input_type"] == *wanted) {
                            return Err((400, "invalid input_type".to_owned()));
                        }
                        most(texts(texts_)?, 96, 400)?
                    }
                    (Value::Null, images, Value::Null) if body["input_type"] == "image" => {
                        let images = images.as_array().ok_or((400, "not a list".to_owned()))?;
                        most(images.iter().map(uri).collect::<Result<_, _>>()?, 1, 400)?
                    }
                    (Value::Null, Value::Null, inputs) if body["input_type"] == "image" => {
                        let inputs = inputs.as_array().ok_or((400, "not a list".to_owned()))?;
                        let image = |input: &Value| {
                            let content = &input["content"][0];
                            match content["type"] == "image_url" {
                                true => uri(&content["image_url"]["url"]),
                                false => Err((400, "no image_url".to_owned())),
                            }
                        };
                        most(inputs.iter().map(image).collect::<Result<_, _>>()?, 96, 400)?
                    }
                    _ => return Err((400, "one of texts, images and inputs, please".to_owned())),
                }
            }
            Self::Voyage => {
                keys(
                    object,
                    &["model", "input"],
                    &["input_type", "truncation", "encoding_format", "output_dimension", "output_dtype"],
                )?;
                dimensions(&body, "output_dimension")?;
                match body.get("encoding_format") {
                    None => {}
                    Some(format) if format == "base64" => base64 = true,
                    Some(_) => return Err((400, "encoding_format must be null or base64".to_owned())),
                }
                most(texts(&body["input"])?, 1000, 400)?
            }
            Self::VoyageMultimodal => {
                keys(
                    object,
                    &["model", "inputs"],
                    &["input_type", "truncation", "output_encoding", "output_dimension"],
                )?;
                base64 = body["output_encoding"] == "base64";
                let inputs = body["inputs"].as_array().ok_or((400, "not a list".to_owned()))?;
                let content = |input: &Value| {
                    let content = &input["content"][0];
                    match content["type"].as_str() {
                        Some("text") => text(&content["text"]),
                        Some("image_base64") => uri(&content["image_base64"]),
                        _ => Err((400, "unknown content".to_owned())),
                    }
                };
                most(inputs.iter().map(content).collect::<Result<_, _>>()?, 1000, 400)?
            }
            Self::Jina => {
                keys(
                    object,
                    &["model", "input"],
                    &["task", "dimensions", "late_chunking", "embedding_type", "normalized", "truncate"],
                )?;
                dimensions(&body, "dimensions")?;
                base64 = body["embedding_type"] == "base64";
                let inputs = body["input"].as_array().ok_or((400, "not a list".to_owned()))?;
                let input = |input: &Value| match input {
                    Value::Object(object) => match (object.get("text"), object.get("image")) {
                        (Some(value), None) | (None, Some(value)) => text(value),
                        _ => Err((422, "text or image, please".to_owned())),
                    },
                    value => text(value),
                };
                most(inputs.iter().map(input).collect::<Result<_, _>>()?, 2048, 422)?
            }
            Self::Gemini => {
                keys(object, &["requests"], &[])?;
                let requests = body["requests"].as_array().ok_or((400, "not a list".to_owned()))?;
                let request = |request: &Value| {
                    keys(
                        request.as_object().ok_or((400, "no object".to_owned()))?,
                        &["model", "content"],
                        &["taskType", "title", "outputDimensionality"],
                    )?;
                    dimensions(request, "outputDimensionality")?;
                    match request["model"] == "models/gemini-embedding-001" {
                        true => text(&request["content"]["parts"][0]["text"]),
                        false => Err((400, "another model than in the address".to_owned())),
                    }
                };
                most(requests.iter().map(request).collect::<Result<_, _>>()?, 100, 400)?
            }
            Self::Tei => {
                keys(
                    object,
                    &["inputs"],
                    &["truncate", "normalize", "prompt_name", "dimensions", "truncation_direction"],
                )?;
                let inputs = most(texts(&body["inputs"])?, 8, 422)?;
                if inputs.iter().map(String::len).sum::<usize>() > 4 * 512 {
                    return Err((422, "too many tokens".to_owned()));
                }
                inputs
            }
            Self::Ollama => {
                keys(object, &["model", "input"], &["truncate", "options", "keep_alive", "dimensions"])?;
                most(texts(&body["input"])?, 4096, 400)?
            }
            Self::Own => {
                keys(object, &["engine", "documents"], &[])?;
                most(texts(&body["documents"])?, 64, 400)?
            }
        };
        Ok(Asked { inputs, base64, body })
    }

    /// The answer, or its faulty version.
    pub fn answer(self, asked: &Asked, fault: Option<Fault>) -> Vec<u8> {
        let Asked { inputs, base64, .. } = asked;
        let mut rows: Vec<(usize, Vec<f32>)> = inputs.iter().map(|input| vector(input)).enumerate().collect();
        let indexed = matches!(
            self,
            Self::OpenAi | Self::Azure | Self::Infinity | Self::Voyage | Self::VoyageMultimodal | Self::Jina
        );
        for (place, row) in &mut rows {
            // An input that the model has no vector for.
            if inputs[*place].ends_with("hollow") {
                row[3] = f32::NAN;
            }
        }
        match fault {
            Some(Fault::Few) => drop(rows.pop()),
            Some(Fault::First) => rows.truncate(1),
            Some(Fault::Shuffled) if indexed => rows.reverse(),
            Some(Fault::Twice) if indexed && rows.len() > 1 => rows[1].0 = 0,
            Some(Fault::Twice | Fault::Many) => rows.push(rows[0].clone()),
            Some(Fault::Narrow) => rows.iter_mut().for_each(|(_, row)| row.truncate(WIDTH / 3)),
            Some(Fault::NotANumber) => rows[0].1[3] = f32::NAN,
            Some(Fault::Empty) => rows[0].1.clear(),
            Some(Fault::Huge) => rows[0].1[3] = f32::INFINITY,
            _ => {}
        }
        let bytes = |row: &[f32]| match fault {
            Some(Fault::Doubles) => row.iter().flat_map(|value| f64::from(*value).to_le_bytes()).collect::<Vec<u8>>(),
            Some(Fault::BigEndian) => row.iter().flat_map(|value| value.to_be_bytes()).collect(),
            Some(Fault::Halves) => row.iter().flat_map(|value| half(*value).to_le_bytes()).collect(),
            Some(Fault::Bytes) => row.iter().flat_map(|value| ((value * 127.0) as i8).to_le_bytes()).collect(),
            _ => row.iter().flat_map(|value| value.to_le_bytes()).collect(),
        };
        let embedding = |row: &[f32]| match base64 {
            true if fault == Some(Fault::NoBase64) => Value::from("0.1 0.2 *"),
            true if fault == Some(Fault::Hex) => {
                Value::from(bytes(row).iter().map(|byte| format!("{byte:02x}")).collect::<String>())
            }
            true if fault == Some(Fault::UrlSafe) => Value::from(URL_SAFE_NO_PAD.encode(bytes(row))),
            true => Value::from(STANDARD.encode(bytes(row))),
            // JSON has no NaN: null is what some servers make of it.
            false => {
                row.iter().map(|&value| if value.is_infinite() { Value::from(HUGE) } else { value.into() }).collect()
            }
        };
        let embedding = |row: &[f32]| match fault {
            Some(Fault::Tokens) => Value::from(vec![embedding(row); 3]),
            Some(Fault::Nested) => Value::from(vec![embedding(row)]),
            _ => embedding(row),
        };
        let tokens: usize = inputs.iter().map(|input| input.len().div_ceil(4)).sum();
        let tokens = if fault == Some(Fault::Refund) { -1_000_000 } else { tokens as i64 };
        let plain = || rows.iter().map(|(_, row)| embedding(row)).collect::<Vec<Value>>();
        let answer = match self {
            Self::Cohere => {
                let units = if asked.body["input_type"] == "image" {
                    json!({"images": inputs.len()})
                } else {
                    json!({"input_tokens": tokens})
                };
                json!({"id": "1", "embeddings": {"float": plain()},
                    "meta": {"api_version": {"version": "2"}, "billed_units": units}})
            }
            Self::Gemini => {
                json!({"embeddings": rows.iter().map(|(_, row)| json!({"values": embedding(row)})).collect::<Vec<_>>()})
            }
            Self::Tei => Value::from(plain()),
            Self::Ollama => {
                json!({"model": "m", "embeddings": plain(), "total_duration": 1, "load_duration": 1,
                    "prompt_eval_count": tokens})
            }
            Self::Own => {
                let items: Vec<Value> = rows.iter().map(|(_, row)| json!({"v": embedding(row)})).collect();
                json!({"result": {"items": items}, "used": tokens})
            }
            _ => {
                let rows = rows.iter().filter(|(index, _)| !inputs[*index].ends_with("absent"));
                let data = rows.map(|(index, row)| match (fault, *index) {
                    (_, index) if inputs[index].ends_with("vacant") => Value::Null,
                    (Some(Fault::Postponed), index) if inputs[index].ends_with("later") => {
                        json!({"index": index, "error": {"message": "no room, try again in 1s"}})
                    }
                    (_, index) if inputs[index].ends_with("void") => json!({"index": index, "embedding": null}),
                    (_, index) if inputs[index].ends_with("narrow") => {
                        json!({"index": index, "embedding": embedding(&row[..WIDTH / 3])})
                    }
                    (_, index) if inputs[index].ends_with("stated") => {
                        json!({"index": index, "error": {"message": "too long for the model"}})
                    }
                    (_, index) if inputs[index].ends_with("nameless") => {
                        json!({"object": "error", "message": "too short for the model"})
                    }
                    (Some(Fault::From(first)), index) => {
                        json!({"object": "embedding", "index": first + index as i64, "embedding": embedding(row)})
                    }
                    (Some(Fault::NoZero), 0) => json!({"object": "embedding", "embedding": embedding(row)}),
                    (Some(Fault::AllZero), _) => json!({"index": 0, "embedding": embedding(row)}),
                    (_, index) => json!({"object": "embedding", "index": index, "embedding": embedding(row)}),
                });
                let data = data.collect::<Vec<_>>();
                let usage = match fault {
                    Some(Fault::Worded) => json!("3 tokens"),
                    _ => json!({"prompt_tokens": tokens, "total_tokens": tokens}),
                };
                match data.len() < inputs.len() && fault.is_none() {
                    true => json!({"object": "list", "data": data, "usage": usage, "errors": ["a text was refused"]}),
                    false => json!({"object": "list", "data": data, "model": "m", "usage": usage}),
                }
            }
        };
        // What no JSON of Rust's can hold.
        let mark = if fault == Some(Fault::Marked) { "\u{feff}" } else { "" };
        format!("{mark}{answer}").replace(&format!("\"{HUGE}\""), "1e400").into_bytes()
    }
}

/// The bits of the nearest f16 towards 0; what is less than its least normal value is 0.
fn half(value: f32) -> u16 {
    let bits = value.to_bits();
    let (sign, exponent) = ((bits >> 16 & 0x8000) as u16, (bits >> 23 & 255) as i32 - 112);
    if exponent <= 0 { sign } else { sign | (exponent as u16) << 10 | (bits >> 13 & 1023) as u16 }
}

/// Stands for a number that f64 cannot hold.
const HUGE: &str = "huge";
