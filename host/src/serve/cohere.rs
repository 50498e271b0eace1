//! `POST /v2/embed`: Cohere's form.

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use utoipa::ToSchema;

use super::app::App;
use super::body::Whole;
use super::embeddings::{Format, Packed, VALUES, parse_all, parts, shortened};
use super::error::Refusal;
use super::given::Given;
use super::item_key::ItemKey;
use super::{answer, item_schema, weighed};

/// Items to embed: one of `texts`, `images` and `inputs`.
#[derive(Deserialize, ToSchema)]
pub(super) struct EmbedRequest {
    /// RUN, or RUN/TOWER.
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    #[schema(schema_with = item_schema::items)]
    texts: Option<Value>,
    #[serde(default)]
    #[schema(schema_with = item_schema::pictures)]
    images: Option<Value>,
    /// Each with one part in its `content`.
    #[serde(default)]
    inputs: Option<Vec<Mixed>>,
    /// `float` and `base64`; `float` if it is empty.
    #[serde(default)]
    embedding_types: Option<Vec<Format>>,
    /// Values of each embedding; only for methods that order them.
    #[serde(default)]
    #[schema(minimum = 1)]
    output_dimension: Option<usize>,
}

/// An item.
#[derive(Deserialize, ToSchema)]
struct Mixed {
    /// A text, or a part of type `text`, `image_url` or `input_audio`, alone in a list.
    content: Value,
}

/// The embeddings by their form.
#[derive(Serialize, ToSchema)]
pub(super) struct EmbedResponse {
    id: String,
    embeddings: ByForm,
    response_type: &'static str,
    meta: Meta,
}

/// A list for each form that was asked for.
#[derive(Serialize, ToSchema)]
struct ByForm {
    #[serde(skip_serializing_if = "Option::is_none")]
    float: Option<Vec<Packed>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<Vec<Packed>>,
}

#[derive(Serialize, ToSchema)]
struct Meta {
    api_version: ApiVersion,
}

#[derive(Serialize, ToSchema)]
struct ApiVersion {
    version: &'static str,
}

/// Embeds items.
#[utoipa::path(post, path = "/v2/embed", operation_id = "embed_as_cohere", request_body = EmbedRequest,
    responses((status = 200, body = EmbedResponse)))]
pub(super) async fn embed(State(app): State<Arc<App>>, mut body: Whole) -> Result<Response, Refusal> {
    let (request, (items, key)) = body.parse(|body| {
        let mut request: EmbedRequest = body.items_json(VALUES)?;
        let items = request.items()?;
        Ok::<_, Refusal>((request, items))
    })?;
    let values = app.values(request.output_dimension, "output_dimension")?;
    let count = items.len();
    let types = request.embedding_types.filter(|types| !types.is_empty()).unwrap_or_else(|| vec![Format::Float]);
    let forms = [Format::Float, Format::Base64].into_iter().filter(|format| types.contains(format)).count();
    let bytes = app.answer_bytes(count, values * forms);
    let (share, of_answer) = app.parted(body.into_share(), Given::bytes_of(&items), bytes).await?;
    let rows = app.embed(("model", request.model.as_deref()), items, key, share).await?;
    let answer = || {
        let rows: Vec<Vec<f32>> = rows.into_iter().map(|row| shortened(row, values)).collect();
        let packed = |format| {
            let all = || rows.iter().map(|row| Packed::new(row.clone(), format)).collect();
            types.contains(&format).then(all)
        };
        answer::bytes(&EmbedResponse {
            // The keys of a new state are random.
            id: format!("{:016x}", RandomState::new().build_hasher().finish()),
            embeddings: ByForm { float: packed(Format::Float), base64: packed(Format::Base64) },
            response_type: "embeddings_by_type",
            meta: Meta { api_version: ApiVersion { version: "2" } },
        })
    };
    Ok(answer::json(weighed(bytes, answer), of_answer))
}

impl EmbedRequest {
    /// Its items, which it has no longer, and the key that they stood in.
    fn items(&mut self) -> Result<(Vec<Given>, ItemKey), Refusal> {
        match (self.texts.take(), self.images.take(), self.inputs.take()) {
            (Some(texts), None, None) => parse_all(texts, Some("text"), "texts"),
            (None, Some(images), None) => parse_all(images, Some("image"), "images"),
            (None, None, Some(inputs)) => {
                let key = ItemKey::List("inputs");
                let item = |(index, input): (usize, &Mixed)| {
                    let at = || key.place(index);
                    match parts(&input.content) {
                        [part] => Given::part(part).map_err(|refusal| refusal.at(at())),
                        parts => Err(Refusal::invalid(format!(
                            "an item of {} parts, and one is embedded: this space has a text or a picture, not both in \
                             one",
                            parts.len()
                        ))
                        .at(at())),
                    }
                };
                Ok((inputs.iter().enumerate().map(item).collect::<Result<_, _>>()?, key))
            }
            _ => Err(Refusal::invalid("send one of `texts`, `images` and `inputs`")),
        }
    }
}
