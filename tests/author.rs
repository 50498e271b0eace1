//! Third-party plugins built with only the SDK: separate workspaces and builds, other versions of the SDK.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{Place, built, repository};

/// The folder of everything built outside of this workspace, shared by all tests.
fn outside() -> PathBuf {
    built().parent().unwrap().join("outside")
}

/// Writes a file unless it is unchanged, so that unchanged code is not rebuilt.
fn write(path: &Path, content: &str) {
    if std::fs::read_to_string(path).is_ok_and(|there| there == content) {
        return;
    }
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// Runs cargo on the plugin in `folder`, offline; returns the folder with its library.
fn cargo(command: &str, folder: &Path) -> PathBuf {
    let target = outside().join("target");
    let ran = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()))
        .args([command, "--release", "--offline", "--quiet"])
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", &target)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "cargo {command} in {}:\n{said}", folder.display());
    target.join("release")
}

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
        for file in std::fs::read_dir(from.join(folder)).unwrap().map(Result::unwrap) {
            let (content, path) = (std::fs::read(file.path()).unwrap(), to.join(folder).join(file.file_name()));
            if std::fs::read(&path).ok().as_ref() != Some(&content) {
                std::fs::write(path, content).unwrap();
            }
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
    write(&to.join("Cargo.toml"), &manifest.replace("[lints]\nworkspace = true\n", ""));
}

/// A plugins.toml that finds plugins in `folder`, followed by the rest.
fn place(folder: &Path, rest: &str) -> Place {
    Place::new(&format!("plugin_folder = '{}'\n{rest}", folder.display()))
}

#[test]
fn the_documented_plugin_built_elsewhere_with_another_minor_sdk_loads() {
    let (plugin, manifest) = documented();
    assert!(plugin.trim().lines().count() <= 30, "the documented plugin has grown beyond 30 lines");
    let (sdk, letters) = (outside().join("sdk"), outside().join("letters"));
    copy_sdk(&sdk, "1.99.0");
    write(&letters.join("src/lib.rs"), &plugin);
    let manifest = manifest.replace("fusemix-sdk = \"1\"", "fusemix-sdk = { path = \"../sdk\" }") + "\n[workspace]\n";
    write(&letters.join("Cargo.toml"), &manifest);
    std::fs::copy(repository().join("Cargo.lock"), letters.join("Cargo.lock")).unwrap();
    let folder = cargo("build", &letters);
    let place = place(
        &folder,
        "[[plugin]]\nname = 'letters'\nversion = '0.1'\n[encoder.letters]\nplugin = 'letters'\nlowercase = false\n",
    );
    assert_eq!(place.json("plugins")["plugins"][0]["sdk"], "1.99.0");
    assert_eq!(place.run("plugins check letters").code, 0);
    place.write("words.tsv", "text\nabba\nABBA\n");
    assert_eq!(place.json("encode --data words.tsv --encoder letters")["encoded"], 2);
}

#[test]
fn a_new_plugin_builds_passes_its_test_and_is_found_in_its_folder() {
    for modality in ["text", "image", "audio", "tabular"] {
        let name = format!("new-{modality}");
        let home = Place::new("");
        let said = home.run(&format!("plugins new {name} --modality {modality}"));
        assert_eq!(said.code, 0, "{}", said.stderr);
        let folder = outside().join(&name);
        for file in ["Cargo.toml", "src/lib.rs"] {
            write(&folder.join(file), &home.read(&format!("{name}/{file}")));
        }
        std::fs::copy(repository().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
        cargo("test", &folder);
        let found = cargo("build", &folder);
        // No [[plugin]]: the folder is enough.
        let place = place(&found, &format!("[encoder.mine]\nplugin = '{name}'\nwidth = 32\n"));
        assert_eq!(place.json("plugins")["encoders"][0]["modality"], modality);
        if modality != "tabular" {
            place.run("plugins check mine").fails(0, "kept");
        }
        home.run(&format!("plugins new {name}")).fails(1, "is already there");
    }
}

#[test]
fn a_plugin_is_found_where_cargo_leaves_it_in_the_folder_of_its_sources() {
    let place = Place::new("plugin_folder = 'plugins'\n[encoder.mine]\nplugin = 'mock'\n");
    let library = format!("{}mock{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let folder = place.path("plugins/mock/target/release");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::copy(built().join(&library), folder.join(&library)).unwrap();
    let said = place.json("plugins");
    assert!(said["plugins"][0]["file"].as_str().unwrap().contains("plugins/mock/target/release"), "{said}");
    place.write("plugins.toml", "plugin_folder = 'plugins'\n[encoder.mine]\nplugin = 'mok'\n");
    place.run("plugins").fails(10, "plugin `mok`: no libmok");
}

#[test]
fn the_oldest_plugin_loads_and_keeps_its_promises() {
    let oldest = repository().join("tests/oldest/plugin");
    let folder = cargo("build", &oldest);
    let place = place(&folder, "[encoder.old]\nplugin = 'oldest'\nwidth = 6\n");
    let said = place.json("plugins");
    assert_eq!((&said["plugins"][0]["sdk"], &said["plugins"][0]["version"]), (&"1.0.0".into(), &"1.0.0".into()));
    assert_eq!((&said["encoders"][0]["modality"], &said["encoders"][0]["batch"]), (&"tabular".into(), &4.into()));
    let rows: String = (0..30).map(|row| format!("{{\"age\": {row}}}\n")).collect();
    place.write("rows.tsv", format!("record\n{rows} \n"));
    let summary = place.json_code("encode --data rows.tsv --encoder old", 4);
    assert_eq!((&summary["encoded"], &summary["usage"]["tokens"]), (&30.into(), &93.0.into()), "{summary}");
    assert_eq!(place.json_code("encode --data rows.tsv --encoder old", 4)["cached"], 30);
    let config = place.read("plugins.toml");
    place.write("plugins.toml", config.replace("width = 6", "width = 1"));
    place.run("encode --data rows.tsv --encoder old").fails(3, "plugins.toml:4: ");
    // What was stored before a panic is kept.
    place.write("plugins.toml", config.replace("width = 6", "width = 6\nmood = 'panic'\nconcurrency = 1"));
    place.write("more.tsv", "record\nfirst\nsecond\npanic\nfourth\n");
    place.run("encode --data more.tsv --encoder old").fails(16, "as it was asked to");
    place.write("plugins.toml", config);
    assert_eq!(place.json("encode --data more.tsv --encoder old")["cached"], 3);
}
