//! The text that `exec` hands over: where it comes from, and what it must be before anything is asked for. And the
//! standard input of `exec`, which is passed on to nothing.

use anyhow::{Context as _, bail, ensure};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::wire::payload::CommandInput;
use onsembl_protocol::worker::plain_text;
use std::fs::File;
use std::io::{IsTerminal as _, Read, stdin};
use std::path::Path;

/// Longest text of a command, in bytes.
const MOST: usize = Limits::DEFAULT.command_bytes;

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
) -> anyhow::Result<String> {
    let text = match source {
        Source::Words(words) => words.join(" "),
        Source::File(path) => read(path)?,
    };
    let text = match stripping {
        Stripping::AsItIs => text,
        Stripping::Stripped => plain_text(&text),
    };
    if text.trim_end_matches(['\r', '\n']).is_empty() {
        match input {
            CommandInput::Keys => {
                bail!("no key is named; for instance: exec --keys AGENT -- enter")
            }
            CommandInput::Text | CommandInput::Secret | CommandInput::Unknown(_) => bail!(
                "there is nothing to run: the text is empty (to press Enter in the terminal of an agent: exec --keys AGENT -- enter)"
            ),
        }
    }
    ensure!(
        text.len() <= MOST,
        "the text has {} bytes, and a command has {MOST} (64 KiB) at most; send it in several, or put it into a file on the agent's machine and name that",
        text.len()
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
    String::from_utf8(bytes).map_err(|_| anyhow::anyhow!("the text is not UTF-8"))
}

/// All of it, and of more than a command takes enough to tell.
fn within(source: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // What is left out of it by --strip may be most of it.
    source.take(16 * MOST as u64).read_to_end(&mut bytes)?;
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
        text(&Source::Words(&words), Stripping::AsItIs, &CommandInput::Text)
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
    fn a_text_that_is_too_long_is_refused_with_its_unit_and_what_to_do() {
        assert_eq!(words(&["x".repeat(MOST).as_str()]).unwrap().len(), MOST);
        for length in [MOST + 1, 600_000] {
            let why = words(&["x".repeat(length).as_str()]).unwrap_err().to_string();
            assert!(why.contains(&format!("{length} bytes")) && why.contains("a file"), "{why}");
        }
    }

    #[test]
    fn a_text_comes_from_a_file_and_is_stripped_on_demand() {
        let folder = tempfile::tempdir().unwrap();
        let path: PathBuf = folder.path().join("log");
        std::fs::write(&path, "\u{1b}[31mred\u{1b}[0m\r\nline\r\n").unwrap();
        let of = |stripping| text(&Source::File(&path), stripping, &CommandInput::Text).unwrap();
        assert_eq!(of(Stripping::AsItIs), "\u{1b}[31mred\u{1b}[0m\r\nline\r\n");
        assert_eq!(of(Stripping::Stripped), "red\nline\n");
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        let why = text(&Source::File(&path), Stripping::AsItIs, &CommandInput::Text).unwrap_err();
        assert!(why.to_string().contains("UTF-8"), "{why}");
        let missing = folder.path().join("missing");
        let why =
            text(&Source::File(&missing), Stripping::AsItIs, &CommandInput::Text).unwrap_err();
        assert!(format!("{why:#}").contains("missing"), "{why:#}");
    }
}
