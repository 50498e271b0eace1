//! The side of a plugin's process: requests in, the plugin's answers out.

use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::sabi_types::RMut;
use abi_stable::std_types::{RResult, RSlice, RStr, RString};
use fusemix_sdk::abi::{RawEncoderBox, RawHost, RawHost_TO, RawItem, RawRows, RawSink, RawSink_TO};
use std::collections::HashMap;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};

use super::message::{Loaded, Message, Piece, RawPath, Reply, Request, read, write};
use super::process::{CLOSING, locked};
use crate::config::PluginEntry;
use crate::plugin::load::{Library, LoadError, load};

/// Serves a plugin to the program on the other end of these pipes, until `input` ends. Calls that run then are
/// abandoned.
pub fn serve(input: impl Read, output: impl Write + Send + 'static) -> io::Result<()> {
    let program = Program(Arc::new(Shared {
        output: Mutex::new(BufWriter::new(Box::new(output))),
        stop: AtomicBool::new(false),
        receipts: Mutex::default(),
    }));
    let mut input = BufReader::new(input);
    let library: Arc<OnceLock<Library>> = Arc::default();
    let encoder: Arc<OnceLock<RawEncoderBox>> = Arc::default();
    while let Some((Message { call, what }, body)) = read::<Message<Request>>(&mut input)? {
        match what {
            // No call of the plugin keeps this thread from the end of the input.
            Request::Load { entry, path, folders } => {
                let (program, library) = (program.clone(), library.clone());
                std::thread::spawn(move || program.load(call, &entry, path, folders, &library));
            }
            Request::Open(request) => {
                let (program, library, encoder) = (program.clone(), library.clone(), encoder.clone());
                std::thread::spawn(move || program.open(call, library.get(), &request, &encoder));
            }
            Request::Measure(pieces) => {
                let (program, encoder) = (program.clone(), encoder.clone());
                std::thread::spawn(move || {
                    let sizes = match encoder.get() {
                        Some(encoder) => text(encoder.measure(RSlice::from_slice(&items(&pieces, &body)))),
                        None => Err(nothing()),
                    };
                    program.say(call, &Reply::Sizes(sizes), &[])
                });
            }
            Request::Encode(pieces) => {
                let (program, encoder) = (program.clone(), encoder.clone());
                // Known before the thread runs, so that no receipt comes too early.
                let receipts = program.receipts(call);
                std::thread::spawn(move || program.encode(call, &encoder, &items(&pieces, &body), receipts));
            }
            Request::Stored(receipt) => {
                if let Some(waiting) = locked(&program.0.receipts).get(&call) {
                    // A call that has ended waits for nothing.
                    let _ = waiting.send(receipt);
                }
            }
            Request::Stop => program.0.stop.store(true, Ordering::Relaxed),
        }
    }
    // An encoder that does not close has nobody left to wait for it.
    std::thread::spawn(|| {
        std::thread::sleep(2 * CLOSING);
        std::process::abort();
    });
    Ok(())
}

/// The error for a request that comes too early.
fn nothing() -> String {
    r#"{"message": "nothing has been opened"}"#.to_owned()
}

fn text(result: RResult<RString, RString>) -> Result<String, String> {
    result.into_result().map(Into::into).map_err(Into::into)
}

/// The items in the bytes that follow their pieces; those that are missing are empty.
fn items<'a>(pieces: &'a [Piece], body: &'a [u8]) -> Vec<RawItem<'a>> {
    let mut rest = body;
    let item = |Piece { modality, bytes }: &'a Piece| {
        let (bytes, after) = rest.split_at(rest.len().min(*bytes));
        rest = after;
        RawItem { modality: modality.as_str().into(), bytes: RSlice::from_slice(bytes) }
    };
    pieces.iter().map(item).collect()
}

/// The program on the other end.
#[derive(Clone)]
struct Program(Arc<Shared>);

struct Shared {
    output: Mutex<BufWriter<Box<dyn Write + Send>>>,
    /// True once the user has asked to stop.
    stop: AtomicBool,
    /// The calls under way, which wait for receipts.
    receipts: Mutex<HashMap<u64, Sender<Result<String, String>>>>,
}

impl Program {
    fn say(&self, call: u64, what: &Reply, body: &[&[u8]]) -> io::Result<()> {
        write(&mut *locked(&self.0.output), &Message { call, what }, body)
    }

    fn receipts(&self, call: u64) -> Receiver<Result<String, String>> {
        let (sender, receipts) = channel();
        locked(&self.0.receipts).insert(call, sender);
        receipts
    }

    fn load(
        &self,
        call: u64,
        entry: &str,
        path: Option<RawPath>,
        folders: Vec<RawPath>,
        library: &OnceLock<Library>,
    ) -> io::Result<()> {
        let folders: Vec<PathBuf> = folders.into_iter().map(Into::into).collect();
        let loaded = match serde_json::from_str::<PluginEntry>(entry) {
            Ok(entry) => load(&PluginEntry { path: path.map(Into::into), ..entry }, &folders),
            Err(error) => Err(LoadError::Process { plugin: String::new(), reason: error.to_string() }),
        };
        let said = loaded.map(|loaded| {
            let library = library.get_or_init(|| loaded);
            let digest = library.digest().map_err(|error| error.to_string());
            Loaded { path: library.path.as_path().into(), info: library.info.clone(), digest }
        });
        self.say(call, &Reply::Loaded(Box::new(said)), &[])
    }

    fn open(
        &self,
        call: u64,
        library: Option<&Library>,
        request: &str,
        opened: &OnceLock<RawEncoderBox>,
    ) -> io::Result<()> {
        let host = RawHost_TO::from_value(self.clone(), TD_Opaque);
        let described = match library.map(|library| library.open(request, host)) {
            Some(Ok(encoder)) => Ok(opened.get_or_init(|| encoder).describe().into()),
            Some(Err(error)) => Err(error.into()),
            None => Err(nothing()),
        };
        self.say(call, &Reply::Opened(described), &[])
    }

    fn encode(
        &self,
        call: u64,
        encoder: &OnceLock<RawEncoderBox>,
        items: &[RawItem<'_>],
        receipts: Receiver<Result<String, String>>,
    ) -> io::Result<()> {
        let mut outlet = Outlet { program: self, call, receipts: Mutex::new(receipts) };
        let ended = match encoder.get() {
            Some(encoder) => {
                let sink = RawSink_TO::from_ptr(RMut::new(&mut outlet), TD_Opaque);
                encoder.encode(RSlice::from_slice(items), sink).into_result().map_err(Into::into)
            }
            None => Err(nothing()),
        };
        locked(&self.0.receipts).remove(&call);
        self.say(call, &Reply::Ended(ended), &[])
    }
}

impl RawHost for Program {
    fn should_stop(&self) -> bool {
        self.0.stop.load(Ordering::Relaxed)
    }

    fn event(&self, topic: RStr<'_>, body: RStr<'_>) {
        // A program that has ended hears nothing.
        let _ = self.say(0, &Reply::Event { topic: topic.into(), body: body.into() }, &[]);
    }
}

/// The way out for the rows of one call.
struct Outlet<'a> {
    program: &'a Program,
    call: u64,
    /// Shared with nobody, but the interface asks for what could be.
    receipts: Mutex<Receiver<Result<String, String>>>,
}

impl RawSink for Outlet<'_> {
    fn store(&mut self, RawRows { values, width, report }: RawRows) -> RResult<RString, RString> {
        let rows = Reply::Rows { width, report: report.into() };
        let receipt = match self.program.say(self.call, &rows, &[bytemuck::cast_slice(&values)]) {
            Ok(()) => locked(&self.receipts).recv().map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match receipt.and_then(|receipt| receipt) {
            Ok(receipt) => RResult::ROk(receipt.into()),
            Err(error) => RResult::RErr(error.into()),
        }
    }
}
