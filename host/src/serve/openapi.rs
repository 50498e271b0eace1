//! `/openapi.json`: what the server answers, out of the types that it answers with.

use axum::Json;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};

use super::{cohere, embeddings, figures, galleries, items, metrics, search, status};

#[derive(OpenApi)]
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
        status::info,
        status::health,
        status::ready,
        metrics::metrics,
    )
)]
struct Document;

/// The description of this server.
pub(super) async fn document() -> Json<utoipa::openapi::OpenApi> {
    let mut document = Document::openapi();
    let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    document.components.get_or_insert_default().add_security_scheme("key", bearer);
    document.security = Some(vec![SecurityRequirement::new::<_, [&str; 0], &str>("key", [])]);
    Json(document)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn parameters_are_where_they_are_said_to_be() {
        let document = serde_json::to_value(Document::openapi()).unwrap();
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
        let document = serde_json::to_value(Document::openapi()).unwrap();
        let has_form = |path: &str| {
            let content = &document["paths"][path]["post"]["requestBody"]["content"];
            assert!(content["application/json"].is_object(), "{path}");
            content["multipart/form-data"].is_object()
        };
        let forms = ["/v1/embeddings", "/v2/embed", "/search", "/items"].map(has_form);
        assert_eq!(forms, [true, false, true, false]);
        let text = document.to_string();
        let named: BTreeSet<&str> =
            text.split("#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(named.contains("SearchForm") && named.contains("EmbeddingsForm"));
        assert!(named.iter().all(|name| document["components"]["schemas"][name].is_object()), "{named:?}");
    }

    #[test]
    fn every_route_is_described_and_nothing_else() {
        // Other names of paths that are described, and the description itself.
        let others = ["/embeddings", "/models", "/openapi.json"];
        let routes = include_str!("mod.rs").split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next());
        let routes: BTreeSet<String> =
            routes.filter(|route| !others.contains(route)).map(|route| route.replace("{*", "{")).collect();
        let document = Document::openapi();
        let described: BTreeSet<String> = document.paths.paths.keys().cloned().collect();
        assert_eq!(described, routes);
    }
}
