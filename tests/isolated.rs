//! Plugins in processes of their own: what a crash costs, and that nothing else changes.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Place, Ran, interrupt};
use crate::seed::Random;

fn broken(fault: &str) -> Place {
    Place::new(&format!(
        "[[plugin]]\nname = 'broken'\nisolated = true\n[encoder.bad]\nplugin = 'broken'\nfault = '{fault}'\n"
    ))
}

/// `mock` in a process of its own, with these keys of its encoder.
fn mock(keys: &str) -> Place {
    Place::new(&format!("[[plugin]]\nname = 'mock'\nisolated = true\n[encoder.x]\nplugin = 'mock'\n{keys}\n"))
}

/// Texts that differ.
fn texts(count: usize) -> String {
    (0..count).fold("text\n".to_owned(), |table, row| table + &format!("text {row}\n"))
}

#[test]
fn a_crash_costs_the_items_that_cause_it_and_no_other() {
    let place = broken("poison");
    let table = texts(22).replace("text 5\n", "abort\n").replace("text 6\n", "crash\n").replace("text 16\n", "exit\n");
    place.write("items.tsv", table);
    let ran = place.run("encode --data items.tsv --encoder bad --json");
    let summary = ran.json_code(4);
    assert_eq!((&summary["encoded"], &summary["failed"]), (&19.into(), &3.into()), "{summary}");
    let reasons: Vec<_> = summary["failures"].as_array().unwrap().iter().map(|failure| &failure["reason"]).collect();
    for (reason, how) in reasons.iter().zip(["SIGABRT", "SIGSEGV", "exit status: 0"]) {
        let reason = reason.as_str().unwrap();
        assert!(reason.starts_with("plugin `broken` crashes on this item (") && reason.contains(how), "{reason}");
    }
    assert!(ran.stderr.contains("plugin `broken` crashed (signal: 6 (SIGABRT)"), "{}", ran.stderr);
    place.run("cache verify").fails(0, "19 rows, all intact");
    // They are known now, and crash nothing.
    let summary = place.json_code("encode --data items.tsv --encoder bad", 4);
    assert_eq!((&summary["cached"], &summary["remembered"]), (&19.into(), &3.into()), "{summary}");
}

#[test]
fn a_plugin_that_crashes_with_everything_ends_the_run_and_no_item_is_to_blame() {
    for (fault, concurrency) in [("exit", 1), ("abort", 1), ("crash", 1), ("abort", 4)] {
        let place = broken(fault);
        place.write("plugins.toml", place.read("plugins.toml") + &format!("concurrency = {concurrency}\n"));
        place.write("items.tsv", texts(2_000));
        for _ in 0..2 {
            let ran = timely(&place, "encode --data items.tsv --encoder bad --json");
            ran.fails(20, "plugin `broken` crashed with each of the last 3 items that it got alone");
            assert_eq!(ran.json()["remembered"], 0, "{}", ran.stdout);
        }
    }
}

/// While calls wait for their rows to be stored, more items are measured.
#[test]
fn crashes_beside_other_calls_hold_nothing_up() {
    let place = broken("poison");
    place.write("plugins.toml", place.read("plugins.toml") + "concurrency = 4\n");
    let poison = [(600, "crash"), (2500, "abort"), (2501, "exit"), (4100, "exit")];
    let mut table = texts(4_200);
    for (row, how) in poison {
        table = table.replace(&format!("text {row}\n"), &format!("{how}\n"));
    }
    place.write("items.tsv", table);
    let summary = timely(&place, "encode --data items.tsv --encoder bad --json").json_code(4);
    // Equal texts are one item.
    assert_eq!((&summary["encoded"], &summary["failed"]), (&4196.into(), &4.into()), "{}", summary["failures"]);
    let again = timely(&place, "encode --data items.tsv --encoder bad --json").json_code(4);
    assert_eq!((&again["cached"], &again["remembered"]), (&4196.into(), &3.into()), "{again}");
}

/// A plugin that has worked before is trusted: a crash on the first item of a run is that item's.
#[test]
fn an_item_is_remembered_though_it_comes_first() {
    let place = broken("poison");
    place.write("items.tsv", texts(2));
    place.json("encode --data items.tsv --encoder bad");
    place.write("items.tsv", texts(2) + "abort\n");
    place.json_code("encode --data items.tsv --encoder bad", 4);
    let again = place.json_code("encode --data items.tsv --encoder bad", 4);
    assert_eq!(again["remembered"], 1, "{again}");
}

/// Runs the program, which must end within a minute.
fn timely(place: &Place, arguments: &str) -> Ran {
    let mut running = place.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let process = running.id();
    let (sender, ended) = std::sync::mpsc::channel();
    let watch = std::thread::spawn(move || {
        if ended.recv_timeout(Duration::from_secs(60)).is_err() {
            let _ = Command::new("kill").args(["-KILL", &process.to_string()]).status();
        }
    });
    let (mut stdout, mut stderr) = (running.stdout.take().unwrap(), running.stderr.take().unwrap());
    let other = std::thread::spawn(move || read(&mut stderr));
    let stdout = read(&mut stdout);
    let code = running.wait().unwrap().code().expect("it does not end");
    sender.send(()).unwrap();
    watch.join().unwrap();
    Ran { code, stdout, stderr: other.join().unwrap() }
}

fn read(pipe: &mut impl std::io::Read) -> String {
    let mut text = String::new();
    pipe.read_to_string(&mut text).unwrap();
    text
}

#[cfg(unix)]
#[test]
fn a_folder_need_not_be_utf_8() {
    use std::os::unix::ffi::OsStrExt;
    let place = mock("");
    let folder = place.path("here").with_file_name(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(crate::common::built().join("libmock.so"), folder.join("libmock.so")).unwrap();
    let toml = "plugin_folder = '.'\n".to_owned() + &place.read("plugins.toml");
    std::fs::write(folder.join("plugins.toml"), toml).unwrap();
    let ran = place.command("plugins").current_dir(&folder).output().unwrap();
    let ran = Ran::from(ran);
    ran.fails(0, "by mock");
}

#[test]
fn another_version_of_the_program_serves_no_plugin() {
    mock("").run("serve-plugin 99.0.0").fails(1, "which serves no plugins to fusemix 99.0.0");
}

#[test]
fn what_a_plugin_prints_is_in_no_json_and_what_it_logs_is_in_the_log() {
    let place = broken("print");
    place.write("items.tsv", texts(3));
    let ran = place.run("encode --data items.tsv --encoder bad --json");
    assert_eq!(ran.json()["encoded"], 3);
    assert!(ran.stderr.contains("a line on standard output"), "{}", ran.stderr);
    let ran = mock("").run("plugins -v");
    assert!(ran.stderr.contains("the mock is open answer=42"), "{}", ran.stderr);
    mock("").run("plugins check x").fails(0, "kept    a batch equals its items one by one");
}

#[test]
fn latents_are_those_of_the_plugin_in_this_process() {
    let place = mock("batch = 7\nconcurrency = 3");
    place.write("items.tsv", texts(100));
    place.json("encode --data items.tsv --encoder x");
    place.json("cache export --data items.tsv --encoder x --out isolated.safetensors");
    place.write("plugins.toml", place.read("plugins.toml").replace("isolated = true\n", ""));
    // They are in the cache under the same fingerprint.
    assert_eq!(place.json("encode --data items.tsv --encoder x")["cached"], 100);
    place.json("encode --data items.tsv --encoder x --cache other");
    place.json("cache export --data items.tsv --encoder x --cache other --out here.safetensors");
    let [isolated, here] = ["isolated.safetensors", "here.safetensors"].map(|file| std::fs::read(place.path(file)));
    assert_eq!(isolated.unwrap(), here.unwrap());
}

/// The processes that `parent` has started.
#[cfg(target_os = "linux")]
fn children(parent: u32) -> Vec<u32> {
    let is_child = |pid: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line.split_whitespace().eq(["PPid:", &parent.to_string()]))
    };
    let processes = std::fs::read_dir("/proc").unwrap().map(Result::unwrap);
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_child).collect()
}

#[cfg(target_os = "linux")]
fn kill(process: u32) {
    // It may just have ended.
    let _ = Command::new("kill").args(["-KILL", &process.to_string()]).stderr(Stdio::null()).status();
}

/// Kills come at random moments, from a seed that is printed.
#[cfg(target_os = "linux")]
#[test]
fn nothing_is_lost_when_its_processes_are_killed_again_and_again() {
    let random = Random::new("isolated");
    let place = mock("batch = 5\nconcurrency = 4\ndelay_ms = 20");
    let rows = 2_000;
    place.write("items.tsv", texts(rows));
    let mut encode = place.command("encode --data items.tsv --encoder x --json");
    let mut running = encode.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut kills = 0;
    let within = Instant::now() + Duration::from_secs(60);
    // One that is killed while it loads its plugin ends the run.
    std::thread::sleep(Duration::from_millis(500));
    while running.try_wait().unwrap().is_none() && kills < 12 && Instant::now() < within {
        std::thread::sleep(Duration::from_millis(random.below(400)));
        for process in children(running.id()) {
            kill(process);
            kills += 1;
        }
    }
    // An item that was killed when it was alone, or three of them in a row, is not tried again in this run.
    let ran = Ran::from(running.wait_with_output().unwrap());
    assert!(kills > 3, "it ended too soon: {} {}", ran.code, ran.stderr);
    assert!([0, 4, 20].contains(&ran.code), "{} {}", ran.code, ran.stderr);
    let encoded = ran.json()["encoded"].as_u64().unwrap();
    assert!(ran.code == 20 || encoded + 12 > rows as u64, "{}{}", ran.stdout, ran.stderr);
    let again = place.json("encode --data items.tsv --encoder x");
    assert_eq!((again["cached"].as_u64(), again["failed"].as_u64()), (Some(encoded), Some(0)), "{again}");
    assert_eq!(again["encoded"].as_u64(), Some(rows as u64 - encoded));
    place.run("cache verify").fails(0, &format!("{rows} rows, all intact"));
}

#[cfg(target_os = "linux")]
#[test]
fn its_processes_end_with_the_program_however_it_ends() {
    let place = mock("delay_ms = 60000");
    place.write("items.tsv", texts(3));
    for signal in ["-KILL", "-INT"] {
        let mut running = place.start("encode --data items.tsv --encoder x");
        let within = Instant::now() + Duration::from_secs(60);
        let started = loop {
            match children(running.id()).as_slice() {
                [] if Instant::now() < within => std::thread::sleep(Duration::from_millis(5)),
                [] => panic!("no process was started"),
                processes => break processes.to_vec(),
            }
        };
        if signal == "-INT" {
            // The second one does not wait for the call.
            interrupt(&running);
            std::thread::sleep(Duration::from_millis(300));
            interrupt(&running);
        } else {
            running.kill().unwrap();
        }
        running.wait().unwrap();
        let lives = |process: &u32| {
            let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            // One without a parent that has waited for it is a zombie.
            !stat.is_empty() && !stat.contains(") Z ")
        };
        while started.iter().any(lives) {
            assert!(Instant::now() < within, "{started:?} live on after {signal}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
