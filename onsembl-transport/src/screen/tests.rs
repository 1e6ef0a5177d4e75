//! A dump that is fed into a fresh screen is that screen, now and after whatever follows.

use super::*;
use proptest::prelude::*;

fn size(columns: u64, rows: u64) -> TerminalSize {
    TerminalSize::new(columns, rows).unwrap()
}

fn after(size: TerminalSize, bytes: &[u8]) -> Screen {
    let mut screen = Screen::new(size);
    screen.feed(bytes);
    screen
}

fn rebuilt(screen: &Screen) -> Screen {
    after(screen.size(), &screen.dump())
}

#[test]
fn a_screen_shows_text_colours_cursor_title_and_which_screen_it_is() {
    let mut screen = after(size(20, 3), b"\x1b]0;a \xc3\xa9 title\x07one\r\n\x1b[1;31mtwo\x1b[0m");
    let look = screen.look();
    assert_eq!(look.text(), "one\ntwo\n");
    assert_eq!(look.ansi(), "one\n\x1b[0;1;38;5;1mtwo\x1b[0m\n");
    assert_eq!(look.title.as_deref(), Some("a \u{e9} title"));
    assert_eq!(look.cursor, Cursor { column: 4, row: 2, shown: true });
    assert_eq!(screen.cursor(), (4, 2));
    assert!(!look.alternate);
    screen.feed(b"\x1b[?1049h\x1b[?25l\x1b[Hother");
    assert!(screen.look().alternate && !screen.look().cursor.shown);
    assert_eq!(rebuilt(&screen).look(), screen.look());
    screen.feed(b"\x1b[?1049l");
    assert_eq!(screen.look().text(), "one\ntwo\n");
}

#[test]
fn true_colours_are_dumped_with_semicolons() {
    let screen = after(size(20, 2), b"\x1b[38;2;1;2;3m\x1b[48:2::4:5:6mx\x1b[38;5;200my");
    let dump = String::from_utf8(screen.dump()).unwrap();
    assert!(dump.contains("38;2;1;2;3") && dump.contains("48;2;4;5;6"), "{dump:?}");
    assert!(!dump.contains(':'), "{dump:?}");
    assert_eq!(rebuilt(&screen).look(), screen.look());
}

#[test]
fn what_is_repeated_is_dumped_in_full() {
    let screen = after(size(40, 2), "┌──────────┐ ====== 日日日日日日".as_bytes());
    let dump = String::from_utf8(screen.dump()).unwrap();
    assert!(dump.contains("┌──────────┐ ====== 日日日日日日"), "{dump:?}");
    assert_eq!(rebuilt(&screen).look(), screen.look());
}

#[test]
fn modes_are_dumped_with_their_values() {
    let bytes = b"\x1b[?2004h\x1b[?1003;1006h\x1b[>4;2m\x1b[>1u\x1b[>5u\x1b[6 q\x1b=\x1b[?1h\x1b[?1049h\x1b[>3u";
    let screen = after(size(20, 2), bytes);
    let again = rebuilt(&screen);
    assert_eq!(again.modes().restoring(), rebuilt(&again).modes().restoring());
    let dump = screen.dump().escape_ascii().to_string();
    for part in ["[?2004h", "[?1003h", "[?1006h", "[>4;2m", "[>1u", "[>5u", "[6 q", "[>3u", "[?1h"] {
        assert!(dump.contains(part), "{part} in {dump}");
    }
}

#[test]
fn what_terminals_pass_over_takes_no_place() {
    let screen = after(size(20, 2), "e\u{301}\u{202e}\u{7f}x\u{200d}".as_bytes());
    assert_eq!(screen.look().text(), "ex\n");
    assert_eq!(screen.cursor(), (3, 1));
}

#[test]
fn some_bytes_do_not_keep_the_model_busy() {
    let begun = std::time::Instant::now();
    let screen = after(size(20, 3), &b"x\x1b[65535b\x1b[99999999b".repeat(10_000));
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
    assert!(screen.look().text().starts_with("xxxxxxxxxxxxxxxxxxxx\n"));
}

#[test]
fn titles_are_bounded_and_have_no_controls() {
    let mut bytes = b"\x1b]2;\x01\n".to_vec();
    bytes.extend("\u{e9}".repeat(1000).bytes());
    bytes.push(7);
    let title = after(size(20, 2), &bytes).look().title.unwrap();
    assert_eq!(title, "\u{e9}".repeat(256));
}

#[test]
fn a_flood_of_lines_and_of_unfinished_sequences_takes_no_memory() {
    let mut screen = Screen::new(size(80, 24));
    for _ in 0..2000 {
        screen.feed(b"a line that scrolls away\r\n\x1b]52;c;");
        screen.feed(&[b'A'; 1000]);
    }
    assert!(screen.dump().len() < 16 * 1024, "{}", screen.dump().len());
}

fn sequence() -> impl Strategy<Value = Vec<u8>> {
    let number = || prop_oneof![Just(String::new()), (0_u16..12).prop_map(|n| n.to_string())];
    let control = (number(), number(), proptest::sample::select(&b"@ABCDEFGHIJKLMPSTXZ`abdefgrsu"[..]))
        .prop_map(|(a, b, last)| format!("\x1b[{a};{b}{}", char::from(last)).into_bytes());
    let style = proptest::sample::select(&["0", "1", "2", "4", "7", "22", "31", "42", "38;5;99", "48;2;1;2;3", "39"][..])
        .prop_map(|style| format!("\x1b[{style}m").into_bytes());
    let mode = (proptest::sample::select(&[1_u16, 6, 7, 25, 47, 1047, 1048, 1049, 1000, 2004, 2026][..]), any::<bool>())
        .prop_map(|(mode, on)| format!("\x1b[?{mode}{}", if on { 'h' } else { 'l' }).into_bytes());
    let others = proptest::sample::select(
        &["\r\n", "\n", "\t", "\x08", "\x1b7", "\x1b8", "\x1bM", "\x1bD", "\x1bE", "\x1bH", "\x1bc", "\x1b(0",
          "\x1b(B", "\x1b)0", "\x0e", "\x0f", "\x1b[4h", "\x1b[4l", "\x1b[20h", "\x1b[!p", "\x1b#8", "\x1b[>1u",
          "\x1b[<u", "\x1b[=3u", "\x1b[>4;2m", "\x1b[5 q", "\x1b]2;title\x07", "\x1b]0;", "\x1bP", "\x1b\\",
          "\u{754c}", "\u{e9}", "\u{301}", "\u{9b}3m", "\x18", "\x1b[3:", "\x1b="][..],
    )
    .prop_map(|text| text.as_bytes().to_vec());
    prop_oneof![
        4 => "[a-z ]{1,30}".prop_map(String::into_bytes),
        4 => control,
        2 => style,
        2 => mode,
        4 => others,
        1 => proptest::collection::vec(any::<u8>(), 0..5),
    ]
}

fn written() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(sequence(), 0..60).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_dump_continues_exactly(
        columns in 1_u64..30,
        rows in 1_u64..8,
        first in written(),
        second in written(),
        resized in proptest::option::of((1_u64..30, 1_u64..8)),
    ) {
        let mut screen = after(size(columns, rows), &first);
        prop_assert_eq!(screen.faults(), 0);
        if let Some((columns, rows)) = resized {
            screen.resize(size(columns, rows));
        }
        let mut again = rebuilt(&screen);
        prop_assert_eq!(again.look(), screen.look());
        screen.feed(&second);
        again.feed(&second);
        prop_assert_eq!(again.look(), screen.look());
        let dumps = [again.dump(), screen.dump()].map(|dump| dump.escape_ascii().to_string());
        prop_assert_eq!(&dumps[0], &dumps[1]);
    }

    #[test]
    fn cuts_change_nothing(bytes in written(), at in 0_usize..800) {
        let (first, second) = bytes.split_at(at.min(bytes.len()));
        let mut cut = after(size(20, 5), first);
        cut.feed(second);
        let whole = after(size(20, 5), &bytes);
        prop_assert_eq!(cut.look(), whole.look());
        prop_assert_eq!(cut.dump(), whole.dump());
    }
}
