//! Lines for programs: one JSON object a line, whose names stay as they are.
//!
//! `time` (RFC 3339, UTC), `level`, `target` (the module), `message`, and `fields` with the rest. Strings are bounded as
//! in the lines for people, and escaped so that neither a parser nor a terminal can be misled.

use super::line::LONGEST_LINE;
use onsembl_protocol::shown::Shown;
use serde_json::{Map, Value, json};
use std::fmt;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Writes each event as an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut line = Line { left: LONGEST_LINE, message: String::new(), fields: Map::new() };
        event.record(&mut line);
        let meta = event.metadata();
        let object = json!({
            "time": time,
            "level": meta.level().as_str(),
            "target": meta.target(),
            "message": line.message,
            "fields": line.fields,
        });
        writeln!(writer, "{}", Shown::json(&object.to_string()))
    }
}

struct Line {
    left: usize,
    message: String,
    fields: Map<String, Value>,
}

impl Line {
    /// As much of a text as there is room for.
    fn cut(&mut self, text: &str) -> String {
        let most = self.left.min(Shown::<&str>::MOST);
        let mut chars = text.chars();
        let mut cut: String = chars.by_ref().take(most).collect();
        self.left = self.left.saturating_sub(cut.chars().count());
        if chars.next().is_some() {
            cut.push('…');
        }
        cut
    }

    fn put(&mut self, field: &Field, value: Value) {
        let name = field.name().trim_start_matches("r#");
        let _ = self.fields.insert(name.to_owned(), value);
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        self.record_str(field, &text);
    }

    fn record_str(&mut self, field: &Field, text: &str) {
        let text = self.cut(text);
        match field.name() {
            "message" => self.message = text,
            _ => self.put(field, Value::String(text)),
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::tests::logged_by;
    use super::*;
    use tracing_subscriber::fmt::layer;

    fn logged(log: impl FnOnce()) -> String {
        logged_by(|writer| layer().event_format(JsonLines).with_writer(writer), log)
    }

    #[test]
    fn a_line_is_one_object_with_the_names_that_are_promised() {
        let bad = "x\n{\"level\":\"ERROR\"}\u{1b}[2J\u{9b}\u{202e}";
        let text = logged(|| {
            tracing::warn!(display = %bad, debug = ?bad, plain = bad, number = 7, is = true, "said {bad}");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.chars().any(|c| c.is_control() && c != '\n' || c == '\u{202e}'), "{text:?}");
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["message"], format!("said {bad}"));
        assert_eq!(line["fields"]["display"], bad);
        assert_eq!(line["fields"]["plain"], bad);
        assert_eq!(line["fields"]["number"], 7);
        assert_eq!(line["fields"]["is"], true);
        assert!(line["time"].as_str().unwrap().ends_with('Z'));
        assert!(line["target"].as_str().unwrap().contains("logging"));
    }

    #[test]
    fn a_line_has_a_longest_length() {
        let long = "y".repeat(1 << 20);
        let text = logged(|| {
            tracing::info!(a = %long, b = %long, c = %long, d = %long, e = %long, f = 1, "{long}");
        });
        assert!(text.len() < LONGEST_LINE + 400, "{} bytes", text.len());
        assert!(serde_json::from_str::<Value>(&text).is_ok(), "{text}");
    }
}
