//! The text that `exec` hands over: where it comes from, and what it must be before anything is asked for. And the
//! standard input of `exec`, which is passed on to nothing.

use anyhow::{Context as _, ensure};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::wire::payload::{CommandInput, LongText};
use onsembl_protocol::worker::plain_text;
use std::fs::File;
use std::io::{IsTerminal as _, Read, stdin};
use std::path::Path;

/// Longest text of a command that goes with its request, in bytes; and the longest of keys and secrets.
const SHORT: usize = Limits::DEFAULT.command_bytes;

/// Longest text of a command, in bytes. One of more than [`SHORT`] is for a terminal.
const MOST: usize = LongText::MOST;

/// Most bytes that are read of a file or of standard input: what is left out of it by --strip may be most of it.
const SOURCE: usize = 8 * MOST;

/// For how many agents a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Agents {
    One,
    Several,
}

/// Where a text comes from.
pub(super) enum Source<'a> {
    /// The command line, whose words are joined by one space.
    Words(&'a [String]),
    /// A file, or standard input if it is named `-`.
    File(&'a Path),
}

/// What is done to a text before it is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stripping {
    /// Nothing.
    AsItIs,
    /// Escape sequences and control characters are left out.
    Stripped,
}

/// The text of a command.
///
/// # Errors
/// There is none, it is too long, or it cannot be read.
pub(super) fn text(
    source: &Source<'_>,
    stripping: Stripping,
    input: &CommandInput,
    agents: Agents,
) -> anyhow::Result<String> {
    let text = match source {
        Source::Words(words) => words.join(" "),
        Source::File(path) => read(path)?,
    };
    let text = match stripping {
        Stripping::AsItIs => text,
        Stripping::Stripped => plain_text(&text),
    };
    let is_empty = text.trim_end_matches(['\r', '\n']).is_empty();
    match input {
        CommandInput::Keys => ensure!(
            text.split_whitespace().next().is_some(),
            "no key given; for instance: exec --keys AGENT -- enter (a blank is the key space)"
        ),
        CommandInput::Secret => ensure!(
            !is_empty,
            "the secret is empty; nothing was sent (to press Enter in the terminal of an agent: exec --keys AGENT -- enter)"
        ),
        CommandInput::Text | CommandInput::Unknown(_) => ensure!(
            !is_empty,
            "there is nothing to run: the text is empty (to press Enter in the terminal of an agent: exec --keys AGENT -- enter)"
        ),
    }
    let length = text.len();
    let (most, of_what) = match (input, agents) {
        (CommandInput::Text, Agents::One) => (MOST, "a text is 1,048,576 bytes (1 MiB)"),
        (CommandInput::Text, Agents::Several) => {
            (SHORT, "a text for several agents is 65,536 bytes (64 KiB)")
        }
        (CommandInput::Keys, Agents::One | Agents::Several) => {
            (SHORT, "a list of keys is 65,536 bytes (64 KiB)")
        }
        (CommandInput::Secret | CommandInput::Unknown(_), Agents::One | Agents::Several) => {
            (SHORT, "a secret is 65,536 bytes (64 KiB)")
        }
    };
    ensure!(
        length <= most,
        "the text has {length} bytes, and the limit of {of_what}; send it in several, or put it into a file on the agent's machine and name that"
    );
    Ok(text)
}

fn read(path: &Path) -> anyhow::Result<String> {
    let bytes = if path == Path::new("-") {
        within(stdin().lock()).context("cannot read the text from standard input")?
    } else {
        let named = || format!("cannot read the text from {}", path.display());
        within(File::open(path).with_context(named)?).with_context(named)?
    };
    // Of the beginning of one that goes on nothing is run.
    ensure!(
        bytes.len() <= SOURCE,
        "the text has more than {SOURCE} bytes (8 MiB), and the limit of a text is {MOST} bytes (1 MiB); put it into a file on the agent's machine and name that"
    );
    String::from_utf8(bytes).map_err(|_| anyhow::anyhow!("the text is not UTF-8"))
}

/// All of it, and of one that is too long enough to tell.
fn within(source: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(SOURCE as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// How much waits on standard input that nobody reads; nothing at a terminal, whose text is for the shell behind.
pub(super) fn ignored_input() -> u64 {
    if stdin().is_terminal() {
        return 0;
    }
    rustix::io::ioctl_fionread(stdin()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn words(words: &[&str]) -> anyhow::Result<String> {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        text(&Source::Words(&words), Stripping::AsItIs, &CommandInput::Text, Agents::One)
    }

    #[test]
    fn words_are_joined_and_an_empty_text_is_said_to_be_one() {
        assert_eq!(words(&["echo", "a  b"]).unwrap(), "echo a  b");
        for empty in [&[""][..], &["\n"]] {
            let why = words(empty).unwrap_err().to_string();
            assert!(why.contains("nothing to run") && !why.contains("COMMAND_REQUEST"), "{why}");
        }
    }

    #[test]
    fn no_key_and_an_empty_secret_have_reasons_of_their_own() {
        let why = |given: &str, input: &CommandInput| {
            let words = [given.to_owned()];
            let text = text(&Source::Words(&words), Stripping::AsItIs, input, Agents::One);
            text.map_err(|why| why.to_string())
        };
        for none in ["", " ", "\t \n"] {
            let why = why(none, &CommandInput::Keys).unwrap_err();
            assert!(why.contains("no key given") && why.contains("space"), "{why}");
        }
        let secret = why("\n", &CommandInput::Secret).unwrap_err();
        assert!(secret.contains("the secret is empty") && !secret.contains("to run"), "{secret}");
        assert_eq!(why(" ", &CommandInput::Secret).unwrap(), " ");
    }

    #[test]
    fn a_text_that_is_too_long_is_refused_with_its_unit_and_what_to_do() {
        assert_eq!(words(&["x".repeat(MOST).as_str()]).unwrap().len(), MOST);
        let refused = |length: usize, input: CommandInput, agents: Agents| {
            let words = ["x".repeat(length)];
            let refused = text(&Source::Words(&words), Stripping::AsItIs, &input, agents);
            refused.err().map(|why| why.to_string())
        };
        let (one, several) = (Agents::One, Agents::Several);
        for (length, input, agents, bound) in [
            (MOST + 1, CommandInput::Text, one, "1 MiB"),
            (3_000_000, CommandInput::Text, one, "1 MiB"),
            (SHORT + 1, CommandInput::Text, several, "for several agents is 65,536 bytes"),
            (SHORT + 1, CommandInput::Secret, one, "a secret is 65,536 bytes"),
            (SHORT + 1, CommandInput::Keys, one, "a list of keys is 65,536 bytes"),
        ] {
            let why = refused(length, input, agents).unwrap();
            let has_both = why.contains(&format!("{length} bytes")) && why.contains(bound);
            assert!(has_both && why.contains("a file"), "{why}");
        }
        assert_eq!(refused(SHORT, CommandInput::Text, several), None);
        assert_eq!(refused(SHORT, CommandInput::Secret, one), None);
    }

    #[test]
    fn a_text_comes_from_a_file_and_is_stripped_on_demand() {
        let folder = tempfile::tempdir().unwrap();
        let path: PathBuf = folder.path().join("log");
        std::fs::write(&path, "\u{1b}[31mred\u{1b}[0m\r\nline\r\n").unwrap();
        let read = |path: &Path, stripping| {
            text(&Source::File(path), stripping, &CommandInput::Text, Agents::One)
        };
        let of = |stripping| read(&path, stripping).unwrap();
        assert_eq!(of(Stripping::AsItIs), "\u{1b}[31mred\u{1b}[0m\r\nline\r\n");
        assert_eq!(of(Stripping::Stripped), "red\nline\n");
        // Stripped it would be short; but more of it may follow than was read.
        for (escapes, fits) in [(SOURCE / 5, true), (SOURCE / 5 + 1, false)] {
            std::fs::write(&path, "\u{1b}[31m".repeat(escapes) + "x").unwrap();
            let read = read(&path, Stripping::Stripped);
            assert_eq!(read.as_deref().ok(), fits.then_some("x"), "{escapes}");
        }
        let why = read(Path::new("/dev/zero"), Stripping::AsItIs).unwrap_err().to_string();
        assert!(why.contains("more than 8388608 bytes"), "{why}");
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        let why = read(&path, Stripping::AsItIs).unwrap_err();
        assert!(why.to_string().contains("UTF-8"), "{why}");
        let missing = folder.path().join("missing");
        let why = read(&missing, Stripping::AsItIs).unwrap_err();
        assert!(format!("{why:#}").contains("missing"), "{why:#}");
    }
}
