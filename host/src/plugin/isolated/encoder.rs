//! The encoder of an isolated plugin: its calls go to a process, and what a crash interrupts is tried again.

use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::{RResult, RSlice, RString};
use fusemix_sdk::abi::{RawEncoder, RawEncoder_TO, RawEncoderBox, RawHostBox, RawItem, RawRows, RawSinkMut};
use fusemix_sdk::host::TOPIC_STATUS;
use fusemix_sdk::rows::Receipt;
use fusemix_sdk::{Description, Error, ItemError, Size};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::blame::{CRASHES, Record, failure, too_often};
use super::library::IsolatedLibrary;
use super::message::{Piece, Reply, Request};
use super::process::{Death, Process};
use super::rows::{charged, failed, json, renamed, report};
use crate::wording::count;

/// An encoder in a process, and in another one after a crash.
#[derive(Clone)]
pub(in crate::plugin) struct IsolatedEncoder(Arc<Isolated>);

struct Isolated {
    library: Arc<IsolatedLibrary>,
    /// JSON of the `OpenRequest`.
    request: String,
    host: RawHostBox,
    /// The time that a process may take to open again, or to measure items.
    limit: Duration,
    description: String,
    /// True if it has a price.
    priced: bool,
    /// Calls share it; an item that is tried alone has it for itself.
    alone: RwLock<()>,
    record: Record,
}

/// The result of a call, unless its process ended.
type Outcome<T> = Result<Result<T, Error>, Death>;

/// Takes rows of a call; an error ends it. The receipt is the host's.
type Take<'a> = dyn FnMut(RawRows) -> Result<RString, RString> + 'a;

impl IsolatedEncoder {
    /// Opens an encoder in the process of `library`; after a crash it must open within `limit`.
    pub(in crate::plugin) fn open(
        library: Arc<IsolatedLibrary>,
        request: &str,
        host: RawHostBox,
        limit: Duration,
    ) -> Result<Self, RString> {
        let process = library.first();
        process.tell(host.clone());
        let description = open(&library, &process, request, None).map_err(|error| json(&error))?;
        let says = serde_json::from_str::<Description>(&description);
        let priced = says.is_ok_and(|description| description.price.is_some());
        let (alone, record) = (RwLock::new(()), Record::default());
        let request = request.to_owned();
        Ok(Self(Arc::new(Isolated { library, request, host, limit, description, priced, alone, record })))
    }

    /// The interface to call it by.
    pub(in crate::plugin) fn raw(&self) -> RawEncoderBox {
        RawEncoder_TO::from_value(self.clone(), TD_Opaque)
    }

    /// Says that it has made latents before.
    pub(in crate::plugin) fn has_worked(&self) {
        self.0.record.has_worked();
    }
}

/// Opens the encoder of `request` in a process, and returns its description. Without a limit somebody else has one.
fn open(library: &IsolatedLibrary, process: &Process, request: &str, limit: Option<Duration>) -> Result<String, Error> {
    let plugin = library.plugin();
    match process.ask(&Request::Open(request.to_owned()), &[], limit) {
        Ok(Some(Reply::Opened(Ok(description)))) => Ok(description),
        Ok(Some(Reply::Opened(Err(error)))) => Err(parsed(&error)),
        Ok(Some(_)) => Err(confused(plugin)),
        Ok(None) => {
            process.kill();
            Err(Error::new(format!(
                "plugin `{plugin}` did not open the encoder again within {:?} after a crash; raise its `timeout` in \
                 plugins.toml if it needs longer",
                limit.unwrap_or_default()
            )))
        }
        Err(Death { how, .. }) => {
            Err(Error::new(format!("plugin `{plugin}` ended its process while it opened the encoder ({how})")))
        }
    }
}

/// The error of a process that gave the answer to another question.
fn confused(plugin: &str) -> Error {
    Error::new(format!("the process of plugin `{plugin}` gave the answer to another question; tell its author"))
}

fn parsed(error: &str) -> Error {
    serde_json::from_str(error).unwrap_or_else(|_| Error::new(error))
}

impl Isolated {
    fn plugin(&self) -> &str {
        self.library.plugin()
    }

    /// The process that runs, or another one.
    fn process(&self) -> Result<Arc<Process>, Error> {
        self.library.process(&self.host, self.limit, |started| {
            if open(&self.library, started, &self.request, Some(self.limit))? == self.description {
                return Ok(());
            }
            let plugin = self.plugin();
            let changed =
                format!("plugin `{plugin}` describes another encoder after a crash than before; run this again");
            Err(Error::new(changed))
        })
    }

    /// Measures items, beside the calls that run: whoever stores their rows waits for this.
    fn measure(&self, items: &[RawItem<'_>]) -> Outcome<Vec<Size>> {
        let process = match self.process() {
            Ok(process) => process,
            Err(error) => return Ok(Err(error)),
        };
        let (pieces, body) = pieces(items);
        Ok(match process.ask(&Request::Measure(pieces), &body, Some(self.limit))? {
            Some(Reply::Sizes(Ok(sizes))) => {
                let sizes: Result<Vec<Size>, _> = serde_json::from_str(&sizes);
                sizes.map_err(|error| Error::new(format!("cannot parse its sizes: {error}")))
            }
            Some(Reply::Sizes(Err(error))) => Err(parsed(&error)),
            Some(_) => Err(confused(self.plugin())),
            None => {
                self.library.give_up();
                let (plugin, limit) = (self.plugin(), self.limit);
                Err(Error::new(format!(
                    "plugin `{plugin}` did not measure {} within {limit:?}",
                    count(items.len(), "item")
                )))
            }
        })
    }

    /// Measures items one by one after a crash. What crashes again is as large as it can be.
    fn measure_one_by_one(&self, items: &[RawItem<'_>]) -> Result<Vec<Size>, Error> {
        let mut crashes = 0;
        let mut sizes = Vec::with_capacity(items.len());
        for item in items {
            let most = Size::new(item.bytes.len() as u64, item.bytes.len() as u64);
            sizes.push(match self.measure(std::slice::from_ref(item)) {
                Ok(measured) => {
                    crashes = 0;
                    measured?.first().copied().unwrap_or(most)
                }
                Err(death) => {
                    // Another call may have ended it.
                    crashes += usize::from(!death.others);
                    if crashes >= CRASHES {
                        return Err(Error::new(too_often(self.plugin(), &death)));
                    }
                    most
                }
            });
        }
        Ok(sizes)
    }

    /// Encodes items in a process, whose rows go to `take`.
    fn encode(&self, process: &Process, items: &[RawItem<'_>], take: &mut Take<'_>) -> Outcome<()> {
        let (pieces, body) = pieces(items);
        let call = process.call(&Request::Encode(pieces), &body)?;
        loop {
            match call.next(None)? {
                Some((Reply::Rows { width, report: said }, values)) => {
                    let values: Vec<f32> = bytemuck::pod_collect_to_vec(&values[..values.len() / 4 * 4]);
                    let rows = RawRows { values: values.into(), width, report: said.into() };
                    if !report(&rows).items.is_empty() {
                        self.record.works();
                    }
                    let receipt = take(rows).map(Into::into).map_err(Into::into);
                    call.send(&Request::Stored(receipt), &[])?;
                }
                Some((Reply::Ended(ended), _)) => return Ok(ended.map_err(|error| parsed(&error))),
                _ => return Ok(Err(confused(self.plugin()))),
            }
        }
    }

    /// Encodes those of `items` that are `left` after a crash, each alone in the process.
    fn encode_one_by_one(
        &self,
        items: &[RawItem<'_>],
        left: &[usize],
        death: &Death,
        take: &mut Take<'_>,
    ) -> Result<(), Error> {
        if self.library.is_given_up() {
            return Err(Error::new("its process was ended, as another call hung"));
        }
        let ended = if death.killed { "was killed" } else { "crashed" };
        let crash = format!("the process of plugin `{}` {ended} ({})", self.plugin(), death.how);
        match left.len() {
            0 => tracing::warn!("{crash} after a call; it is started again"),
            1 => tracing::warn!("{crash}; it is started again, and the item of the call tried again"),
            items => tracing::warn!("{crash}; it is started again, and {items} items of the call tried one by one"),
        }
        if self.priced && !left.is_empty() {
            // They may have been sent.
            let interrupted: Vec<RawItem<'_>> = left.iter().map(|&item| items[item]).collect();
            let sizes = match self.measure(&interrupted) {
                Ok(sizes) => sizes?,
                Err(_) => self.measure_one_by_one(&interrupted)?,
            };
            heeded(take(charged(&sizes)))?;
        }
        let status = Status(&self.host);
        // Failures that only another item's latent, or the end, can confirm.
        let mut pending: Vec<(usize, Death)> = Vec::new();
        for (tried, &item) in left.iter().enumerate() {
            status.set(&format!("{crash}; trying its items one by one: {} of {}", tried + 1, left.len()));
            match self.encode_alone(items, item, take)? {
                None => self.confirm(&mut pending, true, take)?,
                Some(death) => {
                    let too_often_now = self.record.crashes();
                    pending.push((item, death.clone()));
                    if too_often_now {
                        self.confirm(&mut pending, false, take)?;
                        return Err(Error::new(too_often(self.plugin(), &death)));
                    }
                }
            }
        }
        let sure = self.record.trusts();
        self.confirm(&mut pending, sure, take)
    }

    /// Encodes an item alone in the process; returns how the process ended, if it did without an outcome.
    fn encode_alone(&self, items: &[RawItem<'_>], item: usize, take: &mut Take<'_>) -> Result<Option<Death>, Error> {
        loop {
            let alone = self.alone.write().unwrap_or_else(PoisonError::into_inner);
            let process = self.process()?;
            let (mut has_outcome, mut unheeded) = (false, None);
            let mut take_renamed = |rows: RawRows| {
                let rows = renamed(rows, item).map_err(|reason| json(&Error::new(reason)))?;
                let said = report(&rows);
                has_outcome |= !said.items.is_empty() || !said.failures.is_empty();
                let receipt = take(rows);
                unheeded = unheeded.take().or(heeded(receipt.clone()).err());
                receipt
            };
            let ended = self.encode(&process, std::slice::from_ref(&items[item]), &mut take_renamed);
            drop(alone);
            if let Some(error) = unheeded {
                return Err(error);
            }
            match ended {
                Ok(ended) => return ended.map(|()| None),
                Err(_) if has_outcome => return Ok(None),
                Err(_) if self.library.is_given_up() => {
                    return Err(Error::new("its process was ended, as another call hung"));
                }
                // Somebody measured items beside it, one of which may have ended it.
                Err(death) if death.others => {}
                Err(death) => return Ok(Some(death)),
            }
        }
    }

    /// Gives the failures of items with which the process ended.
    fn confirm(&self, pending: &mut Vec<(usize, Death)>, sure: bool, take: &mut Take<'_>) -> Result<(), Error> {
        let why = |(item, death): (usize, Death)| (item, failure(self.plugin(), &death, sure));
        let failures: BTreeMap<usize, ItemError> = pending.drain(..).map(why).collect();
        if failures.is_empty() { Ok(()) } else { heeded(take(failed(failures))) }
    }
}

/// An error if the host wants nothing more.
fn heeded(receipt: Result<RString, RString>) -> Result<(), Error> {
    let receipt = receipt.map_err(|error| parsed(&error))?;
    let stops = serde_json::from_str::<Receipt>(&receipt).is_ok_and(|receipt| receipt.stop);
    if stops { Err(Error::stopped()) } else { Ok(()) }
}

fn pieces<'a>(items: &[RawItem<'a>]) -> (Vec<Piece>, Vec<&'a [u8]>) {
    let piece = |item: &RawItem<'_>| Piece { modality: item.modality.to_string(), bytes: item.bytes.len() };
    (items.iter().map(piece).collect(), items.iter().map(|item| item.bytes.as_slice()).collect())
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
        self.0.description.as_str().into()
    }

    fn measure(&self, items: RSlice<'_, RawItem<'_>>) -> RResult<RString, RString> {
        let measured = match self.0.measure(&items) {
            Ok(sizes) => sizes,
            Err(_) => self.0.measure_one_by_one(&items),
        };
        measured.map(|sizes| json(&sizes)).map_err(|error| json(&error)).into()
    }

    fn encode(&self, items: RSlice<'_, RawItem<'_>>, mut sink: RawSinkMut<'_>) -> RResult<(), RString> {
        let mut answered = vec![false; items.len()];
        let mut take = |rows: RawRows| {
            let said = report(&rows);
            for item in said.items.into_iter().chain(said.failures.into_keys()) {
                if let Some(answered) = answered.get_mut(item) {
                    *answered = true;
                }
            }
            sink.store(rows).into_result()
        };
        let shared = self.0.alone.read().unwrap_or_else(PoisonError::into_inner);
        let ended =
            self.0.process().map_err(Ok).and_then(|process| self.0.encode(&process, &items, &mut take).map_err(Err));
        drop(shared);
        let ended = match ended {
            Ok(ended) => ended,
            Err(Ok(error)) => Err(error),
            Err(Err(death)) => {
                let left: Vec<usize> = (0..items.len()).filter(|&item| !answered[item]).collect();
                self.0.encode_one_by_one(&items, &left, &death, &mut |rows| sink.store(rows).into_result())
            }
        };
        ended.map_err(|error| json(&error)).into()
    }
}
