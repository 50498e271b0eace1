//! What commands would cost, may cost and have cost, and latents that nobody needs any more.

use serde_json::json;
use std::time::Duration;

use crate::api::{json as api_json, place as api_place, run, table};
use crate::common::Place;
use crate::server::{Fault, KEY, Server, Wire};
use crate::train::place;

/// A place whose recipe has a priced API on one side, and a mock on the other.
pub(crate) fn priced(server: &Server, price: &str) -> Place {
    let place = place();
    let mock = place.read("plugins.toml");
    place.write(
        "plugins.toml",
        format!(
            "{mock}[[plugin]]\nname = 'api'\n[encoder.api]\nplugin = 'api'\nprovider = 'openai'\nmodel = 'm'\n\
             base_url = '{}/v1'\napi_key_env = 'TEST_KEY'\nbatch = 5\nbackoff = 0.01\n{price}",
            server.address
        ),
    );
    let recipe = place.read("fusion.toml").replace("encoder = 'one'", "encoder = 'api'");
    place.write("fusion.toml", recipe);
    place
}

#[test]
fn every_command_that_sends_can_be_priced_and_bounded() {
    let server = Server::faultless(Wire::OpenAi);
    let place = priced(&server, "price_per_item = 0.01\n");
    // 300 training and 40 validation texts.
    let forecast = api_json(&place, "train fusion.toml --out run --dry-run", 0);
    assert!((forecast["cost"].as_f64().unwrap() - 3.4).abs() < 1e-9, "{forecast}");
    assert_eq!(forecast["columns"].as_array().unwrap().len(), 4);
    assert_eq!(server.requests().len(), 0);
    let bounded = run(&place, "train fusion.toml --out run --device cpu --max-cost 1");
    bounded.fails(6, "stopped at --max-cost");
    let paid = server.answered().len();
    assert!((90..=100).contains(&paid), "{paid}");
    run(&place, "train fusion.toml --out run --device cpu --max-cost 3").fails(0, "run: 60 steps");
    assert_eq!(server.answered().len(), 340);

    let forecast = api_json(&place, "eval run --dry-run", 0);
    assert!((forecast["cost"].as_f64().unwrap() - 0.4).abs() < 1e-9, "{forecast}");
    run(&place, "eval run --max-cost 0.1").fails(6, "--max-cost");
    api_json(&place, "eval run --max-cost 0.4", 0);
    for command in
        ["embed run --tower left --data more.tsv --out x.npy", "gallery build run --tower left --data more.tsv --out g"]
    {
        place.write("more.tsv", "a\tb\nnew 1\tnew 1\nnew 2\tnew 2\n");
        let forecast = api_json(&place, &format!("{command} --dry-run"), 0);
        assert_eq!(forecast["columns"][0]["items"], 2, "{forecast}");
        run(&place, &format!("{command} --max-cost 0.001")).fails(6, "--max-cost");
    }
    let before = server.requests().len();
    let search = "search run --from left --to right --data test.tsv --column b";
    let forecast = api_json(&place, &format!("{search} unheard-of w1"), 0);
    assert_eq!(forecast["queries"].as_array().unwrap().len(), 2);
    let forecast = api_json(&place, &format!("{search} --dry-run unheard-of w1"), 0);
    assert_eq!((&forecast["queries"]["items"], &forecast["columns"][0]["items"]), (&json!(2), &json!(0)));
    run(&place, &format!("{search} --max-cost 0.001 another")).fails(6, "raise --max-cost");
    assert_eq!(server.requests().len(), before + 1);

    let before = server.requests().len();
    let forecast = api_json(&place, "report run --data more.tsv --out page.html --dry-run", 0);
    assert_eq!(forecast["columns"][0]["items"], 2, "{forecast}");
    let forecast = api_json(&place, "cache export --data more.tsv --column a --encoder api --out x.npy --dry-run", 0);
    assert_eq!(forecast["items"], 2, "{forecast}");
    run(&place, "plugins check api --max-cost 0.02").fails(6, "is left to spend; raise --max-cost");
    assert_eq!(server.requests().len(), before);
    run(&place, "plugins check api --max-cost 0.05").fails(6, "sending 3 items to encoder `api` costs about 0.03");
    // Three items together, and two alone.
    assert_eq!(server.requests().len(), before + 3);

    // The account has all of it, the unstored queries too.
    let spent = &api_json(&place, "cache", 0)["entries"];
    let of_api = spent.as_array().unwrap().iter().find(|entry| entry["encoders"][0] == "api").unwrap();
    let answered: usize = server.answered().values().sum();
    assert_eq!(of_api["spent"]["items"], answered);
    assert!((of_api["spent"]["cost"].as_f64().unwrap() - 0.01 * answered as f64).abs() < 1e-9, "{of_api}");
    assert!(run(&place, "cache").stdout.contains("spent: cost 3.87"), "{}", run(&place, "cache").stdout);
}

/// What is tried again for `retry_seconds` costs again, and the bound holds for all tries together.
#[test]
fn items_that_are_tried_again_count_against_the_bound() {
    let server = Server::start(Wire::OpenAi, Duration::ZERO, |n| (n % 2 == 1).then_some(Fault::Reset));
    let options = "batch = 1\nconcurrency = 1\nretries = 0\nretry_seconds = 60\nprice_per_million_tokens = 1000000\n";
    let place = api_place(&server, Wire::OpenAi, options);
    place.write("data.tsv", table(20));
    let command = "encode --data data.tsv --encoder api";
    let once = api_json(&place, &format!("{command} --dry-run"), 0)["cost"].as_f64().unwrap();
    let bounded = api_json(&place, &format!("{command} --max-cost {once}"), 6);
    let (spent, encoded) = (bounded["cost"].as_f64().unwrap(), bounded["encoded"].as_u64().unwrap());
    assert!(spent <= once && spent > once * 0.8, "{spent} of {once}");
    assert!((5..20).contains(&encoded), "half of it went into tries that failed: {bounded}");
    // Those that waited when the money was spent are neither lost nor to blame.
    assert_eq!(bounded["failed"], 0, "{bounded}");
    let rest = api_json(&place, &format!("{command} --max-cost {}", 10.0 * once), 0);
    assert_eq!((&rest["encoded"], &rest["cached"]), (&json!(20 - encoded), &json!(encoded)));
    assert!(spent + rest["cost"].as_f64().unwrap() > 1.5 * once, "{rest}");
    assert!(server.answered().values().all(|&times| times == 1));
}

#[test]
fn an_api_without_a_price_cannot_be_bounded() {
    let server = Server::faultless(Wire::OpenAi);
    let place = priced(&server, "");
    run(&place, "train fusion.toml --out run --device cpu --max-cost 1").fails(1, "--max-cost needs a price");
    assert_eq!(server.requests().len(), 0);
    // What runs here costs nothing.
    let recipe = place.read("fusion.toml").replace("encoder = 'api'", "encoder = 'one'");
    place.write("fusion.toml", recipe);
    run(&place, "train fusion.toml --out run --device cpu --max-cost 0").fails(0, "run: 60 steps");
}

/// Killed in the middle, under faults: what the account lacks is what a second may hold.
#[test]
fn a_kill_loses_a_second_of_the_account_at_most() {
    let server = Server::start(Wire::OpenAi, Duration::from_millis(20), |n| (n % 5 == 3).then_some(Fault::Busy));
    let place = priced(&server, "price_per_item = 0.01\nconcurrency = 1\n");
    let texts: String = (0..2000).map(|row| format!("text {row}\n")).collect();
    place.write("long.tsv", format!("text\n{texts}"));
    let mut command = place.command("encode --data long.tsv --encoder api");
    let mut running = command.env("TEST_KEY", KEY).stderr(std::process::Stdio::null()).spawn().unwrap();
    while place.read(".fusemix/cache/spent.jsonl").lines().count() < 6 {
        std::thread::sleep(Duration::from_millis(10));
    }
    running.kill().unwrap();
    running.wait().unwrap();
    let entries = api_json(&place, "cache", 0)["entries"].clone();
    let (rows, items) = (entries[0]["rows"].as_u64().unwrap(), entries[0]["spent"]["items"].as_u64().unwrap());
    assert!(items > 0 && items + 5 * 60 >= rows && items <= rows + 10, "{items} in the account, {rows} rows");
}

#[test]
fn latents_are_forgotten_and_pruned_as_asked() {
    let place = place();
    place.json("train fusion.toml --out run --device cpu");
    let entries = || place.json("cache")["entries"].as_array().unwrap().len();
    let calls = || place.read("calls").lines().count();
    let before = calls();
    let forget = "cache forget --data test.tsv --encoder one --column a";
    assert_eq!(place.json(forget)["forgotten"], 0, "the test pairs were not encoded");
    place.json("eval run");
    assert_eq!(place.json(forget)["forgotten"], 40);
    assert_eq!(place.json(forget)["forgotten"], 0);
    place.json("eval run");
    assert_eq!(calls(), before + 80 + 40);
    place.run("cache verify").fails(0, "all intact");

    place.json("encode --data test.tsv --encoder one --column b");
    assert_eq!(entries(), 2);
    place.run("cache prune").fails(2, "--encoder");
    place.run("cache prune --unused-by fusion.toml").fails(0, "there is nothing to remove");
    place.run("cache prune --older-than 1").fails(0, "there is nothing to remove");
    place.write("plugins.toml", place.read("plugins.toml").replace("salt = 'one'", "salt = 'new'"));
    place.run("cache prune --unused-by fusion.toml").fails(0, "nothing was removed; add --yes");
    assert_eq!(entries(), 2);
    place.run("cache prune --unused-by fusion.toml --yes").fails(0, "380 rows, removed");
    assert_eq!(entries(), 1);
    let left = place.json("cache prune --encoder two --older-than 0 --yes");
    assert_eq!((&left["entries"][0]["encoders"], entries()), (&json!(["two"]), 0));
    assert_eq!(
        std::fs::read_dir(place.path(".fusemix/cache"))
            .unwrap()
            .filter(|file| file.as_ref().unwrap().path().is_dir())
            .count(),
        0
    );
}
