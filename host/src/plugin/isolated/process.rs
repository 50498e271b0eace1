//! A plugin's process, as the program sees it: calls go in, and it may end at any time.

use fusemix_sdk::abi::RawHostBox;
use std::collections::HashMap;
use std::io::{self, BufReader, BufWriter};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::COMMAND;
use super::message::{Message, Reply, Request, read, write};

/// The wait for a reply between checks for the wish to stop.
const TICK: Duration = Duration::from_millis(100);
/// The wait between looks at a process that ends.
const SOON: Duration = Duration::from_millis(2);
/// The time that a process has to close its encoder.
pub(super) const CLOSING: Duration = Duration::from_secs(2);
/// The number of the signal that cannot be caught.
#[cfg(unix)]
const SIGKILL: i32 = 9;

/// A process that ended before it had answered.
#[derive(Clone, Debug)]
pub(super) struct Death {
    /// Its status, as the system words it.
    pub(super) how: String,
    /// True if somebody killed it, such as a system without memory.
    pub(super) killed: bool,
    /// True if it was at several calls, so that nobody knows which of them ended it.
    pub(super) others: bool,
}

/// A running process for a plugin.
pub(super) struct Process {
    child: Mutex<Child>,
    input: Mutex<Option<BufWriter<ChildStdin>>>,
    calls: Arc<Calls>,
    next: AtomicU64,
    /// True once it was told to stop.
    told: AtomicBool,
}

/// A reply and the bytes after it.
type Answer = (Reply, Vec<u8>);

struct Calls {
    waiting: Mutex<Waiting>,
    /// The receiver of events.
    host: OnceLock<RawHostBox>,
}

/// The calls that wait for answers.
enum Waiting {
    For(HashMap<u64, Sender<Answer>>),
    /// Nothing can answer any more. So many calls waited then; the process said something that is no message, if there
    /// is an error.
    Ended {
        calls: usize,
        error: Option<io::Error>,
    },
}

/// A call that waits for answers.
pub(super) struct Call<'a> {
    process: &'a Process,
    id: u64,
    answers: Receiver<Answer>,
}

impl Process {
    /// Starts `program` to serve a plugin.
    pub(super) fn start(program: &Path) -> io::Result<Self> {
        let mut command = Command::new(program);
        #[cfg(unix)]
        {
            use std::os::unix::process::CommandExt;
            // Ctrl-C is for the program, which lets calls end.
            command.arg0("fusemix").process_group(0);
        }
        #[cfg(windows)]
        {
            const CREATE_NEW_PROCESS_GROUP: u32 = 0x200;
            std::os::windows::process::CommandExt::creation_flags(&mut command, CREATE_NEW_PROCESS_GROUP);
        }
        let mut child = command.args([COMMAND, crate::VERSION]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let calls = Arc::new(Calls { waiting: Mutex::new(Waiting::For(HashMap::new())), host: OnceLock::new() });
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

    /// The answer to a request that has one; none after `limit`, if there is one.
    pub(super) fn ask(
        &self,
        request: &Request,
        body: &[&[u8]],
        limit: Option<Duration>,
    ) -> Result<Option<Reply>, Death> {
        Ok(self.call(request, body)?.next(limit)?.map(|(reply, _)| reply))
    }

    /// Begins a call.
    pub(super) fn call(&self, request: &Request, body: &[&[u8]]) -> Result<Call<'_>, Death> {
        let (sender, answers) = channel();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        if let Waiting::For(waiting) = &mut *locked(&self.calls.waiting) {
            waiting.insert(id, sender);
        }
        let call = Call { process: self, id, answers };
        call.send(request, body)?;
        Ok(call)
    }

    /// True if it cannot answer any more.
    pub(super) fn has_ended(&self) -> bool {
        self.calls.have_ended() || self.has_exited()
    }

    fn has_exited(&self) -> bool {
        !matches!(locked(&self.child).try_wait(), Ok(None))
    }

    /// Ends it at once.
    pub(super) fn kill(&self) {
        // One that has ended cannot be killed.
        let _ = locked(&self.child).kill();
    }

    /// The way in which it ended; one that only closed its pipes, or does not end when asked to, is killed.
    fn death(&self) -> Death {
        let (mut within, mut killed) = (Instant::now() + CLOSING, false);
        let status = loop {
            let status = locked(&self.child).try_wait();
            match status {
                Ok(Some(status)) => break Some(status),
                // One that cannot be killed waits for a disk.
                Ok(None) if Instant::now() >= within && killed => break None,
                Ok(None) if Instant::now() >= within => {
                    self.kill();
                    (within, killed) = (Instant::now() + CLOSING, true);
                }
                Ok(None) => std::thread::sleep(SOON),
                Err(_) => break None,
            }
        };
        // What it said last is on its way.
        let within = Instant::now() + TICK;
        while !self.calls.have_ended() && Instant::now() < within {
            std::thread::sleep(SOON);
        }
        let (calls, error) = match &*locked(&self.calls.waiting) {
            Waiting::For(waiting) => (waiting.len(), None),
            Waiting::Ended { calls, error } => (*calls, error.as_ref().map(ToString::to_string)),
        };
        let how = match (error, status.filter(|_| !killed)) {
            (Some(error), _) => format!("it sent something that is no message: {error}"),
            (None, Some(status)) => status.to_string(),
            (None, None) => "it closed its pipes".to_owned(),
        };
        Death { how, killed: !killed && status.is_some_and(was_killed), others: calls > 1 }
    }

    fn send(&self, call: u64, what: &Request, body: &[&[u8]]) -> Result<(), Death> {
        let mut input = locked(&self.input);
        let sent = match &mut *input {
            Some(input) => write(input, &Message { call, what }, body),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        drop(input);
        sent.map_err(|_| self.death())
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
        self.death();
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
    fn have_ended(&self) -> bool {
        matches!(&*locked(&self.waiting), Waiting::Ended { .. })
    }

    /// Hands replies to their calls until there are no more.
    fn read(&self, output: ChildStdout) {
        let mut output = BufReader::new(output);
        let error = loop {
            let (what, call, body) = match read::<Message<Reply>>(&mut output) {
                Ok(Some((Message { call, what }, body))) => (what, call, body),
                Ok(None) => break None,
                // In the middle of a message, as it crashed.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break None,
                Err(error) => break Some(error),
            };
            if let Reply::Event { topic, body } = &what {
                if let Some(host) = self.host.get() {
                    host.event(topic.as_str().into(), body.as_str().into());
                }
                continue;
            }
            if let Waiting::For(waiting) = &*locked(&self.waiting)
                && let Some(call) = waiting.get(&call)
            {
                // A call that nobody waits for any more is over.
                let _ = call.send((what, body));
            }
        };
        let mut waiting = locked(&self.waiting);
        let calls = if let Waiting::For(calls) = &*waiting { calls.len() } else { 0 };
        *waiting = Waiting::Ended { calls, error };
    }
}

impl Call<'_> {
    /// The next answer; none after `limit`, if there is one. The process is told if the user asks to stop meanwhile.
    pub(super) fn next(&self, limit: Option<Duration>) -> Result<Option<Answer>, Death> {
        let deadline = limit.map(|limit| Instant::now() + limit);
        let mut exited = false;
        loop {
            match self.answers.recv_timeout(TICK) {
                Ok(answer) => return Ok(Some(answer)),
                Err(RecvTimeoutError::Timeout) if deadline.is_some_and(|deadline| deadline < Instant::now()) => {
                    return Ok(None);
                }
                // Its pipe may be open all the same, if it left a process behind.
                Err(RecvTimeoutError::Timeout) if exited => return Err(self.process.death()),
                Err(RecvTimeoutError::Timeout) => {
                    self.process.stop_if_asked();
                    exited = self.process.has_exited();
                }
                Err(RecvTimeoutError::Disconnected) => return Err(self.process.death()),
            }
        }
    }

    /// Says something about this call.
    pub(super) fn send(&self, request: &Request, body: &[&[u8]]) -> Result<(), Death> {
        self.process.send(self.id, request, body)
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if let Waiting::For(waiting) = &mut *locked(&self.process.calls.waiting) {
            waiting.remove(&self.id);
        }
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
