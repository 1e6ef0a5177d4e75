//! The title of a terminal, as its program sets it.

/// Characters of a title that are kept.
const LONGEST: usize = 256;

/// A title; a program chose it.
#[derive(Debug, Default)]
pub(super) struct Title(Option<String>);

impl Title {
    /// What stands in a command for the terminal, `OSC`.
    pub(super) fn command(&mut self, body: &[u8]) {
        let title = body.strip_prefix(b"0;").or_else(|| body.strip_prefix(b"2;"));
        let Some(title) = title else { return };
        let title = String::from_utf8_lossy(title);
        let kept: String = title.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
        self.0 = (!kept.is_empty()).then_some(kept);
    }

    pub(super) fn text(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// What sets it in a fresh terminal.
    pub(super) fn setting(&self) -> Vec<u8> {
        let setting = self.0.as_ref().map(|title| format!("\x1b]2;{title}\x07"));
        setting.unwrap_or_default().into_bytes()
    }
}
