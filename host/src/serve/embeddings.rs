//! `POST /v1/embeddings`: OpenAI's form, with the other modalities as Infinity, vLLM and Jina send them.

use axum::extract::State;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, IntoDeserializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use utoipa::ToSchema;

use super::app::App;
use super::body::{Field, Whole};
use super::error::Refusal;
use super::given::Given;
use super::item_key::ItemKey;
use super::{answer, item_schema, weighed};

/// The most values in the JSON of an item: a message with a part, and what clients send beside.
pub(super) const VALUES: usize = 16;

/// Items to embed.
#[derive(Default, Deserialize, ToSchema)]
pub(super) struct EmbeddingsRequest {
    /// RUN, or RUN/TOWER where several towers take items of one modality.
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    #[schema(schema_with = item_schema::items)]
    input: Option<Value>,
    /// One item as a chat message, instead of `input`: a part of type `text`, `image_url` or `input_audio`.
    #[serde(default)]
    messages: Option<Vec<Message>>,
    /// What the texts of `input` hold: `text`, `image` or `audio`.
    #[serde(default)]
    modality: Option<String>,
    /// `float`, or `base64`: little-endian f32.
    #[serde(default)]
    encoding_format: Option<Format>,
    /// Values of each embedding: its first ones, scaled to length 1 again. Only for methods that order them.
    #[serde(default)]
    #[schema(minimum = 1)]
    dimensions: Option<usize>,
}

/// Items to embed, as a form: files or texts, called `input` or `file`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes the fields that are read by their names")]
struct EmbeddingsForm {
    #[schema(value_type = Vec<String>, format = Binary, required = false)]
    input: Vec<Vec<u8>>,
    #[schema(value_type = Vec<String>, format = Binary, required = false)]
    file: Vec<Vec<u8>>,
    /// RUN, or RUN/TOWER where several towers take items of one modality.
    #[schema(nullable = false)]
    model: Option<String>,
    /// What all of them hold, whatever their types say: `text`, `image` or `audio`.
    #[schema(nullable = false)]
    modality: Option<String>,
    #[schema(nullable = false)]
    encoding_format: Option<Format>,
    /// Values of each embedding: its first ones, scaled to length 1 again. Only for methods that order them.
    #[schema(nullable = false, minimum = 1)]
    dimensions: Option<usize>,
}

/// A chat message.
#[derive(Deserialize, ToSchema)]
struct Message {
    /// A text, or parts.
    content: Value,
}

/// The form of an embedding.
#[derive(Clone, Copy, Default, Deserialize, PartialEq, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    /// A list of numbers.
    #[default]
    Float,
    /// Little-endian f32, in base64.
    Base64,
}

/// Embeddings of length 1, whose products with those of other towers are cosines.
#[derive(Serialize, ToSchema)]
pub(super) struct EmbeddingsResponse {
    object: &'static str,
    data: Vec<EmbeddingObject>,
    model: String,
    usage: Usage,
}

/// An embedding.
#[derive(Serialize, ToSchema)]
struct EmbeddingObject {
    object: &'static str,
    /// Its place in `input`.
    index: usize,
    embedding: Packed,
}

/// An embedding in the form that was asked for.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Packed {
    Numbers(Vec<f32>),
    Base64(String),
}

/// Nothing is counted here, but clients read it.
#[derive(Serialize, ToSchema)]
struct Usage {
    prompt_tokens: u64,
    total_tokens: u64,
}

impl Packed {
    pub(super) fn new(values: Vec<f32>, format: Format) -> Self {
        match format {
            Format::Float => Self::Numbers(values),
            Format::Base64 => {
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                Self::Base64(STANDARD.encode(bytes))
            }
        }
    }
}

/// Embeds items.
#[utoipa::path(post, path = "/v1/embeddings",
    request_body(content((EmbeddingsRequest = "application/json"), (EmbeddingsForm = "multipart/form-data"))),
    responses((status = 200, body = EmbeddingsResponse)))]
pub(super) async fn embed(State(app): State<Arc<App>>, mut body: Whole) -> Result<Response, Refusal> {
    let (request, items, key) = match body.form().await? {
        Some(fields) => {
            let (request, (items, key)) = EmbeddingsRequest::of_form(&fields)?;
            (request, items, key)
        }
        None => {
            let (request, (items, key)) = body.parse(|body| {
                let mut request: EmbeddingsRequest = body.items_json(VALUES)?;
                let items = request.items()?;
                Ok::<_, Refusal>((request, items))
            })?;
            (request, items, key)
        }
    };
    let values = app.values(request.dimensions, "dimensions")?;
    let count = items.len();
    let bytes = app.answer_bytes(count, values);
    let (share, of_answer) = app.parted(body.into_share(), Given::bytes_of(&items), bytes).await?;
    let rows = app.embed(("model", request.model.as_deref()), items, key, share).await?;
    let answer = || {
        let data = rows.into_iter().enumerate().map(|(index, row)| EmbeddingObject {
            object: "embedding",
            index,
            embedding: Packed::new(shortened(row, values), request.encoding_format.unwrap_or_default()),
        });
        let data = data.collect();
        let model = request.model.unwrap_or_else(|| app.name.clone());
        let usage = Usage { prompt_tokens: 0, total_tokens: 0 };
        answer::bytes(&EmbeddingsResponse { object: "list", data, model, usage })
    };
    Ok(answer::json(weighed(bytes, answer), of_answer))
}

impl EmbeddingsRequest {
    /// Its items, which it has no longer, and the key that they stood in.
    fn items(&mut self) -> Result<(Vec<Given>, ItemKey), Refusal> {
        match (self.input.take(), self.messages.take()) {
            (Some(_), Some(_)) => Err(Refusal::invalid("send `input` or `messages`, not both").at("messages")),
            (None, None) => Err(Refusal::invalid("`input` is missing: a text, or a list of items").at("input")),
            (Some(input), None) => {
                parse_all(input, self.modality.as_deref().filter(|modality| !modality.is_empty()), "input")
            }
            (None, Some(messages)) => {
                let parts: Vec<&Value> = messages.iter().flat_map(|message| parts(&message.content)).collect();
                match parts.as_slice() {
                    [part] => {
                        let item = Given::part(part).map_err(|refusal| refusal.at("messages"))?;
                        Ok((vec![item], ItemKey::One("messages")))
                    }
                    parts => Err(Refusal::invalid(format!(
                        "the messages have {} parts, and one is embedded: this space has a text or a picture, not both \
                         in one; send several requests, or a list in `input`",
                        parts.len()
                    ))
                    .at("messages")),
                }
            }
        }
    }

    /// The request in a form: files or texts called `input` or `file`, and the other keys.
    fn of_form(fields: &[Field]) -> Result<(Self, (Vec<Given>, ItemKey)), Refusal> {
        let is_item = |name: &str| matches!(name, "input" | "input[]" | "file" | "file[]" | "files" | "files[]");
        Field::refuse_repeated(fields, is_item)?;
        let mut request = Self::default();
        for field in fields.iter().filter(|field| !field.bytes.is_empty()) {
            match field.name.as_str() {
                "model" => request.model = Some(field.text()?),
                "modality" => request.modality = Some(field.text()?),
                "dimensions" => {
                    let number = field.text()?.parse();
                    let wrong = |_| Refusal::invalid("`dimensions` is no number").at("dimensions");
                    request.dimensions = Some(number.map_err(wrong)?);
                }
                "encoding_format" => {
                    let format = Format::deserialize(field.text()?.into_deserializer());
                    let wrong = |error: de::value::Error| {
                        Refusal::invalid(format!("`encoding_format`: {error}")).at("encoding_format")
                    };
                    request.encoding_format = Some(format.map_err(wrong)?);
                }
                // Clients send what other servers know, too.
                _ => {}
            }
        }
        let items: Vec<&Field> = fields.iter().filter(|field| is_item(&field.name)).collect();
        if items.is_empty() {
            let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
            let message = format!("the form has no field `input` or `file` (its fields: {})", names.join(", "));
            return Err(Refusal::invalid(message).at("input"));
        }
        let key = if items.len() == 1 { ItemKey::One("input") } else { ItemKey::List("input") };
        let item = |(index, field): (usize, &&Field)| {
            Given::field(field, request.modality.as_deref()).map_err(|refusal| refusal.at(key.place(index)))
        };
        let items = items.iter().enumerate().map(item).collect::<Result<_, _>>()?;
        Ok((request, (items, key)))
    }
}

/// One item or a list of them; a mistake is named by its place.
pub(super) fn parse_all(
    input: Value,
    modality: Option<&str>,
    key: &'static str,
) -> Result<(Vec<Given>, ItemKey), Refusal> {
    match input {
        Value::Array(items) => {
            let key = ItemKey::List(key);
            let parse = |(index, item): (usize, Value)| {
                Given::parse(item, modality).map_err(|refusal| refusal.at(key.place(index)))
            };
            Ok((items.into_iter().enumerate().map(parse).collect::<Result<_, _>>()?, key))
        }
        item => {
            let item = Given::parse(item, modality).map_err(|refusal| refusal.at(key))?;
            Ok((vec![item], ItemKey::One(key)))
        }
    }
}

/// The parts of a message's content; a text is one.
pub(super) fn parts(content: &Value) -> &[Value] {
    match content {
        Value::Array(parts) => parts,
        text => std::slice::from_ref(text),
    }
}

/// The first values, scaled to length 1.
pub(super) fn shortened(mut row: Vec<f32>, values: usize) -> Vec<f32> {
    if values < row.len() {
        row.truncate(values);
        scale(&mut row);
    }
    row
}

/// Scales a vector to length 1; false if it has no direction, and stays as it is.
pub(super) fn scale(vector: &mut [f32]) -> bool {
    let length = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
    }
    length > 0.0
}

impl App {
    /// The values of an embedding that a client gets: those that compare by cosines, or so many of them.
    pub(super) fn values(&self, wanted: Option<usize>, key: &str) -> Result<usize, Refusal> {
        let (all, method) = (self.model.space().shared(), self.model.info().method);
        match wanted {
            None => Ok(all),
            Some(wanted) if wanted == all => Ok(all),
            Some(wanted) if wanted == 0 || wanted > all => {
                Err(Refusal::invalid(format!("`{key}` is 1 to {all} here, not {wanted}")).at(key))
            }
            Some(wanted) if method.orders_values() => Ok(wanted),
            Some(_) => Err(Refusal::invalid(format!(
                "method {} does not order the values of its space, so a part of them is no embedding; leave \
                 `{key}` out, or set it to {all}",
                method.name()
            ))
            .at(key)),
        }
    }
}
