//! `/openapi.json`: what the server answers, out of the types that it answers with.

use axum::Json;
use axum::extract::State;
use std::sync::Arc;
use utoipa::OpenApi as _;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, ResponseBuilder};

use super::app::App;
use super::error::ErrorBody;
use super::{cohere, embeddings, figures, galleries, items, keys, metrics, search, status};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "fusemix", description = "A fused multimodal space over HTTP."),
    paths(
        embeddings::embed,
        cohere::embed,
        search::search,
        items::add,
        items::remove,
        galleries::content,
        galleries::map,
        figures::figures,
        status::models,
        status::model,
        status::info,
        status::health,
        status::ready,
        metrics::metrics,
    ),
    components(schemas(ErrorBody))
)]
struct Document;

/// The description of this server.
pub(super) async fn document(State(app): State<Arc<App>>) -> Json<OpenApi> {
    Json(described(!app.keys.is_empty()))
}

/// The description of a server that needs keys or not.
fn described(needs_keys: bool) -> OpenApi {
    let mut document = Document::openapi();
    let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    document.components.get_or_insert_default().add_security_scheme("key", bearer);
    let key = SecurityRequirement::new::<_, [&str; 0], &str>("key", []);
    document.security = needs_keys.then(|| vec![key]);
    for (path, item) in &mut document.paths.paths {
        for operation in [&mut item.get, &mut item.post, &mut item.delete].into_iter().flatten() {
            if keys::OPEN.contains(&path.as_str()) {
                operation.security = Some(Vec::new());
            }
            let responses = &mut operation.responses.responses;
            for (status, description) in [
                ("4XX", "The request is at fault, or comes too soon."),
                ("5XX", "The server, or what it stands on, is at fault."),
            ] {
                let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("ErrorBody"))).build();
                let error = ResponseBuilder::new().description(description).content("application/json", body).build();
                responses.insert(status.to_owned(), error.into());
            }
            if let Some(RefOr::T(answer)) = responses.get_mut("200") {
                answer.description = "What was asked for.".to_owned();
            }
        }
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn parameters_are_where_they_are_said_to_be() {
        let document = serde_json::to_value(described(true)).unwrap();
        let mut queries = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            let parameters = methods.as_object().unwrap().values().filter_map(|method| method["parameters"].as_array());
            for parameter in parameters.flatten() {
                let name = parameter["name"].as_str().unwrap();
                let is_in_path = path.contains(&format!("{{{name}}}"));
                assert_eq!(parameter["in"], if is_in_path { "path" } else { "query" }, "{path}: {parameter}");
                if !is_in_path {
                    queries.insert((name, parameter["required"].as_bool().unwrap_or(false)));
                }
            }
        }
        assert_eq!(queries, [("color", false), ("gallery", false), ("id", true)].into());
    }

    #[test]
    fn every_form_is_described_and_every_type_is_there() {
        let document = serde_json::to_value(described(true)).unwrap();
        let has_form = |path: &str| {
            let content = &document["paths"][path]["post"]["requestBody"]["content"];
            assert!(content["application/json"].is_object(), "{path}");
            content["multipart/form-data"].is_object()
        };
        let forms = ["/v1/embeddings", "/v2/embed", "/search", "/items"].map(has_form);
        assert_eq!(forms, [true, false, true, false]);
        let mut ids = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for method in methods.as_object().unwrap().values() {
                assert!(ids.insert(method["operationId"].as_str().unwrap()), "{path}");
                let responses = method["responses"].as_object().unwrap();
                assert_eq!(responses.keys().collect::<Vec<_>>(), ["200", "4XX", "5XX"], "{path}");
                assert!(responses.values().all(|response| response["description"].is_string()), "{path}");
            }
        }
        assert!(document["security"][0]["key"].is_array() && described(false).security.is_none());
        assert_eq!(document["paths"]["/health"]["get"]["security"], serde_json::json!([]));
        let text = document.to_string();
        let named: BTreeSet<&str> =
            text.split("#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(named.contains("SearchForm") && named.contains("EmbeddingsForm"));
        assert!(named.iter().all(|name| document["components"]["schemas"][name].is_object()), "{named:?}");
    }

    #[test]
    fn every_route_is_described_and_nothing_else() {
        // Other names of paths that are described, and the description itself.
        let others = ["/embeddings", "/models", "/models/{*model}", "/openapi.json"];
        let routes = include_str!("mod.rs").split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next());
        let routes: BTreeSet<String> =
            routes.filter(|route| !others.contains(route)).map(|route| route.replace("{*", "{")).collect();
        let document = Document::openapi();
        let described: BTreeSet<String> = document.paths.paths.keys().cloned().collect();
        assert_eq!(described, routes);
    }
}
