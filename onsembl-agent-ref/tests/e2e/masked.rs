//! Puts the same values in the place of what differs from run to run: ids, times, durations, ports, sizes, folders,
//! numbers of processes.

use std::collections::HashMap;

/// What a `d` in a shape stands for is a digit of base 10, an `x` one of base 16.
const TIMES: &[(&str, &str)] = &[
    ("dddd-dd-ddTdd:dd:dd.dddZ", "2026-12-01T09:30:00.000Z"),
    ("dddd-dd-ddTdd:dd:dd.ddddddZ", "2026-12-01T09:30:00.000000Z"),
    ("dddd-dd-ddTddddddZ", "2026-12-01T093000Z"),
];
const UUID: &str = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
/// The last eight digits of an id are its short form.
const FIRST_OF_UUID: &str = "01a22c7f-6084-761c-abe0-7a00";

/// One run, whose ids are told apart.
pub struct Masks {
    /// What stands in the run, and what stands in the document.
    named: Vec<(String, String)>,
    ids: HashMap<String, String>,
}

impl Masks {
    /// With these names of the run replaced by those of the document.
    pub fn new(named: Vec<(String, String)>) -> Self {
        Self { named, ids: HashMap::new() }
    }

    /// The text as the document has it.
    pub fn text(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for (run, document) in &self.named {
            text = text.replace(run, document);
        }
        let lines: Vec<String> = text.lines().map(|line| self.line(line)).collect();
        lines.join("\n")
    }

    fn line(&mut self, line: &str) -> String {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "._:-".contains(c);
        let (mut masked, mut rest) = (String::new(), line);
        while let Some(from) = rest.find(is_part) {
            let (before, word_on) = rest.split_at(from);
            masked.push_str(before);
            let to = word_on.find(|c| !is_part(c)).unwrap_or(word_on.len());
            let word = match word_on[..to].trim_end_matches(['.', ':']) {
                // Nothing but stops.
                "" => &word_on[..to],
                word => word,
            };
            let after = &word_on[word.len()..];
            let mut instead = self.word(&line[..line.len() - word_on.len()], word, after);
            // A column keeps its width.
            let spaces = after.len() - after.trim_start_matches(' ').len();
            let shorter = word.len().saturating_sub(instead.len());
            if shorter > 0 && spaces > 1 {
                instead.push_str(&" ".repeat(shorter));
            }
            masked.push_str(&instead);
            rest = after;
        }
        (masked + rest).trim_end().to_owned()
    }

    fn word(&mut self, before: &str, word: &str, after: &str) -> String {
        for (shape, instead) in TIMES {
            if word.ends_with_shape(shape) {
                return word[..word.len() - shape.len()].to_owned() + instead;
            }
        }
        if word.ends_with_shape(UUID) {
            let (before, id) = word.split_at(word.len() - UUID.len());
            let last = self.id(&id[UUID.len() - 8..]);
            return format!("{before}{FIRST_OF_UUID}{last}");
        }
        let is_hex = word.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
        if matches!(word.len(), 8 | 16) && is_hex {
            return self.id(word);
        }
        let is_number = |text: &str| text.parse::<f64>().is_ok();
        // What takes milliseconds takes a second elsewhere.
        let is_duration = |unit: &str| word.strip_suffix(unit).is_some_and(is_number);
        if is_duration("ms") || is_duration("s") {
            return "2s".to_owned();
        }
        if is_number(word) && after.starts_with(" ms") {
            // One clock may be ahead of the other.
            return if word.starts_with('-') { "+2" } else { "2" }.to_owned();
        }
        if is_number(word) && before.ends_with("process ") {
            return "4711".to_owned();
        }
        if before.ends_with("Linux ") {
            return "6.1.0".to_owned();
        }
        // What has the number of a process in its name, and a port that nobody chose.
        for (name, number) in [("onsembl-demo-", "4711"), ("127.0.0.1:", "40613")] {
            let given = word.strip_prefix(name).filter(|rest| is_number(rest) && *rest != "8080");
            if given.is_some() {
                return name.to_owned() + number;
            }
        }
        if is_number(word) && after.starts_with(" %") {
            return "99.0".to_owned();
        }
        if is_number(word) && after.starts_with(" KiB") {
            return "440".to_owned();
        }
        word.to_owned()
    }

    /// The same in the place of the same, by the order in which they come.
    fn id(&mut self, id: &str) -> String {
        let next = (self.ids.len() as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let instead = format!("{next:016x}")[..id.len()].to_owned();
        self.ids.entry(id.to_owned()).or_insert(instead).clone()
    }
}

trait Shaped {
    fn ends_with_shape(&self, shape: &str) -> bool;
}

impl Shaped for str {
    fn ends_with_shape(&self, shape: &str) -> bool {
        let Some(end) = self.len().checked_sub(shape.len()).and_then(|at| self.get(at..)) else {
            return false;
        };
        end.chars().zip(shape.chars()).all(|(found, wanted)| match wanted {
            'x' => found.is_ascii_hexdigit(),
            'd' => found.is_ascii_digit(),
            other => found == other,
        })
    }
}

#[test]
fn what_differs_is_replaced_and_what_is_said_stays() {
    let mut masks = Masks::new(vec![("127.0.0.1:4711".to_owned(), "127.0.0.1:8080".to_owned())]);
    let line =
        "f37ccb9c  a1  13s    at 2026-11-30T18:35:47.192Z: quiet 10.0s, 91.9 % of 127.0.0.1:4711";
    let masked = masks.text(line);
    assert!(
        masked.ends_with(
            "a1  2s     at 2026-12-01T09:30:00.000Z: quiet 2s, 99.0 % of 127.0.0.1:8080"
        ),
        "{masked}"
    );
    let demo = "ws://127.0.0.1:4712 of process 88, Linux 6.8.0-40-generic, received +13 ms";
    assert_eq!(
        masks.text(demo),
        "ws://127.0.0.1:40613 of process 4711, Linux 6.1.0, received +2 ms"
    );
    let whole = masks.text("cmd-01a22dbd-e460-71d5-9c10-d647f37ccb9c");
    assert!(whole.ends_with(&masked[..8]) && !masked.contains("f37ccb9c"), "{whole}");
    assert_ne!(masks.text("a02be86b"), masks.text("f37ccb9c"));
    assert_eq!(
        masks.text("exit code 7, accepted, schema 14."),
        "exit code 7, accepted, schema 14."
    );
}
