//! What is no whole recording is refused, and the line is named; what differs is told apart from it.

use super::story::Story;
use crate::support::secs;
use onsembl_protocol::close::{Breakage, CloseReason};
use onsembl_protocol::replay::{MAX_LINE, ReplayError, replay};
use onsembl_protocol::session::{Claimant, ServerEvent};
use proptest::prelude::*;

fn recording() -> String {
    let mut story = Story::in_session();
    story.beat_for(secs(90), secs(30));
    story.feed(ServerEvent::LinkDown(story.link(), CloseReason::broken(Breakage::Reset)));
    story.run_for(secs(3));
    story.join(Claimant::SameProcess);
    story.beat_for(secs(60), secs(30));
    story.finish()
}

fn lines() -> Vec<String> {
    recording().lines().map(str::to_owned).collect()
}

/// The line that an error names.
fn named(error: &ReplayError) -> u64 {
    match error {
        ReplayError::Empty | ReplayError::Foreign { .. } | ReplayError::Newer { .. } => 1,
        ReplayError::Corrupt { line, .. }
        | ReplayError::Unreadable { line, .. }
        | ReplayError::Unproven { line, .. } => *line,
        ReplayError::Truncated { lines } => *lines,
        ReplayError::Differs(difference) => difference.line,
        other => panic!("{other:?}"),
    }
}

fn refusal(lines: &[String]) -> ReplayError {
    replay(&lines.join("\n")).unwrap_err()
}

/// Gives changed lines the checks they would have been written with: the same chain, recomputed.
pub(super) fn seal(lines: &mut [String]) {
    let mut before = 0;
    for line in lines {
        let content = line[..line.len() - r#","check":"00000000"}"#.len()].to_owned();
        before = check(before, content.as_bytes());
        *line = format!("{content},\"check\":\"{before:08x}\"}}");
    }
}

/// The check, written a second time from its description.
fn check(before: u32, bytes: &[u8]) -> u32 {
    let mix = |state: u64, word: u64| {
        let state = (state ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        state ^ (state >> 29)
    };
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len().next_multiple_of(32), 0);
    let mut sums = [before.into(), bytes.len() as u64, 0, 0];
    for (n, word) in padded.chunks(8).enumerate() {
        sums[n % 4] = mix(sums[n % 4], u64::from_le_bytes(word.try_into().unwrap()));
    }
    let state = sums.into_iter().fold(0, mix);
    (state ^ (state >> 32)) as u32
}

#[test]
fn a_whole_recording_agrees_also_without_its_last_line_feed() {
    let text = recording();
    let replayed = replay(&text).unwrap();
    assert_eq!(replayed.entries as usize + 2, lines().len());
    assert_eq!(
        (replayed.machine, replayed.agent.as_str(), replayed.dropped),
        ("server", "agent-1", 0)
    );
    assert_eq!(replay(text.trim_end()).unwrap(), replayed);
    let mut again = lines();
    seal(&mut again);
    assert_eq!(again, lines(), "the check is what it is described to be");
}

#[test]
fn truncation_at_every_line_and_at_every_byte_is_noticed_and_named() {
    let text = recording();
    assert_eq!(replay(""), Err(ReplayError::Empty));
    for (before, (at, _)) in text.match_indices('\n').enumerate() {
        let count = before as u64 + 1;
        if at + 1 == text.len() {
            continue;
        }
        let cut = replay(&text[..=at]).unwrap_err();
        assert_eq!(cut, ReplayError::Truncated { lines: count });
        assert_eq!(replay(&text[..at]).unwrap_err(), cut, "the line feed does not matter");
    }
    for at in (1..text.len() - 1)
        .filter(|at| text.as_bytes()[at - 1] != b'\n' && text.as_bytes()[*at] != b'\n')
    {
        let line = text[..at].matches('\n').count() as u64 + 1;
        let cut = replay(&text[..at]).unwrap_err();
        assert_eq!(named(&cut), line, "{at}: {cut}");
    }
}

#[test]
fn a_line_that_is_missing_doubled_or_moved_is_named() {
    let whole = lines();
    for at in 0..whole.len() - 1 {
        let mut missing = whole.clone();
        missing.remove(at);
        assert_eq!(named(&refusal(&missing)), at as u64 + 1);
        let mut doubled = whole.clone();
        doubled.insert(at, whole[at].clone());
        assert_eq!(named(&refusal(&doubled)), at as u64 + 2);
        let mut swapped = whole.clone();
        swapped.swap(at, at + 1);
        assert_eq!(named(&refusal(&swapped)), at as u64 + 1);
    }
    let mut more = whole.clone();
    more.push(String::new());
    more.push(whole[1].clone());
    assert_eq!(named(&refusal(&more)), whole.len() as u64 + 1);
}

proptest! {
    #[test]
    fn any_change_of_any_line_is_noticed_and_named(
        line in any::<prop::sample::Index>(),
        position in any::<prop::sample::Index>(),
        to in "[ -~é]",
    ) {
        let mut lines = lines();
        let number = line.index(lines.len());
        let line = &mut lines[number];
        let at = position.index(line.len());
        if line[at..=at] == to {
            return Ok(());
        }
        line.replace_range(at..=at, &to);
        let error = refusal(&lines);
        prop_assert_eq!(named(&error), number as u64 + 1, "{}", error);
        prop_assert!(!matches!(error, ReplayError::Differs(_)), "damage is not a difference");
    }

    /// Nothing that is read makes the reader panic, also not when its checks are right.
    #[test]
    fn no_number_in_a_recording_makes_the_core_panic(
        line in any::<prop::sample::Index>(),
        position in any::<prop::sample::Index>(),
        to in prop::sample::select(vec!["0", "1", "18446744073709551615", "9223372036854775807", "null"]),
    ) {
        let mut lines = lines();
        let number = line.index(lines.len() - 1);
        let content = lines[number].clone();
        let numbers: Vec<_> = content
            .match_indices(|c: char| c.is_ascii_digit())
            .map(|(at, _)| at)
            .filter(|at| !content.as_bytes()[at - 1].is_ascii_digit() && *at + 20 < content.len())
            .collect();
        let from = numbers[position.index(numbers.len())];
        let len = content[from..].find(|c: char| !c.is_ascii_digit()).unwrap();
        lines[number].replace_range(from..from + len, to);
        seal(&mut lines);
        let _ = replay(&lines.join("\n"));
    }
}

#[test]
fn foreign_files_and_newer_versions_are_refused_by_name() {
    for foreign in [
        "\n",
        "not json",
        "{}",
        "[]",
        r#"{"format":"other","version":1}"#,
        r#"{"type":"PING","id":"1","timestamp":1,"payload":{}}"#,
        "\u{7f}ELF\0\0",
    ] {
        let error = replay(foreign).unwrap_err();
        assert!(matches!(error, ReplayError::Foreign { .. }), "{foreign:?}: {error}");
    }
    assert_eq!(
        replay(r#"{"format":"onsembl-recording","version":2,"of":"another shape"}"#),
        Err(ReplayError::Newer { found: 2, known: 1 })
    );
    let mut strange = lines();
    strange[0] = strange[0].replace(r#""machine":"server""#, r#""machine":"toaster""#);
    seal(&mut strange);
    let error = refusal(&strange);
    assert!(error.to_string().starts_with("line 1: it records a machine"), "{error}");
}

#[test]
fn a_line_without_end_is_refused_before_it_is_held() {
    let mut lines = lines();
    lines[3] = " ".repeat(MAX_LINE + 1);
    let error = refusal(&lines);
    assert_eq!(
        error.to_string(),
        "line 4: longer than 65536 bytes; the file was changed, damaged or cut after it was written"
    );
    lines[0] = "x".repeat(MAX_LINE + 1);
    assert!(matches!(refusal(&lines), ReplayError::Foreign { .. }));
}

/// What a core with another idea would be told: the checks are right, so the file is what was written,
/// and only what the core does is not what it did.
#[test]
fn a_core_that_does_something_else_is_told_what_was_and_what_would_be() {
    for (was, would_be, number) in [
        (r#""status":"stale""#, r#""status":"online""#, None),
        (r#"{"Record":{"epoch":1,"sequence":2}}"#, "", Some(7)),
        (r#""deadline":48012000000"#, r#""deadline":48012000001"#, None),
    ] {
        let mut story = Story::in_session();
        story.beat_for(secs(60), secs(30));
        story.run_for(secs(50));
        let text = story.finish();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let at = lines
            .iter()
            .position(|line| line.contains(was))
            .unwrap_or_else(|| panic!("{was}: {text}"));
        lines[at] = lines[at].replace(was, would_be);
        seal(&mut lines);
        let Err(ReplayError::Differs(difference)) = replay(&lines.join("\n")) else {
            panic!("{was} is not noticed")
        };
        assert_eq!(difference.line, at as u64 + 1);
        assert_eq!(difference.n, at as u64);
        assert!(number.is_none_or(|n| n == difference.line), "{difference}");
        assert!(
            difference.now.contains(
                was.trim_start_matches(r#""status":"#)
                    .trim_start_matches(r#""deadline":"#)
                    .trim_matches('"')
            ),
            "{difference}"
        );
        let shown = difference.to_string();
        assert!(shown.starts_with(&format!("line {} differs (entry {at}, 20", at + 1)), "{shown}");
        assert!(shown.contains("\n  was (core ") && shown.contains("\n  now (core "), "{shown}");
    }
}

#[test]
fn an_export_that_failed_is_no_recording_and_says_whose_fault_it_is() {
    let mut lines = lines();
    lines.truncate(4);
    lines.push(r#"{"failed":{"n":4,"why":"an input was not recorded"},"check":"00000000"}"#.into());
    seal(&mut lines);
    let error = refusal(&lines);
    assert!(matches!(error, ReplayError::Unproven { line: 5, n: 4, .. }), "{error}");
    assert!(error.to_string().contains("bug of that server"), "{error}");
}
