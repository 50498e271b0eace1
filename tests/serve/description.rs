//! What the server says of itself, and its page.

use serde_json::json;

use super::served::Served;
use super::{newly_trained, trained};

#[test]
fn the_server_tells_what_it_is_and_what_it_does() {
    let place = newly_trained();
    let served = Served::start(&place, "--gallery gallery");
    let info = served.get("/info");
    assert_eq!((&info["width"], &info["method"]), (&json!(32), &json!("fusemix")));
    assert_eq!((&info["galleries"][0]["items"], &info["galleries"][0]["tower"]), (&json!(40), &json!("right")));
    assert_eq!(info["towers"][0]["fingerprints"][0]["salt"], "one");
    assert_eq!(served.get("/v1/models")["data"][1]["id"], "run/left");
    assert_eq!(served.get("/v1/models/run/left")["id"], "run/left");
    assert_eq!(served.ask("GET", "/v1/models/none", None).0, 404);
    assert_eq!(served.get("/ready")["status"], "ready");
    let figures = served.get("/run/figures");
    assert_eq!(figures["retrieval"][0]["candidates"], 40);
    assert!(figures["curves"]["loss"].as_array().unwrap().len() >= 60);
    let map = served.get("/galleries/gallery/map?color=price");
    assert_eq!((map["x"].as_array().unwrap().len(), map["color"].as_array().unwrap().len()), (40, 40));
    assert_eq!(served.ask("GET", "/galleries/gallery/map?color=none", None).0, 400);
    assert_eq!(served.ask("GET", "/galleries/none/map", None).0, 404);
    served.embedding("left", "w1");
    let metrics = served.get("/metrics").as_str().unwrap().to_owned();
    assert!(metrics.contains("fusemix_requests_total{path=\"/v1/embeddings\",status=\"200\"} 1"), "{metrics}");
    let document = served.get("/openapi.json");
    assert_eq!(document["openapi"].as_str().unwrap().split('.').next(), Some("3"));
    for path in ["/v1/embeddings", "/v2/embed", "/search", "/items", "/items/{id}", "/info", "/metrics"] {
        assert!(document["paths"][path].is_object(), "{path}");
    }
}

#[test]
fn a_browser_has_the_page_and_asks_whether_it_is_new() {
    let place = trained();
    let served = Served::start(&place, "");
    for (path, kind) in [("/", "text/html"), ("/page.js", "text/javascript"), ("/page.css", "text/css")] {
        let mut answer = served.send("GET", path, &[], "");
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert!(header("content-type").starts_with(kind));
        assert_eq!(
            (header("cache-control").as_str(), header("x-content-type-options").as_str()),
            ("no-cache", "nosniff")
        );
        let tag = header("etag");
        assert!(!answer.body_mut().read_to_vec().unwrap().is_empty());
        let mut again = served.send("GET", path, &[("if-none-match", &tag)], "");
        assert_eq!((again.status().as_u16(), again.headers()["etag"].to_str().unwrap()), (304, tag.as_str()));
        assert!(again.body_mut().read_to_vec().unwrap().is_empty());
        assert_eq!(served.send("GET", path, &[("if-none-match", "\"other\"")], "").status().as_u16(), 200);
    }
}

#[test]
fn metrics_count_what_was_answered_and_how() {
    let place = trained();
    let served = Served::start(&place, "--max-items 2");
    served.post("/v1/embeddings", json!({"model": "run/left", "input": ["w1", "w2"]}));
    served.post("/v1/embeddings", json!({"model": "run/right", "input": "w1"}));
    served.refused(400, "/v1/embeddings", json!({"model": "run/left"}));
    served.refused(413, "/v1/embeddings", json!({"model": "run/left", "input": ["a", "b", "c"]}));
    served.ask("GET", "/nothing", None);
    served.ask("GET", "/nothing/else", None);
    let answer = served.send("GET", "/metrics", &[], "");
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    let metrics = answer.into_body().read_to_string().unwrap();
    for line in [
        "fusemix_requests_total{path=\"/v1/embeddings\",status=\"200\"} 2",
        "fusemix_requests_total{path=\"/v1/embeddings\",status=\"400\"} 1",
        "fusemix_requests_total{path=\"/v1/embeddings\",status=\"413\"} 1",
        "fusemix_requests_total{path=\"other\",status=\"404\"} 2",
        "fusemix_request_seconds_count{path=\"/v1/embeddings\"} 4",
        "fusemix_items_total{tower=\"left\"} 2",
        "fusemix_items_total{tower=\"right\"} 1",
        "fusemix_waiting_items{tower=\"left\"} 0",
        "# EOF",
    ] {
        assert!(metrics.lines().any(|other| other == line), "{line}:\n{metrics}");
    }
}
