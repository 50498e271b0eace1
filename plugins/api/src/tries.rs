//! The decision after each try of a request: retry, and when, or give up.

use fusemix_sdk::Error;
use std::time::Duration;

use crate::failure::{Failure, SLOW};

/// The number of times that a server may postpone a request.
const DELAYS: u32 = 100;
/// The number of times that it may postpone a request of several items without giving a time.
const PATIENCE: u32 = 8;
/// The tries of a request of several items, and of one, whose answers cannot be used: they may cost as much as good
/// ones.
const ANSWERS: [u32; 2] = [3, 5];
/// The tries of an item whose vector has another width than others.
const WIDTHS: u32 = 2;
/// The retries of a request to a server that worked and is gone.
const GONE: u32 = 3;
/// The tries of an answer that cannot be used while no request of that many items has been answered well: of several
/// items, and of one, which would be blamed for it.
const UNPROVEN: [u32; 2] = [2, 3];

/// The reason why some inputs have no vectors.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Trouble {
    /// The server refuses one of them.
    Refused(String),
    /// They are too many for one request; fewer will be sent from now on.
    Many(String),
    /// One of them may be the cause.
    Unsure(String),
    /// The same, and answers came that cannot be used.
    Unusable(String),
    /// None of them got a usable vector in an answer that can be read.
    Each(String),
    /// The same of a single item, with its vector if only the width of that is wrong.
    Bad(String, Option<Vec<f32>>),
    /// The same, but it may pass by itself, after this time: no answer came, or the server says so of the item.
    Passing(String, Option<Duration>),
    /// None of them is the cause: a server that worked is gone, and may come back.
    Gone(String),
    /// None of them is the cause.
    Stop(Error),
}

impl Trouble {
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Refused(reason) | Self::Many(reason) | Self::Unsure(reason) | Self::Unusable(reason) => reason,
            Self::Each(reason) | Self::Bad(reason, _) => reason,
            Self::Passing(reason, _) | Self::Gone(reason) => reason,
            Self::Stop(error) => &error.message,
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Stop(error)
    }
}

/// The state of the server by other requests.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Server {
    /// True if it has answered with good vectors before this try.
    pub(crate) works: bool,
    /// True if it has done so since the first try: if others are answered, the server is not at fault.
    pub(crate) answers_others: bool,
}

/// The action after a try.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// Send it again, after the pause of this number.
    Again {
        number: u32,
        reason: String,
    },
    /// Send nothing for as long as the server asks, if it says, and at least for the pause of this number; 0 is none.
    Later {
        asked: Option<Duration>,
        number: u32,
        reason: String,
    },
    GiveUp(Trouble),
}

/// The tries of one request.
#[derive(Debug)]
pub(crate) struct Tries {
    /// True for a request of several items.
    several: bool,
    /// True for a part of a refused request.
    halved: bool,
    /// True if no request of so many items has been answered well.
    unproven: bool,
    retries: u32,
    /// Answers without a good vector that are enough to say so of the item.
    most_bad: u32,
    /// Tries whose answer had no good vector, that failed in a way that may be the items' fault (these among them), in
    /// any other way, and that were postponed.
    bad: u32,
    unsure: u32,
    failed: u32,
    delayed: u32,
}

impl Tries {
    /// The tries of a request of so many `items`, with at most `retries` retries.
    pub(crate) fn new(items: usize, halved: bool, retries: u32) -> Self {
        Self {
            several: items > 1,
            halved,
            unproven: false,
            retries,
            most_bad: u32::MAX,
            bad: 0,
            unsure: 0,
            failed: 0,
            delayed: 0,
        }
    }

    /// The same if no request of so many items may have been answered well.
    pub(crate) fn unproven(self, unproven: bool) -> Self {
        Self { unproven, ..self }
    }

    /// The same if so many answers without a good vector end them.
    pub(crate) fn most_bad(self, most_bad: u32) -> Self {
        Self { most_bad, ..self }
    }

    /// True if there was one.
    pub(crate) fn any(&self) -> bool {
        self.have_failed() || self.delayed > 0
    }

    /// True if one has failed.
    pub(crate) fn have_failed(&self) -> bool {
        self.unsure + self.failed > 0
    }

    /// After an answer without good vectors.
    pub(crate) fn after_answer(&mut self, trouble: Trouble, server: Server) -> Next {
        // The server says when the item may be sent again: the host does so, and others go on meanwhile.
        if matches!(trouble, Trouble::Passing(..)) {
            return Next::GiveUp(trouble);
        }
        if let Trouble::Bad(_, vector) = &trouble {
            self.bad += 1;
            // The same item has the same width, but for a server of several minds.
            let most = if vector.is_some() { self.most_bad.min(WIDTHS) } else { self.most_bad };
            if self.bad >= most {
                return Next::GiveUp(trouble);
            }
        }
        let tries =
            if self.unproven { self.answers().min(UNPROVEN[usize::from(!self.several)]) } else { self.answers() };
        self.again(trouble, tries, server)
    }

    /// After no answer.
    pub(crate) fn after(&mut self, failure: Failure, server: Server) -> Next {
        let (answers, most) = (self.answers(), self.most());
        let stop = |reason: String| Trouble::Stop(Error::new(reason));
        let (trouble, tries) = match failure {
            Failure::Refused(reason) => return Next::GiveUp(Trouble::Refused(reason)),
            Failure::Key(key, reason) => return Next::GiveUp(Trouble::Stop(Error::config(reason).key(key))),
            Failure::Later { reason, after } => return self.later(reason, after),
            Failure::Slow(_) if server.works || self.halved => (Trouble::Passing(SLOW.to_owned(), None), answers),
            Failure::Slow(address) => {
                let advice = "is the server overloaded? A smaller `batch` or a longer `request_timeout` may help";
                (stop(format!("{SLOW} from {address}, {answers} times; {advice}")), answers)
            }
            // A server that was there will perhaps be there again: the host waits for it, beside what else it does.
            Failure::Unreachable(reason) if server.works => (Trouble::Gone(reason), 1 + self.retries.min(GONE)),
            Failure::Unreachable(reason) => {
                let tries = 1 + self.retries.min(2);
                (stop(format!("{reason}; tried {tries} times")), tries)
            }
            Failure::Again { reason, .. } if self.halved => (Trouble::Passing(reason, None), answers),
            Failure::Again { reason, .. } if server.works => (Trouble::Passing(reason, None), most),
            Failure::Cut(reason) if self.halved || server.works => (Trouble::Passing(reason, None), answers),
            Failure::Cut(reason) => {
                let advice = "a smaller `batch` may help";
                (stop(format!("{reason}; the answer broke off {answers} times; {advice}")), answers)
            }
            Failure::Stated(reason) if server.works => return Next::GiveUp(Trouble::Refused(reason)),
            // Some servers fall over what is too large for them, some over an item.
            Failure::Broken(reason) if self.halved || self.several || server.works => {
                (Trouble::Unsure(reason), answers)
            }
            Failure::Again { reason, .. } | Failure::Broken(reason) => {
                (stop(format!("{reason}; tried {most} times")), most)
            }
            Failure::Forbidden(reason) if server.works => (Trouble::Unsure(reason), 1),
            Failure::Fatal(reason) | Failure::Forbidden(reason) | Failure::Stated(reason) => (stop(reason), 1),
        };
        self.again(trouble, tries, server)
    }

    /// Tries of a request that may work in the end.
    fn most(&self) -> u32 {
        if self.is_half() { 1 } else { self.retries.saturating_add(1) }
    }

    /// Tries of a request whose answers may have to be paid for.
    fn answers(&self) -> u32 {
        self.most().min(ANSWERS[usize::from(!self.several)])
    }

    /// True for a part of a request that was tried whole; it is tried less often, down to the single item.
    fn is_half(&self) -> bool {
        self.halved && self.several
    }

    /// The next of so many `tries`.
    fn again(&mut self, trouble: Trouble, tries: u32, server: Server) -> Next {
        let is_apart = matches!(trouble, Trouble::Stop(_) | Trouble::Gone(_));
        let times = if is_apart { &mut self.failed } else { &mut self.unsure };
        *times += 1;
        let (number, reason) = (*times, trouble.reason().to_owned());
        let tries = if server.answers_others { tries.min(self.answers()) } else { tries };
        if number >= tries { Next::GiveUp(trouble) } else { Next::Again { number, reason } }
    }

    fn later(&mut self, reason: String, after: Option<Duration>) -> Next {
        self.delayed += 1;
        if self.delayed > DELAYS {
            return Next::GiveUp(Trouble::Stop(Error::new(format!(
                "the server asked to wait {DELAYS} times: {reason}"
            ))));
        }
        let number = match after {
            // A server that asks for no pause, again and again, gets one.
            Some(_) => self.delayed.saturating_sub(2),
            // Some say so of what is too large for any minute.
            None if self.delayed > PATIENCE && self.several => return Next::GiveUp(Trouble::Unsure(reason)),
            None => self.delayed,
        };
        Next::Later { asked: after, number, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: Server = Server { works: false, answers_others: false };
    const WORKS: Server = Server { works: true, answers_others: false };
    const BUSY: Server = Server { works: true, answers_others: true };

    fn again(reason: &str) -> Failure {
        Failure::Again { reason: reason.to_owned(), after: None }
    }

    /// The number of times that a request is sent that always fails in this way, and its end.
    fn sent(items: usize, halved: bool, server: Server, failure: &Failure) -> (u32, Trouble) {
        let mut tries = Tries::new(items, halved, 8);
        for number in 1.. {
            match tries.after(failure.clone(), server) {
                Next::GiveUp(trouble) => return (number, trouble),
                Next::Again { number: pause, .. } => assert_eq!(pause, number),
                Next::Later { .. } => {}
            }
        }
        unreachable!()
    }

    fn stop(reason: &str) -> Trouble {
        Trouble::Stop(Error::new(reason))
    }

    fn unsure(reason: &str) -> Trouble {
        Trouble::Unsure(reason.to_owned())
    }

    fn passing(reason: &str) -> Trouble {
        Trouble::Passing(reason.to_owned(), None)
    }

    #[test]
    fn a_request_goes_again_as_often_as_it_may_help() {
        let (broken, gone) = (Failure::Broken("500".into()), Failure::Unreachable("no route".into()));
        let slow = Failure::Slow("host".into());
        // Before anything has worked, it is the server.
        assert_eq!(sent(5, false, NEW, &again("reset")), (9, stop("reset; tried 9 times")));
        assert_eq!(sent(1, false, NEW, &broken), (9, stop("500; tried 9 times")));
        assert_eq!(sent(5, false, NEW, &gone), (3, stop("no route; tried 3 times")));
        let advice = "is the server overloaded? A smaller `batch` or a longer `request_timeout` may help";
        assert_eq!(sent(5, false, NEW, &slow), (3, stop(&format!("{SLOW} from host, 3 times; {advice}"))));
        // Then it may be the items; a server that is gone is still a server.
        assert_eq!(sent(5, false, WORKS, &again("reset")), (9, passing("reset")));
        assert_eq!(sent(1, false, WORKS, &broken), (5, unsure("500")));
        assert_eq!(sent(5, false, WORKS, &gone), (4, Trouble::Gone("no route".to_owned())));
        assert_eq!(sent(5, false, WORKS, &slow), (3, passing(SLOW)));
        // Several items may be too many, whatever worked.
        assert_eq!(sent(5, false, NEW, &broken), (3, unsure("500")));
        // Where others are answered meanwhile, it is not the server.
        assert_eq!(sent(5, false, BUSY, &again("reset")), (3, passing("reset")));
        // What breaks off may be paid for.
        let cut = Failure::Cut("cut".into());
        assert_eq!(
            sent(5, false, NEW, &cut),
            (3, stop("cut; the answer broke off 3 times; a smaller `batch` may help"))
        );
        assert_eq!(sent(5, false, WORKS, &cut), (3, passing("cut")));
        assert_eq!(sent(5, true, NEW, &cut), (1, passing("cut")));
        // Halves were tried before, but not the single item.
        assert_eq!(sent(5, true, NEW, &again("reset")), (1, passing("reset")));
        assert_eq!(sent(1, true, NEW, &again("reset")), (5, passing("reset")));
    }

    #[test]
    fn what_no_other_try_mends_is_given_up_at_once() {
        let [refused, forbidden, fatal]: [fn(String) -> Failure; 3] =
            [Failure::Refused, Failure::Forbidden, Failure::Fatal];
        for server in [NEW, WORKS] {
            assert_eq!(sent(5, false, server, &refused("413".into())), (1, Trouble::Refused("413".into())));
            assert_eq!(sent(5, false, server, &fatal("401".into())), (1, stop("401")));
            let model = Trouble::Stop(Error::config("404").key("model"));
            assert_eq!(sent(5, false, server, &Failure::Key("model", "404".into())), (1, model));
        }
        // An error that is called a success: of one item, if others have worked.
        let stated = Failure::Stated("200".into());
        assert_eq!(sent(5, false, NEW, &stated), (1, stop("200")));
        assert_eq!(sent(5, false, WORKS, &stated), (1, Trouble::Refused("200".into())));
        assert_eq!(sent(5, false, NEW, &forbidden("403".into())), (1, stop("403")));
        assert_eq!(sent(5, false, WORKS, &forbidden("403".into())), (1, unsure("403")));
    }

    #[test]
    fn answers_that_are_paid_for_are_not_asked_for_often() {
        for (items, times) in [(5, 3), (1, 5)] {
            let mut tries = Tries::new(items, false, 8);
            let next = (1..times).map(|_| tries.after_answer(unsure("few"), WORKS)).collect::<Vec<_>>();
            let again = |number| Next::Again { number, reason: "few".to_owned() };
            assert_eq!(next, (1..times).map(again).collect::<Vec<_>>());
            assert_eq!(tries.after_answer(unsure("few"), WORKS), Next::GiveUp(unsure("few")));
        }
        let mut tries = Tries::new(5, false, 0);
        assert_eq!(tries.after_answer(unsure("few"), WORKS), Next::GiveUp(unsure("few")));
        let mut tries = Tries::new(1, false, 8);
        let narrow = || Trouble::Bad("narrow".to_owned(), Some(vec![1.0]));
        assert!(matches!(tries.after_answer(narrow(), WORKS), Next::Again { number: 1, .. }));
        assert_eq!(tries.after_answer(narrow(), WORKS), Next::GiveUp(narrow()));
        // What the server postpones, the host sends again.
        let later = || Trouble::Passing("busy".to_owned(), Some(Duration::from_secs(1)));
        assert_eq!(Tries::new(5, false, 8).after_answer(later(), NEW), Next::GiveUp(later()));
        // What has never worked with so many is tried once more, and no oftener.
        let mut tries = Tries::new(5, false, 8).unproven(true);
        assert!(matches!(tries.after_answer(unsure("few"), NEW), Next::Again { number: 1, .. }));
        assert_eq!(tries.after_answer(unsure("few"), NEW), Next::GiveUp(unsure("few")));
    }

    #[test]
    fn what_was_wrong_in_another_answer_soon_ends_with_itself_but_not_with_what_passes() {
        let bad = || Trouble::Bad("not finite".to_owned(), None);
        let mut tries = Tries::new(1, false, 8).most_bad(2);
        for number in 1..=2 {
            let next = tries.after(Failure::Broken("500".into()), BUSY);
            assert_eq!(next, Next::Again { number, reason: "500".to_owned() });
        }
        assert!(matches!(tries.after_answer(bad(), BUSY), Next::Again { number: 3, .. }));
        assert_eq!(tries.after_answer(bad(), BUSY), Next::GiveUp(bad()));
    }

    #[test]
    fn a_server_that_wants_it_later_gets_it_later() {
        let later = |after| Failure::Later { reason: "429".to_owned(), after };
        let second = Duration::from_secs(1);
        let mut tries = Tries::new(5, false, 0);
        assert!(!tries.any());
        let next = |asked, number| Next::Later { asked, number, reason: "429".to_owned() };
        for number in [0, 0, 1, 2] {
            assert_eq!(tries.after(later(Some(second)), NEW), next(Some(second), number));
        }
        assert!(tries.any() && !tries.have_failed());
        assert_eq!(tries.after(later(None), NEW), next(None, 5));
        assert_eq!(sent(5, false, NEW, &later(None)), (9, unsure("429")), "it may be too large for any minute");
        assert_eq!(sent(1, false, NEW, &later(None)), (101, stop("the server asked to wait 100 times: 429")));
        assert_eq!(sent(5, false, NEW, &later(Some(second))), (101, stop("the server asked to wait 100 times: 429")));
    }

    #[test]
    fn what_may_be_the_items_doing_is_counted_apart_from_what_is_not() {
        let mut tries = Tries::new(5, false, 8);
        tries.after(Failure::Unreachable("gone".into()), NEW);
        let next = tries.after_answer(unsure("few"), NEW);
        assert_eq!(next, Next::Again { number: 1, reason: "few".to_owned() });
    }
}
