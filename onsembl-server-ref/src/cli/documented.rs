//! Command lines in the documents: each names a command and flags that its program has.

use super::definition;
use clap::error::ErrorKind;
use std::fs;
use std::path::{Path, PathBuf};

/// The documents; none where the crate is published.
fn documents() -> Vec<PathBuf> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut all = vec![top.join("README.md"), top.join("onsembl-server-ref/deploy/README.md")];
    let docs = fs::read_dir(top.join("docs")).into_iter().flatten();
    all.extend(docs.map(|entry| entry.unwrap().path()));
    all.retain(|path| path.extension().is_some_and(|end| end == "md") && path.is_file());
    all
}

/// The command lines of the fences for shells, each as one line.
fn lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut is_shell = None;
    let text = text.replace("\\\n", " ");
    for line in text.lines() {
        is_shell = match (line.trim_start().strip_prefix("```"), is_shell) {
            (Some(word), None) => Some(["sh", "console"].contains(&word)),
            (Some(_), Some(_)) => None,
            (None, is_shell) => {
                let line = line.trim_start();
                lines.extend(
                    (is_shell == Some(true)).then(|| line.trim_start_matches("$ ").to_owned()),
                );
                is_shell
            }
        };
    }
    lines
}

/// The commands of a line, each in its words. Of a shell's language it knows what the documents use.
fn commands(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let (mut word, mut quote, mut is_word) = (String::new(), None, false);
    for c in line.chars().chain([' ']) {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.push(c),
            (None, '\'' | '"') => (quote, is_word) = (Some(c), true),
            (None, ' ' | '|' | ';' | '&' | '(' | ')' | '<' | '>' | '#') => {
                // `2>` is of the shell.
                let is_number = c == '>' && word.chars().all(|c| c.is_ascii_digit());
                if is_number {
                    word.clear();
                } else if is_word && let Some(command) = commands.last_mut() {
                    command.push(std::mem::take(&mut word));
                }
                is_word = false;
                match c {
                    '#' => return commands,
                    ' ' => {}
                    _ => commands.push(Vec::new()),
                }
            }
            (None, c) => {
                word.push(c);
                is_word = true;
            }
        }
    }
    commands
}

#[test]
fn each_command_line_in_the_documents_is_one_that_its_program_takes() {
    let documents = documents();
    let mut parsed = 0;
    for path in &documents {
        let text = fs::read_to_string(path).unwrap();
        for line in lines(&text).iter().filter(|line| !line.contains('…')) {
            for mut words in commands(line) {
                words.retain(|word| {
                    word != "sudo" && (word.starts_with('-') || !word.contains('='))
                });
                let of = match words.first().map(String::as_str) {
                    Some("onsembl") => definition::onsembl(),
                    Some("onsembl-server") => definition::server(),
                    Some(_) | None => continue,
                };
                parsed += 1;
                // What is missing may come from the environment or a context.
                let is_wrong = |kind| {
                    [
                        ErrorKind::UnknownArgument,
                        ErrorKind::InvalidSubcommand,
                        ErrorKind::InvalidValue,
                    ]
                    .contains(&kind)
                };
                let error = of.try_get_matches_from(&words).err();
                let error = error.filter(|error| is_wrong(error.kind()));
                assert!(error.is_none(), "{}: {line}: {}", path.display(), error.unwrap());
            }
        }
    }
    assert!(documents.is_empty() || parsed > 60, "{parsed}");
}

#[test]
fn what_the_documents_use_of_a_shell_is_understood() {
    let told = commands(
        "A=1 onsembl exec mine -- 'uname -a; seq 3' 2> x; onsembl-server token | cat # so",
    );
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(told[0][..5], words("A=1 onsembl exec mine --")[..]);
    assert_eq!(told[0][5], "uname -a; seq 3");
    assert_eq!(
        (&told[1], &told[2], &told[3]),
        (&words("x"), &words("onsembl-server token"), &words("cat"))
    );
}
