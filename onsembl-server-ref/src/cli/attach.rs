//! `attach`: the terminal of an agent in the one where this is run.

use super::connect::ServerArgs;
use super::finish;
use super::print;
use super::remote::Remote;
use super::view::View;
use crate::client::attach::{AttachTyping, Attached, Attachment, DetachKey, Left, Sizing};
use clap::Args;
use onsembl_protocol::id::CommandId;
use serde_json::json;
use std::process::ExitCode;

/// Attach to the terminal of an agent: live screen and keyboard.
///
/// One user at a time types, any number can watch. Input goes to the program unchanged and is not stored; the
/// server records who typed, from when to when, and how many bytes. A lost link is dialled again, and missed output
/// is shown. The program keeps running when this ends.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  onsembl attach ada            take the keyboard if it is free; ctrl-] detaches
  onsembl attach ada --take     take the keyboard from its holder
  onsembl attach ada --view     view only; ctrl-c detaches too

Exit codes:
  0    detached, or the terminal ended
  1    cannot attach; the reason is on standard error
  2    the command line is wrong
  129, 130, 143  ended by a hang-up, an interrupt, a termination")]
pub(super) struct Attach {
    #[command(flatten)]
    server: ServerArgs,
    /// The agent, by its name or its id; or a terminal, by its id.
    #[arg(value_name = "AGENT|TERMINAL")]
    of: String,
    /// Take the keyboard from its current holder.
    #[arg(long, conflicts_with = "view")]
    take: bool,
    /// View only, without the keyboard.
    #[arg(long)]
    view: bool,
    /// The key that detaches: ctrl- and a letter, or one of ] \ ^ _.
    #[arg(long, env = "ONSEMBL_DETACH_KEY", value_name = "KEY", default_value_t = DetachKey::DEFAULT, value_parser = key)]
    detach_key: DetachKey,
    /// Keep the size of the terminal. By default it follows the size of this one while this one has the keyboard.
    #[arg(long)]
    keep_size: bool,
    /// The name shown to others while you hold the keyboard [default: the name of the user here].
    #[arg(long, env = "ONSEMBL_NAME", value_name = "NAME")]
    name: Option<String>,
}

fn key(text: &str) -> Result<DetachKey, &'static str> {
    DetachKey::parse(text)
        .ok_or("expected ctrl- and a letter other than i, j and m, or one of ] \\ ^ _; like ctrl-]")
}

impl Attach {
    pub(super) async fn run(self, view: View) -> ExitCode {
        let (id, because) = match Box::pin(self.attach()).await {
            Ok(Left::Detached(id)) => (id, None),
            Ok(Left::Ended(id, because)) => (id, Some(because)),
            Ok(Left::Signal(signal)) => {
                return ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX));
            }
            Err(error) => return finish(Err(error)),
        };
        let text = match &because {
            None => format!("detached from {id}, which keeps running; attach again to return"),
            Some(because) if because.is_empty() => format!("{id} has ended"),
            Some(because) => format!("{id} has ended: {because}"),
        };
        let json =
            json!({ "command_id": id.as_str(), "ended": because.is_some(), "because": because });
        // On standard error, as all that is said of the link.
        finish(view.one(json, id.as_str(), || match view.quiet {
            true => Ok(()),
            false => Ok(print::say(text)?),
        }))
    }

    async fn attach(self) -> anyhow::Result<Left> {
        let remote = self.server.connect()?;
        let of = find(remote.clone(), self.of).await?;
        let user = || std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
        let attachment = Attachment {
            token: remote.token(),
            roots: remote.roots(),
            proxy: remote.proxy(),
            server: remote.server().to_owned(),
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
        Box::pin(attachment.run()).await
    }
}

/// The terminal that is meant.
async fn find(remote: Remote, of: String) -> anyhow::Result<Attached> {
    if CommandId::new(&of).is_terminal() {
        let id = tokio::task::spawn_blocking(move || {
            // A short one of a terminal begins as the whole one does.
            let found = remote.look_for_command(&of)?;
            anyhow::Ok(found.unwrap_or_else(|| CommandId::new(&of)))
        });
        return Ok(Attached::Terminal(id.await??));
    }
    let agent = tokio::task::spawn_blocking(move || remote.find_agent(&of)).await??;
    Ok(Attached::Agent(agent))
}
