//! `onsembl-server attach`: the terminal of an agent in the one where this is run.

use super::print;
use super::remote::Remote;
use super::{complain, finish};
use crate::client::attach::{AttachTyping, Attached, Attachment, DetachKey, Left, Sizing};
use clap::Args;
use onsembl_protocol::id::CommandId;
use std::process::ExitCode;

/// Attach to the terminal of an agent: live screen and keyboard.
///
/// One at a time types, everybody may look. What is typed goes to the program as it is and is stored nowhere; the
/// server notes who typed from when to when, and how many bytes. A lost link is dialled again, and what was missed
/// meanwhile is shown. The program goes on when this ends.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  onsembl-server attach ada            type, if nobody else does; ctrl-] leaves
  onsembl-server attach ada --take     type, whoever does
  onsembl-server attach ada --view     look only; ctrl-c leaves too")]
pub(super) struct Attach {
    #[command(flatten)]
    remote: Remote,
    /// The agent, by its name or its id; or a terminal, by its id.
    #[arg(value_name = "AGENT|TERMINAL")]
    of: String,
    /// Take the keyboard from whoever has it.
    #[arg(long, conflicts_with = "view")]
    take: bool,
    /// Look only.
    #[arg(long)]
    view: bool,
    /// The key that leaves: ctrl- and a letter, or one of ] \ ^ _.
    #[arg(long, env = "ONSEMBL_DETACH_KEY", value_name = "KEY", default_value_t = DetachKey::DEFAULT, value_parser = key)]
    detach_key: DetachKey,
    /// Leave the terminal as large as it is. Without it, it gets the size of this one while this one types.
    #[arg(long)]
    keep_size: bool,
    /// What the others are told of who types [default: the name of the user here].
    #[arg(long, env = "ONSEMBL_NAME", value_name = "NAME")]
    name: Option<String>,
}

fn key(text: &str) -> Result<DetachKey, &'static str> {
    DetachKey::parse(text)
        .ok_or("it is ctrl- and a letter other than i, j and m, or one of ] \\ ^ _; like ctrl-]")
}

impl Attach {
    pub(super) async fn run(self) -> ExitCode {
        match self.attach().await {
            Ok(Left::Detached(id)) => {
                finish(said(&format!("left {id}, which goes on; attach again to come back")))
            }
            Ok(Left::Ended(id, because)) if because.is_empty() => {
                finish(said(&format!("{id} has ended")))
            }
            Ok(Left::Ended(id, because)) => finish(said(&format!("{id} has ended: {because}"))),
            Ok(Left::Signal(signal)) => {
                ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX))
            }
            Err(error) => complain(1, format_args!("{error:#}")),
        }
    }

    async fn attach(self) -> anyhow::Result<Left> {
        let of = if CommandId::new(&self.of).is_terminal() {
            Attached::Terminal(CommandId::new(&self.of))
        } else {
            let (remote, of) = (self.remote.clone(), self.of.clone());
            let agent = tokio::task::spawn_blocking(move || remote.find_agent(&of)).await??;
            Attached::Agent(agent)
        };
        let user = || std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
        let attachment = Attachment {
            token: self.remote.token()?,
            roots: self.remote.roots(),
            proxy: self.remote.proxy()?,
            server: self.remote.server,
            of,
            name: self.name.or_else(|| user().ok()).unwrap_or_else(|| "somebody".to_owned()),
            typing: match (self.view, self.take) {
                (true, _) => AttachTyping::Never,
                (false, true) => AttachTyping::Over,
                (false, false) => AttachTyping::IfFree,
            },
            detach: self.detach_key,
            sizing: if self.keep_size { Sizing::Keep } else { Sizing::Follow },
        };
        attachment.run().await
    }
}

fn said(text: &str) -> anyhow::Result<()> {
    Ok(print::note(format_args!("onsembl-server: {text}"))?)
}
