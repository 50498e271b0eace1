//! The command line: its arguments, one file a command.

/// Prints a line to standard output.
macro_rules! say {
    ($($words:tt)*) => { $crate::cli::print_line(format_args!($($words)*)) };
}

mod bench;
mod cache;
mod devices;
mod embed;
mod encode;
mod eval;
mod exit;
mod gallery;
mod plugins;
mod profile;
mod progress;
mod report;
mod search;
mod session;
mod towers;
mod train;
mod trained;

use clap::{Parser, Subcommand};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

use session::Session;

/// Fuse encoders that already exist into one multimodal model.
#[derive(Parser)]
#[command(version, after_help = exit::HELP)]
struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command accepts.
#[derive(clap::Args)]
struct Global {
    /// The plugins and encoders to use
    #[arg(long, global = true, value_name = "FILE", default_value = "plugins.toml")]
    plugins: PathBuf,
    /// Where latents are kept, instead of where plugins.toml says
    #[arg(long, global = true, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Machine-readable output on standard output
    #[arg(long, global = true)]
    json: bool,
    /// More detail on standard error; twice for still more (FUSEMIX_LOG filters as RUST_LOG does)
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Subcommand)]
enum Command {
    /// List plugins and encoders and what is wrong with them
    Plugins(plugins::Arguments),
    /// Fill the latent cache
    Encode(encode::Arguments),
    /// Encode what is missing, then train adapters into one shared space
    Train(train::Arguments),
    /// R@1, R@5, R@10 and the median rank in both directions, beside chance
    Eval(eval::Arguments),
    /// Find the items of a file that are nearest to a query
    Search(search::Arguments),
    /// Write the shared-space embeddings of a column to a file
    Embed(embed::Arguments),
    /// Write curves and a gallery as one HTML page
    Report(report::Arguments),
    /// Show, export or verify what the latent cache holds
    Cache(cache::Arguments),
    /// List what training can compute on, and which of it `--device auto` takes
    Devices(devices::Arguments),
    /// Time what training is made of
    Bench(bench::Arguments),
}

/// Prints a line. Whoever does not read on, such as `head`, ends the program quietly.
fn print_line(line: std::fmt::Arguments<'_>) {
    if let Err(error) = writeln!(std::io::stdout(), "{line}") {
        let quiet = error.kind() == std::io::ErrorKind::BrokenPipe;
        if !quiet {
            eprintln!("error: cannot write to standard output: {error}");
        }
        std::process::exit(if quiet { 0 } else { exit::FAILED.into() });
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
    log(arguments.global.verbose);
    let done = Session::new(&arguments.global).and_then(|session| match arguments.command {
        Command::Plugins(arguments) => plugins::run(&session, arguments),
        Command::Encode(arguments) => encode::run(&session, arguments),
        Command::Train(arguments) => train::run(&session, arguments),
        Command::Eval(arguments) => eval::run(&session, arguments),
        Command::Search(arguments) => search::run(&session, arguments),
        Command::Embed(arguments) => embed::run(&session, arguments),
        Command::Report(arguments) => report::run(&session, arguments),
        Command::Cache(arguments) => cache::run(&session, arguments),
        Command::Devices(arguments) => devices::run(&session, arguments),
        Command::Bench(arguments) => bench::run(&session, arguments),
    });
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(exit::code(&error))
        }
    }
}

/// Logs go to standard error: warnings, or what `-v` and FUSEMIX_LOG ask for.
fn log(verbose: u8) {
    let level = ["warn", "info", "debug", "trace"][usize::from(verbose.min(3))];
    let default = format!("{level},wgpu_core=warn,wgpu_hal=error,naga=warn");
    let filter = EnvFilter::try_from_env("FUSEMIX_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}
