//! `fusemix serve`: a run over HTTP.

use anyhow::{Context, Result};
use same_file::is_same_file;
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use super::exit::{self, Invalid};
use super::{Cli, print};
use crate::device::DeviceChoice;
use crate::serve::{GRACE, Hosts, Keys, Limits, Origins, Server, Serving};
use crate::stop::Stop;
use crate::wording::count;

/// The wait between looks at the stop flag.
const TICK: Duration = Duration::from_millis(50);
/// The time in which encoders should stop.
const ENCODERS: Duration = Duration::from_secs(10);
/// The variable with the keys.
const KEYS: &str = "FUSEMIX_SERVE_KEYS";

/// Answer over HTTP: embeddings as OpenAI and Cohere give them, search in galleries, and a page to search with.
///
/// Keys stand in FUSEMIX_SERVE_KEYS, between commas: each request then needs one, as `Authorization: Bearer KEY`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The run folder
    run: PathBuf,
    /// A gallery to search; may be given several times
    #[arg(long, value_name = "DIR")]
    gallery: Vec<PathBuf>,
    /// The address to listen at; others than this machine's own need keys
    #[arg(long, value_name = "IP", default_value = "127.0.0.1", value_parser = address)]
    host: IpAddr,
    /// The port to listen at; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 7700)]
    port: u16,
    /// Store the latents of what is embedded in the cache
    #[arg(long)]
    cache_queries: bool,
    /// Fetch pictures and sounds that are given by their URL, from HOST: images.example.org, or *.example.org; without
    /// one, from any. `private` also allows addresses of this machine and its network. May be given several times
    #[arg(long, value_name = "HOST", num_args = 0..=1, require_equals = true, default_missing_value = "*")]
    allow_fetch: Vec<String>,
    /// A site whose pages may use this server, as https://app.example.org; may be given several times
    #[arg(long, value_name = "URL")]
    origin: Vec<String>,
    /// The most MiB of a request's body
    #[arg(long, value_name = "MIB", default_value_t = Limits::default().body >> 20)]
    max_body: usize,
    /// The most items of a request
    #[arg(long, value_name = "N", default_value_t = Limits::default().items)]
    max_items: usize,
    /// The most items that wait for a tower; a request that is one too many is refused with 429
    #[arg(long, value_name = "N", default_value_t = Limits::default().queue)]
    max_waiting: usize,
    /// The most pixels of a picture
    #[arg(long, value_name = "N", default_value_t = Limits::default().pixels)]
    max_pixels: u64,
    /// The most seconds of a sound
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::default().seconds)]
    max_seconds: u64,
    /// The device to compute on: auto, cpu or wgpu; auto is the CPU
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceChoice,
}

fn address(text: &str) -> Result<IpAddr, String> {
    match text {
        "localhost" => Ok(Ipv4Addr::LOCALHOST.into()),
        text => {
            text.parse().map_err(|_| "name an IP address of this machine, as 127.0.0.1, or 0.0.0.0 for all".to_owned())
        }
    }
}

pub(super) fn run(cli: &Cli, arguments: Arguments) -> Result<u8> {
    let keys = Keys::parse(&std::env::var_os(KEYS).unwrap_or_default());
    let keys = keys.map_err(|why| Invalid(format!("{KEYS}: {why}")))?;
    if keys.is_empty() && !arguments.host.is_loopback() {
        return Err(Invalid(format!(
            "at {}, anybody who reaches this machine could use the server: put keys for its clients into {KEYS}, or \
             leave --host out",
            arguments.host
        ))
        .into());
    }
    let hosts = Hosts::parse(&arguments.allow_fetch).map_err(|why| Invalid(format!("--allow-fetch: {why}")))?;
    let origins = Origins::parse(&arguments.origin).map_err(|why| Invalid(format!("--origin: {why}")))?;
    let again = |at: usize| {
        arguments.gallery[..at].iter().any(|one| is_same_file(one, &arguments.gallery[at]).unwrap_or(false))
    };
    if let Some(at) = (0..arguments.gallery.len()).find(|at| again(*at)) {
        return Err(Invalid(format!("--gallery {} is given twice", arguments.gallery[at].display())).into());
    }
    // What is taken is told before an encoder opens.
    let at =
        || format!("cannot listen at {}:{}; choose another with --port, or --host", arguments.host, arguments.port);
    let listener = TcpListener::bind((arguments.host, arguments.port)).with_context(at)?;
    let address = listener.local_addr().with_context(at)?;
    let device = match arguments.device {
        DeviceChoice::Auto => DeviceChoice::Cpu,
        device => device,
    };
    let limits = Limits {
        body: arguments.max_body.max(1) << 20,
        items: arguments.max_items.max(1),
        queue: arguments.max_waiting.max(1),
        pixels: arguments.max_pixels,
        seconds: arguments.max_seconds,
        ..Limits::default()
    };
    let model = cli.session.model(&arguments.run, device)?;
    let (galleries, store) = (arguments.gallery, arguments.cache_queries);
    let serving = Serving { galleries, keys, origins, hosts, limits, store };
    let server = Server::open(model, serving)?;
    let galleries = server.galleries()?;
    let url = format!("http://{address}");
    if cli.json {
        print::json(&json!({"url": url, "run": arguments.run, "galleries": galleries}));
    } else {
        let of = |(name, items): &(String, usize)| format!("{name} ({})", count(*items, "item"));
        let galleries = galleries.iter().map(of).collect::<Vec<_>>().join(", ");
        let galleries =
            if galleries.is_empty() { "no gallery: searches need --gallery DIR".to_owned() } else { galleries };
        say!("serving {} at {url} ({galleries}); Ctrl-C ends it", arguments.run.display());
    }
    #[cfg(unix)]
    take_all_descriptors();
    end_in_time(cli.stop.clone());
    server.run(listener, &cli.stop, &cli.work).context("the server failed")?;
    Ok(0)
}

/// Lets this process have as many files and connections as the system allows it, which is often a thousand at first.
#[cfg(unix)]
fn take_all_descriptors() {
    let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a structure of their type, which is there until they return.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limits) != 0 {
            return;
        }
        // Some systems say that there is no bound, and have one.
        for most in [limits.rlim_max, limits.rlim_max.min(10_240)] {
            limits.rlim_cur = most.max(limits.rlim_cur);
            if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limits) == 0 {
                return;
            }
        }
    }
}

/// Ends the program some time after it should have: an encoder may not look whether it should stop. What was answered is
/// on disk.
fn end_in_time(stop: Stop) {
    std::thread::spawn(move || {
        while !stop.is_asked() {
            std::thread::sleep(TICK);
        }
        std::thread::sleep(GRACE + ENCODERS);
        note!("what is under way did not stop in time, and is not answered");
        exit::now(exit::STOPPED);
    });
}
