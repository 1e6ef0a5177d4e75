//! The documents list every invariant of the catalogue, and no others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use onsembl_protocol::lab::model::Invariant;

const DOCUMENT: &str = include_str!("../../docs/INVARIANTS.md");

#[test]
fn the_document_lists_every_demand() {
    let (demands, _) = DOCUMENT.split_once("### Former names").expect("the next section");
    for invariant in Invariant::of_model() {
        let (name, says) = (invariant.name(), invariant.says());
        let row = demands.lines().find(|line| line.starts_with(&format!("| `{name}` | {says} |")));
        let row = row.unwrap_or_else(|| panic!("docs/INVARIANTS.md lacks {name}: {says}"));
        let defects: Vec<_> = invariant.defects().iter().map(ToString::to_string).collect();
        let (source, defects) = (invariant.source(), defects.join(", "));
        assert!(row.ends_with(&format!(" | {source} | {defects} |")), "{row}: {source}; {defects}");
    }
    let rows = demands.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, Invariant::of_model().count(), "docs/INVARIANTS.md lists what nobody demands");
}

#[test]
fn every_defect_of_the_catalogue_is_in_the_document() {
    let (_, rest) = DOCUMENT.split_once("## Defects of the earlier system").expect("a section");
    let (defects, _) = rest.split_once("\n## ").expect("the next section");
    for invariant in Invariant::ALL {
        for defect in invariant.defects() {
            let row = format!("\n| {defect} ");
            assert!(
                defects.contains(&row),
                "docs/INVARIANTS.md lacks defect {defect}: {invariant}"
            );
        }
    }
}

#[test]
fn the_guide_lists_every_invariant_of_the_kit() {
    let guide = include_str!("../../docs/TESTING.md");
    let (_, listed) = guide.split_once("## What is checked").unwrap();
    let (listed, _) = listed.split_once("## How soon").unwrap();
    for i in Invariant::of_kit() {
        let row = format!("| `{}` | {} | {} |", i.name(), i.says(), i.source());
        assert!(listed.contains(&row), "docs/TESTING.md lacks this row:\n{row}");
    }
    let rows = listed.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(
        rows,
        Invariant::of_kit().count(),
        "docs/TESTING.md lists what the kit does not judge"
    );
}
