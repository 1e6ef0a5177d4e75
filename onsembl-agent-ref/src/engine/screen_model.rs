//! The model of the terminal's screen, by which its program is answered while nobody is attached. When it is drawn, and
//! for how long, is decided in the core ([`Drawing`]).

use onsembl_protocol::model::TerminalSize;
use onsembl_protocol::terminal::Modes;
use onsembl_protocol::worker::{Drawing, ScreenModel};
use onsembl_transport::screen::Screen;
use std::time::Instant;

/// A screen that is drawn on until the slice is over.
#[derive(Debug)]
pub(super) struct Slice<'a> {
    screen: &'a mut Screen,
    until: Instant,
}

impl<'a> Slice<'a> {
    pub(super) fn of(screen: &'a mut Screen) -> Self {
        Self { screen, until: Instant::now() + Drawing::SLICE }
    }
}

impl ScreenModel for Slice<'_> {
    fn draw(&mut self, bytes: &[u8]) -> usize {
        self.screen.feed_until(bytes, self.until)
    }

    fn resize(&mut self, size: TerminalSize) {
        self.screen.resize(size);
    }

    fn size(&self) -> TerminalSize {
        self.screen.size()
    }

    fn cursor(&self) -> (u16, u16) {
        self.screen.cursor()
    }

    fn modes(&self) -> &Modes {
        self.screen.modes()
    }

    fn faults(&self) -> u64 {
        self.screen.faults()
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }
}
