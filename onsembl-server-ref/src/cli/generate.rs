//! `completions` and `man`: written from the definition of the commands, so that they say what it says.

use super::print;
use super::view::View;
use anyhow::Context as _;
use clap::{Args, Command};
use clap_complete::Shell;
use serde_json::json;
use std::io::Write as _;
use std::path::PathBuf;

const COMPLETIONS: &str = "\
Examples:
  source <(onsembl completions bash)                                for this shell
  onsembl completions bash > ~/.local/share/bash-completion/completions/onsembl
  onsembl completions zsh > ~/.zfunc/_onsembl
  onsembl completions fish > ~/.config/fish/completions/onsembl.fish";

#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS)]
pub(super) struct Completions {
    /// For which shell.
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self, mut of: Command) -> anyhow::Result<()> {
        let name = of.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut of, name, &mut script);
        let mut out = print::raw();
        out.write_all(&script).and_then(|()| out.flush()).context("cannot write the completions")
    }
}

const MAN: &str = "\
Examples:
  onsembl man ~/.local/share/man/man1      then: man onsembl-exec
  onsembl-server man /usr/local/share/man/man1";

#[derive(Debug, Args)]
#[command(after_help = MAN)]
pub(super) struct Man {
    /// The folder for the pages; created if it does not exist.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

impl Man {
    pub(super) fn run(&self, of: Command, view: View) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.folder)
            .and_then(|()| clap_mangen::generate_to(of, &self.folder))
            .with_context(|| format!("cannot write the pages to {}", self.folder.display()))?;
        let folder = self.folder.display().to_string();
        view.done(
            &json!({ "folder": folder }),
            &folder,
            format_args!("wrote the pages to {folder}"),
        )
    }
}
