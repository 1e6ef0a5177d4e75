//! The modes of terminals that programs switch and a user would miss, and as what each of them begins (XTerm Control
//! Sequences, ECMA-48). What a program has switched stands in `modes.rs`.

/// Cursor keys are sent as `ESC O` instead of `ESC [`.
pub(super) const APPLICATION_CURSOR: u16 = 1;
/// Positions are counted from the margins. To switch it off moves the cursor to the corner.
pub(super) const ORIGIN: u16 = 6;
/// Off, the terminal is a VT52.
pub(super) const VT52: u16 = 2;
/// Bracketed paste: pasted text comes in brackets.
pub(super) const BRACKETED_PASTE: u16 = 2004;
/// The other screen, in three ways.
pub(super) const OTHER_SCREEN: [u16; 3] = [47, 1047, 1049];

/// Private modes that a model of the screen knows itself.
pub(super) const OF_THE_SCREEN: [u16; 7] = [APPLICATION_CURSOR, ORIGIN, 7, 25, 47, 1047, 1049];
/// The same of [`STANDARD`].
pub(super) const STANDARD_OF_THE_SCREEN: [u16; 2] = [4, 20];

/// Private modes that programs switch and a user would miss, and whether each is on by default (XTerm
/// Control Sequences, "DEC Private Mode Set"). The other screen is left last: what is switched for it
/// is switched back there.
pub(super) const KNOWN: [(u16, bool); 26] = [
    (APPLICATION_CURSOR, false),
    (5, false), // all colours are reversed
    (7, true),  // lines wrap
    (9, false), // the mouse, in six ways
    (1000, false),
    (1001, false),
    (1002, false),
    (1003, false),
    (1004, false), // focus is reported
    (12, false),   // the cursor blinks
    (25, true),    // the cursor is shown
    (66, false),   // the numeric keypad sends sequences of its own
    (69, false),   // there are margins at the sides
    (1005, false), // how the mouse is reported, in four ways
    (1006, false),
    (1015, false),
    (1016, false),
    (1007, false), // the wheel sends cursor keys
    (BRACKETED_PASTE, false),
    (2026, false), // drawing is deferred
    (2031, false), // a change between dark and light is reported
    (2048, false), // a change of the size is reported
    (ORIGIN, false),
    (47, false),
    (1047, false),
    (1049, false),
];

/// The modes of ECMA-48 that would be missed: a locked keyboard, inserting, local echo (on means none),
/// a carriage return with each line feed.
pub(super) const STANDARD: [(u16, bool); 4] = [(2, false), (4, false), (12, true), (20, false)];

/// Whether this is a private mode that programs switch and a user would miss.
pub(super) fn is_known(number: u16) -> bool {
    KNOWN.iter().any(|(known, _)| *known == number)
}
