//! What every program goes through, wrapped by an agent and in tmux side by side: after each step both screens must
//! show the same.

use crate::attached;
use crate::bench::{Bench, FAST};
use crate::side::Side;
use crate::stand_in::StandIn;
use crate::table::Program;
use crate::tmux::{Pane, Tmux};
use crate::wrapped::Wrapped;
use std::cell::RefCell;
use std::time::{Duration, Instant};

/// How soon both screens must show the same after what was done.
const WITHIN: Duration = Duration::from_secs(20);
pub const SIZE: (u16, u16) = (80, 24);
/// Not higher: tmux would bring back lines of its history, and what draws line by line would stand elsewhere.
pub const OTHER_SIZE: (u16, u16) = (100, 20);

/// Waits until it holds; if it does not, says what there is instead.
pub fn within(what: &str, holds: impl Fn() -> bool, instead: impl Fn() -> String) {
    let by = Instant::now() + WITHIN;
    while !holds() {
        assert!(Instant::now() < by, "never: {what}, but\n{}", instead());
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub fn walk(program: &Program) {
    let bench = Bench::with(FAST, &[]);
    let root = bench.folder.path().join("s");
    let stand_in = StandIn::start();
    let side = |name| Side::new(&root, name, program, &stand_in.address);
    let (ours, theirs, desk) = (side('a'), side('b'), side('c'));
    let tmux = Tmux::new(bench.folder.path());

    step("start");
    let pane = tmux.pane("reference", SIZE, &theirs.work(), theirs.environment(), theirs.words());
    let mut wrapped = Wrapped::start(&bench, "ada", &ours, SIZE);
    let _ = bench.await_status("ada", "online");
    let both = Both { program, ours: &ours, theirs: &theirs };
    both.alike(&wrapped, &pane, program.ready);
    ours.has_begun();
    theirs.has_begun();

    step("attach an agent");
    attached::at_a_desk(&bench, &tmux, &both, &desk, &pane);

    for turn in program.turns {
        step(&format!("{:?}", turn.input));
        wrapped.types(&turn.input);
        pane.types(&turn.input);
        both.alike(&wrapped, &pane, turn.shows);
    }

    step("resize");
    wrapped.resize(OTHER_SIZE);
    pane.resize(OTHER_SIZE);
    both.alike(&wrapped, &pane, "");

    step("attach remotely");
    attached::from_afar(&both, &tmux, &wrapped, &pane);

    step("cancel");
    both.is_ready_after(&wrapped, &wrapped.cancel());

    step("stop");
    let stopped = wrapped.stop();
    wrapped.release();
    both.is_ready_after(&wrapped, &stopped);

    step("kill");
    let lost = wrapped.kill();
    both.is_ready_after(&wrapped, &lost);

    step("end");
    let audited = || bench.ask(&["audit", "ada"]);
    within("the audit is balanced", || audited().status.success(), || format!("{:?}", audited()));
    wrapped.end();
}

fn step(name: &str) {
    println!("step: {name}");
}

/// A program on both sides.
pub struct Both<'a> {
    pub program: &'a Program,
    ours: &'a Side,
    theirs: &'a Side,
}

impl Both<'_> {
    /// Waits until both screens show this, and the same at one moment: some programs draw on while they wait, so that a
    /// screen of before may never come back.
    pub fn alike(&self, wrapped: &Wrapped<'_>, pane: &Pane<'_>, shows: &str) {
        let seen = RefCell::new((String::new(), String::new()));
        within(
            &format!("both show {shows:?} and the same"),
            || {
                let ours = self.of_ours(&wrapped.screen());
                let theirs = self.of_theirs(&pane.screen());
                let holds = ours == theirs && ours.contains(shows);
                *seen.borrow_mut() = (ours, theirs);
                holds
            },
            || {
                let (ours, theirs) = &*seen.borrow();
                differences(ours, theirs)
            },
        );
    }

    /// What is compared of a screen of the wrapped program.
    pub fn of_ours(&self, screen: &str) -> String {
        self.program.masked(&self.ours.without_folder(screen))
    }

    /// What is compared of a screen of the program in tmux.
    pub fn of_theirs(&self, screen: &str) -> String {
        self.program.masked(&self.theirs.without_folder(screen))
    }

    /// Another terminal than this one runs, and the program in it is ready.
    fn is_ready_after(&self, wrapped: &Wrapped<'_>, ended: &str) {
        let _ = wrapped.terminal_after(ended);
        let seen = RefCell::new(String::new());
        within(
            "it is ready again",
            || {
                *seen.borrow_mut() = wrapped.screen();
                seen.borrow().contains(self.program.ready)
            },
            || seen.borrow().clone(),
        );
    }
}

/// Both screens, line by line.
pub fn differences(ours: &str, theirs: &str) -> String {
    let mut text = String::new();
    let (mut ours, mut theirs) = (ours.lines(), theirs.lines());
    loop {
        match (ours.next(), theirs.next()) {
            (None, None) => return text,
            (one, other) if one == other => {
                text += &format!("      | {}\n", one.unwrap_or_default())
            }
            (one, other) => {
                text += &format!(" ours | {}\n", one.unwrap_or_default());
                text += &format!(" tmux | {}\n", other.unwrap_or_default());
            }
        }
    }
}
