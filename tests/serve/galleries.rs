//! Searches in galleries, and changes of them.

use serde_json::{Value, json};
use std::io::Write;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

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
        (400, json!({"text": "a", "gallery": "gallery"}), json!("gallery"), "name galleries to search in `to`"),
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
        (400, json!({"text": "a", "from": "left", "to": []}), json!("to"), "leave it out to search all"),
        (
            400,
            json!({"text": "a", "from": "left", "where": vec!["price = 1"; 101].join(" or ")}),
            json!("where"),
            "101 conditions, and at most 100",
        ),
        (400, json!({"image": "file:///etc/passwd"}), json!("image"), "file:// is not fetched"),
        (404, json!({"id": "none", "gallery": "gallery"}), json!("id"), "has no item with id"),
        (400, json!({"texte": "a"}), json!("texte"), "unknown field"),
        (400, serde_json::from_str(r#"{"text": "a", "user": 1}"#).unwrap(), json!("user"), "unknown field"),
        (404, json!({"text": "a", "from": "none"}), json!("from"), "`from` is TOWER (towers: left, right)"),
        (400, json!({"text": "a"}), json!("from"), "name one in `from`: TOWER"),
        (400, json!({"image": "?"}), json!("image"), "no base64"),
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
    // As clients write it, who escape a slash or do not.
    for (id, address) in
        [("a/b c", "a/b%20c"), ("a/b c", "a%2Fb%20c"), ("/a//?#%", "/a//%3F%23%25"), ("é\n", "%C3%A9%0A")]
    {
        served.post("/items", json!({"items": [{"id": id, "text": "w1"}]}));
        let (status, answer) = served.ask("DELETE", &format!("/items/{address}"), None);
        assert_eq!((status, &answer["removed"]), (200, &json!(1)), "{address}: {answer}");
    }
    for (body, param, says) in [
        (json!({"items": [{"id": "a", "text": "w1"}, {"id": "a", "text": "w2"}]}), "items[1]", "stands twice"),
        (json!({"items": [{"id": "", "text": "w1"}]}), "items[0]", "is empty"),
        (json!({"items": [{"id": "..", "text": "w1"}]}), "items[0]", "choose another"),
        (json!({"items": [{"id": "i".repeat(2049), "text": "w1"}]}), "items[0]", "at most 2048"),
        (json!({"items": [{"id": "a"}]}), "items[0]", "one of `text`"),
        (json!({"items": [{"id": "a", "text": " "}]}), "items[0]", "empty text"),
        (json!({"items": [{"id": "a", "text": "w1", "metadata": {"colour": 1}}]}), "items[0]", "no column `colour`"),
        (json!({"items": [{"id": "a", "image": "AAAA", "url": "/etc/passwd"}]}), "items[0]", "http"),
        (
            json!({"items": [{"id": "a", "text": "w1", "url": "https://a.example"}]}),
            "items[0]",
            "leave it out of a text",
        ),
        (
            json!({"items": [{"id": "a", "text": "w1", "metadata": {"price": [1]}}]}),
            "items[0].metadata.price",
            "expected text, a number, true, false or null",
        ),
    ] {
        let error = served.refused(400, "/items", body);
        assert!(error["message"].as_str().unwrap().contains(says), "{error}");
        assert_eq!(error["param"], param, "{error}");
    }
    // A body of 2 MB that would be many times that in memory.
    let many = json!({"items": [{"id": "a", "text": "w1", "metadata": {"price": vec![json!({"a": 0}); 262_000]}}]});
    assert!(served.refused(413, "/items", many)["message"].as_str().unwrap().contains("values"));
    // Once the server has not written for a while.
    place.write("more.tsv", "sku\tb\tprice\nlate\tw17 v17\t1\n");
    std::thread::sleep(Duration::from_secs(1));
    place.json("gallery add run gallery --data more.tsv --column b --id sku");
    let late = json!({"text": "w17 v17", "from": "left", "k": 1, "where": "id = 'late'"});
    let found = served.post("/search", late);
    assert_eq!(found["results"][0]["found"][0]["id"], "late");
}

#[test]
fn an_answer_that_is_large_is_the_same_as_small_ones() {
    let place = trained();
    let served = Served::start(&place, "--gallery gallery");
    let long = |number: usize| format!("w{number} v{number} ").repeat(20_000);
    let items: Vec<Value> =
        (0..3).map(|number| json!({"id": format!("long-{number}"), "text": long(number)})).collect();
    served.post("/items", json!({"items": items}));
    let found = |k: usize, filter: &str| {
        let query = json!({"text": "w1 v1", "from": "left", "k": k, "where": filter});
        served.post("/search", query)["results"][0]["found"].as_array().unwrap().clone()
    };
    let all = found(3, "id ~ long");
    assert_eq!(all.len(), 3);
    for hit in &all {
        let one = found(1, &format!("id = '{}'", hit["id"].as_str().unwrap()));
        assert_eq!((&one[0]["item"], &one[0]["score"]), (&hit["item"], &hit["score"]));
        assert!(hit["item"].as_str().unwrap().len() > 100_000);
    }
}

#[test]
fn a_gallery_that_is_built_anew_under_the_server_is_another() {
    let place = trained();
    let served = Served::start(&place, "--gallery gallery");
    let nearest = |text: &str| {
        let answer = served.post("/search", json!({"text": text, "from": "left", "k": 1}));
        answer["results"][0]["found"][0]["id"].as_str().unwrap().to_owned()
    };
    assert!(nearest("w3").starts_with("sku-"));
    // As many commits as before.
    place.write("other.tsv", "sku\tb\nother-1\tw1 v1\nother-2\tw2 v2\n");
    std::fs::remove_dir_all(place.path("gallery")).unwrap();
    place.json("gallery build run --tower right --data other.tsv --column b --id sku --out gallery");
    assert!(nearest("w3").starts_with("other-"));
    let item = |id: &str| json!({"items": [{"id": id, "text": "w19 v19"}]});
    assert_eq!(served.post("/items", item("new")), json!({"new": 1, "replaced": 0}));

    // Of another run, while the server's own writer is open still.
    let about = place.read("gallery/gallery.json");
    let mut about: Value = serde_json::from_str(&about).unwrap();
    about.as_object_mut().unwrap().remove("checksum");
    about["origin"]["digest"] = json!("0".repeat(32));
    about["origin"]["run"] = json!("/elsewhere/run");
    std::fs::create_dir(place.path("next")).unwrap();
    for file in std::fs::read_dir(place.path("gallery")).unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), place.path("next").join(file.file_name())).unwrap();
    }
    place.write("next/gallery.json", about.to_string());
    served.post("/items", item("new"));
    let files = |folder: &str| {
        ["vectors-000000.f32", "items.jsonl", "log"].map(|file| std::fs::read(place.path(folder).join(file)).unwrap())
    };
    let before = files("next");
    std::fs::rename(place.path("gallery"), place.path("old")).unwrap();
    std::fs::rename(place.path("next"), place.path("gallery")).unwrap();
    let error = served.refused(409, "/items", item("newer"));
    assert!(error["message"].as_str().unwrap().contains("/elsewhere/run"), "{error}");
    assert_eq!(served.ask("DELETE", "/items/new", None).0, 409);
    assert_eq!(served.ask("POST", "/search", Some(&json!({"text": "w3", "from": "left"}))).0, 409);
    assert!(before == files("gallery"), "nothing was written into it");
}

#[test]
fn a_gallery_that_is_gone_leaves_the_others() {
    let place = trained();
    place.json("gallery build run --tower left --data items.tsv --column a --id sku --out other");
    let served = Served::start(&place, "--gallery gallery --gallery other");
    std::fs::rename(place.path("gallery"), place.path("gone")).unwrap();
    let found = served.post("/search", json!({"text": "w3", "from": "left", "k": 1}));
    let results = found["results"].as_array().unwrap();
    let says = |at: &Value| at["problem"].as_str().unwrap_or_default().contains("holds no gallery");
    assert!(results[0]["gallery"] == "gallery" && says(&results[0]) && results[0]["found"] == json!([]), "{found}");
    assert!(results[1]["gallery"] == "other" && results[1]["found"][0]["rank"] == 1, "{found}");
    assert!(results[1].get("problem").is_none(), "{found}");
    let info = served.get("/info");
    assert!(says(&info["galleries"][0]) && info["galleries"][0]["tower"] == "right", "{info}");
    served.refused(500, "/search", json!({"text": "w3", "from": "left", "to": ["gallery"]}));
    std::fs::rename(place.path("gone"), place.path("gallery")).unwrap();
    assert!(served.get("/info")["galleries"][0].get("problem").is_none());
}

#[test]
fn a_map_is_kept_until_something_changes() {
    let place = trained();
    let served = Served::start(&place, "--gallery gallery");
    let map = |color: &str| served.get(&format!("/galleries/gallery/map{color}"));
    let coloured = map("?color=price");
    assert_eq!(coloured, map("?color=price"));
    assert_eq!(served.ask("GET", "/galleries/gallery/map?color=none", None).0, 400);
    let plain = map("");
    assert!(plain["ids"] == coloured["ids"] && plain["x"] == coloured["x"] && plain["color"].is_null());
    assert_eq!(coloured, map("?color=price"));
    served.post("/items", json!({"items": [{"id": "new", "text": "w1 v1"}]}));
    assert_eq!(map("")["ids"].as_array().unwrap().len(), 41);
}

#[test]
fn many_changes_behind_another_program_are_refused_together() {
    let place = trained();
    let served = Served::start(&place, "--gallery gallery");
    let lock =
        std::fs::File::options().write(true).create(true).truncate(false).open(place.path("gallery/lock")).unwrap();
    lock.lock().unwrap();
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let add = |number: usize| {
            let served = &served;
            move || {
                let items = json!({"items": [{"id": format!("new-{number}"), "text": "w1 v1"}]});
                served.refused(429, "/items", items)["message"].as_str().unwrap().to_owned()
            }
        };
        let all: Vec<_> = (0..12).map(|number| scope.spawn(add(number))).collect();
        std::thread::sleep(Duration::from_secs(1));
        let asked = Instant::now();
        served.post("/search", json!({"text": "w3", "from": "left", "k": 1}));
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        for said in all.into_iter().map(|one| one.join().unwrap()) {
            assert!(said.contains("another process is writing"), "{said}");
        }
    });
    // One after the other would take 12 times 6 s.
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    drop(lock);
    served.post("/items", json!({"items": [{"id": "new", "text": "w1 v1"}]}));
}

#[test]
fn a_search_while_items_are_added_or_after_a_kill_warns_of_nothing() {
    let place = trained();
    let log = std::fs::File::create(place.path("server.log")).unwrap();
    let served = Served::logging(&place, "--gallery gallery", None, log);
    // What a writer has written before its commit.
    let mut items = std::fs::File::options().append(true).open(place.path("gallery/items.jsonl")).unwrap();
    items.write_all(b"[\"late\",\"w1 v1\",1]\n").unwrap();
    for _ in 0..3 {
        served.post("/search", json!({"text": "w3", "from": "left", "k": 1}));
    }
    served.end();
    let said = place.read("server.log");
    assert!(!said.contains("do not count"), "{said}");
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
