//! A plugin by someone with nothing but the SDK: its own workspace, its own build, another version of the SDK.

use std::path::Path;
use std::process::Command;

use crate::common::{Place, repository};

/// The plugin and the Cargo.toml that the SDK's documentation shows.
fn documented() -> (String, String) {
    let lib = std::fs::read_to_string(repository().join("sdk/src/lib.rs")).unwrap();
    let docs: String = lib
        .lines()
        .filter_map(|line| line.strip_prefix("//!"))
        .fold(String::new(), |docs, line| docs + line.strip_prefix(' ').unwrap_or(line) + "\n");
    let mut blocks = docs.split("```").skip(1).step_by(2);
    let plugin = blocks.next().unwrap().split("// In a test").next().unwrap().to_owned();
    (plugin, blocks.next().unwrap().strip_prefix("toml").unwrap().to_owned())
}

/// A copy of the SDK that calls itself `version`.
fn copy_sdk(to: &Path, version: &str) {
    let from = repository().join("sdk");
    for folder in ["src", "samples"] {
        std::fs::create_dir_all(to.join(folder)).unwrap();
        for file in std::fs::read_dir(from.join(folder)).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), to.join(folder).join(file.file_name())).unwrap();
        }
    }
    let manifest = std::fs::read_to_string(from.join("Cargo.toml")).unwrap();
    let shared = std::fs::read_to_string(repository().join("Cargo.toml")).unwrap();
    let keys = ["edition", "rust-version", "license", "repository"];
    let mut manifest = manifest.replacen("version = \"1.0.0\"", &format!("version = \"{version}\""), 1);
    for line in shared.lines() {
        let name = line.split([' ', '=']).next().unwrap_or_default();
        let value = line.split_once('=').map_or("", |(_, value)| value.trim());
        if keys.contains(&name) || manifest.contains(&format!("\n{name}.workspace = true")) {
            manifest = manifest.replace(&format!("\n{name}.workspace = true"), &format!("\n{name} = {value}"));
        }
    }
    std::fs::write(to.join("Cargo.toml"), manifest.replace("[lints]\nworkspace = true\n", "")).unwrap();
}

#[test]
fn the_documented_plugin_built_elsewhere_with_another_minor_sdk_loads() {
    let (plugin, manifest) = documented();
    assert!(plugin.trim().lines().count() <= 30, "the documented plugin has grown beyond 30 lines");
    let place = Place::new(
        "plugin_folder = 'letters/target/release'\n[[plugin]]\nname = 'letters'\nversion = '0.1'\n\
         [encoder.letters]\nplugin = 'letters'\nlowercase = false\n",
    );
    copy_sdk(&place.path("sdk"), "1.99.0");
    place.write("letters/src/lib.rs", plugin);
    place.write("letters/Cargo.toml", manifest.replace("fusemix-sdk = \"1\"", "fusemix-sdk = { path = \"../sdk\" }"));
    std::fs::copy(repository().join("Cargo.lock"), place.path("letters/Cargo.lock")).unwrap();
    let built = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()))
        .args(["build", "--release", "--offline", "--quiet"])
        .current_dir(place.path("letters"))
        .env_remove("CARGO_TARGET_DIR")
        .status();
    assert!(built.unwrap().success());

    assert_eq!(place.json("plugins")["plugins"][0]["sdk"], "1.99.0");
    assert_eq!(place.run("plugins check letters").code, 0);
    place.write("words.tsv", "text\nabba\nABBA\n");
    assert_eq!(place.json("encode --data words.tsv --encoder letters")["encoded"], 2);
}
