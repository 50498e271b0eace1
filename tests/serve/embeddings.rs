//! `POST /v1/embeddings` and `POST /v2/embed`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::served::Served;
use super::{close, numbers, trained};
use crate::common::{Place, floats};
use crate::precomputed::precomputed;

#[test]
fn embeddings_are_those_of_embed_in_every_form() {
    let place = trained();
    let served = Served::start(&place, "");
    place.write("texts.tsv", "a\nw1 v1\nw2 v3\n");
    place.json("embed run --tower left --data texts.tsv --column a --out rows.npy --without-hubness");
    let bytes = std::fs::read(place.path("rows.npy")).unwrap();
    let start = bytes.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    let rows: Vec<f64> = floats(&bytes[start..]).into_iter().map(f64::from).collect();
    let (first, second) = rows.split_at(rows.len() / 2);

    let openai = served.post("/v1/embeddings", json!({"model": "run/left", "input": ["w1 v1", "w2 v3"]}));
    assert_eq!((&openai["object"], &openai["data"][1]["index"]), (&json!("list"), &json!(1)));
    assert!(close(&numbers(&openai["data"][0]["embedding"]), first));
    assert!(close(&numbers(&openai["data"][1]["embedding"]), second));
    let packed = json!({"model": "run/left", "input": "w1 v1", "encoding_format": "base64"});
    let packed = served.post("/v1/embeddings", packed)["data"][0]["embedding"].as_str().unwrap().to_owned();
    let packed: Vec<f64> = floats(&STANDARD.decode(packed).unwrap()).into_iter().map(f64::from).collect();
    assert!(close(&packed, first));
    for body in [
        json!({"model": "left", "input": [{"text": "w1 v1"}]}),
        json!({"model": "run/left", "input": "w1 v1", "modality": "text", "user": "somebody"}),
        json!({"model": "run/left", "messages": [{"role": "user", "content": "w1 v1"}]}),
        json!({"model": "run/left", "messages": [{"role": "user", "content": [{"type": "text", "text": "w1 v1"}]}]}),
    ] {
        assert!(close(&numbers(&served.post("/v1/embeddings", body)["data"][0]["embedding"]), first));
    }
    let cohere = json!({"model": "run/left", "texts": ["w2 v3"], "input_type": "search_query",
                        "embedding_types": ["float", "base64"]});
    let cohere = served.post("/v2/embed", cohere);
    assert!(close(&numbers(&cohere["embeddings"]["float"][0]), second));
    assert!(cohere["embeddings"]["base64"][0].is_string());
    served.end();
}

#[test]
fn mistakes_are_told_in_openais_form_and_a_bad_item_by_its_place() {
    let place = trained();
    let served = Served::start(&place, "--max-items 3 --max-body 1");
    for (status, body, param, says) in [
        (400, json!({"model": "run/left"}), json!("input"), "`input` is missing"),
        (400, json!({"model": "run/left", "input": []}), json!("input"), "has no items"),
        (400, json!({"model": "run/left", "input": ["w1", " "]}), json!("input[1]"), "empty text"),
        (400, json!({"model": "run/left", "input": ["w1", ""]}), json!("input[1]"), "is empty"),
        (400, json!({"model": "run/left", "input": [" "]}), json!("input[0]"), "empty text"),
        (400, json!({"model": "run/left", "input": " "}), json!("input"), "empty text"),
        (400, json!({"model": "run/left", "input": [[1, 2]]}), json!("input[0]"), "send the text itself"),
        (400, json!({"model": "run/left", "input": "w1", "dimensions": 3}), json!("dimensions"), "does not order"),
        (400, json!({"model": "run/left", "input": "w1", "dimensions": 0}), json!("dimensions"), "1 to 32"),
        (400, json!({"input": "w1"}), json!("model"), "several towers take items of modality text"),
        (
            400,
            json!({"input": {"image": "AAAA"}}),
            json!("input"),
            "no tower of this run takes items of modality image",
        ),
        (404, json!({"model": "text-embedding-3-small", "input": "w1"}), json!("model"), "no model"),
        (413, json!({"model": "run/left", "input": ["a", "b", "c", "d"]}), json!("input"), "4 items"),
        (413, json!({"model": "run/left", "input": "w".repeat(2 << 20)}), json!(null), "larger than 1"),
        (413, json!({"model": "run/left", "input": vec![0; 400_000]}), json!(null), "more than 304 values"),
        (400, json!({"model": 3, "input": "w1"}), json!("model"), "`model`: invalid type"),
    ] {
        let error = served.refused(status, "/v1/embeddings", body.clone());
        assert!(error["message"].as_str().unwrap().contains(says), "{error}");
        assert_eq!(error["param"], param, "{error}");
    }
    // JSON as plain curl sends it, and what only looks so.
    let curl = [("content-type", "application/x-www-form-urlencoded")];
    let json = r#"{"model": "run/left", "input": "w1"}"#;
    assert_eq!(served.send("POST", "/v1/embeddings", &curl, json).status().as_u16(), 200);
    let mut refused = served.send("POST", "/v1/embeddings", &curl, "input=w1");
    assert!(refused.body_mut().read_to_string().unwrap().contains("multipart/form-data"));
    let (status, answer) = served.ask("GET", "/v1/embeddings", None);
    assert_eq!((status, answer["error"]["code"].as_str()), (405, Some("method_not_allowed")));
    assert_eq!(served.ask("GET", "/nothing", None).0, 404);
    // The server is as good as before.
    assert_eq!(served.embedding("left", "w1 v1").len(), 32);
}

#[test]
fn a_tower_without_an_encoder_takes_values_and_opens_no_file() {
    let place = Place::new("");
    precomputed(&place, "train.safetensors", 200, 1);
    precomputed(&place, "test.safetensors", 50, 2);
    place.write(
        "fusion.toml",
        "[tower.image]\nprecomputed = true\n[tower.text]\nprecomputed = true\n[[pairs]]\ntrain = 'train.safetensors'\n\
         test = 'test.safetensors'\nimage = 'z_image'\ntext = 'z_text'\n[train]\nwidth = 8\nepochs = 1\n",
    );
    place.json("train fusion.toml --out run --device cpu");
    place.json("embed run --tower text --data test.safetensors --out out.npy");
    let served = Served::start(&place, "");
    assert_eq!(served.embedding("text", "[1, 2, 3, 4, 5, 6, 7, 8]").len(), 8);
    let there = place.path("out.npy");
    for word in [format!("{}:0", there.display()), there.display().to_string(), "/nowhere/x.npy:0".to_owned()] {
        let error = served.refused(400, "/v1/embeddings", json!({"model": "run/text", "input": word}));
        assert_eq!(error["message"], "the tower is precomputed: give the values as [0.1, ...]");
    }
}
