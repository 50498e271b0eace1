//! Signals, and streams that nobody reads: work stops or goes on as asked, and what was done is kept.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Place, Ran, built, interrupt};
use crate::train::{RECIPE, place};

const SLOW: &str = "[[plugin]]\nname = 'mock'\n[encoder.slow]\nplugin = 'mock'\ndelay_ms = 20\ncalls = 'calls'\n";

fn slow() -> Place {
    let place = Place::new(SLOW);
    place.write("items.tsv", (0..4000).fold("text\n".to_owned(), |table, row| table + &format!("item {row}\n")));
    place
}

/// The exit code of a program that ends soon.
fn ends(mut running: Child) -> Option<i32> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(20) {
        if let Some(status) = running.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    running.kill().unwrap();
    panic!("it does not end");
}

fn wait_for(what: impl Fn() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < Duration::from_secs(30), "it never came");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn signal(running: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &running.id().to_string()]).status();
    assert!(sent.unwrap().success());
}

type Start = fn(&mut Command) -> Child;

/// Standard errors that take nothing: a full disk, and a pipe whose reader is gone.
fn unread() -> [(&'static str, Start); 2] {
    [
        ("a full disk", |command| command.stderr(File::create("/dev/full").unwrap()).spawn().unwrap()),
        ("a closed pipe", |command| {
            let mut running = command.stderr(Stdio::piped()).spawn().unwrap();
            drop(running.stderr.take());
            running
        }),
    ]
}

#[test]
fn an_encoding_whose_errors_nobody_reads_stops_when_asked() {
    for (what, start) in unread() {
        let place = slow();
        let running = start(place.command("encode --data items.tsv --encoder slow -vv").stdout(Stdio::null()));
        wait_for(|| place.read("calls").lines().count() > 40);
        interrupt(&running);
        assert_eq!(ends(running), Some(130), "{what}");
        let encoded = place.read("calls").lines().count();
        assert!(encoded < 4000, "{what}: it went on to the end");
        let kept = place.json("cache")["entries"][0]["rows"].as_u64().unwrap() as usize;
        assert_eq!(kept, encoded, "{what}");
    }
}

#[test]
fn a_training_whose_errors_nobody_reads_leaves_a_checkpoint() {
    for (what, start) in unread() {
        let place = place();
        place.write("fusion.toml", RECIPE.replace("epochs = 60", "epochs = 1000000"));
        let running = start(place.command("train fusion.toml --out run --device cpu").stdout(Stdio::null()));
        wait_for(|| place.read("run/metrics.jsonl").lines().count() > 5);
        interrupt(&running);
        assert_eq!(ends(running), Some(130), "{what}");
        assert!(place.path("run/checkpoint.safetensors").exists(), "{what}");
    }
}

/// As when a file that is mapped into memory is cut.
#[test]
fn a_bus_error_says_what_may_have_happened() {
    let place = slow();
    let mut command = place.command("encode --data items.tsv --encoder slow");
    let running = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(|| place.read("calls").lines().count() > 40);
    signal(&running, "-BUS");
    let ran = Ran::from(running.wait_with_output().unwrap());
    assert!(ran.stderr.contains("a file that is being read became shorter, or its disk failed"), "{}", ran.stderr);
}

/// The table is in memory from the start: whoever edits it meanwhile changes nothing.
#[test]
fn a_table_that_is_cut_while_it_is_encoded_is_encoded_whole() {
    let place = slow();
    let rows = (0..400).fold("text\n".to_owned(), |table, row| table + &format!("item {row} {}\n", "x".repeat(100)));
    place.write("items.tsv", rows);
    let mut command = place.command("encode --data items.tsv --encoder slow --json");
    let running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(|| place.read("calls").lines().count() > 5);
    File::options().write(true).open(place.path("items.tsv")).unwrap().set_len(10).unwrap();
    let ran = Ran::from(running.wait_with_output().unwrap());
    assert_eq!(ran.json()["encoded"], 400);
}

/// An eigendecomposition cannot be interrupted, and takes seconds here.
#[test]
fn a_fit_in_closed_form_stops_at_once() {
    let place = place();
    let rows = (0..6000).fold("a\tb\n".to_owned(), |table, row| table + &format!("a{row} b{row}\ta{row} b{row}\n"));
    place.write("train.tsv", rows);
    let (pairs, _) = RECIPE.split_once("[train]").unwrap();
    place.write("fusion.toml", format!("{pairs}[fit]\nmethod = 'kernel-cca'\n"));
    let mut command = place.command("train fusion.toml --out run --device cpu");
    let running = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(|| place.path("run/recipe.toml").exists());
    std::thread::sleep(Duration::from_millis(500));
    let asked = Instant::now();
    interrupt(&running);
    let ran = Ran::from(running.wait_with_output().unwrap());
    ran.fails(130, "before the fit was done; run this again to fit anew; everything encoded so far is kept");
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
}

#[test]
fn an_output_that_nobody_reads_is_no_panic() {
    let place = slow();
    for arguments in ["encode --data items.tsv --encoder slow --dry-run", "plugins --json", "cache", "devices"] {
        let mut running = place.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(running.stdout.take());
        let ran = Ran::from(running.wait_with_output().unwrap());
        assert!(ran.code == 0 && !ran.stderr.contains("panicked"), "{arguments}: {} {}", ran.code, ran.stderr);
    }
    let full = place.command("plugins").stdout(File::create("/dev/full").unwrap()).output().unwrap();
    Ran::from(full).fails(1, "cannot write to standard output");
}

#[test]
fn a_hangup_that_is_ignored_stays_ignored() {
    let place = slow();
    // More than a loaded machine encodes before a signal comes.
    place.write("items.tsv", (0..100_000).fold("text\n".to_owned(), |table, row| table + &format!("item {row}\n")));
    let program = built().join("fusemix");
    let command = |ignored: &str| {
        let script = format!("{ignored} exec {} encode --data items.tsv --encoder slow", program.display());
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).current_dir(place.path("")).stdout(Stdio::null()).stderr(Stdio::null());
        shell.spawn().unwrap()
    };
    let running = command("trap '' HUP;");
    wait_for(|| place.read("calls").lines().count() > 40);
    signal(&running, "-HUP");
    let before = place.read("calls").lines().count();
    wait_for(|| place.read("calls").lines().count() > before + 100);
    signal(&running, "-INT");
    assert_eq!(ends(running), Some(130));
    let running = command("");
    let before = place.read("calls").lines().count();
    wait_for(|| place.read("calls").lines().count() > before);
    signal(&running, "-HUP");
    assert_eq!(ends(running), Some(130));
}

#[test]
fn a_file_that_may_not_grow_is_an_error_that_names_it() {
    let place = slow();
    place.write("plugins.toml", SLOW.replace("= 20", "= 1"));
    let script =
        format!("ulimit -f 200; exec {} encode --data items.tsv --encoder slow", built().join("fusemix").display());
    let ran = Ran::from(Command::new("sh").args(["-c", &script]).current_dir(place.path("")).output().unwrap());
    ran.fails(1, "File too large");
    assert!(ran.stderr.contains(".fusemix/cache/"), "{}", ran.stderr);
    // What was stored is there, and the next run goes on.
    let rest = place.json("encode --data items.tsv --encoder slow");
    assert!(rest["cached"].as_u64().unwrap() > 0, "{rest}");
    assert_eq!((&rest["failed"], place.run("cache verify").code), (&0.into(), 0));
}

/// A measurement gives nothing that could be kept, so that nobody waits for it.
#[test]
fn an_encoder_that_hangs_while_it_measures_is_not_waited_for() {
    for isolated in [false, true] {
        let place = Place::new(&format!(
            "[[plugin]]\nname = 'broken'\nisolated = {isolated}\n[encoder.bad]\nplugin = 'broken'\nfault = \
             'hang-measure'\n"
        ));
        place.write("items.tsv", "text\na\nb\n");
        let mut command = place.command("encode --data items.tsv --encoder bad");
        let running = command.stdout(File::create(place.path("said")).unwrap()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(1500));
        interrupt(&running);
        assert_eq!(ends(running), Some(130), "isolated: {isolated}");
        assert!(place.read("said").contains("stopped: run this again to continue"), "{}", place.read("said"));
    }
    let place = Place::new(
        "[[plugin]]\nname = 'broken'\n[encoder.bad]\nplugin = 'broken'\ntimeout = 1\nfault = 'hang-measure'\n",
    );
    place.write("items.tsv", "text\na\nb\n");
    place.run("encode --data items.tsv --encoder bad").fails(19, "did not answer within 1s");
}

/// What was in the cache before was not encoded by the command that is stopped.
#[test]
fn a_stopped_command_that_encoded_nothing_does_not_speak_of_it() {
    let place = place();
    let rows = (0..6000).fold("a\tb\n".to_owned(), |table, row| table + &format!("a{row} b{row}\ta{row} b{row}\n"));
    place.write("train.tsv", rows);
    let (pairs, _) = RECIPE.split_once("[train]").unwrap();
    place.write("fusion.toml", format!("{pairs}[fit]\nmethod = 'kernel-cca'\n"));
    for file in ["train", "validation"] {
        for (encoder, column) in [("one", "a"), ("two", "b")] {
            place.json(&format!("encode --data {file}.tsv --encoder {encoder} --column {column}"));
        }
    }
    let mut command = place.command("train fusion.toml --out run --device cpu");
    let running = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(|| place.path("run/recipe.toml").exists());
    interrupt(&running);
    let ran = Ran::from(running.wait_with_output().unwrap());
    ran.fails(130, "error: stopped before the fit was done; run this again to fit anew\n");
}
