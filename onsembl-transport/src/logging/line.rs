//! How the values of a line are written: each through `Shown`, and all of them within a length. There is no other
//! way from a value to the log.

use onsembl_protocol::shown::Shown;
use std::fmt;
use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

/// Characters of a line, besides its time and place.
const LONGEST_LINE: usize = 4096;

/// Writes the message, then `name=value` for each other field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields;

impl<'w> FormatFields<'w> for Fields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut line = Line { writer, left: LONGEST_LINE, written: Ok(()), begun: false };
        fields.record(&mut line);
        line.written
    }
}

struct Line<'w> {
    writer: Writer<'w>,
    left: usize,
    written: fmt::Result,
    begun: bool,
}

impl Line<'_> {
    fn write(&mut self, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
        let most = self.left.min(Shown::<&str>::MOST);
        // It takes a copy, so that what it costs is known.
        let value = String::from(Shown::new(format_args!("{value:?}")).within(most));
        self.left = self.left.saturating_sub(value.chars().count());
        if std::mem::replace(&mut self.begun, true) {
            self.writer.write_char(' ')?;
        }
        match field.name() {
            "message" => write!(self.writer, "{value}"),
            name => write!(self.writer, "{}={value}", name.trim_start_matches("r#")),
        }
    }
}

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.written.is_ok() {
            self.written = self.write(field, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::layer::SubscriberExt as _;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(log: impl FnOnce()) -> String {
        let page = Page::default();
        let to = page.clone();
        let layer = tracing_subscriber::fmt::layer()
            .fmt_fields(Fields)
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .with_writer(move || to.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn values_are_escaped_however_they_were_recorded() {
        let bad = "x\u{1b}[2J\nERROR forged \u{9b}\u{202e}";
        let text = logged(|| {
            tracing::info!(display = %bad, debug = ?bad, plain = bad, number = 7, "said {bad}");
        });
        let safe = "x\\u{1b}[2J\\nERROR forged \\u{9b}\\u{202e}";
        let line = format!(
            " INFO said {safe} display={safe} debug=\"{safe}\" plain=\"{safe}\" number=7\n"
        );
        assert_eq!(text, line);
    }

    #[test]
    fn a_line_has_a_longest_length() {
        let long = "y".repeat(1 << 20);
        let text = logged(|| {
            tracing::info!(a = %long, b = %long, c = %long, d = %long, e = %long, f = 1, "{long}");
        });
        assert!(text.len() < LONGEST_LINE + 100, "{} bytes", text.len());
        assert!(text.contains('…') && text.ends_with('\n'));
    }
}
