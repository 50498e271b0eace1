//! Work that cannot be interrupted, such as an eigendecomposition, on a thread of its own: who asks for an end does not
//! wait for it.

use std::panic::resume_unwind;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use super::{FitError, Problem};

/// The time between two looks whether an end is asked for.
const LOOK: Duration = Duration::from_millis(50);

/// The result of the work. If the problem asks for an end first, the thread is left to end by itself.
pub(super) fn unbroken<T: Send + 'static>(
    problem: &Problem<'_>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, FitError> {
    problem.go_on()?;
    let (sender, receiver) = channel();
    // Nobody may be there to receive it any more.
    let work = move || drop(sender.send(work()));
    let thread = thread::Builder::new().name("fit".to_owned()).spawn(work).map_err(FitError::Thread)?;
    loop {
        match receiver.recv_timeout(LOOK) {
            Ok(result) => return Ok(result),
            Err(RecvTimeoutError::Timeout) => problem.go_on()?,
            Err(RecvTimeoutError::Disconnected) => match thread.join() {
                Err(panic) => resume_unwind(panic),
                Ok(()) => return Err(FitError::Stopped),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn an_end_does_not_wait_for_the_work() {
        let start = Instant::now();
        let stop = || start.elapsed() > Duration::from_millis(100);
        let problem = Problem { towers: &[], fixed: &[], sets: &[], stop: &stop };
        assert_eq!(unbroken(&problem, || 7).unwrap(), 7);
        let stopped = unbroken(&problem, || thread::sleep(Duration::from_secs(20)));
        assert!(matches!(stopped, Err(FitError::Stopped)) && start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_panic_of_the_work_is_one_of_the_fit() {
        let problem = Problem { towers: &[], fixed: &[], sets: &[], stop: &|| false };
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            unbroken(&problem, || {
                if std::hint::black_box(true) {
                    panic!("as it was asked to")
                }
            })
        }));
        assert_eq!(caught.unwrap_err().downcast_ref(), Some(&"as it was asked to"));
    }
}
