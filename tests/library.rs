//! The library as used by another program.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use fusemix::dataset::Item;
use fusemix::device::DeviceChoice;
use fusemix::session::{Blind, Embedding, Error, FitOptions, Model, Report, Session, Setup};
use fusemix::stop::Stop;

use crate::common::{Place, built};
use crate::train;

#[test]
fn the_example_trains_embeds_from_memory_and_finds() {
    // The plugins lie beside the program, not beside the example.
    let place = Place::new(&format!(
        "plugin_folder = '{}'\n[[plugin]]\nname = 'mock'\nversion = '1'\n[encoder.texts]\nplugin = 'mock'\nsalt = 'a'\n\
         width = 48\n\
         [encoder.pictures]\nplugin = 'mock'\nsalt = 'b'\nwidth = 40\nmodality = 'image'\n",
        built().display()
    ));
    let mut rows = String::from("file\tcaption\n");
    for row in 0..400 {
        let words = format!("w{} v{}", row % 20, row / 20);
        place.write(&format!("pictures/{row}.png"), &words);
        rows += &format!("pictures/{row}.png\t{words}\n");
    }
    place.write("train.tsv", &rows);
    place.write(
        "fusion.toml",
        "[tower.text]\nencoder = 'texts'\n[tower.image]\nencoder = 'pictures'\n[[pairs]]\ntrain = 'train.tsv'\n\
         test = 'train.tsv'\ntext = 'caption'\nimage = 'file'\n\
         [train]\nepochs = 60\nwidth = 32\ndropout = 0.2\nlr = 0.003\n",
    );
    let ran = Command::new(built().join("examples/library"))
        .args(["plugins.toml", "fusion.toml", ".", "pictures/7.png", "w3 v5", "w9 v0"])
        .current_dir(place.path(""))
        .output()
        .expect("the example is built by `cargo test --workspace`");
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    let found: Vec<&str> = said.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(found.len(), 3, "{said}");
    // A picture is nearest to itself.
    assert_eq!(found[2], "pictures/7.png");
    assert!(said.lines().last().unwrap().starts_with("1.000"), "{said}");
    // Words to their picture: the towers were trained on these very pairs.
    let row = |words: (usize, usize)| format!("pictures/{}.png", words.0 + 20 * words.1);
    assert!(found[0] == row((3, 5)) || found[1] == row((9, 0)), "{said}");
    assert!(place.path("run/run.json").is_file() && place.path("gallery/gallery.json").is_file());
}

#[test]
fn all_of_a_session_goes_from_thread_to_thread() {
    fn crosses<T: Send + Sync>() {}
    crosses::<Session>();
    crosses::<Model>();
    crosses::<Setup>();
    crosses::<Error>();
    crosses::<Embedding>();
    crosses::<Report>();
}

#[test]
fn several_threads_query_and_store_at_once() {
    let place = train::place();
    place.json("train fusion.toml --out run --device cpu");
    let config = place.read("plugins.toml").replace("salt = 'one'", "salt = 'one'\ndelay_ms = 2\nconcurrency = 2");
    place.write("plugins.toml", format!("plugin_folder = '{}'\n{config}", built().display()));
    let calls = place.read("calls").lines().count();
    let session = Session::open(place.path("plugins.toml")).unwrap();
    let model = session.model(&place.path("run"), DeviceChoice::Cpu).unwrap();
    let embed = |store: bool| {
        let texts: Vec<String> = (0..40).map(|row| format!("new w{row}")).collect();
        let items: Vec<Item<'_>> = texts.iter().map(|text| Item::text(text)).collect();
        let embeddings = model.embed("left", &items, store).unwrap();
        embeddings.into_iter().map(Result::unwrap).collect::<Vec<_>>()
    };
    let all: Vec<Vec<Vec<f32>>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6).map(|thread| scope.spawn(move || embed(thread % 2 == 0))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for other in &all[1..] {
        for (one, other) in all[0].iter().flatten().zip(other.iter().flatten()) {
            assert!((one - other).abs() < 1e-6);
        }
    }
    // Those who store encode each item once, whoever comes first; those who do not may each ask once more.
    let made = place.read("calls").lines().count() - calls;
    assert!((40..=160).contains(&made), "{made}");
    assert_eq!(place.json("cache verify")["entries"][0]["damaged"], 0);

    // Work that is stopped ends by itself; the session goes on.
    let stop = Stop::default();
    stop.ask();
    let stopped = session.with(stop, Arc::new(Blind));
    let recipe = fusemix::config::Recipe::read(&place.path("fusion.toml")).unwrap();
    let fitted = stopped.fit(&recipe, &place.path("second"), &FitOptions::default());
    assert!(
        matches!(fitted, Err(Error::Stopped))
            || fitted.is_ok_and(|fitted| fitted.training.is_some_and(|training| training.worked == 0))
    );
    assert_eq!(embed(false).len(), 40);
    assert!(session.model(Path::new("nowhere"), DeviceChoice::Cpu).is_err_and(|error| matches!(error, Error::Run(_))));
}
