//! Signals: the first asks to stop, the second ends the program; and the ends that nobody asked for.

use super::exit;
use crate::stop::Stop;

/// From here on, a plugin that ends the program, by a crash or by `exit`, is named.
pub(super) fn name_plugins_at_fault() {
    #[cfg(unix)]
    unix::name_plugins_at_fault();
}

/// Listens for Ctrl-C, and for the signals with which systems end programs. One that is ignored, as by `nohup`, stays
/// ignored.
pub(super) fn listen(stop: Stop) -> Result<(), ctrlc::Error> {
    #[cfg(unix)]
    let ignored = unix::ignored();
    ctrlc::set_handler(move || {
        if stop.is_asked() {
            exit::now(exit::STOPPED);
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
    use libc::{
        SIG_IGN, SIGABRT, SIGBUS, SIGFPE, SIGHUP, SIGILL, SIGINT, SIGSEGV, SIGTERM, SIGXFSZ, sigaction, signal,
    };
    use std::mem::MaybeUninit;
    use std::sync::OnceLock;
    use std::sync::atomic::Ordering;

    use super::exit::{self, ENDS};
    use crate::plugin::plugins_in_call;

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

    /// The signals of a crash.
    const CRASHES: [i32; 5] = [SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV];
    /// The actions that they had before, which follow.
    static BEFORE: [OnceLock<sigaction>; CRASHES.len()] = [const { OnceLock::new() }; CRASHES.len()];

    pub(super) fn name_plugins_at_fault() {
        for (number, before) in CRASHES.into_iter().zip(&BEFORE) {
            let mut action = MaybeUninit::<sigaction>::zeroed();
            let mut old = MaybeUninit::<sigaction>::uninit();
            // SAFETY: all zeros is an action without flags and with an empty mask; `crashed` has the arguments of
            // SA_SIGINFO, calls only what a signal handler may, and runs on the thread's own stack for handlers if it
            // has one.
            unsafe {
                (*action.as_mut_ptr()).sa_sigaction = crashed as *const () as usize;
                (*action.as_mut_ptr()).sa_flags = libc::SA_ONSTACK | libc::SA_SIGINFO;
                if sigaction(number, std::ptr::null(), old.as_mut_ptr()) == 0 {
                    let _ = before.set(old.assume_init());
                    sigaction(number, action.as_ptr(), std::ptr::null_mut());
                }
            }
        }
        // SAFETY: `ended` is a function without arguments that stays loaded.
        unsafe { libc::atexit(ended) };
    }

    /// Names the plugins in a call, and lets the signal do what it did before.
    extern "C" fn crashed(number: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        if number == SIGBUS {
            write(
                "error: a file that is being read became shorter, or its disk failed (SIGBUS); leave the files alone \
                 while fusemix reads them, and run the command again\n",
            );
        }
        let in_plugin = say("fusemix crashed while this plugin was in a call: ");
        if number == SIGBUS && !in_plugin {
            // SAFETY: it ends the process, and runs nothing.
            unsafe { libc::_exit(exit::FAILED.into()) };
        }
        if let Some(at) = CRASHES.iter().position(|crash| *crash == number) {
            let before = BEFORE[at].get();
            // SAFETY: the action was the signal's before; where none is known, the default ends the program.
            unsafe {
                match before {
                    Some(before) => drop(sigaction(number, before, std::ptr::null_mut())),
                    None => drop(signal(number, libc::SIG_DFL)),
                }
            }
        }
        // SAFETY: the system fills `info` for a handler with SA_SIGINFO. A signal that somebody sent does not come
        // again by itself, unlike one of an instruction.
        unsafe {
            if (*info).si_code <= 0 {
                libc::raise(number);
            }
        }
    }

    /// Runs when somebody calls `exit`.
    extern "C" fn ended() {
        if !ENDS.load(Ordering::Relaxed) && say("the program was ended by a plugin; in a call: ") {
            // SAFETY: it ends the process, and runs nothing.
            unsafe { libc::_exit(exit::PLUGIN_ENDED.into()) };
        }
    }

    /// Prints a line with the plugins in a call; false if there are none. A signal handler may do this.
    fn say(words: &str) -> bool {
        let mut any = false;
        for plugin in plugins_in_call() {
            write(if any { ", " } else { words });
            any = true;
            write(plugin);
        }
        if any {
            write("\n");
        }
        any
    }

    fn write(text: &str) {
        // SAFETY: the text is as long as it says; what cannot be written is left out.
        unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
    }

    pub(super) fn ignore(signals: &[i32]) {
        for &number in signals {
            // SAFETY: to ignore a valid signal runs no code of this program.
            unsafe { signal(number, SIG_IGN) };
        }
    }
}
