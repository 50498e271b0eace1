//! The encoder of an isolated plugin: its calls go to a process, and what a crash interrupts is tried again.

use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::{RResult, RSlice, RString};
use fusemix_sdk::abi::{RawEncoder, RawEncoder_TO, RawEncoderBox, RawHostBox, RawItem, RawRows, RawSinkMut};
use fusemix_sdk::host::TOPIC_STATUS;
use fusemix_sdk::rows::{Receipt, Report};
use fusemix_sdk::{Description, Error, ItemError, Size};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use super::message::{Piece, Reply, Request};
use super::process::{Ended, Process, Start, locked};
use crate::wording::count;

/// Crashes in a row, each with one item alone, after which the plugin is to blame and not the items.
const CRASHES: usize = 3;
/// The wait between looks at a process that another thread starts.
const TICK: Duration = Duration::from_millis(10);

/// An encoder in a process, and in another one after a crash.
#[derive(Clone)]
pub(in crate::plugin) struct IsolatedEncoder(Arc<Isolated>);

struct Isolated {
    start: Start,
    /// JSON of the `OpenRequest`.
    request: String,
    host: RawHostBox,
    /// The time that it may take to open again.
    time_limit: Duration,
    /// What must be the same after a crash.
    identity: Identity,
    /// Calls share it; to try items one by one, it is taken alone, so that a crash is that item's.
    process: RwLock<Arc<Process>>,
    /// The same process, for whoever ends it.
    running: Mutex<Arc<Process>>,
    /// Crashes since a call ended well, and whether any did.
    crashes: AtomicUsize,
    works: AtomicBool,
    given_up: AtomicBool,
}

/// What an encoder says about itself, and the digest of its library if it does not say what its latents depend on.
#[derive(PartialEq)]
struct Identity {
    description: String,
    digest: Option<String>,
}

/// The end of a call: with a result, or with the process.
type Outcome<T> = Result<Result<T, RString>, Ended>;

impl IsolatedEncoder {
    /// Opens an encoder in `process`.
    pub(in crate::plugin) fn open(
        start: Start,
        process: Arc<Process>,
        request: &str,
        host: RawHostBox,
        time_limit: Duration,
    ) -> Result<Self, RString> {
        process.tell(host.clone());
        let identity = open(&start, &process, request, None)?;
        Ok(Self(Arc::new(Isolated {
            start,
            request: request.to_owned(),
            host,
            time_limit,
            identity,
            running: Mutex::new(process.clone()),
            process: RwLock::new(process),
            crashes: AtomicUsize::new(0),
            works: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
        })))
    }

    /// The interface to call it by.
    pub(in crate::plugin) fn raw(&self) -> RawEncoderBox {
        RawEncoder_TO::from_value(self.clone(), TD_Opaque)
    }

    /// Ends its process: nobody waits for its calls any more.
    pub(in crate::plugin) fn give_up(&self) {
        let running = locked(&self.0.running);
        self.0.given_up.store(true, Ordering::Relaxed);
        running.kill();
    }
}

/// Opens the encoder of `request` in `process`, within a time limit that somebody else does not have.
fn open(start: &Start, process: &Process, request: &str, limit: Option<Duration>) -> Result<Identity, RString> {
    let plugin = &start.entry.name;
    let ended = |Ended { how, .. }| {
        error(&Error::new(format!("plugin `{plugin}` ended its process while it opened the encoder ({how})")))
    };
    let call = process.call(&Request::Open(request.to_owned()), &[]).map_err(ended)?;
    let Some((answer, _)) = call.next_within(limit).map_err(ended)? else {
        process.kill();
        let limit = limit.unwrap_or_default();
        return Err(error(&Error::new(format!("plugin `{plugin}` did not open again within {limit:?} after a crash"))));
    };
    let description = match answer {
        Reply::Opened(Ok(description)) => description,
        Reply::Opened(Err(error)) => return Err(error.into()),
        _ => return Err(confused(plugin)),
    };
    let says = serde_json::from_str::<Description>(&description);
    let digest = match says {
        Ok(says) if says.fingerprint.is_empty() => process.digest().ok(),
        _ => None,
    };
    Ok(Identity { description, digest })
}

/// The error of a process that gave the answer to another question.
fn confused(plugin: &str) -> RString {
    error(&Error::new(format!("the process of plugin `{plugin}` gave the answer to another question")))
}

fn error(error: &Error) -> RString {
    json(error)
}

fn json(value: &impl Serialize) -> RString {
    // Only a map whose keys are no strings or numbers could fail, and there is none.
    serde_json::to_string(value).unwrap_or_default().into()
}

impl Isolated {
    /// Starts the process again if it has ended.
    fn revive(&self, process: &mut Arc<Process>) -> Result<(), RString> {
        if self.host.should_stop() {
            return Err(error(&Error::stopped()));
        }
        if !process.has_ended() {
            return Ok(());
        }
        let given_up = || error(&Error::new("its calls were given up"));
        if self.given_up.load(Ordering::Relaxed) {
            return Err(given_up());
        }
        let (started, _) = self.start.load().map_err(|cause| error(&Error::new(cause.to_string())))?;
        started.tell(self.host.clone());
        if open(&self.start, &started, &self.request, Some(self.time_limit))? != self.identity {
            let plugin = self.plugin();
            let changed =
                format!("plugin `{plugin}` was started again after a crash, and is another now; run this again");
            return Err(error(&Error::new(changed)));
        }
        *process = Arc::new(started);
        let mut running = locked(&self.running);
        *running = process.clone();
        if self.given_up.load(Ordering::Relaxed) { Err(given_up()) } else { Ok(()) }
    }

    /// A process that runs, for a call beside others.
    fn shared(&self) -> Result<RwLockReadGuard<'_, Arc<Process>>, RString> {
        loop {
            let process = self.process.read().unwrap_or_else(PoisonError::into_inner);
            if !process.has_ended() {
                return Ok(process);
            }
            drop(process);
            self.revive(&mut self.process.write().unwrap_or_else(PoisonError::into_inner))?;
        }
    }

    /// A process that runs, for a question that waits for no call: whoever stores the rows of calls asks it.
    fn beside(&self) -> Result<Arc<Process>, RString> {
        loop {
            let process = locked(&self.running).clone();
            if !process.has_ended() {
                return Ok(process);
            }
            match self.process.try_write() {
                Ok(mut process) => self.revive(&mut process)?,
                // Whoever has it is about to do the same.
                Err(_) => std::thread::sleep(TICK),
            }
        }
    }

    fn measure(&self, items: &[RawItem<'_>]) -> Outcome<String> {
        let (pieces, body) = pieces(items);
        let process = match self.beside() {
            Ok(process) => process,
            Err(error) => return Ok(Err(error)),
        };
        match process.ask(&Request::Measure(pieces), &body)? {
            Reply::Sizes(sizes) => Ok(sizes.map_err(Into::into)),
            _ => Ok(Err(confused(self.plugin()))),
        }
    }

    /// Measures items one by one, of which one ends the process. What cannot be measured is as large as it can be.
    fn measure_one_by_one(&self, items: &[RawItem<'_>]) -> Result<String, RString> {
        let mut sizes = Vec::with_capacity(items.len());
        for item in items {
            let most = Size::new(item.bytes.len() as u64, item.bytes.len() as u64);
            let size = match self.measure(std::slice::from_ref(item)) {
                Ok(size) => {
                    self.succeeded();
                    serde_json::from_str::<[Size; 1]>(&size?).map_or(most, |[size]| size)
                }
                Err(ended) => {
                    self.crashed(&ended)?;
                    most
                }
            };
            sizes.push(size);
        }
        Ok(json(&sizes).into())
    }

    /// Encodes items, whose rows go to `take`; its answer goes back to the plugin.
    fn encode(&self, process: &Process, items: &[RawItem<'_>], take: &mut Take<'_>) -> Outcome<()> {
        let (pieces, body) = pieces(items);
        let call = process.call(&Request::Encode(pieces), &body)?;
        loop {
            match call.next()? {
                (Reply::Rows { width, report }, values) => {
                    let values: Vec<f32> = bytemuck::pod_collect_to_vec(&values[..values.len() / 4 * 4]);
                    let receipt = take(RawRows { values: values.into(), width, report: report.into() });
                    let receipt = receipt.into_result().map(Into::into).map_err(Into::into);
                    call.send(&Request::Stored(receipt), &[])?;
                }
                (Reply::Ended(ended), _) => return Ok(ended.map_err(Into::into)),
                _ => return Ok(Err(confused(self.plugin()))),
            }
        }
    }

    /// Encodes an item alone in the process, and returns its rows. The plugin does not wait until they are stored:
    /// whoever stores them may be waiting for the process.
    fn encode_alone(&self, item: &RawItem<'_>, rows: &mut Vec<RawRows>) -> Outcome<()> {
        let mut process = self.process.write().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = self.revive(&mut process) {
            return Ok(Err(error));
        }
        let mut take = |taken: RawRows| {
            rows.push(taken);
            RResult::ROk(json(&Receipt { stop: self.host.should_stop() }))
        };
        self.encode(&process, std::slice::from_ref(item), &mut take)
    }

    /// Encodes those of `items` that have no outcome, after a crash.
    fn encode_one_by_one(
        &self,
        items: &[RawItem<'_>],
        left: &[usize],
        crash: &Ended,
        take: &mut Take<'_>,
    ) -> Result<(), RString> {
        let crash = format!("plugin `{}` crashed ({})", self.plugin(), crash.how);
        if !left.is_empty() && !self.given_up.load(Ordering::Relaxed) {
            tracing::warn!("{crash}; it is started again, and {} tried one by one", are(left.len()));
        }
        let status = Status(&self.host);
        for (tried, &item) in left.iter().enumerate() {
            status.set(&format!("{crash}; trying its items one by one: {} of {}", tried + 1, left.len()));
            let mut rows = Vec::new();
            let ended = self.encode_alone(&items[item], &mut rows);
            let mut has_outcome = false;
            for rows in rows {
                let (rows, outcomes) = renamed(rows, item);
                has_outcome |= outcomes;
                take(rows).into_result()?;
            }
            match ended {
                Ok(ended) => {
                    self.succeeded();
                    ended?;
                }
                Err(_) if has_outcome => {}
                Err(ended) => {
                    self.crashed(&ended)?;
                    take(blamed(item, self.blame(&ended))).into_result()?;
                }
            }
        }
        Ok(())
    }

    /// The failure of an item that ends the process.
    fn blame(&self, Ended { how, killed }: &Ended) -> ItemError {
        let message = format!("plugin `{}` crashes on this item ({how})", self.plugin());
        // One that never worked may not work for reasons that are not the item's, nor is it killed for it.
        match *killed || !self.works.load(Ordering::Relaxed) {
            true => ItemError::transient(message),
            false => ItemError::new(message),
        }
    }

    /// Counts a crash with one item, and ends the run if there were too many in a row.
    fn crashed(&self, Ended { how, .. }: &Ended) -> Result<(), RString> {
        if self.crashes.fetch_add(1, Ordering::Relaxed) + 1 < CRASHES {
            return Ok(());
        }
        Err(error(&Error::new(format!(
            "plugin `{}` crashed with each of the last {CRASHES} items that it got alone ({how}); tell its author",
            self.plugin()
        ))))
    }

    fn succeeded(&self) {
        self.crashes.store(0, Ordering::Relaxed);
        self.works.store(true, Ordering::Relaxed);
    }

    fn plugin(&self) -> &str {
        &self.start.entry.name
    }
}

/// Takes rows of a call and returns the receipt.
type Take<'a> = dyn FnMut(RawRows) -> RResult<RString, RString> + 'a;

/// The items that these rows have outcomes for.
fn outcomes(rows: &RawRows) -> Vec<usize> {
    // A report that cannot be parsed is the host's to refuse.
    let report: Report = serde_json::from_str(&rows.report).unwrap_or_default();
    report.items.into_iter().chain(report.failures.into_keys()).collect()
}

/// The rows of a call with one item as rows of `item` in its batch, which may not be the last; and whether they have an
/// outcome.
fn renamed(rows: RawRows, item: usize) -> (RawRows, bool) {
    let Ok(mut report) = serde_json::from_str::<Report>(&rows.report) else { return (rows, false) };
    // An item that was not in the call is in no batch.
    let name = |index: usize| if index == 0 { item } else { usize::MAX };
    report.items = report.items.into_iter().map(name).collect();
    report.truncated = report.truncated.into_iter().map(name).collect();
    report.failures = report.failures.into_iter().map(|(index, failure)| (name(index), failure)).collect();
    report.last = false;
    let any = !report.items.is_empty() || !report.failures.is_empty();
    (RawRows { report: json(&report), ..rows }, any)
}

/// Rows with this failure of an item.
fn blamed(item: usize, failure: ItemError) -> RawRows {
    let report = Report { failures: BTreeMap::from([(item, failure)]), ..Report::default() };
    RawRows { values: Vec::new().into(), width: 0, report: json(&report) }
}

fn pieces<'a>(items: &[RawItem<'a>]) -> (Vec<Piece>, Vec<&'a [u8]>) {
    let piece = |item: &RawItem<'_>| Piece::new(item.modality.as_str(), item.bytes.len());
    (items.iter().map(piece).collect(), items.iter().map(|item| item.bytes.as_slice()).collect())
}

fn are(items: usize) -> String {
    format!("the {} left of its call {}", count(items, "item"), if items == 1 { "is" } else { "are" })
}

/// A line beside the progress bar, until it is dropped.
struct Status<'a>(&'a RawHostBox);

impl Status<'_> {
    fn set(&self, line: &str) {
        self.0.event(TOPIC_STATUS.into(), line.into());
    }
}

impl Drop for Status<'_> {
    fn drop(&mut self) {
        self.set("");
    }
}

impl RawEncoder for IsolatedEncoder {
    fn describe(&self) -> RString {
        self.0.identity.description.as_str().into()
    }

    fn measure(&self, items: RSlice<'_, RawItem<'_>>) -> RResult<RString, RString> {
        match self.0.measure(&items) {
            Ok(sizes) => sizes,
            Err(_) => self.0.measure_one_by_one(&items),
        }
        .map(Into::into)
        .into()
    }

    fn encode(&self, items: RSlice<'_, RawItem<'_>>, mut sink: RawSinkMut<'_>) -> RResult<(), RString> {
        let process = match self.0.shared() {
            Ok(process) => process,
            Err(error) => return RResult::RErr(error),
        };
        let mut answered = vec![false; items.len()];
        let mut take = |rows: RawRows| {
            for item in outcomes(&rows) {
                if let Some(answered) = answered.get_mut(item) {
                    *answered = true;
                }
            }
            sink.store(rows)
        };
        let ended = self.0.encode(&process, &items, &mut take);
        drop(process);
        match ended {
            Ok(ended) => {
                self.0.succeeded();
                ended.into()
            }
            Err(crash) => {
                let left: Vec<usize> = (0..items.len()).filter(|&item| !answered[item]).collect();
                self.0.encode_one_by_one(&items, &left, &crash, &mut |rows| sink.store(rows)).into()
            }
        }
    }
}
