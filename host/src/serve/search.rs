//! `POST /search`: the items of galleries that are near to a text, a picture, a sound, a vector or an item.

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Deserializer};
use std::collections::HashSet;
use std::sync::Arc;
use utoipa::ToSchema;

use super::app::App;
use super::body::{Field, Whole};
use super::embeddings::scale;
use super::error::Refusal;
use super::given::Given;
use super::item_key::ItemKey;
use super::memory::Share;
use super::nearest::{Answer, Found, Nearest, SearchResponse};
use super::{answer, working};
use crate::bytes::Bytes;
use crate::filter::FilterError;
use crate::gallery::Filter;

/// The most items of a gallery that an answer has.
const MOST: usize = 1000;
/// The most conditions of a filter: each may be tested on every item.
const CONDITIONS: usize = 100;

/// A query: one of `text`, `image`, `audio`, `vector` and `id`.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SearchRequest {
    #[serde(default)]
    text: Option<String>,
    /// A data URI, base64, or a URL if the server may fetch it.
    #[serde(default)]
    image: Option<String>,
    /// A data URI, base64, or a URL if the server may fetch it.
    #[serde(default)]
    audio: Option<String>,
    /// An embedding with all values of the space, as `fusemix embed` writes it, or those of `/v1/embeddings`. It is
    /// brought to length 1.
    #[serde(default)]
    vector: Option<Vec<f32>>,
    /// An item of `gallery`: what is near to it.
    #[serde(default)]
    id: Option<String>,
    /// The gallery of `id`.
    #[serde(default)]
    gallery: Option<String>,
    /// The tower of the query, where several take items of its modality.
    #[serde(default)]
    from: Option<String>,
    /// The galleries to search, or one; all if none is named.
    #[serde(default, deserialize_with = "one_or_more")]
    #[schema(value_type = Option<Names>)]
    to: Option<Vec<String>>,
    /// Items of each gallery.
    #[serde(default = "ten")]
    #[schema(minimum = 1, maximum = 1000)]
    k: usize,
    /// Only items that match, such as `price<20` or `kind = 'photo' and year >= 1990`; at most 100 conditions.
    #[serde(default)]
    r#where: Option<String>,
    /// The file of a form, and the field that it is in.
    #[serde(skip)]
    file: Option<(&'static str, Given)>,
}

/// A query as a form: one of `text`, `image`, `audio` and `file`, which is what its type or its first bytes say.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes the fields that are read by their names")]
struct SearchForm {
    #[schema(nullable = false)]
    text: Option<String>,
    #[schema(value_type = String, format = Binary, required = false)]
    image: Option<Vec<u8>>,
    #[schema(value_type = String, format = Binary, required = false)]
    audio: Option<Vec<u8>>,
    #[schema(value_type = String, format = Binary, required = false)]
    file: Option<Vec<u8>>,
    /// The tower of the query, where several take items of its modality.
    #[schema(nullable = false)]
    from: Option<String>,
    /// The galleries to search, a field for each; all if none is named.
    #[schema(nullable = false)]
    to: Option<Vec<String>>,
    /// Items of each gallery.
    #[schema(nullable = false, minimum = 1, maximum = 1000)]
    k: Option<usize>,
    /// Only items that match, as in JSON.
    #[schema(nullable = false)]
    r#where: Option<String>,
}

/// A list of names, or one.
#[derive(Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected the name of a gallery, or a list of them")]
enum Names {
    One(String),
    More(Vec<String>),
}

fn one_or_more<'de, D: Deserializer<'de>>(json: D) -> Result<Option<Vec<String>>, D::Error> {
    Ok(Option::deserialize(json)?.map(|names| match names {
        Names::One(name) => vec![name],
        Names::More(names) => names,
    }))
}

fn ten() -> usize {
    10
}

/// Finds the nearest items.
#[utoipa::path(post, path = "/search",
    request_body(content((SearchRequest = "application/json"), (SearchForm = "multipart/form-data"))),
    responses((status = 200, body = SearchResponse)))]
pub(super) async fn search(State(app): State<Arc<App>>, mut body: Whole) -> Result<Response, Refusal> {
    let mut request = match body.form().await? {
        Some(fields) => SearchRequest::of_form(&fields)?,
        // What is long in a query is its vector, and one that is too long is told so.
        None => body.parse(|body| body.json(4 * app.model.space().width() + app.galleries.len()))?,
    };
    let share = body.into_share();
    if !(1..=MOST).contains(&request.k) {
        return Err(Refusal::invalid(format!("`k` is 1 to {MOST}, not {}", request.k)).at("k"));
    }
    let filter = request.filter().map_err(|refusal| refusal.at("where"))?;
    let is_named = request.to.is_some();
    let names = match request.to.take() {
        Some(names) if names.is_empty() => {
            return Err(Refusal::invalid("`to` names no gallery; leave it out to search all").at("to"));
        }
        Some(names) => names,
        None => app.galleries.keys().cloned().collect(),
    };
    if names.is_empty() {
        return Err(Refusal::absent("there is no gallery to search; start the server with --gallery DIR"));
    }
    let mut different = HashSet::new();
    for name in &names {
        app.gallery(name).map_err(|refusal| refusal.at("to"))?;
        if !different.insert(name) {
            return Err(Refusal::invalid(format!("gallery {name:?} stands twice in `to`")).at("to"));
        }
    }
    let query = request.query(&app, share).await?;
    let (k, searched) = (request.k, app.clone());
    let skips = !is_named && names.len() > 1;
    let answer = working(move || {
        let one = |name: String| match Nearest::of(&searched, &name, &query, k, filter.as_ref()) {
            // One that is gone, or is being built anew, leaves the others.
            Err(refusal) if skips && refusal.is_of_gallery() => Ok((name, Err(refusal))),
            nearest => Ok((name, Ok(nearest?))),
        };
        Found::of(names.into_iter().map(one).collect::<Result<_, Refusal>>()?)?.answer_if_small(&searched)
    })
    .await?;
    let found = match answer {
        Answer::Small(bytes) => return Ok(answer::json(bytes, None)),
        Answer::Large(found) => found,
    };
    let (bytes, most) = (found.bytes(), app.memory.bytes());
    if bytes as u64 > most.0 {
        let bytes = Bytes::rounded(bytes as u64);
        let message = format!("to make the answer takes {bytes}, and all requests together have {most}; ask for fewer");
        return Err(Refusal::large(message).at("k"));
    }
    let mut share = app.share(bytes).await?;
    let answering = app.clone();
    let answer = working(move || found.answer(&answering)).await?;
    app.shrink(&mut share, answer.len());
    Ok(answer::json(answer, Some(share)))
}

impl SearchRequest {
    /// The query's embedding, with all values of the space.
    async fn query(&mut self, app: &Arc<App>, share: Share) -> Result<Vec<f32>, Refusal> {
        let texts = [&self.text, &self.image, &self.audio, &self.id].map(Option::is_some);
        let others = [self.file.is_some(), self.vector.is_some()];
        let queries = texts.iter().chain(&others).filter(|is_there| **is_there).count();
        if queries != 1 {
            return Err(Refusal::invalid(format!(
                "a search has one query: `text`, `image`, `audio`, `vector`, or `id` with `gallery`; in a form, `text`, \
                 `image`, `audio` or `file`; this has {queries}"
            )));
        }
        if self.id.is_none() && self.gallery.is_some() {
            return Err(Refusal::invalid("`gallery` is that of `id`; name galleries to search in `to`").at("gallery"));
        }
        let item = Given::one_of(self.text.take(), self.image.take(), self.audio.take())?;
        if let Some((key, item)) = item.or_else(|| self.file.take()) {
            let named = ("from", self.from.as_deref());
            return Ok(app.embed(named, vec![item], ItemKey::One(key), Arc::new(share)).await?.remove(0));
        }
        let space = app.model.space();
        if let Some(vector) = self.vector.take() {
            return directed(vector, space.shared(), space.width()).map_err(|refusal| refusal.at("vector"));
        }
        let (Some(id), Some(name)) = (self.id.take(), self.gallery.take()) else {
            return Err(Refusal::invalid("`id` needs the `gallery` that it is in").at("gallery"));
        };
        let app = app.clone();
        working(move || {
            let gallery = app.gallery(&name).map_err(|refusal| refusal.at("gallery"))?.current()?;
            match gallery.row_of(&id)? {
                Some(row) => Ok(gallery.vector(row)?),
                None => Err(Refusal::absent(format!("gallery `{name}` has no item with id {id:?}")).at("id")),
            }
        })
        .await
    }

    /// The filter, if there is one.
    fn filter(&self) -> Result<Option<Filter>, Refusal> {
        let Some(text) = self.r#where.as_deref().map(str::trim).filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let filter: Filter = text.parse().map_err(|error: FilterError| Refusal::invalid(error.to_string()))?;
        match filter.conditions() {
            ..=CONDITIONS => Ok(Some(filter)),
            conditions => Err(Refusal::invalid(format!(
                "the filter has {conditions} conditions, and at most {CONDITIONS} are allowed; send several searches"
            ))),
        }
    }

    /// The request in a form: a file and the other keys.
    fn of_form(fields: &[Field]) -> Result<Self, Refusal> {
        Field::refuse_repeated(fields, |name| name == "to")?;
        let mut request = Self { k: ten(), ..Self::default() };
        let mut files = Vec::new();
        let is_said =
            |field: &&Field| !field.bytes.is_empty() || ["text", "image", "audio", "file"].contains(&&*field.name);
        for field in fields.iter().filter(is_said) {
            match field.name.as_str() {
                "text" => request.text = Some(field.text()?),
                "from" => request.from = Some(field.text()?),
                "to" => request.to.get_or_insert_default().push(field.text()?),
                "where" => request.r#where = Some(field.text()?),
                "k" => {
                    let k = field.text()?.parse();
                    request.k = k.map_err(|_| Refusal::invalid("`k` is no whole number").at("k"))?;
                }
                "image" => files.push(("image", Given::field(field, Some("image"))?)),
                "audio" => files.push(("audio", Given::field(field, Some("audio"))?)),
                "file" => files.push(("file", Given::field(field, None)?)),
                other => {
                    return Err(Refusal::invalid(format!("a search has no field `{other}`")).at(other));
                }
            }
        }
        if let [_, (name, _), ..] = files[..] {
            return Err(Refusal::invalid("a search has one query; send a request for each file").at(name));
        }
        request.file = files.pop();
        Ok(request)
    }
}

/// A client's vector as an embedding: its first values, which compare items of one tower, brought to length 1, and
/// behind them those of the term against hubs.
fn directed(mut vector: Vec<f32>, shared: usize, width: usize) -> Result<Vec<f32>, Refusal> {
    // The values of the term against hubs are those of an item that is as near to others as any.
    if vector.len() == shared {
        vector.resize(width, 0.0);
    }
    if vector.len() != width {
        let got = vector.len();
        let whole =
            if shared == width { String::new() } else { format!(", and one that `fusemix embed` writes {width}") };
        return Err(Refusal::invalid(format!(
            "the vector has {got} values, but an embedding of this run has {shared}{whole}; embed the query with it"
        )));
    }
    if let Some(at) = vector.iter().position(|value| !value.is_finite()) {
        return Err(Refusal::invalid(format!("value {at} of the vector is too large for a number of 32 bits")));
    }
    let (first, rest) = vector.split_at_mut(shared);
    if !scale(first) {
        return Err(Refusal::invalid("the vector has no direction: its values are 0"));
    }
    match rest.iter().position(|value| value.abs() > 1.0) {
        None => Ok(vector),
        Some(at) => Err(Refusal::invalid(format!(
            "value {} of the vector is of the term against hubs, so it is from -1 to 1; leave those from {shared} on \
             out, or send the embedding as it was written",
            shared + at
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use utoipa::PartialSchema;

    #[test]
    fn a_form_has_the_fields_that_are_described() {
        let schema = serde_json::to_value(SearchForm::schema()).unwrap();
        let described = schema["properties"].as_object().unwrap();
        let read = |names: &[&str]| {
            let field = |name: &&str| Field { name: (*name).to_owned(), media: None, is_file: true, bytes: "1".into() };
            SearchRequest::of_form(&names.iter().map(field).collect::<Vec<_>>())
        };
        assert!(described.keys().all(|name| read(&[name]).is_ok()));
        for name in ["vector", "id", "gallery"] {
            assert!(!described.contains_key(name) && read(&[name]).is_err());
        }
        assert!(read(&["image", "k", "file"]).is_err_and(|refusal| refusal.message().contains("one query")));
    }

    #[test]
    fn a_vector_is_brought_to_length_1() {
        assert_eq!(directed(vec![3.0, 4.0], 2, 2).unwrap(), [0.6, 0.8]);
        assert_eq!(directed(vec![3e38, 0.0], 2, 3).unwrap(), [1.0, 0.0, 0.0]);
        assert_eq!(directed(vec![0.0, 1e-40, 0.5], 2, 3).unwrap(), [0.0, 1.0, 0.5]);
        for (vector, says) in [
            (vec![1.0], "1 values, but an embedding of this run has 2, and one that `fusemix embed` writes 3"),
            (vec![f32::INFINITY, 0.0], "value 0 of the vector is too large"),
            (vec![1.0, f32::NAN], "value 1"),
            (vec![0.0, 0.0, 0.5], "no direction"),
            (vec![1.0, 0.0, 1.5], "value 2 of the vector is of the term against hubs"),
        ] {
            let refusal = directed(vector, 2, 3).unwrap_err();
            assert_eq!(refusal.status, 400);
            assert!(format!("{refusal:?}").contains(says), "{refusal:?}");
        }
    }
}
