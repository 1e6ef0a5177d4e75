//! Tables for people.

use onsembl_protocol::shown::Shown;

/// Rows under a head, in columns as wide as they need to be; a line for each. What is in a cell is escaped here,
/// because a column is as wide as what is seen of it.
pub(super) fn table<const N: usize>(
    head: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> Vec<String> {
    let mut all = vec![head.map(str::to_owned)];
    all.extend(rows.into_iter().map(|row| row.map(|cell| Shown::new(cell).into())));
    let mut widths = [0; N];
    for row in &all {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; N]| {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    all.iter().map(line).collect()
}

/// A text in one line of at most this many characters.
pub(super) fn short(text: &str, most: usize) -> String {
    let line = text.lines().next().unwrap_or_default();
    let cut = line.len() < text.trim_end().len() || line.chars().count() > most;
    let mut shown: String = line.chars().take(most).collect();
    if cut {
        shown.push('…');
    }
    shown
}
