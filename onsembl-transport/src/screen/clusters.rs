//! Characters that have marks on them, as the model can hold them. It has one character to a cell and gives a mark a cell of
//! its own; so a base with its marks is one character that programs do not use, of the same width, which stands for it.
//!
//! The mark goes to the cell before the cursor, as in other terminals; which that is follows from the screen alone, so that
//! a rebuilt one continues as the first would.

use std::collections::{BTreeMap, BTreeSet};
use unicode_width::UnicodeWidthChar as _;

/// Clusters of one screen at a time: a page of a script that writes vowels as marks has some two hundred.
const MOST: usize = 512;
/// Bytes of one cluster: a base and some ten marks. A tower of them is cut.
const LONGEST: usize = 32;
/// Marks that find no room until it is looked again which clusters are still shown.
const LOOK_AGAIN_AFTER: u32 = 256;

/// For what takes one column: of the second plane for private use. Fonts with symbols use the first one.
const NARROW: u32 = 0x10_0000;
/// For what takes two: a part of the plane for rare ideographs that has none.
const WIDE: u32 = 0x3_4000;

/// What stands for which cluster.
#[derive(Debug, Default)]
pub(super) struct Clusters {
    /// By the place of what stands for them; none where a place is free.
    narrow: Vec<Option<Box<str>>>,
    wide: Vec<Option<Box<str>>>,
    places: BTreeMap<Box<str>, char>,
    refused: u32,
}

/// Whether there is room for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Enough,
    /// [`Clusters::keep`] may make some.
    LookAgain,
}

impl Clusters {
    /// Memory that they take at most, in bytes.
    pub(super) const BYTES: u64 = MOST as u64 * (2 * LONGEST as u64 + 64);

    /// What is to be printed for a character that programs may write and that stands for a cluster here.
    pub(super) fn own(&mut self, character: char) -> char {
        if column_of(character).is_none() {
            return character;
        }
        let width = character.width().unwrap_or(1);
        self.intern(&character.to_string(), width).unwrap_or(char::REPLACEMENT_CHARACTER)
    }

    /// What stands for what stands for this, with a mark on it; `None` if it keeps what it has.
    pub(super) fn with_mark(&mut self, base: char, mark: char) -> Option<char> {
        let mut cluster = String::new();
        self.expand(base, &mut cluster);
        cluster.push(mark);
        if cluster.len() > LONGEST {
            return None;
        }
        self.intern(&cluster, base.width().unwrap_or(1))
    }

    /// Appends what this character stands for.
    pub(super) fn expand(&self, character: char, text: &mut String) {
        let cluster = column_of(character).and_then(|(column, at)| match column {
            Column::Narrow => self.narrow.get(at),
            Column::Wide => self.wide.get(at),
        });
        match cluster {
            Some(Some(cluster)) => text.push_str(cluster),
            Some(None) | None => text.push(character),
        }
    }

    /// Whether it is to be looked which of them are still shown.
    pub(super) fn room(&mut self) -> Room {
        if self.places.len() < MOST {
            return Room::Enough;
        }
        match self.refused {
            0 => Room::LookAgain,
            left => {
                self.refused = left - 1;
                Room::Enough
            }
        }
    }

    /// Forgets all that are not in this text.
    pub(super) fn keep(&mut self, shown: &str) {
        let used: BTreeSet<char> = shown.chars().filter(|c| column_of(*c).is_some()).collect();
        self.places.retain(|_, place| used.contains(place));
        for (column, start) in [(&mut self.narrow, NARROW), (&mut self.wide, WIDE)] {
            for (at, cluster) in column.iter_mut().enumerate() {
                if place(start, at).is_none_or(|place| !used.contains(&place)) {
                    *cluster = None;
                }
            }
        }
        self.refused = if self.places.len() < MOST { 0 } else { LOOK_AGAIN_AFTER };
    }

    fn intern(&mut self, cluster: &str, width: usize) -> Option<char> {
        if let Some(place) = self.places.get(cluster) {
            return Some(*place);
        }
        if self.places.len() >= MOST {
            return None;
        }
        let (column, start) = match width {
            2 => (&mut self.wide, WIDE),
            _ => (&mut self.narrow, NARROW),
        };
        let at = column.iter().position(Option::is_none).unwrap_or(column.len());
        let place = place(start, at)?;
        match column.get_mut(at) {
            Some(free) => *free = Some(cluster.into()),
            None => column.push(Some(cluster.into())),
        }
        let _ = self.places.insert(cluster.into(), place);
        Some(place)
    }
}

enum Column {
    Narrow,
    Wide,
}

fn place(start: u32, at: usize) -> Option<char> {
    char::from_u32(start.checked_add(u32::try_from(at).ok()?)?)
}

/// The place that this character is, if it is one.
fn column_of(character: char) -> Option<(Column, usize)> {
    let at = |start: u32| {
        let at = usize::try_from(u32::from(character).checked_sub(start)?).ok()?;
        (at < MOST).then_some(at)
    };
    let narrow = at(NARROW).map(|at| (Column::Narrow, at));
    narrow.or_else(|| at(WIDE).map(|at| (Column::Wide, at)))
}

/// What a character does to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It has a cell, or two; or it is a control.
    Own,
    /// It belongs to the character before it.
    Mark,
    /// Terminals pass over it.
    None,
}

impl Place {
    pub(super) fn of(character: char) -> Self {
        match character {
            '\u{7f}'
            | '\u{ad}'
            // What has no width, directions, words that are not to be parted, and tags are no part of a character.
            | '\u{200b}'
            | '\u{200e}' | '\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}' => Self::None,
            other if other.width() == Some(0) => Self::Mark,
            _ => Self::Own,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_for_a_cluster_is_as_wide_as_its_base() {
        for at in [0, MOST - 1] {
            assert_eq!(place(NARROW, at).unwrap().width(), Some(1));
            assert_eq!(place(WIDE, at).unwrap().width(), Some(2));
        }
        let mut clusters = Clusters::default();
        let (narrow, wide) =
            (clusters.with_mark('e', '\u{301}'), clusters.with_mark('界', '\u{fe0f}'));
        assert_eq!(narrow.and_then(unicode_width::UnicodeWidthChar::width), Some(1));
        assert_eq!(wide.and_then(unicode_width::UnicodeWidthChar::width), Some(2));
        let mut text = String::new();
        for character in [narrow.unwrap(), wide.unwrap(), 'x'] {
            clusters.expand(character, &mut text);
        }
        assert_eq!(text, "e\u{301}界\u{fe0f}x");
    }

    #[test]
    fn a_program_that_writes_such_characters_itself_is_not_misread() {
        let mut clusters = Clusters::default();
        let accented = clusters.with_mark('e', '\u{301}').unwrap();
        let own = clusters.own(accented);
        assert_ne!(own, accented);
        let mut text = String::new();
        clusters.expand(own, &mut text);
        assert_eq!(text.chars().collect::<Vec<_>>(), [accented]);
    }

    #[test]
    fn they_have_a_bound_and_what_is_shown_no_more_makes_room() {
        let mut clusters = Clusters::default();
        let letters: Vec<char> = ('\u{4e00}'..).take(MOST).collect();
        let places: Vec<char> =
            letters.iter().map(|c| clusters.with_mark(*c, '\u{301}').unwrap()).collect();
        assert_eq!(clusters.with_mark('a', '\u{301}'), None);
        assert_eq!(clusters.room(), Room::LookAgain);
        clusters.keep(&places.iter().take(MOST / 2).collect::<String>());
        assert_eq!(clusters.room(), Room::Enough);
        let place = clusters.with_mark('a', '\u{301}').unwrap();
        assert_eq!(place.width(), Some(1));
        // All are shown: it is not looked again for each mark.
        let mut clusters = Clusters::default();
        for letter in &letters {
            let _ = clusters.with_mark(*letter, '\u{301}');
        }
        clusters.keep(&places.iter().collect::<String>());
        assert_eq!(clusters.room(), Room::Enough);
        let tower = (0..100).try_fold(places[0], |base, _| clusters.with_mark(base, '\u{302}'));
        assert_eq!(tower, None);
    }
}
