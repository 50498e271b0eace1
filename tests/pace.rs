//! The efficiency of encoding through an API: measurements, run by hand.

use std::time::{Duration, Instant};

use crate::api::{json, place, table};
use crate::server::{KEY, Server, Wire};

/// `cargo test --release -p fusemix-tests -- --ignored --nocapture rates` prints the achieved share of the possible
/// rates.
#[test]
#[ignore = "a measurement, which no test asserts"]
fn rates() {
    let time = |options: &str, latency, count| {
        let server = Server::start(Wire::OpenAi, latency, |_| None);
        let place = place(&server, Wire::OpenAi, options);
        place.write("data.tsv", table(count));
        json(&place, "encode --data data.tsv --encoder api", 0);
        let times: Vec<Instant> = server.requests().into_iter().map(|entry| entry.at).collect();
        let (first, last) = (times.iter().min().unwrap(), times.iter().max().unwrap());
        (times.len() - 1) as f64 / (*last - *first).as_secs_f64()
    };
    let rate = time("batch = 1\nrequests_per_minute = 3000\n", Duration::from_millis(20), 1000);
    println!("at a limit of 50 requests a second: {rate:.2}, {:.3} of it", rate / 50.0);
    for concurrency in [8, 32] {
        let options = format!("batch = 10\nconcurrency = {concurrency}\n");
        let rate = time(&options, Duration::from_millis(50), 20_000);
        let most = f64::from(concurrency) / 0.05;
        println!("{concurrency} at once, 50 ms each: {rate:.1} requests a second, {:.3} of {most}", rate / most);
    }
}

/// `cargo test --release -p fusemix-tests -- --ignored --nocapture a_million` takes minutes.
#[test]
#[ignore = "a measurement, which no test asserts"]
fn a_million_captions() {
    for count in [10_000, 100_000, 1_000_000, 3_000_000] {
        let server = Server::faultless(Wire::OpenAi);
        let place = place(&server, Wire::OpenAi, "");
        place.write("data.tsv", table(count));
        let mut running = place.command("encode --data data.tsv --encoder api").env("TEST_KEY", KEY).spawn().unwrap();
        let start = Instant::now();
        let (mut peak, mut ticks) = (0, 0);
        while running.try_wait().unwrap().is_none() {
            let status = std::fs::read_to_string(format!("/proc/{}/status", running.id())).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
            peak = peak.max(line.map_or(0, |kilobytes| kilobytes.parse::<u64>().unwrap()));
            // CPU time of its threads, user and system, in hundredths of a second: the server is on the same cores.
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", running.id())).unwrap_or_default();
            let times = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
            ticks = ticks.max(times.filter_map(|time| time.parse::<u64>().ok()).sum());
            std::thread::sleep(Duration::from_millis(20));
        }
        let [wall, own] =
            [start.elapsed().as_secs_f64(), ticks as f64 / 100.0].map(|seconds| 1e6 * seconds / count as f64);
        println!("{count}: {wall:.1} us an item, {own:.1} us of its own cores; peak {} MiB", peak >> 10);
    }
}
