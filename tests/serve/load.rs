//! Many requests at once, and the end.

use serde_json::json;
use std::time::{Duration, Instant};

use super::served::Served;
use super::trained;
use crate::common::{Place, interrupt};

/// A trained place where each call takes so many milliseconds.
fn slow(milliseconds: u32) -> Place {
    let place = trained();
    let slow = place.read("plugins.toml").replace("salt = 'one'", &format!("salt = 'one'\ndelay_ms = {milliseconds}"));
    place.write("plugins.toml", slow);
    place
}

/// The status of each of so many requests that are sent at once, and what it says of when to come again.
fn at_once(served: &Served<'_>, requests: usize) -> Vec<(u16, Option<String>)> {
    std::thread::scope(|scope| {
        let ask = |number: usize| {
            move || {
                let body = json!({"model": "run/left", "input": format!("w{number} v0")}).to_string();
                let answer = served.send("POST", "/v1/embeddings", &[], body);
                let after = answer.headers().get("retry-after").map(|after| after.to_str().unwrap().to_owned());
                (answer.status().as_u16(), after)
            }
        };
        let all: Vec<_> = (0..requests).map(|number| scope.spawn(ask(number))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

#[test]
fn requests_that_come_while_the_encoder_is_busy_are_encoded_together() {
    let place = slow(500);
    let served = Served::start(&place, "");
    let begin = Instant::now();
    let outcomes = at_once(&served, 9);
    assert!(outcomes.iter().all(|(status, _)| *status == 200), "{outcomes:?}");
    // One goes at once and the rest after it, in one call or two; one at a time would take 4.5 s.
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(500) && took < Duration::from_millis(3500), "{took:?}");
}

#[test]
fn too_many_are_refused_and_told_when_to_come_again() {
    let place = slow(1000);
    let served = Served::start(&place, "--max-waiting 4");
    let outcomes = at_once(&served, 20);
    let (good, refused): (Vec<_>, Vec<_>) = outcomes.iter().partition(|(status, _)| *status == 200);
    assert!((4..20).contains(&good.len()), "{outcomes:?}");
    assert!(refused.iter().all(|(status, after)| *status == 429 && after.as_deref() == Some("1")), "{outcomes:?}");
    assert_eq!(served.embedding("left", "w1 v1").len(), 32);
}

#[test]
fn a_stop_finishes_what_is_under_way() {
    let place = slow(1500);
    for terminated in [false, true] {
        let mut served = Served::start(&place, "");
        std::thread::scope(|scope| {
            let url = served.url.clone();
            let asked = scope.spawn(move || {
                let body = json!({"model": "run/left", "input": "w1 v1"});
                ureq::post(format!("{url}/v1/embeddings")).send(body.to_string()).unwrap().status()
            });
            std::thread::sleep(Duration::from_millis(600));
            if terminated {
                served.terminate()
            } else {
                interrupt(&served.child)
            }
            assert_eq!(asked.join().unwrap(), 200);
            assert_eq!(served.child.wait().unwrap().code(), Some(0));
        });
    }
}
