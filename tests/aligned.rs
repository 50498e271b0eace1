//! An aligned model as a run of two identity towers: both plugins read the same folder, and nothing is fitted.

use safetensors::SafeTensors;
use serde_json::{Value, json};
use std::fmt::Write;

use crate::common::{Place, floats, repository};

const PICTURES: [&str; 4] = [
    "animals/mammals/bovines/yak.png",
    "vehicles/race/indycar.png",
    "symbols/faces/mad.png",
    "food/nuts/walnut_shelled.png",
];

const RECIPE: &str = "\
[tower.image]
encoder = 'clip-image'
adapter = 'identity'
[tower.text]
encoder = 'clip-text'
adapter = 'identity'
[[pairs]]
train = 'pairs.jsonl'
test = 'pairs.jsonl'
image = 'file'
text = 'caption'
[fit]
method = 'identity'
";

/// The rows of an .npy file of f32: its header ends with a line break.
fn rows(place: &Place, name: &str) -> Vec<f32> {
    let bytes = std::fs::read(place.path(name)).unwrap();
    let start = bytes.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    floats(&bytes[start..])
}

#[test]
fn cosines_of_two_towers_are_those_of_transformers() {
    let golden = repository().join("tests/golden/checkpoints");
    let plugins = ["candle-image", "candle-text"].map(|name| format!("[[plugin]]\nname = '{name}'\n")).concat();
    for (family, projection) in [("clip_whole", "projection = true\n"), ("siglip_whole", "")] {
        let folder = golden.join(family);
        let encoder = |items: &str| {
            let (model, plugin) = (folder.display(), format!("candle-{items}"));
            format!("[encoder.clip-{items}]\nplugin = '{plugin}'\nmodel = '{model}'\n{projection}")
        };
        let place = Place::new(&format!("{plugins}{}{}", encoder("image"), encoder("text")));
        let texts: Vec<String> = serde_json::from_slice(&std::fs::read(golden.join("texts.json")).unwrap()).unwrap();
        let mut pairs = String::new();
        for (row, caption) in texts.iter().enumerate() {
            let file = repository().join("target/assets/stamps").join(PICTURES[row % 4]);
            writeln!(pairs, "{}", json!({"file": file, "caption": caption})).unwrap();
        }
        place.write("pairs.jsonl", &pairs);
        place.write("pictures.jsonl", pairs.lines().take(4).collect::<Vec<_>>().join("\n"));
        place.write("fusion.toml", RECIPE);

        place.run("train fusion.toml --out run").fails(0, "nothing to fit: the towers are in one space");
        let found: Value = place.json("eval run")["retrieval"].clone();
        assert!(found[0]["recall"]["1"].is_number(), "{found}");
        place.json("embed run --tower image --data pictures.jsonl --out pictures.npy");
        place.json("embed run --tower text --data pairs.jsonl --out texts.npy");
        let (pictures, texts) = (rows(&place, "pictures.npy"), rows(&place, "texts.npy"));
        let width = pictures.len() / 4;
        assert_eq!(texts.len(), 8 * width, "{family}");

        let bytes = std::fs::read(folder.join("expected.safetensors")).unwrap();
        let expected = floats(SafeTensors::deserialize(&bytes).unwrap().tensor("cosines").unwrap().data());
        let cosines = pictures.chunks(width).flat_map(|picture| {
            texts.chunks(width).map(|text| picture.iter().zip(text).map(|(a, b)| a * b).sum::<f32>())
        });
        let apart = cosines.zip(&expected).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
        // Pictures are read from their files here; elsewhere their pixels are transformers' own.
        assert!(apart < 1e-4, "{family}: {apart}");
    }
}
