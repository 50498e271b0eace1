//! `fusemix plugins`: what is configured, and what is wrong with it.

use anyhow::{Result, bail};
use clap::Subcommand;
use fusemix_sdk::check::{Samples, examine};
use serde_json::{Value, json};
use std::collections::BTreeMap;

use super::exit;
use super::session::{Session, open};
use crate::encode::call;
use crate::plugin::{EncoderError, LoadError, LoadedEncoder, Plugin};

/// List plugins and encoders and what is wrong with them.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Hold an encoder to what every encoder promises
    Check {
        /// Its name in plugins.toml
        encoder: String,
    },
}

pub(super) fn run(session: &Session, arguments: Arguments) -> Result<u8> {
    match arguments.command {
        None => list(session),
        Some(Command::Check { encoder }) => check(session, &encoder),
    }
}

fn list(session: &Session) -> Result<u8> {
    let all = session.plugins()?;
    let plugins: Vec<_> = all.config.plugins.iter().map(|entry| (entry, all.load(entry))).collect();
    let encoders: Vec<_> = all.config.encoders.iter().map(|entry| (entry, open(all, &entry.name))).collect();
    if session.json {
        let plugins: Vec<Value> = plugins.iter().map(|(entry, plugin)| plugin_json(&entry.name, plugin)).collect();
        let encoders: Vec<Value> =
            encoders.iter().map(|(entry, encoder)| encoder_json(&entry.name, &entry.host.plugin, encoder)).collect();
        say!("{:#}", json!({"plugins": plugins, "encoders": encoders}));
    } else {
        for (entry, plugin) in &plugins {
            match plugin {
                Ok(plugin) => {
                    say!("plugin  {:<16} {:<8} {}", entry.name, plugin.info.version, plugin.path.display())
                }
                Err(error) => say!("plugin  {:<16} error: {error}", entry.name),
            }
        }
        for (entry, encoder) in &encoders {
            match encoder {
                Ok(LoadedEncoder { description, fingerprint, .. }) => {
                    let width = description.width.map_or("told by the first answer".into(), |width| width.to_string());
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
    }
    let of_plugins = plugins.iter().find_map(|(_, plugin)| plugin.as_ref().err().map(exit::plugin));
    let of_encoders = encoders.iter().find_map(|(_, encoder)| encoder.as_ref().err().map(exit::encoder));
    Ok(of_plugins.or(of_encoders).unwrap_or(0))
}

/// What a fingerprint says besides the plugin and the digests of files.
fn choices(fingerprint: &BTreeMap<String, String>) -> String {
    const LONGEST: usize = 40;
    let is_digest = |value: &str| value.len() >= 16 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    let said =
        fingerprint.iter().filter(|(key, value)| *key != "plugin" && value.len() <= LONGEST && !is_digest(value));
    said.map(|(key, value)| format!(", {key} {value}")).collect()
}

fn plugin_json(name: &str, plugin: &Result<Plugin, LoadError>) -> Value {
    match plugin {
        Ok(Plugin { path, info, .. }) => json!({
            "name": name, "state": "ok", "version": info.version, "sdk": info.sdk, "file": path, "options": info.options,
        }),
        Err(error) => json!({
            "name": name, "state": "error", "error": error.to_string(), "exit_code": exit::plugin(error),
        }),
    }
}

fn encoder_json(name: &str, plugin: &str, encoder: &Result<LoadedEncoder, EncoderError>) -> Value {
    match encoder {
        Ok(LoadedEncoder { description, fingerprint, .. }) => json!({
            "name": name, "plugin": plugin, "state": "ok", "modality": description.modality,
            "width": description.width, "batch": description.batch, "concurrency": description.concurrency,
            "fingerprint": fingerprint, "choices": description.choices,
        }),
        Err(error) => json!({
            "name": name, "plugin": plugin, "state": "error", "error": error.to_string(),
            "exit_code": exit::encoder(error),
        }),
    }
}

fn check(session: &Session, name: &str) -> Result<u8> {
    let encoder = session.open(name)?;
    let Some(samples) = Samples::of(&encoder.description.modality) else {
        bail!(
            "there are no samples of modality `{}`; run the SDK's `check::conforms` with samples of your own",
            encoder.description.modality
        );
    };
    let checks = examine(&encoder.description, &samples, |items| {
        let items = items.iter().map(|item| item.bytes.to_vec()).collect();
        call(&encoder, items).map_err(|error| {
            let mut told = fusemix_sdk::Error::new(error.to_string());
            told.kind = error.kind().unwrap_or_default();
            told
        })
    });
    let broken = checks.iter().filter(|check| check.broken.is_some()).count();
    if session.json {
        let checks: Vec<Value> = checks
            .iter()
            .map(|check| json!({"promise": check.promise, "kept": check.broken.is_none(), "broken": check.broken}))
            .collect();
        say!("{:#}", json!({"encoder": name, "checks": checks}));
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
