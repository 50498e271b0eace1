//! A storm: kills, full disks, broken pipes and destroyed indexes at random moments of everything that writes, while
//! three of ten requests fail. After each of them nothing is lost, doubled, wrong or stuck.
//!
//! `FUSEMIX_STORM=1000 cargo test --release -p fusemix-tests -- --nocapture storm` takes some minutes.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Place, Ran, built, floats, interrupt};
use crate::faults::PASSING;
use crate::money::priced;
use crate::seed::Random;
use crate::server::{KEY, Server, Wire, vector};
use crate::train::RECIPE;

/// The time after which a command is stuck.
const LONG: Duration = Duration::from_secs(60);

struct Storm {
    place: Place,
    server: Server,
    random: Random,
    /// Texts in data.tsv so far.
    texts: usize,
    /// Texts whose latents are known to be stored.
    known: u64,
    /// After each turn: requests, texts, stored texts.
    turns: Vec<(usize, usize, u64)>,
    /// True once there is a run, and the items that its gallery has for certain.
    trained: bool,
    items: Option<u64>,
}

fn text(number: usize) -> String {
    format!("w{} v{} number {number}", number % 20, number % 17)
}

impl Storm {
    fn new(server: Server, random: Random) -> Self {
        let place = priced(&server, "encoding = 'float'\nretries = 12\nconcurrency = 4\n");
        let recipe = RECIPE.replace("epochs = 60", "epochs = 200\ncheckpoint_steps = 7");
        place.write("fusion.toml", recipe);
        let (turns, trained, items) = (Vec::new(), false, None);
        Self { place, server, random, texts: 0, known: 0, turns, trained, items }
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = self.place.command(arguments);
        command.env("TEST_KEY", KEY).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// The outcome of a command that ends by itself.
    fn run(&self, arguments: &str) -> Ran {
        Self::wait(self.command(arguments).spawn().unwrap(), arguments)
    }

    fn wait(mut running: Child, what: &str) -> Ran {
        let start = Instant::now();
        // What it prints is less than a pipe holds.
        while running.try_wait().unwrap().is_none() {
            if start.elapsed() > LONG {
                running.kill().unwrap();
                panic!("`{what}` is stuck");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ran::from(running.wait_with_output().unwrap())
    }

    fn moment(&self, most: u64) {
        std::thread::sleep(Duration::from_micros(self.random.below(most * 1000)));
    }

    fn kill(&self, arguments: &str, within: u64) {
        let mut running = self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        self.moment(within);
        running.kill().unwrap();
        running.wait().unwrap();
    }

    fn turn(&mut self) {
        self.texts += 1 + self.random.below(30) as usize;
        let table = (0..self.texts).fold("id\ttext\n".to_owned(), |mut table, number| {
            writeln!(table, "i{number}\t{}", text(number)).unwrap();
            table
        });
        self.place.write("data.tsv", table);
        let encode = "encode --data data.tsv --column text --encoder api";
        match self.random.below(12) {
            0..=3 => self.kill(encode, 120),
            4 => self.kill("train fusion.toml --out run --device cpu --overwrite", 250),
            5 => self.kill("train fusion.toml --out run --device cpu --resume", 250),
            6 => self.kill("cache verify --repair", 30),
            7 => self.gallery(),
            8 => {
                // A disk that is full after so many blocks of 512 bytes.
                let script = format!(
                    "ulimit -f {}; exec {} {encode}",
                    16 + self.random.below(400),
                    built().join("fusemix").display()
                );
                let mut shell = Command::new("sh");
                shell.args(["-c", &script]).current_dir(self.place.path("")).env("TEST_KEY", KEY);
                drop(Self::wait(shell.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap(), "a full disk"));
            }
            9 => {
                // Nobody reads what it says.
                let mut running = self.command(encode).spawn().unwrap();
                drop((running.stdout.take(), running.stderr.take()));
                self.moment(60);
                interrupt(&running);
                let code = Self::wait(running, "a broken pipe").code;
                // It may have been over, or the signal may have come before anybody listened.
                assert!([0, 130, -1].contains(&code), "exit code {code} without a reader");
            }
            10 => self.destroy_an_index(),
            _ => {
                let ran = self.run("train fusion.toml --out run --device cpu --resume");
                // There may be nothing to resume.
                assert!(ran.code == 0 || ran.stderr.contains("nothing to resume"), "{}", ran.stderr);
            }
        }
    }

    /// A gallery is built or added to; only what was acknowledged must be there.
    fn gallery(&mut self) {
        if !self.trained {
            return;
        }
        let columns = "--data data.tsv --column text --id id";
        match self.items {
            None => {
                let out = format!("gallery build run --tower right {columns} --out pictures");
                self.kill(&out, 60);
                if self.place.path("pictures").exists() {
                    self.items = Some(1);
                }
            }
            Some(_) => self.kill(&format!("gallery add run pictures {columns}"), 60),
        }
    }

    fn destroy_an_index(&self) {
        let cache = std::fs::read_dir(self.place.path(".fusemix/cache")).into_iter().flatten();
        let mut indexes: Vec<_> = cache.map(|entry| entry.unwrap().path().join("index.redb")).collect();
        indexes.retain(|index| index.exists());
        if indexes.is_empty() {
            return;
        }
        indexes.sort();
        let index = &indexes[self.random.below(indexes.len() as u64) as usize];
        let mut bytes = std::fs::read(index).unwrap();
        match self.random.below(3) {
            0 => std::fs::remove_file(index).unwrap(),
            1 => std::fs::write(index, &bytes[..self.random.below(bytes.len() as u64) as usize]).unwrap(),
            _ => {
                let start = self.random.below(bytes.len() as u64) as usize;
                bytes[start..].iter_mut().take(5000).for_each(|byte| *byte = self.random.below(256) as u8);
                std::fs::write(index, bytes).unwrap();
            }
        }
    }

    /// What must hold after each turn.
    fn check(&mut self) {
        let verified = self.run("cache verify");
        assert!(verified.code == 0, "{}{}", verified.stdout, verified.stderr);
        let forecast = self.run("encode --data data.tsv --column text --encoder api --dry-run --json").json();
        let known = forecast["cached"].as_u64().unwrap();
        assert!(known >= self.known, "{known} of {} stored latents are left", self.known);
        self.known = known;
        self.turns.push((self.server.requests().len(), self.texts, known));
        self.trained |= self.place.path("run/run.json").exists();
        if self.trained {
            let found = self.run("eval run --json");
            assert!(found.code == 0, "{}", found.stderr);
        }
        if let Some(before) = self.items {
            let verified = self.run("gallery verify pictures --json");
            let items = verified.json()["items"].as_u64().unwrap();
            assert!(items >= before, "{items} of {before} items are left");
            self.items = Some(items);
            if self.trained && self.run("gallery list pictures -k 1").code != 0 {
                panic!("the gallery cannot be listed");
            }
        }
    }

    /// In the end everything is there, once and right.
    fn end(&mut self) {
        // Those that got bad answers each time are tried once more when somebody says so.
        self.run("encode --data data.tsv --column text --encoder api");
        let summary = self.run("encode --data data.tsv --column text --encoder api --retry-failed --json").json();
        assert_eq!(summary["failed"], 0, "{summary}");
        self.run("cache export --data data.tsv --column text --encoder api --out all.npy").fails(0, "rows");
        let bytes = std::fs::read(self.place.path("all.npy")).unwrap();
        let wanted: Vec<f32> = (0..self.texts).flat_map(|number| vector(&text(number))).collect();
        assert!(floats(&bytes[bytes.len() - 4 * wanted.len()..]) == wanted, "wrong latents");
        let log = self.server.requests();
        for &(requests, texts, known) in &self.turns {
            let then: BTreeSet<String> = (0..texts).map(text).collect();
            let asked: BTreeSet<&String> =
                log[requests..].iter().flat_map(|entry| &entry.inputs).filter(|input| then.contains(*input)).collect();
            assert_eq!(asked.len() as u64, texts as u64 - known, "asked for again after request {requests}");
        }
    }
}

#[test]
fn a_storm_loses_nothing() {
    let turns = std::env::var("FUSEMIX_STORM").ok().and_then(|turns| turns.parse().ok()).unwrap_or(60);
    let script = move |n: usize| {
        let random = u64::from_le_bytes(*blake3::hash(&n.to_le_bytes()).as_bytes().first_chunk().unwrap());
        (random % 10 < 3).then(|| PASSING[(random / 10) as usize % PASSING.len()])
    };
    let server = Server::start(Wire::OpenAi, Duration::from_millis(2), script);
    let mut storm = Storm::new(server, Random::new("a storm"));
    for turn in 0..turns {
        storm.turn();
        println!("turn {turn}: {} texts, {} stored", storm.texts, storm.known);
        storm.check();
    }
    storm.end();
}
