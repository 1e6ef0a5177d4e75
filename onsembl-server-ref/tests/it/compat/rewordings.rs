//! Sentences for people that are worded differently since they were recorded: the table
//! `tests/compat/reworded.jsonl`. The recordings keep their words; codes, fields and names have no row here.

use super::conversation::data;
use serde_json::Value;
use std::path::Path;
use std::sync::LazyLock;

struct Rewording {
    old: String,
    new: String,
    /// What is said instead of `new` in some cases, which were not told apart then.
    or: Option<String>,
}

static REWORDINGS: LazyLock<Vec<Rewording>> = LazyLock::new(|| {
    let table = std::fs::read_to_string(data().join("../reworded.jsonl")).unwrap();
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        let text = |column: &str| row[column].as_str().unwrap().to_owned();
        let or = row["or"].as_str().map(str::to_owned);
        Rewording { old: text("old"), new: text("new"), or }
    };
    table.lines().map(row).collect()
});

/// A text as it is worded now, in each of the ways in which it may be.
pub(crate) fn reworded(recorded: &str) -> [String; 2] {
    let all = |now: fn(&Rewording) -> &String| {
        let one = |text: String, row: &Rewording| text.replace(&row.old, now(row));
        REWORDINGS.iter().fold(recorded.to_owned(), one)
    };
    [all(|row| &row.new), all(|row| row.or.as_ref().unwrap_or(&row.new))]
}

/// Every file below a folder.
fn files(folder: &Path, all: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, all);
        } else if let Ok(text) = std::fs::read_to_string(path) {
            all.push(text);
        }
    }
}

/// Every text of the recordings.
fn recorded() -> Vec<String> {
    fn collect(value: Value, all: &mut Vec<String>) {
        match value {
            Value::Object(fields) => fields.into_iter().for_each(|(_, value)| collect(value, all)),
            Value::Array(items) => items.into_iter().for_each(|value| collect(value, all)),
            Value::String(text) => {
                // Frames and answers are JSON themselves, some of them a value a line.
                for line in text.lines() {
                    match serde_json::from_str::<Value>(line) {
                        Ok(value @ (Value::Object(_) | Value::Array(_))) => collect(value, all),
                        _ => all.push(line.to_owned()),
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let (mut lines, mut texts) = (Vec::new(), Vec::new());
    for folder in ["conversations", "databases"] {
        files(&data().join(folder), &mut lines);
    }
    for line in lines.iter().flat_map(|file| file.lines()) {
        if let Ok(value) = serde_json::from_str(line) {
            collect(value, &mut texts);
        }
    }
    texts
}

#[test]
fn each_rewording_is_of_something_recorded() {
    let recorded = recorded();
    assert!(recorded.len() > 1_000, "{}", recorded.len());
    for row in REWORDINGS.iter() {
        assert!(recorded.iter().any(|text| text.contains(&row.old)), "{:?} is not used", row.old);
    }
}

#[test]
fn no_rewording_means_something_else() {
    let recorded = recorded();
    for (n, row) in REWORDINGS.iter().enumerate() {
        let text = recorded.iter().find(|text| text.contains(&row.new));
        assert_eq!(text, None, "{:?} was already said, beside {:?}", row.new, row.old);
        for (_, other) in REWORDINGS.iter().enumerate().filter(|(other, _)| *other != n) {
            assert!(!other.new.contains(&row.new), "two rows say {:?}", row.new);
            assert!(!other.new.contains(&row.old), "{:?} would be reworded twice", other.old);
            assert!(!other.old.contains(&row.old), "two rows are of {:?}", row.old);
        }
    }
}

#[test]
fn what_is_reworded_is_said_that_way_now() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut source = Vec::new();
    for name in ["onsembl-protocol", "onsembl-transport", "onsembl-server-ref", "onsembl-agent-ref"]
    {
        // A packaged crate has no others beside it.
        if !top.join(name).is_dir() {
            return;
        }
        files(&top.join(name).join("src"), &mut source);
    }
    for file in &mut source {
        // A string over several lines is one sentence.
        let lines = file.lines().map(str::trim_start);
        *file = lines.map(|line| line.strip_suffix('\\').unwrap_or(line)).collect();
    }
    for row in REWORDINGS.iter() {
        for new in [Some(&row.new), row.or.as_ref()].into_iter().flatten() {
            assert!(source.iter().any(|file| file.contains(new)), "{new:?} is not said");
        }
        assert!(!source.iter().any(|file| file.contains(&row.old)), "{:?} is still said", row.old);
    }
}
