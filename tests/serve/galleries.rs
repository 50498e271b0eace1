//! Searches in galleries, and changes of them.

use serde_json::{Value, json};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::served::Served;
use super::trained;

#[test]
fn searches_find_what_the_program_finds() {
    let place = trained();
    let served = Served::start(&place, "--gallery gallery");
    let cli = place.json("search run --from left --gallery gallery -k 5 w3");
    let ids = |found: &Value| -> Vec<String> {
        found["found"].as_array().unwrap().iter().map(|hit| hit["id"].as_str().unwrap().to_owned()).collect()
    };
    let by_text = served.post("/search", json!({"text": "w3", "from": "left", "k": 5}))["results"][0].clone();
    assert_eq!(by_text["gallery"], "gallery");
    assert_eq!(ids(&by_text), ids(&cli));
    let score = |found: &Value| found["found"][0]["score"].as_f64().unwrap();
    assert!((score(&by_text) - score(&cli)).abs() < 1e-5);
    assert_eq!(by_text["found"][0]["content"], Value::Null, "a text has no file");
    let vector = served.embedding("left", "w3");
    let by_vector = served.post("/search", json!({"vector": vector, "k": 5}))["results"][0].clone();
    assert_eq!(ids(&by_vector), ids(&cli));
    // Whatever its length.
    let long: Vec<f64> = vector.iter().map(|value| value * 10.0).collect();
    let by_long = served.post("/search", json!({"vector": long, "k": 5}))["results"][0].clone();
    assert_eq!(ids(&by_long), ids(&cli));
    assert!((score(&by_long) - score(&by_vector)).abs() < 1e-5);
    let cheap = json!({"text": "w3", "from": "left", "where": "price<10", "k": 40});
    assert_eq!(ids(&served.post("/search", cheap)["results"][0]).len(), 10);
    let like = served.post("/search", json!({"id": "sku-4", "gallery": "gallery", "k": 3}))["results"][0].clone();
    assert_eq!(ids(&like)[0], "sku-4");
    // The page's card: one item with its columns.
    let card = json!({"id": "sku-4", "gallery": "gallery", "to": ["gallery"], "k": 1, "where": "id = 'sku-4'"});
    let card = served.post("/search", card)["results"][0]["found"].clone();
    assert_eq!((&card[0]["id"], &card[0]["metadata"]["price"], card[1].is_null()), (&json!("sku-4"), &json!(4), true));
    for (status, body, param, says) in [
        (400, json!({}), json!(null), "one query"),
        (400, json!({"text": "a", "vector": [1.0]}), json!(null), "this has 2"),
        (400, json!({"vector": [1.0]}), json!("vector"), "1"),
        (400, json!({"vector": vec![1e39; 32]}), json!("vector"), "value 0 of the vector is too large"),
        (400, json!({"vector": vec![0.0; 32]}), json!("vector"), "no direction"),
        (413, json!({"vector": vec![0; 10_000]}), json!(null), "more than"),
        (400, json!({"text": "a", "from": "left", "to": ["gallery", "gallery"]}), json!("to"), "stands twice"),
        (400, json!({"text": "a", "from": "left", "k": 0}), json!("k"), "`k` is 1 to 1000"),
        (400, json!({"text": "a", "from": "left", "k": "ten"}), json!("k"), "`k`: invalid type"),
        (400, json!({"text": "a", "from": "left", "k": -1}), json!("k"), "`k`: invalid value"),
        (400, json!({"text": "a", "from": "left", "where": "price<"}), json!("where"), "price<"),
        (400, json!({"text": "a", "from": "left", "where": "colour = red"}), json!("where"), "colour"),
        (404, json!({"text": "a", "from": "left", "to": ["none"]}), json!("to"), "galleries: gallery"),
        (404, json!({"id": "none", "gallery": "gallery"}), json!("id"), "has no item with id"),
        (400, json!({"texte": "a"}), json!("texte"), "unknown field"),
    ] {
        let error = served.refused(status, "/search", body);
        assert!(error["message"].as_str().unwrap().contains(says), "{error}");
        assert_eq!(error["param"], param, "{error}");
    }
}

#[test]
fn items_come_and_go_and_other_programs_may_write_too() {
    let place = trained();
    let served = Served::start(&place, "--gallery gallery");
    let items = json!({"items": [
        {"id": "new", "text": "w19 v19", "metadata": {"price": 3.5}},
        {"id": "sku-1", "text": "w18 v18"},
    ]});
    assert_eq!(served.post("/items", items), json!({"new": 1, "replaced": 1}));
    let found = served.post("/search", json!({"text": "w19 v19", "from": "left", "k": 1}));
    assert_eq!(found["results"][0]["found"][0]["id"], "new");
    assert_eq!(found["results"][0]["found"][0]["metadata"], json!({"price": 3.5}));
    let (status, answer) = served.ask("DELETE", "/items/new", None);
    assert_eq!((status, &answer["removed"]), (200, &json!(1)), "{answer}");
    assert_eq!(served.ask("DELETE", "/items/new", None).0, 404);
    for (body, param, says) in [
        (json!({"items": [{"id": "a", "text": "w1"}, {"id": "a", "text": "w2"}]}), "items[1]", "stands twice"),
        (json!({"items": [{"id": "", "text": "w1"}]}), "items[0]", "is empty"),
        (json!({"items": [{"id": "a"}]}), "items[0]", "one of `text`"),
        (json!({"items": [{"id": "a", "text": "w1", "metadata": {"colour": 1}}]}), "items[0]", "no column `colour`"),
        (json!({"items": [{"id": "a", "image": "AAAA", "url": "/etc/passwd"}]}), "items[0]", "http"),
        (
            json!({"items": [{"id": "a", "text": "w1", "url": "https://a.example"}]}),
            "items[0]",
            "leave it out of a text",
        ),
    ] {
        let error = served.refused(400, "/items", body);
        assert!(error["message"].as_str().unwrap().contains(says), "{error}");
        assert_eq!(error["param"], param, "{error}");
    }
    // Once the server has not written for a while.
    place.write("more.tsv", "sku\tb\tprice\nlate\tw17 v17\t1\n");
    std::thread::sleep(Duration::from_secs(1));
    place.json("gallery add run gallery --data more.tsv --column b --id sku");
    let late = json!({"text": "w17 v17", "from": "left", "k": 1, "where": "id = 'late'"});
    let found = served.post("/search", late);
    assert_eq!(found["results"][0]["found"][0]["id"], "late");
}

#[test]
fn other_programs_write_while_changes_come_all_the_time() {
    let place = trained();
    let served = Served::start(&place, "--gallery gallery");
    place.write("more.tsv", "sku\tb\tprice\nlate\tw17 v17\t1\n");
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writes = scope.spawn(|| {
            let mut number = 0;
            while !ended.load(Relaxed) {
                let items = json!({"items": [{"id": format!("new-{number}"), "text": "w1 v1"}]});
                served.post("/items", items);
                number += 1;
            }
            number
        });
        std::thread::sleep(Duration::from_millis(1500));
        let added = place.run("gallery add run gallery --data more.tsv --column b --id sku --json");
        ended.store(true, Relaxed);
        assert!(writes.join().unwrap() > 2);
        added.json_code(0);
    });
}

#[test]
fn what_was_answered_is_there_after_a_kill() {
    let place = trained();
    let mut served = Served::start(&place, "--gallery gallery");
    let url = served.url.clone();
    let answered = std::thread::scope(|scope| {
        let add = |worker: usize| {
            let url = &url;
            move || {
                let mut answered = Vec::new();
                for number in 0.. {
                    let id = format!("{worker}-{number}");
                    let body = json!({"items": [{"id": id, "text": format!("w{worker} v{}", number % 20)}]});
                    match ureq::post(format!("{url}/items")).send(body.to_string()) {
                        Ok(answer) if answer.status() == 200 => answered.push(id),
                        _ => return answered,
                    }
                }
                answered
            }
        };
        let workers: Vec<_> = (0..4).map(|worker| scope.spawn(add(worker))).collect();
        std::thread::sleep(Duration::from_millis(1500));
        served.child.kill().unwrap();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(answered.len() > 10, "{}", answered.len());
    let there = place.json("gallery list gallery");
    let there: std::collections::BTreeSet<&str> =
        there["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert!(answered.iter().all(|id| there.contains(id.as_str())));
}
