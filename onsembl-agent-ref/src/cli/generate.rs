//! `completions` and `man`: written from the definition of the commands, so that they say what it says.

use super::view::View;
use super::{definition, print};
use anyhow::{Context, Result};
use clap::Args;
use clap_complete::Shell;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  source <(onsembl-agent completions bash)                          for this shell
  onsembl-agent completions zsh > ~/.zfunc/_onsembl-agent
  onsembl-agent completions fish > ~/.config/fish/completions/onsembl-agent.fish")]
pub(super) struct Completions {
    /// For which shell.
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(
            self.shell,
            &mut definition::command(),
            "onsembl-agent",
            &mut script,
        );
        print::raw(&script).context("cannot write the completions")
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  onsembl-agent man ~/.local/share/man/man1      then: man onsembl-agent-run
  onsembl-agent man /usr/local/share/man/man1")]
pub(super) struct Man {
    /// The folder for the pages; created if it does not exist.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

impl Man {
    pub(super) fn run(&self, view: View) -> Result<()> {
        std::fs::create_dir_all(&self.folder)
            .and_then(|()| clap_mangen::generate_to(definition::command(), &self.folder))
            .with_context(|| format!("cannot write the pages to {}", self.folder.display()))?;
        let folder = self.folder.display().to_string();
        view.lines([format!("wrote the pages to {folder}")], || json!({ "folder": folder }))
    }
}
