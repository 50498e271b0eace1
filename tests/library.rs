//! The library as used by another program.

use std::process::Command;

use crate::common::{Place, built};

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
    let row = |name: &str| name["pictures/".len()..].trim_end_matches(".png").parse::<usize>().unwrap();
    assert!(found[..2].iter().all(|name| row(name) < 400), "{said}");
    assert!(place.path("run/run.json").is_file() && place.path("gallery/gallery.json").is_file());
}
