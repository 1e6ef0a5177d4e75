//! How the values of a line for people are written: each through `Shown`, in quotes where it could be taken for more
//! than one value, and all of them within a length.

use onsembl_protocol::shown::Shown;
use std::fmt;
use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

/// Characters of a line, besides its time and place.
pub(super) const LONGEST_LINE: usize = 4096;

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
            name => {
                write!(self.writer, "{}=", name.trim_start_matches("r#"))?;
                match is_one_value(&value) {
                    true => self.writer.write_str(&value),
                    false => write_quoted(&mut self.writer, &value),
                }
            }
        }
    }
}

/// Whether a value stands for itself: one word, or quoted already, as strings are by `Debug`.
fn is_one_value(value: &str) -> bool {
    let inside = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match inside {
        Some(inside) => {
            let mut is_escaped = false;
            let mut quotes = inside.chars().filter(|&c| {
                let is_open = c == '"' && !is_escaped;
                is_escaped = c == '\\' && !is_escaped;
                is_open
            });
            let closes = quotes.next().is_none();
            closes && !is_escaped
        }
        None => {
            !value.is_empty()
                && !value.contains(|c: char| c.is_whitespace() || c == '"' || c == '=')
        }
    }
}

/// It is escaped already, but for some of the quotes in it.
fn write_quoted(writer: &mut impl fmt::Write, value: &str) -> fmt::Result {
    writer.write_char('"')?;
    let mut ends_with_escape = false;
    for c in value.chars() {
        if c == '"' && !ends_with_escape {
            writer.write_char('\\')?;
        }
        ends_with_escape = c == '\\' && !ends_with_escape;
        writer.write_char(c)?;
    }
    if ends_with_escape {
        writer.write_char('\\')?;
    }
    writer.write_char('"')
}

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.written.is_ok() {
            self.written = self.write(field, value);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::fmt::writer::BoxMakeWriter;
    use tracing_subscriber::layer::{Layer, SubscriberExt as _};
    use tracing_subscriber::registry::Registry;

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

    /// What a layer writes of what is logged.
    pub(in super::super) fn logged_by<L: Layer<Registry> + Send + Sync>(
        layer: impl FnOnce(BoxMakeWriter) -> L,
        log: impl FnOnce(),
    ) -> String {
        let page = Page::default();
        let to = page.clone();
        let layer = layer(BoxMakeWriter::new(move || to.clone()));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn logged(log: impl FnOnce()) -> String {
        let layer = |writer| {
            tracing_subscriber::fmt::layer()
                .fmt_fields(Fields)
                .with_ansi(false)
                .without_time()
                .with_target(false)
                .with_writer(writer)
        };
        logged_by(layer, log)
    }

    #[test]
    fn values_are_escaped_however_they_were_recorded() {
        let bad = "x\u{1b}[2J\nERROR forged \u{9b}\u{202e}";
        let text = logged(|| {
            tracing::info!(display = %bad, debug = ?bad, plain = bad, number = 7, "said {bad}");
        });
        let safe = "x\\u{1b}[2J\\nERROR forged \\u{9b}\\u{202e}";
        let line = format!(
            " INFO said {safe} display=\"{safe}\" debug=\"{safe}\" plain=\"{safe}\" number=7\n"
        );
        assert_eq!(text, line);
    }

    #[test]
    fn no_value_can_be_taken_for_more_than_one() {
        for (value, shown) in [
            ("one-word:7", "one-word:7"),
            ("", "\"\""),
            ("x user=root", "\"x user=root\""),
            ("user=root", "\"user=root\""),
            ("x\" user=\"root", "\"x\\\" user=\\\"root\""),
            ("\"x\" user=\"root\"", "\"\\\"x\\\" user=\\\"root\\\"\""),
        ] {
            let text = logged(|| tracing::info!(display = %value, last = 1, "m"));
            assert_eq!(text, format!(" INFO m display={shown} last=1\n"), "{value}");
        }
        for value in ["a \\", "\\", "\"\\\"", "a\\\" b", "\"a\\\""] {
            let text = logged(|| tracing::info!(display = %value, last = 1, "m"));
            assert_eq!(fields(&text), ["display", "last"], "{value}: {text}");
        }
    }

    /// The names that a reader of `name=value` with quotes finds.
    fn fields(line: &str) -> Vec<String> {
        let (mut names, mut word, mut quoted, mut escaped) =
            (Vec::new(), String::new(), false, false);
        for c in line.chars() {
            match c {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                ' ' | '\n' if !quoted => word.clear(),
                '=' if !quoted => names.push(std::mem::take(&mut word)),
                c => word.push(c),
            }
        }
        assert!(!quoted, "{line}");
        names
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
