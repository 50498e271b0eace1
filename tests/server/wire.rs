//! The formats: the exact requests of each.

use serde_json::{Map, Value, json};

use super::{Asked, KEY, Request};

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
}
