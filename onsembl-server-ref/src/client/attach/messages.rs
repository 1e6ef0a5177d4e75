//! What the server says, in the terms of the machine that decides. Nothing is decided here.

use super::super::command_link::News;
use super::super::ending::is_over;
use onsembl_protocol::id::{CommandId, MessageId};
use onsembl_protocol::terminal::attach::{
    AttachEvent, KeyboardSaid, Refused, SaidAbout, TerminalPosition,
};
use onsembl_protocol::wire::payload::{
    ErrorCode, ErrorReply, Feature, KeyboardState, OutputGap, StreamContent, TerminalSized,
    TerminalStream,
};

/// What was asked for last, to know an answer by.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// The output.
    pub(super) watch: Option<MessageId>,
    /// The keyboard.
    pub(super) keyboard: Option<MessageId>,
}

/// What this is for an attachment to this terminal; `None` for what does not concern it.
pub(super) fn event(news: News, terminal: &CommandId, asked: &Asked) -> Option<AttachEvent> {
    match news {
        News::Greeted(known) => Some(AttachEvent::Greeted {
            typing: known.contains(&Feature::Typing),
            live: known.contains(&Feature::LiveView),
        }),
        News::Output(output) => self::output(*output),
        News::Gap(OutputGap { incarnation, offset, length, .. }) => Some(AttachEvent::Gap {
            at: TerminalPosition { incarnation, offset },
            length: length.unwrap_or(0),
        }),
        News::Size(TerminalSized { incarnation, offset, size, .. }) => {
            Some(AttachEvent::Sized { at: TerminalPosition { incarnation, offset }, size })
        }
        News::Behind => Some(AttachEvent::Behind),
        News::Keyboard(said) => Some(AttachEvent::Keyboard(keyboard(*said, asked))),
        News::Status(status) => is_over(&status.status)
            .then(|| AttachEvent::Ended(status.because.clone().unwrap_or_default())),
        News::Acknowledged(about) => is(&about, &asked.watch).then_some(AttachEvent::Watching),
        News::Refused(error) => Some(refused(*error, terminal, asked)),
        News::Lost(why) => Some(AttachEvent::Lost(why)),
        News::Back => Some(AttachEvent::Back),
    }
}

fn is(about: &Option<MessageId>, asked: &Option<MessageId>) -> bool {
    asked.is_some() && about == asked
}

fn output(output: TerminalStream) -> Option<AttachEvent> {
    let (incarnation, offset) = (output.incarnation?, output.offset?);
    match output.content {
        StreamContent::Bytes(content) => Some(AttachEvent::Output {
            at: TerminalPosition { incarnation, offset },
            bytes: content.into_bytes(),
        }),
        // Only for who did not say that it takes bytes.
        StreamContent::Lines(_) => None,
    }
}

fn keyboard(said: KeyboardState, asked: &Asked) -> KeyboardSaid {
    let about =
        if is(&said.message_id, &asked.keyboard) { SaidAbout::Wish } else { SaidAbout::News };
    let KeyboardState { holder, name, taken, because, .. } = said;
    KeyboardSaid { about, holder, name, taken, because }
}

fn refused(error: ErrorReply, terminal: &CommandId, asked: &Asked) -> AttachEvent {
    let about = &error.original_message_id;
    if is(about, &asked.watch) {
        return AttachEvent::NotWatching(error.message);
    }
    let what = if is(about, &asked.keyboard) {
        Some(if error.code == ErrorCode::KeyboardHeld {
            Refused::WishWhileHeld
        } else if error.code == ErrorCode::AgentOffline {
            Refused::WishWhileAway
        } else {
            Refused::Wish
        })
    } else if error.context.command_id.as_ref() == Some(terminal) {
        let is_for_now = matches!(error.code, ErrorCode::QueueFull | ErrorCode::InvalidMessage);
        Some(if is_for_now { Refused::InputForNow } else { Refused::Input })
    } else {
        None
    };
    AttachEvent::Refused(what, error.message)
}
