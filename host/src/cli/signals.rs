//! Signals: the first asks to stop, the second ends the program.

use super::exit;
use crate::stop::Stop;

/// Listens for Ctrl-C, and for the signals with which systems end programs. One that is ignored, as by `nohup`, stays
/// ignored.
pub(super) fn listen(stop: Stop) -> Result<(), ctrlc::Error> {
    #[cfg(unix)]
    let ignored = unix::ignored();
    ctrlc::set_handler(move || {
        if stop.is_asked() {
            std::process::exit(exit::STOPPED.into());
        }
        // What is printed may wait for somebody to read it.
        stop.ask();
        note!("\nstopping; press Ctrl-C again to stop immediately");
    })?;
    #[cfg(unix)]
    unix::ignore(&ignored);
    Ok(())
}

#[cfg(unix)]
mod unix {
    use libc::{SIG_IGN, SIGHUP, SIGINT, SIGTERM, SIGXFSZ, sigaction, signal};
    use std::mem::MaybeUninit;

    /// The ignored ones among the signals that are listened for, and the one that a file of the greatest allowed size
    /// sends: without it, the write fails and is reported.
    pub(super) fn ignored() -> Vec<i32> {
        let is_ignored = |&number: &i32| {
            let mut now = MaybeUninit::<sigaction>::uninit();
            // SAFETY: it only reads the current action of a valid signal into `now`, which it fills if it returns 0.
            unsafe {
                sigaction(number, std::ptr::null(), now.as_mut_ptr()) == 0
                    && now.assume_init_ref().sa_sigaction == SIG_IGN
            }
        };
        [SIGHUP, SIGINT, SIGTERM].into_iter().filter(is_ignored).chain([SIGXFSZ]).collect()
    }

    pub(super) fn ignore(signals: &[i32]) {
        for &number in signals {
            // SAFETY: to ignore a valid signal runs no code of this program.
            unsafe { signal(number, SIG_IGN) };
        }
    }
}
