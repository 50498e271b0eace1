//! Retrieval with several captions an item, as papers measure it: against numbers of another implementation.

use serde_json::Value;

use crate::common::Place;

const RECIPE: &str = "\
[tower.image]
precomputed = 'images.npy'
adapter = 'identity'
[tower.text]
precomputed = 'texts.npy'
adapter = 'identity'
[[pairs]]
train = 'pairs.tsv'
test = 'pairs.tsv'
image = 'image'
text = 'text'
";

#[test]
fn five_captions_an_item_count_as_in_papers() {
    let place = Place::new("");
    let golden: Value = serde_json::from_str(include_str!("golden/protocol.json")).unwrap();
    place.write("images.npy", include_bytes!("golden/protocol_images.npy"));
    place.write("texts.npy", include_bytes!("golden/protocol_texts.npy"));
    let mut rows: Vec<(u64, usize)> =
        golden["owner"].as_array().unwrap().iter().map(|image| image.as_u64().unwrap()).zip(0..).collect();
    // Parts are those of items in file order.
    rows.sort_unstable();
    let lines = rows.iter().map(|(image, text)| format!("{image}\t{text}\n"));
    place.write("pairs.tsv", format!("image\ttext\n{}", lines.collect::<String>()));
    place.write("fusion.toml", RECIPE);
    place.run("train fusion.toml --out run").fails(0, "");
    for (command, expected) in [("eval run", &golden["whole"]), ("eval run --folds 5", &golden["fifths"])] {
        let found = place.json(command)["retrieval"].clone();
        for (way, (found, expected)) in found.as_array().unwrap().iter().zip(expected.as_array().unwrap()).enumerate() {
            assert_eq!(found["queries"], [65, 325][way]);
            assert_eq!(found["median_rank"].as_f64(), expected["median_rank"].as_f64(), "{command}, {way}");
            for k in ["1", "5", "10"] {
                let [found, expected] = [found, expected].map(|of| of["recall"][k].as_f64().unwrap());
                assert!((found - expected).abs() < 1e-6, "{command}, {way}, R@{k}: {found} {expected}");
            }
        }
    }
}
