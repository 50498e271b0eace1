//! `fusemix plugins`: the configured plugins and encoders, and their errors.

use anyhow::{Result, anyhow, bail};
use clap::Subcommand;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Cli, exit, print};
use crate::config::EncoderEntry;
use crate::dataset::read_table;
use crate::plugin::{LoadError, LoadedEncoder, Plugin, scaffold};
use crate::run::RunFolder;
use crate::session::Error;
use crate::whole_file;

/// List plugins and encoders, with any errors.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Check that an encoder does what every encoder promises
    Check {
        /// The encoder's name in plugins.toml
        encoder: String,
        /// A table whose first items it is tried on, instead of samples of its modality
        #[arg(long, value_name = "FILE")]
        data: Option<PathBuf>,
        /// The column with the items [default: guessed from the header]
        #[arg(long, value_name = "COL", requires = "data")]
        column: Option<String>,
    },
    /// Create a plugins.toml to edit, or the file that --plugins names
    Init {
        /// Write the plugins and encoders that this run was made with, models at their revisions
        #[arg(long, value_name = "RUN")]
        run: Option<PathBuf>,
    },
    /// Create a plugin that builds and passes its test, in a new folder
    New {
        /// The name of the plugin and of its folder
        name: String,
        /// The modality of its items: text, image, audio, or a name of your own
        #[arg(long, value_name = "MODALITY", default_value = "text")]
        modality: String,
    },
}

pub(super) fn run(cli: &Cli, arguments: Arguments, config: &Path) -> Result<u8> {
    match arguments.command {
        None => list(cli),
        Some(Command::Init { run }) => init(config, run.as_deref()),
        Some(Command::Check { encoder, data, column }) => check(cli, &encoder, data.as_deref(), column.as_deref()),
        Some(Command::New { name, modality }) => new(cli, &name, &modality),
    }
}

/// Writes a plugins.toml where none is.
fn init(path: &Path, run: Option<&Path>) -> Result<u8> {
    let text = match run {
        None => include_str!("plugins.template.toml").to_owned(),
        Some(run) => {
            let (_, info) = RunFolder::open(run)?;
            let mut encoders = info.towers.iter().flat_map(|tower| &tower.encoders);
            if encoders.any(|encoder| encoder.entry.is_empty()) {
                bail!(
                    "{}: this run is of an older version, which did not note how its encoders were set up; its \
                     run.json has their fingerprints",
                    run.display()
                );
            }
            info.plugins_toml()
        }
    };
    whole_file::write_new(path, text.as_bytes()).map_err(|cause| match cause.kind() {
        ErrorKind::AlreadyExists => {
            anyhow!("{} is there already; edit it, or name another file with --plugins", path.display())
        }
        _ => anyhow!("cannot write {}: {cause}; check the folder", path.display()),
    })?;
    say!("{}: edit it, then `fusemix plugins` lists what it has", path.display());
    Ok(0)
}

fn list(cli: &Cli) -> Result<u8> {
    let all = cli.session.plugins()?;
    // Each is told at once: an encoder may take long to open, or to find that its hub does not answer.
    let plugins = all.config.plugins.iter().map(|entry| {
        let plugin = all.load(entry);
        if !cli.json {
            say_plugin(&entry.name, &plugin);
        }
        (entry, plugin)
    });
    let plugins: Vec<_> = plugins.collect();
    let encoders = all.config.encoders.iter().map(|entry| {
        let encoder = cli.session.encoder(&entry.name);
        if !cli.json {
            say_encoder(entry, &encoder);
        }
        (entry, encoder)
    });
    let encoders: Vec<_> = encoders.collect();
    if cli.json {
        let plugins: Vec<Value> = plugins.iter().map(|(entry, plugin)| plugin_json(&entry.name, plugin)).collect();
        let encoders: Vec<Value> =
            encoders.iter().map(|(entry, encoder)| encoder_json(&entry.name, &entry.host.plugin, encoder)).collect();
        print::json(&json!({"plugins": plugins, "encoders": encoders}));
    }
    let of_plugins = plugins.iter().find_map(|(_, plugin)| plugin.as_ref().err().map(exit::plugin));
    let of_encoders = encoders.iter().find_map(|(_, encoder)| encoder.as_ref().err().map(exit::session));
    Ok(of_plugins.or(of_encoders).unwrap_or(0))
}

fn say_plugin(name: &str, plugin: &Result<Plugin, LoadError>) {
    match plugin {
        Ok(plugin) => {
            let isolated = if plugin.is_isolated() { ", isolated" } else { "" };
            say!("plugin  {name:<16} {:<8} {}{isolated}", plugin.info.version, plugin.path.display());
        }
        Err(error) => say!("plugin  {name:<16} error: {error}"),
    }
}

fn say_encoder(entry: &EncoderEntry, encoder: &Result<Arc<LoadedEncoder>, Error>) {
    match encoder {
        Ok(encoder) => {
            let LoadedEncoder { description, fingerprint, .. } = &**encoder;
            let width = description.width.map_or("unknown until the first answer".into(), |width| width.to_string());
            say!(
                "encoder {:<16} {:<8} width {width}, by {}{}",
                entry.name,
                description.modality,
                entry.host.plugin,
                choices(fingerprint)
            );
        }
        Err(error) => say!("encoder {:<16} error: {error}", entry.name),
    }
}

/// The parts of a fingerprint besides the plugin and the digests of files.
fn choices(fingerprint: &BTreeMap<String, String>) -> String {
    const LONGEST: usize = 40;
    let is_digest = |value: &str| value.len() >= 16 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    let said =
        fingerprint.iter().filter(|(key, value)| *key != "plugin" && value.len() <= LONGEST && !is_digest(value));
    said.map(|(key, value)| format!(", {key} {value}")).collect()
}

fn plugin_json(name: &str, plugin: &Result<Plugin, LoadError>) -> Value {
    match plugin {
        Ok(plugin @ Plugin { path, info, .. }) => json!({
            "name": name, "state": "ok", "version": info.version, "sdk": info.sdk, "file": path,
            "options": info.options, "isolated": plugin.is_isolated(),
        }),
        Err(error) => json!({
            "name": name, "state": "error", "error": error.to_string(), "exit_code": exit::plugin(error),
        }),
    }
}

fn encoder_json(name: &str, plugin: &str, encoder: &Result<Arc<LoadedEncoder>, Error>) -> Value {
    match encoder {
        Ok(encoder) => {
            let LoadedEncoder { description, fingerprint, .. } = &**encoder;
            json!({
                "name": name, "plugin": plugin, "state": "ok", "modality": description.modality,
                "width": description.width, "batch": description.batch, "concurrency": description.concurrency,
                "fingerprint": fingerprint, "choices": description.choices,
            })
        }
        Err(error) => json!({
            "name": name, "plugin": plugin, "state": "error", "error": error.to_string(),
            "exit_code": exit::session(error),
        }),
    }
}

fn check(cli: &Cli, name: &str, data: Option<&Path>, column: Option<&str>) -> Result<u8> {
    let table = data.map(read_table).transpose()?;
    let checks = cli.session.check(name, table.as_ref().map(|table| (table, column)))?;
    let broken = checks.iter().filter(|check| check.broken.is_some()).count();
    if cli.json {
        let checks: Vec<Value> = checks
            .iter()
            .map(|check| json!({"promise": check.promise, "kept": check.broken.is_none(), "broken": check.broken}))
            .collect();
        print::json(&json!({"encoder": name, "checks": checks}));
    } else {
        for check in &checks {
            match &check.broken {
                None => say!("kept    {}", check.promise),
                Some(how) => say!("BROKEN  {}: {how}", check.promise),
            }
        }
    }
    Ok(if broken == 0 { 0 } else { exit::FAILED })
}

fn new(cli: &Cli, name: &str, modality: &str) -> Result<u8> {
    let folder = scaffold(Path::new("."), name, modality)?;
    if cli.json {
        print::json(&json!({"folder": folder}));
        return Ok(0);
    }
    say!("{} is ready. Next:", folder.display());
    say!("  cd {name} && cargo test && cargo build --release");
    say!("then in plugins.toml:");
    say!("  plugin_folder = \".\"         # the folder that holds {name}/");
    say!("  [encoder.{name}]");
    say!("  plugin = \"{name}\"");
    match modality {
        "text" | "image" | "audio" => {
            say!("then run `fusemix plugins check {name}` to check what every encoder promises")
        }
        _ => say!(
            "then run `fusemix plugins check {name} --data FILE --column COL`, on a table of items, to check what \
             every encoder promises"
        ),
    }
    Ok(0)
}
