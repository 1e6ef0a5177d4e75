//! The tables in STATES.md of what each frame counts as in each status of a link.

use std::collections::BTreeMap;
use std::fmt::Display;

/// A kind of link, and everything that can come over it.
pub(super) struct Frames<L, F, S> {
    /// Links by name: each status, and behind a comma the bound that is reached.
    pub(super) states: Vec<(&'static str, L)>,
    pub(super) frames: Vec<(&'static str, F)>,
    pub(super) status: fn(&L) -> S,
    /// What a frame counts as, and the status after it: two cells.
    pub(super) counts: fn(&L, F) -> String,
}

/// What counts alike stands in one row. Where a bound is reached, only what counts otherwise than before is
/// shown.
pub(super) fn table<L, F: Copy, S: Copy + Display + Ord>(of: &Frames<L, F, S>) -> String {
    let mut out =
        String::from("| status | frame | what it counts as | then |\n| --- | --- | --- | --- |\n");
    let mut plain: BTreeMap<(S, &str), String> = BTreeMap::new();
    for (state, link) in &of.states {
        let status = (of.status)(link);
        let bound = state.split_once(", ").map(|(_, bound)| bound);
        let mut rows: Vec<(String, Vec<&str>)> = Vec::new();
        for (frame, what) in &of.frames {
            let counts = (of.counts)(link, *what);
            let before = plain.get(&(status, *frame));
            if bound.is_some() && before == Some(&counts) {
                continue;
            }
            if bound.is_none() {
                plain.insert((status, *frame), counts.clone());
            }
            match rows.iter_mut().find(|(like, _)| *like == counts) {
                Some((_, frames)) => frames.push(*frame),
                None => rows.push((counts, vec![*frame])),
            }
        }
        let mut name = format!("`{status}`");
        if let Some(bound) = bound {
            name += &format!(", {bound}");
        }
        for (counts, frames) in rows {
            out += &format!("| {name} | {} | {counts} |\n", frames.join("; "));
            name = String::new();
        }
    }
    out
}
