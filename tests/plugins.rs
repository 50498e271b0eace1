//! plugins.toml: every fault has its own message and exit code, and affects nothing else.

use sha2::{Digest, Sha256};

use crate::common::{Place, built, repository};

fn plugin(file: &str) -> String {
    built().join(file).display().to_string()
}

/// `mock` and, beside it, another plugin's entry.
fn beside_mock(entry: &str) -> Place {
    Place::new(&format!("[[plugin]]\nname = 'mock'\n[encoder.good]\nplugin = 'mock'\n[[plugin]]\n{entry}\n"))
}

#[test]
fn each_fault_of_a_plugin_is_told_apart_and_the_others_still_work() {
    let not_a_library = repository().join("Cargo.toml").display().to_string();
    let cases = [
        ("name = 'nowhere'".to_owned(), 10, "no libnowhere.so in"),
        ("name = 'x'\npath = 'x.so'".to_owned(), 10, "no "),
        (format!("name = 'x'\npath = '{not_a_library}'"), 11, "is not a library that this system can load"),
        ("name = 'bystander'".to_owned(), 12, "is a library but not a fusemix plugin"),
        ("name = 'foreign'".to_owned(), 13, "built for a different plugin interface"),
        ("name = 'broken'\nversion = '^2'".to_owned(), 14, "is version 1.2.3, but plugins.toml asks for ^2"),
        (format!("name = 'other'\npath = '{}'", plugin("libbroken.so")), 14, "is plugin `broken`"),
        (format!("name = 'broken'\nsha256 = '{}'", "0".repeat(64)), 15, "but plugins.toml pins 0000"),
    ];
    for (entry, code, message) in cases {
        for entry in [entry.clone(), format!("{entry}\nisolated = true")] {
            let place = beside_mock(&entry);
            place.run("plugins").fails(code, message);
            place.write("items.tsv", "text\na red flower\n");
            assert_eq!(place.json("encode --data items.tsv --encoder good")["encoded"], 1, "beside {entry}");
        }
    }
}

#[test]
fn the_folders_that_were_looked_in_are_named_once_and_one_that_is_not_there_is_said() {
    let built = built().display().to_string();
    for folder in [built.as_str(), &format!("{built}/")] {
        let place = Place::new(&format!("plugin_folder = '{folder}'\n[[plugin]]\nname = 'nowhere'\n"));
        let ran = place.run("plugins");
        ran.fails(10, &format!("no libnowhere.so in {built}"));
        assert!(!ran.stdout.contains(&format!("{built} or")), "{}", ran.stdout);
    }
    let place = Place::new("plugin_folder = 'relaese'\n[[plugin]]\nname = 'mock'\n[[plugin]]\nname = 'nowhere'\n");
    let ran = place.run("plugins");
    ran.fails(10, "relaese (no such folder) or ");
    assert!(ran.stderr.contains("plugins.toml:1: `plugin_folder`: "), "{}", ran.stderr);
}

#[test]
fn what_an_encoder_was_told_is_listed() {
    let place = Place::new("[[plugin]]\nname = 'mock'\n[encoder.x]\nplugin = 'mock'\nsalt = 'sea'\n");
    let listed = place.run("plugins").stdout;
    assert!(listed.contains("width 16, by mock, salt sea\n"), "{listed}");
}

#[test]
fn a_pinned_sum_that_fits_loads() {
    let sum: String =
        Sha256::digest(std::fs::read(plugin("libmock.so")).unwrap()).iter().map(|b| format!("{b:02x}")).collect();
    for isolated in [false, true] {
        let entry = format!("[[plugin]]\nname = 'mock'\nversion = '1'\nsha256 = '{sum}'\nisolated = {isolated}\n");
        let listed = Place::new(&entry).json("plugins");
        assert_eq!(listed["plugins"][0]["state"], "ok");
        assert_eq!(listed["plugins"][0]["version"], "1.2.3");
        assert_eq!(listed["plugins"][0]["isolated"], isolated);
    }
}

/// The file is exchanged again and again while the program starts.
#[cfg(unix)]
#[test]
fn what_is_loaded_is_what_was_checked() {
    let mock = std::fs::read(plugin("libmock.so")).unwrap();
    let sum: String = Sha256::digest(&mock).iter().map(|b| format!("{b:02x}")).collect();
    let place = Place::new(&format!("[[plugin]]\nname = 'mock'\npath = 'swapped.so'\nsha256 = '{sum}'\n"));
    std::fs::copy(plugin("libmock.so"), place.path("good.so")).unwrap();
    std::fs::copy(plugin("libbroken.so"), place.path("other.so")).unwrap();
    let ends = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for turn in 0_u32.. {
                if ends.load(std::sync::atomic::Ordering::Relaxed) {
                    return;
                }
                let link = place.path("next");
                let _ = std::fs::remove_file(&link);
                let target = if turn.is_multiple_of(2) { "good.so" } else { "other.so" };
                std::os::unix::fs::symlink(target, &link).unwrap();
                std::fs::rename(&link, place.path("swapped.so")).unwrap();
            }
        });
        let mut codes = std::collections::BTreeMap::new();
        for run in 0..5000 {
            let ran = place.run("plugins");
            assert!([0, 10, 15].contains(&ran.code), "{}{}", ran.stdout, ran.stderr);
            *codes.entry(ran.code).or_insert(0) += 1;
            // On a busy machine the file may stay one of both for long.
            if run >= 60 && codes.contains_key(&0) && codes.contains_key(&15) {
                break;
            }
        }
        ends.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(codes.contains_key(&0) && codes.contains_key(&15), "{codes:?}");
    });
}

#[test]
fn each_fault_of_an_encoder_is_told_apart() {
    let cases = [
        ("open", 3, "plugins.toml:7: cannot open encoder `bad`: `fault = \"open\"`: there is no such model"),
        ("panic-open", 16, "panicked: on purpose, while opening"),
        ("hang-open", 19, "did not open within 1s"),
        ("fail", 20, "the model fell over"),
        ("panic", 16, "panicked: on purpose, while encoding"),
        ("width", 17, "encoder `bad` returned latents of 5 values, not 4, contrary to its description"),
        ("count", 17, "wrong number of outcomes: "),
        ("twice", 17, "item 0 has two outcomes"),
        ("missing", 17, "no outcome for 1 of 2 items"),
        ("hang", 19, "within 1s"),
        ("measure", 17, "wrong number of sizes: 1 instead of 2"),
    ];
    for ((fault, code, message), isolated) in cases.into_iter().flat_map(|case| [(case, false), (case, true)]) {
        let place = Place::new(&format!(
            "[[plugin]]\nname = 'broken'\nisolated = {isolated}\n[encoder.bad]\nplugin = 'broken'\n\
             timeout = 1\nfault = '{fault}'\n\
             [[plugin]]\nname = 'mock'\n[encoder.good]\nplugin = 'mock'\n"
        ));
        place.write("items.tsv", "text\na red flower\nanother\n");
        place.run("encode --data items.tsv --encoder bad").fails(code, message);
        assert_eq!(place.json("encode --data items.tsv --encoder good")["encoded"], 2, "beside {fault}");
    }
}

#[test]
fn nothing_more_is_sent_after_an_encoder_has_failed() {
    let place =
        Place::new("[[plugin]]\nname = 'broken'\n[encoder.bad]\nplugin = 'broken'\ntimeout = 1\nfault = 'hang'\n");
    place.write("items.tsv", "text\n".to_owned() + &"a\nb\nc\nd\ne\nf\ng\nh\ni\n".repeat(9).replace('a', "a!"));
    let ran = place.run("encode --data items.tsv --encoder bad");
    ran.fails(19, "did not answer within 1s");
    assert_eq!(ran.stderr.matches("hanging on purpose").count(), 1, "{}", ran.stderr);
    place.run("plugins check bad").fails(1, "did not answer within 1s");
}

#[test]
fn what_was_stored_before_a_call_dies_is_kept() {
    for (fault, code, message) in
        [("store-panic", 16, "panicked: on purpose, after storing"), ("store-hang", 19, "did not answer within 1s")]
    {
        let place = Place::new(&format!(
            "[[plugin]]\nname = 'broken'\n[encoder.bad]\nplugin = 'broken'\ntimeout = 1\nfault = '{fault}'\n"
        ));
        place.write("items.tsv", format!("text\na\nb\n{fault}\nd\n"));
        let ran = place.run("encode --data items.tsv --encoder bad --json");
        ran.fails(code, message);
        assert_eq!(ran.json()["encoded"], 2, "{fault}");
        assert_eq!(place.json("cache")["entries"][0]["rows"], 2, "{fault}");
        place.write("items.tsv", "text\na\nb\nc\nd\n");
        let summary = place.json("encode --data items.tsv --encoder bad");
        assert_eq!((&summary["encoded"], &summary["cached"], &summary["failed"]), (&2.into(), &2.into(), &0.into()));
        assert_eq!(place.run("cache verify").code, 0);
    }
}

#[test]
fn nan_costs_only_the_items_that_got_it() {
    let place = Place::new("[[plugin]]\nname = 'broken'\n[encoder.bad]\nplugin = 'broken'\nfault = 'nan'\n");
    place.write("items.tsv", "text\none\nnan\nthree\n");
    let ran = place.run("encode --data items.tsv --encoder bad --json");
    ran.fails(18, "NaN");
    let summary = ran.json();
    assert_eq!((&summary["encoded"], &summary["failed"]), (&2.into(), &1.into()));
    assert_eq!(summary["failures"][0]["row"], 2);
}

#[test]
fn mistakes_in_an_encoder_name_file_line_and_nearest_key() {
    let cases = [
        ("widht = 8", "plugins.toml:5: unknown key `widht` of encoder `x`; did you mean `width`?"),
        ("width = 'eight'", "plugins.toml:5: `width = \"eight\"` of encoder `x` must be a whole number"),
        ("batch = 0", "plugins.toml:5: `batch = 0` of encoder `x` must be a whole number above 0"),
    ];
    for (line, message) in cases {
        let place = Place::new(&format!("\n[[plugin]]\nname = 'mock'\n[encoder.x]\n{line}\nplugin = 'mock'\n"));
        place.run("plugins").fails(3, message);
    }
    // What a plugin says of a key, and of one that is not there.
    let mock = |line: &str| Place::new(&format!("[[plugin]]\nname = 'mock'\n[encoder.x]\nplugin = 'mock'\n{line}\n"));
    mock("width = -1").run("plugins").fails(3, "plugins.toml:5: cannot open encoder `x`: `width = -1`: ");
    let api = "[[plugin]]\nname = 'api'\n[encoder.x]\nplugin = 'api'\nprovider = 'cohere'\nmodel = 'm'\n";
    Place::new(api).run("plugins").fails(3, "plugins.toml:3: cannot open encoder `x`: Cohere needs an `input_type`");
    let place = Place::new("[[plugin]]\nname = 'broken'\n[encoder.x]\nplugin = 'broken'\n");
    place.run("plugins").fails(3, "encoder `x` lacks `fault`, which plugin `broken` needs");
    place.run("plugins --plugins elsewhere.toml").fails(3, "name another file with --plugins FILE");
}

#[test]
fn conformance_is_checked_on_the_loaded_plugin() {
    let place = Place::new(
        "[[plugin]]\nname = 'mock'\n[[plugin]]\nname = 'broken'\n\
         [encoder.good]\nplugin = 'mock'\n[encoder.bad]\nplugin = 'broken'\nfault = 'width'\n",
    );
    let checks = place.json("plugins check good");
    assert_eq!(checks["checks"].as_array().unwrap().len(), 9);
    place.run("plugins check bad").fails(1, "BROKEN  every latent has the described width: item 0 has 5 values, not 4");
    place.write("plugins.toml", place.read("plugins.toml").replace("'width'", "'twice'"));
    let broken = "BROKEN  each item gets one outcome, all of one width: encoder `bad`: item 0 has two outcomes";
    place.run("plugins check bad").fails(1, broken);
}

#[test]
fn what_a_plugin_logs_reaches_the_hosts_log() {
    let place = Place::new("[[plugin]]\nname = 'mock'\n[encoder.x]\nplugin = 'mock'\n");
    let ran = place.run("plugins -v");
    assert!(ran.stderr.contains("the mock is open answer=42") && ran.stderr.contains("mock"), "{}", ran.stderr);
}

#[cfg(unix)]
#[test]
fn a_plugin_that_ends_the_program_is_named_and_what_was_stored_is_kept() {
    let toml =
        |fault: &str| format!("[[plugin]]\nname = 'broken'\n[encoder.bad]\nplugin = 'broken'\nfault = '{fault}'\n");
    for (fault, code, words) in [
        ("exit", 20, "the program was ended by a plugin; in a call: broken"),
        ("abort", -1, "fusemix crashed while this plugin was in a call: broken"),
        ("crash", -1, "fusemix crashed while this plugin was in a call: broken"),
    ] {
        let place = Place::new(&toml(fault));
        place.write("items.tsv", "text\na red flower\nanother\n");
        place.run("encode --data items.tsv --encoder bad").fails(code, words);
        place.run("cache verify").fails(0, "0 rows, all intact");
    }
    let place = Place::new(&toml("print"));
    place.write("items.tsv", "text\na red flower\nanother\n");
    let ran = place.run("encode --data items.tsv --encoder bad --json");
    assert_eq!(ran.json()["encoded"], 2);
    assert!(ran.stderr.contains("a line on standard output"), "{}", ran.stderr);
}
