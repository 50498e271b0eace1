//! Damaged and odd inputs of everything that the program reads: an error at most, soon, and never a panic.
//!
//! `FUSEMIX_FUZZ_SECONDS=600 cargo test --release --workspace fuzz` goes on for ten minutes with each.

use fusemix::array_file::{ArrayFile, Matrix};
use fusemix::cache::{Fingerprint, Key, Store, list};
use fusemix::config::{Config, Recipe, TomlFile};
use fusemix::dataset::{Dataset, read_table};
use fusemix::device::{self, DeviceChoice};
use fusemix::fit::asif::AsifOptions;
use fusemix::fit::kernel_cca::KernelCcaOptions;
use fusemix::fit::ridge::RidgeOptions;
use fusemix::fit::{ClosedForm, HubsOptions, PairSet, Problem};
use fusemix::gallery::{Dtype, Exhibit, Filter, Gallery, GalleryInfo, Origin, Writer};
use fusemix::latents::{Dense, Latents};
use fusemix::run::{RunFolder, Seen, read_metrics};
use fusemix::space::{Inlet, Space};
use fusemix_fuzzer::{WORDS, corpus, fuzz};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::common::repository;
use crate::train::{ENCODERS, RECIPE};

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[test]
fn fuzz_tables() {
    let folder = tempfile::tempdir().unwrap();
    let seeds = texts(&[
        "file\tcaption\na.png\ta red flower\nb.png\t\"a\" dog\n",
        "text\r\na\r\n\r\n\"b\nc\"\r\nd",
        "id,caption,id2\n1,\"He said \"\"hi\"\"\",2\n3,,4\n",
        "\u{feff}a;b\n1;2\n",
    ]);
    for name in ["a.tsv", "a.csv"] {
        let path = folder.path().join(name);
        fuzz(name, &seeds, &WORDS, 3000, |bytes| {
            std::fs::write(&path, bytes).unwrap();
            let Ok(table) = read_table(&path) else { return };
            for name in table.names() {
                let Ok(column) = table.column(name) else { continue };
                (0..column.len()).for_each(|row| drop((column.cell(row), column.file(row))));
            }
            let _ = table.usual_column("text");
        });
    }
}

#[test]
fn fuzz_json_and_archives() {
    let folder = tempfile::tempdir().unwrap();
    let json = texts(&[
        r#"{"images": [{"id": 1, "file_name": "1.jpg"}], "annotations": [{"image_id": 1, "id": 2, "caption": "a"}]}"#,
        r#"{"images": [{"filename": "1.jpg", "split": "val", "sentences": [{"raw": "a dog", "sentid": 0}]}]}"#,
        r#"[{"regions": [{"region_id": 1, "image_id": 1, "phrase": "a clock", "x": 0}]}]"#,
        "{\"file\": \"a.png\", \"captions\": [\"a\", \"b\"], \"meta\": {\"w\": 1.5}}\n{\"file\": null}\n",
        "1.jpg#0\ta dog\n1.jpg#1\ta cat\n",
    ]);
    let mut tar = Vec::new();
    for (name, content) in [("0.jpg", "JPEG"), ("0.txt", "a dog"), ("0.json", "{\"n\": 1}"), ("1.jpg", "")] {
        crate::formats::add(&mut tar, name, content);
    }
    tar.extend([0; 1024]);
    let parquet = folder.path().join("seed.parquet");
    let ids = Some((0..40).map(|_| "an id").collect());
    let matrix = Matrix { name: "latents", width: 3, present: vec![true; 40] };
    let mut file = ArrayFile::create(&parquet, ids).unwrap().begin(matrix).unwrap();
    (0..40).for_each(|row| file.row(&[row as f32; 3]).unwrap());
    file.finish().unwrap();
    let parquet = vec![std::fs::read(&parquet).unwrap()];
    for (name, seeds) in
        [("a.json", &json), ("a.jsonl", &json), ("a.token", &json), ("a.tar", &vec![tar]), ("a.parquet", &parquet)]
    {
        let path = folder.path().join(name);
        fuzz(name, seeds, &WORDS, 2000, |bytes| {
            std::fs::write(&path, bytes).unwrap();
            let Ok(table) = read_table(&path) else { return };
            for name in table.names() {
                let Ok(column) = table.column(name) else { continue };
                for row in 0..column.len() {
                    drop((column.cell(row), column.member(row).map(|_| column.item(row).read())));
                }
            }
            if let Some(name) = table.names().first().cloned() {
                let _ = table.captions(&name);
            }
        });
    }
}

#[test]
fn fuzz_recipes_and_plugins_toml() {
    let text = |bytes: &[u8]| TomlFile::of(Path::new("x.toml"), String::from_utf8_lossy(bytes).into_owned());
    let recipes = texts(&[RECIPE, &std::fs::read_to_string(repository().join("examples/stamps/fusion.toml")).unwrap()]);
    fuzz("recipes", &recipes, &WORDS, 4000, |bytes| {
        let Ok(recipe) = Recipe::parse(text(bytes)) else { return };
        let _ = fusemix::session::check_options(&recipe);
    });
    let configs = texts(&[ENCODERS, &std::fs::read_to_string(repository().join("plugins.toml")).unwrap()]);
    fuzz("plugins.toml", &configs, &WORDS, 4000, |bytes| drop(Config::parse(text(bytes))));
    fuzz(
        "filters",
        &texts(&["price<20", "kind = 'a b' and year >= 1990 or id ~ x", "a = null"]),
        &WORDS,
        4000,
        |bytes| {
            drop(String::from_utf8_lossy(bytes).parse::<Filter>());
        },
    );
}

#[test]
fn fuzz_files_of_a_run() {
    let golden = repository().join("tests/golden/run-0.1");
    let folder = tempfile::tempdir().unwrap();
    let device = device::open(DeviceChoice::Cpu, false).unwrap();
    let mut seeds: Vec<Vec<u8>> = corpus(&golden).into_iter().filter(|file| file.len() < 1 << 20).collect();
    let seen = folder.path().join("seen.safetensors");
    let mut all = Seen::default();
    all.add(
        ["a", "b"],
        (0..20_u8).map(|number| {
            (Key::of(&fusemix_sdk::Modality::Text, &[number]), Key::of(&fusemix_sdk::Modality::Text, &[number, 1]))
        }),
    );
    all.save(&seen).unwrap();
    seeds.push(std::fs::read(&seen).unwrap());
    let path = folder.path().join("x.safetensors");
    // A space in closed form, of eight pairs.
    let side = |width: usize| -> Arc<dyn Latents> {
        let values = (0..8 * width).map(|at| (at * at % 17) as f32).collect();
        Arc::new(Dense::new(values, width))
    };
    let towers = [("a", 3), ("b", 2)].map(|(name, width)| Inlet { name: name.to_owned(), width });
    let pairs = PairSet { towers: [0, 1], latents: [side(3), side(2)], weight: 1.0, items: None };
    let problem = Problem { towers: &towers, fixed: &[false; 2], sets: &[pairs], stop: &|| false };
    let hubs = HubsOptions::default().resolve(0.25).unwrap();
    for method in [
        ClosedForm::KernelCca(KernelCcaOptions::default().resolve().unwrap()),
        ClosedForm::Ridge(RidgeOptions::default().resolve().unwrap()),
        ClosedForm::Asif(AsifOptions::default().resolve().unwrap()),
    ] {
        method.fit(&problem, hubs).unwrap().save(&path).unwrap();
        seeds.push(std::fs::read(&path).unwrap());
    }
    fuzz("files of a run", &seeds, &WORDS, 1500, |bytes| {
        std::fs::write(&path, bytes).unwrap();
        if let Ok(space) = Space::load(device.clone(), &path) {
            for (tower, inlet) in space.towers().enumerate().filter(|(_, inlet)| inlet.width < 100) {
                let latents = Dense::new(vec![0.5; 2 * inlet.width], inlet.width);
                // Absurd weights may overflow, which is an error.
                if let Ok(embeddings) = space.embed(tower, &latents) {
                    assert_eq!(embeddings.len(), 2 * space.width());
                }
            }
        }
        let _ = Seen::load(&path);
        let _ = fusemix::fit::fusemix::Checkpoints::begun_with(&path);
        if let Ok(file @ Dataset::Precomputed(_)) = Dataset::open(&path) {
            let _ = file.rows("latents");
        }
        std::fs::write(folder.path().join("run.json"), bytes).unwrap();
        let _ = RunFolder::open(folder.path());
        let _ = read_metrics(&path);
    });
}

/// Each file of an entry of the cache.
#[test]
fn fuzz_the_cache() {
    let folder = tempfile::tempdir().unwrap();
    let fingerprint = Fingerprint::new(BTreeMap::from([("plugin".into(), "fuzz".into())]));
    let key = |number: usize| Key::of(&fusemix_sdk::Modality::Text, &number.to_le_bytes());
    let row = |number: usize| vec![number as f32 + 0.5; 6];
    let fill = |store: &Store| {
        let rows: Vec<(Key, Vec<f32>)> = (0..40).map(|number| (key(number), row(number))).collect();
        let rows: Vec<(Key, &[f32])> = rows.iter().map(|(key, row)| (*key, row.as_slice())).collect();
        store.append(&rows, &[(key(100), "empty text"), (key(101), "a reason\n")]).unwrap();
    };
    fill(&Store::open(folder.path(), &fingerprint, "fuzz").unwrap());
    let entry = folder.path().join(fingerprint.hex());
    let whole: Vec<(String, Vec<u8>)> = ["rows.log", "reasons.log", "index.redb", "segment-000000.f32", "entry.json"]
        .into_iter()
        .map(|name| (name.to_owned(), std::fs::read(entry.join(name)).unwrap()))
        .collect();
    for (name, bytes) in &whole {
        fuzz(&format!("cache {name}"), std::slice::from_ref(bytes), &[], 150, |bytes| {
            let _ = std::fs::remove_dir_all(&entry);
            std::fs::create_dir(&entry).unwrap();
            whole.iter().for_each(|(name, bytes)| std::fs::write(entry.join(name), bytes).unwrap());
            std::fs::write(entry.join(name), bytes).unwrap();
            for entry in list(folder.path()).unwrap() {
                let _ = entry.verify();
            }
            let Ok(store) = Store::open(folder.path(), &fingerprint, "fuzz") else { return };
            let keys: Vec<Key> = (0..120).map(key).collect();
            for (number, known) in store.known(&keys).into_iter().flatten().enumerate() {
                // What is known is right.
                if let Some(fusemix::cache::Known::Row(at)) = known {
                    let mut values = vec![0.0; 6];
                    fusemix::latents::Latents::copy_row(&store.latents(vec![at]).unwrap(), 0, &mut values);
                    assert_eq!(values, row(number));
                }
            }
            let _ = store.verify().and_then(|bad| store.forget(&bad));
        });
    }
}

/// Each file of a gallery.
#[test]
fn fuzz_galleries() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let origin = Origin { run: "r".into(), digest: "d".into(), tower: "t".into(), encoders: BTreeMap::new() };
    let info = GalleryInfo {
        width: 3,
        dtype: Dtype::F32,
        columns: vec!["item".into(), "price".into()],
        item_column: None,
        id_column: None,
        origin,
    };
    let mut writer = Writer::create(&whole, info).unwrap();
    let exhibit = |number: usize| Exhibit { id: format!("i{number}"), metadata: vec!["x".into(), number.into()] };
    let exhibits: Vec<Exhibit> = (0..30).map(exhibit).collect();
    writer.append(&exhibits, &vec![0.5; 90]).unwrap();
    writer.append(&exhibits[..3], &[0.25; 9]).unwrap();
    writer.remove(&["i7"]).unwrap();
    drop(writer);
    let names = ["gallery.json", "items.jsonl", "offsets", "removed", "log", "vectors-000000.f32"];
    let files: Vec<(&str, Vec<u8>)> =
        names.into_iter().map(|name| (name, std::fs::read(whole.join(name)).unwrap())).collect();
    let damaged = folder.path().join("damaged");
    let filter: Filter = "price > 3 and item = x".parse().unwrap();
    for (name, bytes) in &files {
        fuzz(&format!("gallery {name}"), std::slice::from_ref(bytes), &WORDS, 400, |bytes| {
            let _ = std::fs::remove_dir_all(&damaged);
            std::fs::create_dir(&damaged).unwrap();
            files.iter().for_each(|(name, bytes)| std::fs::write(damaged.join(name), bytes).unwrap());
            std::fs::write(damaged.join(name), bytes).unwrap();
            let Ok(gallery) = Gallery::open(&damaged) else { return };
            let _ = gallery.verify();
            gallery.rows().for_each(|row| drop((gallery.exhibit(row), gallery.vector(row))));
            let _ = gallery.search(&vec![0.5; gallery.info().width.min(1 << 20)], 3, Some(&filter));
            if let Ok(mut writer) = Writer::open(&damaged) {
                let _ = writer.remove(&["i1"]);
            }
        });
    }
}
