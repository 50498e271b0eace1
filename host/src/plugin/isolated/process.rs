//! A plugin's process, as the program sees it: calls go in, and it may end at any time.

use fusemix_sdk::abi::RawHostBox;
use std::collections::HashMap;
use std::io::{self, BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::message::{Message, Reply, Request, read, write};
use super::{COMMAND, message::Piece};
use crate::config::PluginEntry;
use crate::plugin::load::LoadError;

/// The wait for a reply between checks for the wish to stop.
const TICK: Duration = Duration::from_millis(100);
/// The time that a process has to close its encoder.
const CLOSING: Duration = Duration::from_secs(2);
/// The number of the signal that cannot be caught.
#[cfg(unix)]
const SIGKILL: i32 = 9;

/// The start of a plugin's process.
#[derive(Clone)]
pub(in crate::plugin) struct Start {
    /// The program that serves plugins.
    pub(in crate::plugin) program: PathBuf,
    pub(in crate::plugin) entry: PluginEntry,
    pub(in crate::plugin) folders: Vec<PathBuf>,
}

/// A process that ended before it had answered.
#[derive(Debug)]
pub(super) struct Ended {
    /// Its status, as the system words it.
    pub(super) how: String,
    /// True if somebody killed it, such as a system without memory.
    pub(super) killed: bool,
}

/// A running process with a plugin in it.
pub(in crate::plugin) struct Process {
    child: Mutex<Child>,
    input: Mutex<Option<BufWriter<ChildStdin>>>,
    calls: Arc<Calls>,
    next: AtomicU64,
    /// True once it was told to stop.
    told: AtomicBool,
}

/// A reply and the bytes after it.
type Answer = (Reply, Vec<u8>);

#[derive(Default)]
struct Calls {
    /// None once nothing can answer any more.
    waiting: Mutex<Option<HashMap<u64, Sender<Answer>>>>,
    /// The receiver of events.
    host: OnceLock<RawHostBox>,
}

/// A call that waits for answers.
pub(super) struct Call<'a> {
    process: &'a Process,
    id: u64,
    answers: Receiver<Answer>,
}

impl Start {
    /// Starts a process and loads the plugin in it, whose path and self-description come back.
    pub(in crate::plugin) fn load(&self) -> Result<(Process, Answered), LoadError> {
        let failed = |reason: String| LoadError::Process { plugin: self.entry.name.clone(), reason };
        let process = Process::start(&self.program)
            .map_err(|cause| failed(format!("cannot start {}: {cause}", self.program.display())))?;
        let request = Request::Load {
            version: crate::VERSION.to_owned(),
            entry: self.entry.clone(),
            folders: self.folders.clone(),
        };
        let answer = process.ask(&request, &[]).map_err(|Ended { how, .. }| failed(format!("it ended ({how})")))?;
        match answer {
            Reply::Loaded(Ok(loaded)) => Ok((process, loaded)),
            Reply::Loaded(Err(error)) => Err(error),
            _ => Err(failed("it gave the answer to another question".to_owned())),
        }
    }
}

/// The library that was loaded, and what it says about itself.
type Answered = (PathBuf, fusemix_sdk::export::PluginInfo);

impl Process {
    fn start(program: &Path) -> io::Result<Self> {
        let mut command = Command::new(program);
        // Its name in a list of processes.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::arg0(&mut command, "fusemix");
        let mut child = command.arg(COMMAND).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let calls = Arc::new(Calls { waiting: Mutex::new(Some(HashMap::new())), host: OnceLock::new() });
        let heard = calls.clone();
        std::thread::spawn(move || heard.read(output));
        Ok(Self {
            child: Mutex::new(child),
            input: Mutex::new(Some(BufWriter::new(input))),
            calls,
            next: AtomicU64::new(0),
            told: AtomicBool::new(false),
        })
    }

    /// Sends its plugin's events to `host` from now on.
    pub(super) fn tell(&self, host: RawHostBox) {
        let _ = self.calls.host.set(host);
    }

    /// The answer to a request that has one.
    pub(super) fn ask(&self, request: &Request, body: &[&[u8]]) -> Result<Reply, Ended> {
        Ok(self.call(request, body)?.next()?.0)
    }

    /// The digest of its library.
    pub(in crate::plugin) fn digest(&self) -> Result<String, String> {
        match self.ask(&Request::Digest, &[]) {
            Ok(Reply::Digest(digest)) => digest,
            Ok(_) => Err("its process gave the answer to another question".to_owned()),
            Err(Ended { how, .. }) => Err(format!("its process ended ({how})")),
        }
    }

    /// Begins a call.
    pub(super) fn call(&self, request: &Request, body: &[&[u8]]) -> Result<Call<'_>, Ended> {
        let (sender, answers) = channel();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let known = locked(&self.calls.waiting).as_mut().map(|waiting| waiting.insert(id, sender)).is_some();
        if !known {
            return Err(self.ended());
        }
        let call = Call { process: self, id, answers };
        call.send(request, body)?;
        Ok(call)
    }

    /// True if it cannot answer any more.
    pub(super) fn has_ended(&self) -> bool {
        locked(&self.calls.waiting).is_none() || self.has_exited()
    }

    fn has_exited(&self) -> bool {
        !matches!(locked(&self.child).try_wait(), Ok(None))
    }

    /// Ends it at once.
    pub(in crate::plugin) fn kill(&self) {
        // One that has ended cannot be killed.
        let _ = locked(&self.child).kill();
    }

    /// The way in which it ended; one that only closed its pipes is ended.
    fn ended(&self) -> Ended {
        let mut child = locked(&self.child);
        let within = Instant::now() + CLOSING;
        let mut closed = false;
        loop {
            match child.try_wait() {
                Ok(Some(_)) if closed => return Ended { how: "it closed its pipes".to_owned(), killed: false },
                Ok(Some(status)) => return Ended { how: status.to_string(), killed: was_killed(status) },
                Ok(None) if closed || Instant::now() < within => std::thread::sleep(Duration::from_millis(2)),
                Ok(None) => closed = child.kill().is_ok(),
                Err(error) => return Ended { how: error.to_string(), killed: false },
            }
        }
    }

    fn send(&self, call: u64, what: &Request, body: &[&[u8]]) -> Result<(), Ended> {
        let mut input = locked(&self.input);
        let sent = match &mut *input {
            Some(input) => write(input, &Message { call, what }, body),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        drop(input);
        sent.map_err(|_| self.ended())
    }

    /// Tells it that the user asks to stop, once.
    fn stop_if_asked(&self) {
        let asked = self.calls.host.get().is_some_and(|host| host.should_stop());
        if asked && !self.told.swap(true, Ordering::Relaxed) {
            // One that has ended has stopped.
            let _ = self.send(0, &Request::Stop, &[]);
        }
    }
}

impl Drop for Process {
    /// The end of its input is its request to end.
    fn drop(&mut self) {
        *self.input.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
        self.ended();
    }
}

#[cfg(unix)]
fn was_killed(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal() == Some(SIGKILL)
}

#[cfg(not(unix))]
fn was_killed(_: ExitStatus) -> bool {
    false
}

impl Calls {
    /// Hands replies to their calls until there are no more.
    fn read(&self, output: ChildStdout) {
        let mut output = BufReader::new(output);
        while let Ok(Some((Message { call, what }, body))) = read::<Message<Reply>>(&mut output) {
            if let Reply::Event { topic, body } = &what {
                if let Some(host) = self.host.get() {
                    host.event(topic.as_str().into(), body.as_str().into());
                }
                continue;
            }
            if let Some(waiting) = &*locked(&self.waiting)
                && let Some(call) = waiting.get(&call)
            {
                // A call that nobody waits for any more is over.
                let _ = call.send((what, body));
            }
        }
        *locked(&self.waiting) = None;
    }
}

impl Call<'_> {
    /// The next answer. The process is told if the user asks to stop meanwhile.
    pub(super) fn next(&self) -> Result<Answer, Ended> {
        let answer = self.next_within(None)?;
        answer.ok_or_else(|| self.process.ended())
    }

    /// The next answer; none after `limit`, if there is one.
    pub(super) fn next_within(&self, limit: Option<Duration>) -> Result<Option<Answer>, Ended> {
        let deadline = limit.map(|limit| Instant::now() + limit);
        let mut exited = false;
        loop {
            match self.answers.recv_timeout(TICK) {
                Ok(answer) => return Ok(Some(answer)),
                Err(RecvTimeoutError::Timeout) if deadline.is_some_and(|deadline| deadline < Instant::now()) => {
                    return Ok(None);
                }
                // Its pipe may be open all the same, if it left a process behind.
                Err(RecvTimeoutError::Timeout) if exited => return Err(self.process.ended()),
                Err(RecvTimeoutError::Timeout) => {
                    self.process.stop_if_asked();
                    exited = self.process.has_exited();
                }
                Err(RecvTimeoutError::Disconnected) => return Err(self.process.ended()),
            }
        }
    }

    /// Says something about this call.
    pub(super) fn send(&self, request: &Request, body: &[&[u8]]) -> Result<(), Ended> {
        self.process.send(self.id, request, body)
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if let Some(waiting) = &mut *locked(&self.process.calls.waiting) {
            waiting.remove(&self.id);
        }
    }
}

impl Piece {
    pub(super) fn new(modality: &str, bytes: usize) -> Self {
        Self { modality: modality.to_owned(), bytes }
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
