//! The command line: one file per command.

#[macro_use]
mod print;
mod bench;
mod cache;
mod classify;
mod compare;
mod compress;
mod data;
mod devices;
mod embed;
mod encode;
mod eval;
mod exit;
mod foretell;
mod gallery;
mod gallery_export;
mod lines;
mod output;
mod plugins;
mod probe;
mod profile;
mod progress;
mod report;
mod search;
#[cfg(feature = "serve")]
mod serve;
mod serve_plugin;
mod signals;
mod source;
mod sweep;
mod train;
mod view;
mod wording;

use anyhow::Context;
use clap::{Parser, Subcommand};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tracing_subscriber::EnvFilter;

use crate::plugin::SERVE_PLUGIN;
use crate::session::{Session, Setup};
use crate::stop::Stop;
use view::{Summaries, View};

/// Fuse encoders that already exist into one multimodal model.
#[derive(Parser)]
#[command(version, after_help = exit::HELP)]
struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// The file that configures plugins and encoders.
const PLUGINS: &str = "plugins.toml";

/// Arguments that every command accepts.
#[derive(clap::Args)]
struct Global {
    /// The file that configures plugins and encoders
    #[arg(long, global = true, value_name = "FILE", default_value = PLUGINS)]
    plugins: PathBuf,
    /// The folder of the latent cache, instead of the one in plugins.toml
    #[arg(long, global = true, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Read files again even if their size and times have not changed
    #[arg(long, global = true)]
    verify: bool,
    /// Stop before the cost exceeds COST, by the encoders' prices in plugins.toml
    #[arg(long, global = true, value_name = "COST", value_parser = cost)]
    max_cost: Option<f64>,
    /// Print machine-readable output to standard output
    #[arg(long, global = true)]
    json: bool,
    /// Print more to standard error; repeat for even more (FUSEMIX_LOG filters like RUST_LOG)
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

/// The session and settings of a command.
struct Cli {
    session: Session,
    /// True to print JSON.
    json: bool,
    /// The most that the command may cost.
    max_cost: Option<f64>,
    /// The user's wish to stop.
    stop: Stop,
    /// The stop flag of the session's work: the same, but for a server, which finishes what is under way.
    work: Stop,
}

fn cost(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|cost| (0.0..f64::INFINITY).contains(cost))
        .ok_or_else(|| "not an amount of money".to_owned())
}

impl Global {
    /// The options by which another command has the same encoders and cache.
    fn repeated(&self) -> String {
        let of = |option: &str, path: &Path| format!(" --{option}={}", wording::word(path.display()));
        let plugins = (self.plugins != Path::new(PLUGINS)).then(|| of("plugins", &self.plugins));
        let cache = self.cache.as_ref().map(|cache| of("cache", cache));
        plugins.into_iter().chain(cache).collect()
    }
}

impl Cli {
    fn new(global: &Global, command: &Command) -> anyhow::Result<Self> {
        let stop = Stop::default();
        signals::listen(stop.clone()).context("cannot listen for Ctrl-C")?;
        let summaries = match command {
            Command::Encode(_) => Summaries::None,
            Command::Train(_) => Summaries::All,
            _ => Summaries::News,
        };
        let work = if command.ends_gently() { Stop::default() } else { stop.clone() };
        let (plugins, cache) = (global.plugins.clone(), global.cache.clone());
        let setup = Setup {
            plugins,
            cache,
            max_cost: global.max_cost,
            program: serve_plugin::program(),
            verify_files: global.verify,
            stop: work.clone(),
            watcher: Arc::new(View::new(summaries, global.repeated())),
        };
        Ok(Self { session: Session::new(setup), json: global.json, max_cost: global.max_cost, stop, work })
    }
}

#[derive(Subcommand)]
enum Command {
    /// List plugins and encoders, with any errors
    Plugins(plugins::Arguments),
    /// Say what is in a file of pairs, what is wrong with it, and what another file has in common with it
    Data(data::Arguments),
    /// Fill the latent cache
    Encode(encode::Arguments),
    /// Encode missing items, then train adapters into one shared space
    Train(train::Arguments),
    /// Rank encoders on some pairs, before all items are encoded
    Probe(probe::Arguments),
    /// Fit a recipe with lists of values in all combinations, and put them into one table
    Sweep(sweep::Arguments),
    /// Measure retrieval in both directions: R@1, R@5, R@10 and the median rank, next to chance
    Eval(eval::Arguments),
    /// Classify items into classes that nothing was trained on
    Classify(classify::Arguments),
    /// Compare runs on the same held-out pairs, query by query, with 95 % intervals
    Compare(compare::Arguments),
    /// Write a smaller, faster form of a run that compares items with fewer training items
    Compress(compress::Arguments),
    /// Find the items of a gallery, or of a file, that are nearest to a query
    Search(search::Arguments),
    /// Answer over HTTP: embeddings, search, and a page to search with
    #[cfg(feature = "serve")]
    Serve(serve::Arguments),
    /// Build, change, list and verify galleries of shared-space embeddings
    Gallery(gallery::Arguments),
    /// Write the shared-space embeddings of a column to a file
    Embed(embed::Arguments),
    /// Write a run's curves and example results as one HTML page
    Report(report::Arguments),
    /// List, verify or export the contents of the latent cache
    Cache(cache::Arguments),
    /// List the devices that training can use, and the one that `--device auto` uses
    Devices(devices::Arguments),
    /// Benchmark the parts of training
    Bench(bench::Arguments),
    /// Serve a plugin to another process of this program
    #[command(hide = true, name = SERVE_PLUGIN)]
    ServePlugin { version: String },
}

impl Command {
    /// True if a wish to stop lets the session's work come to its end.
    fn ends_gently(&self) -> bool {
        #[cfg(feature = "serve")]
        if let Self::Serve(_) = self {
            return true;
        }
        false
    }
}

/// Runs the program on this process's arguments.
pub fn main() -> ExitCode {
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: no other thread has been started. Without a desktop, Mesa's layer for choosing among GPUs by window
        // prints an error that is none.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
    let arguments = Arguments::parse();
    if let Command::ServePlugin { version } = &arguments.command {
        return serve_plugin::run(version);
    }
    print::own_output();
    signals::name_plugins_at_fault();
    let _ends = exit::Ends;
    log(arguments.global.verbose);
    let cli = match Cli::new(&arguments.global, &arguments.command) {
        Ok(cli) => cli,
        Err(error) => return failed(&error, false),
    };
    let done = match arguments.command {
        Command::Plugins(options) => plugins::run(&cli, options, &arguments.global.plugins),
        Command::Data(arguments) => data::run(&cli, arguments),
        Command::Encode(arguments) => encode::run(&cli, arguments),
        Command::Train(arguments) => train::run(&cli, arguments),
        Command::Probe(arguments) => probe::run(&cli, arguments),
        Command::Sweep(arguments) => sweep::run(&cli, arguments),
        Command::Eval(arguments) => eval::run(&cli, arguments),
        Command::Classify(arguments) => classify::run(&cli, arguments),
        Command::Compare(arguments) => compare::run(&cli, arguments),
        Command::Compress(arguments) => compress::run(&cli, arguments),
        Command::Search(arguments) => search::run(&cli, arguments),
        #[cfg(feature = "serve")]
        Command::Serve(arguments) => serve::run(&cli, arguments),
        Command::Gallery(arguments) => gallery::run(&cli, arguments),
        Command::Embed(arguments) => embed::run(&cli, arguments),
        Command::Report(arguments) => report::run(&cli, arguments),
        Command::Cache(arguments) => cache::run(&cli, arguments),
        Command::Devices(arguments) => devices::run(&cli, arguments),
        Command::Bench(arguments) => bench::run(&cli, arguments),
        Command::ServePlugin { .. } => unreachable!("it has ended above"),
    };
    done.map_or_else(|error| failed(&error, cli.session.has_encoded()), ExitCode::from)
}

/// Prints an error; that of a command which was stopped after it had encoded something tells that it is kept.
fn failed(error: &anyhow::Error, has_encoded: bool) -> ExitCode {
    let code = exit::code(error);
    let kept = if code == exit::STOPPED && has_encoded { "; everything encoded so far is kept" } else { "" };
    note!("error: {error:#}{kept}");
    ExitCode::from(code)
}

/// Sends logs to standard error: warnings, or as set by `-v` and FUSEMIX_LOG.
fn log(verbose: u8) {
    let level = ["warn", "info", "debug", "trace"][usize::from(verbose.min(3))];
    let default = format!("{level},wgpu_core=warn,wgpu_hal=error,naga=warn");
    let filter = EnvFilter::try_from_env("FUSEMIX_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        // Where nobody can read the log, nobody can read that.
        .log_internal_errors(false)
        .init();
}
