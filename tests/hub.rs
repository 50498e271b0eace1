//! Models from a hub's cache, with the hub out of reach.

use std::path::Path;

use crate::common::{Place, Ran, repository};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// MiniLM in a cache with these of its files, and none recorded as absent.
fn cached(files: &[&str]) -> Place {
    let place = Place::new("");
    let repository = repository().join("target/assets/minilm");
    let cached = Path::new("home/hub/models--org--minilm");
    place.write(cached.join("refs/main").to_str().unwrap(), COMMIT);
    for file in files {
        let content = std::fs::read(repository.join(file)).expect("run ./check, which fetches the model");
        place.write(cached.join("snapshots").join(COMMIT).join(file).to_str().unwrap(), content);
    }
    place
}

fn encode(place: &Place, options: &str) -> Ran {
    let encoder = format!(
        "[[plugin]]\nname = 'candle-text'\n[encoder.text]\nplugin = 'candle-text'\nmodel = 'org/minilm'\n{options}\n"
    );
    place.write("plugins.toml", encoder);
    place.write("items.tsv", "text\na red flower\n");
    let mut command = place.command("encode --data items.tsv --encoder text");
    Ran::from(command.env("HF_HOME", place.path("home")).env("HF_HUB_OFFLINE", "1").output().unwrap())
}

#[test]
fn what_may_choose_the_latent_and_is_not_cached_is_no_file_that_is_not_there() {
    // What the transformers package fetches of it.
    let files = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
    let place = cached(&files);
    let ran = encode(&place, "");
    ran.fails(3, "modules.json is not cached, and the cache does not say whether it exists (HF_HUB_OFFLINE is set)");
    ran.fails(3, "or set `pooling` to go without");
    let ran = encode(&place, "pooling = 'mean'");
    ran.fails(0, "1 encoded");
    assert!(ran.stderr.contains("modules.json is not cached; it may name"), "{}", ran.stderr);
    encode(&cached(&files[..3]), "pooling = 'mean'").fails(3, "tokenizer_config.json is not cached");
    encode(&cached(&files[..1]), "").fails(3, "model.safetensors is not cached");
}
