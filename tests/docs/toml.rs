//! The TOML of the documentation, read as the program reads it.

use std::collections::{BTreeMap, BTreeSet};

use fusemix::config::{Config, Recipe, Sweep, TomlFile};
use serde_json::Value;

use super::page::pages;
use crate::common::Place;

/// Towers and pairs for an excerpt that has none.
const TOWERS: &str = "\
[tower.image]
encoder = 'a'
[tower.text]
encoder = 'b'
[[pairs]]
train = 'train.tsv'
image = 'file'
text = 'caption'
";

/// For each plugin of this repository the keys that it accepts, and the only values of those that have such.
type Keys = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

fn keys() -> Keys {
    let plugins = ["api", "candle-audio", "candle-image", "candle-text"];
    let place = Place::new(&plugins.map(|name| format!("[[plugin]]\nname = '{name}'\n")).concat());
    let listed = place.json("plugins");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let key = |option: &Value| {
        let choices = option["choices"].as_array().unwrap().iter().map(text).collect();
        (text(&option["key"]), choices)
    };
    let plugin =
        |plugin: &Value| (text(&plugin["name"]), plugin["options"].as_array().unwrap().iter().map(key).collect());
    listed["plugins"].as_array().unwrap().iter().map(plugin).collect()
}

#[test]
fn is_read_as_the_program_reads_it() {
    let (place, keys) = (Place::new(""), keys());
    let mut wrong = Vec::new();
    for page in &pages() {
        for block in page.blocks().iter().filter(|block| block.tag == "toml") {
            if let Err(error) = read(&place, &keys, &block.text()) {
                wrong.push(format!("{}: {error}", page.at(block.line)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn read(place: &Place, keys: &Keys, text: &str) -> Result<(), String> {
    place.write("block.toml", text);
    let path = place.path("block.toml");
    let file = TomlFile::read(&path, "it was just written").map_err(|error| error.to_string())?;
    let document: Value = file.parse().map_err(|error| error.to_string())?;
    let has = |table: &str| document.get(table).is_some();
    if has("dependencies") {
        // Cargo's own.
        return Ok(());
    }
    if ["seeds", "variant"].into_iter().any(has) {
        return Sweep::read(&path).map(drop).map_err(|error| error.to_string());
    }
    if ["tower", "train", "fit", "unpaired", "pairs"].into_iter().any(has) {
        let towers = |name: &str| format!("[tower.{name}]\nencoder = 'a'\n");
        let whole = match (has("tower"), document.get("pairs")) {
            (true, _) => text.to_owned(),
            (false, None) => format!("{TOWERS}{text}"),
            // Of the pairs' own towers.
            (false, Some(pairs)) => {
                let of = |name: &&str| pairs[0].get(name).is_some();
                ["image", "audio", "text"].into_iter().filter(|name| of(name)).map(towers).collect::<String>() + text
            }
        };
        place.write("block.toml", whole);
        let recipe = Recipe::read(&path).map_err(|error| error.to_string())?;
        return fusemix::session::check_options(&recipe).map_err(|error| error.to_string());
    }
    let config = Config::read(&path).map_err(|error| error.to_string())?;
    for encoder in &config.encoders {
        // One that is not of this repository declares its keys elsewhere.
        let Some(known) = keys.get(&encoder.host.plugin) else { continue };
        for (key, value) in &encoder.options {
            let choices = known.get(key).ok_or_else(|| format!("{} has no key `{key}`", encoder.host.plugin))?;
            let fits = choices.is_empty() || value.as_str().is_some_and(|value| choices.contains(value));
            if !fits {
                return Err(format!("`{key} = {value}` of {} is none of {choices:?}", encoder.host.plugin));
            }
        }
    }
    Ok(())
}
