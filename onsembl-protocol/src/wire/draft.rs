//! A text that arrives in pieces before the request that it belongs to (P-470): it is used whole, or not at all.

use super::payload::{CommandRequest, CommandText, LongText};
use crate::id::CommandId;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

/// The text that arrives over one link, of one command at a time. It ends with the link.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draft(Option<Arriving>);

#[derive(Clone, Debug)]
struct Arriving {
    command: CommandId,
    text: Result<Vec<u8>, Fault>,
}

/// Why a text cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Hole,
    TooLong,
}

impl Fault {
    fn why(self) -> String {
        match self {
            Self::Hole => {
                "a piece of its text is missing or out of order; nothing was done".to_owned()
            }
            Self::TooLong => format!(
                "a text has {} bytes (1 MiB) at most; nothing was done; put it into a file on the agent's machine and name that",
                LongText::MOST
            ),
        }
    }
}

impl Draft {
    /// A piece arrived. What is wrong with it is said when the request comes.
    pub(crate) fn add(&mut self, piece: CommandText) {
        let CommandText { command_id, offset, bytes } = piece;
        let before = self.0.take().filter(|before| before.command == command_id);
        let text = match before {
            // It begins, or begins again.
            _ if offset.0 == 0 => joined(Vec::new(), &bytes.0),
            Some(Arriving { text: Ok(text), .. }) => match u64::try_from(text.len()) {
                Ok(end) if end == offset.0 => joined(text, &bytes.0),
                Ok(_) | Err(_) => Err(Fault::Hole),
            },
            Some(Arriving { text: Err(fault), .. }) => Err(fault),
            None => Err(Fault::Hole),
        };
        self.0 = Some(Arriving { command: command_id, text });
    }

    /// Gives a request the text that came before it, if it says that it has one.
    ///
    /// # Errors
    /// It did not come, or not as declared; the text says which. The request is not to be carried out.
    pub(crate) fn join(&mut self, request: &mut CommandRequest) -> Result<(), String> {
        let Some(LongText::Declared(declared)) = request.long_text else { return Ok(()) };
        let arrived = self.0.take_if(|draft| Some(&draft.command) == request.command_id.as_ref());
        let text = match arrived {
            None => {
                return Err("its text did not arrive before the request; nothing was done".into());
            }
            Some(Arriving { text, .. }) => text.map_err(Fault::why)?,
        };
        if u64::try_from(text.len()) != Ok(declared) {
            let have = text.len();
            return Err(format!(
                "{have} of the {declared} bytes of its text arrived; nothing was done"
            ));
        }
        if core::str::from_utf8(&text).is_err() {
            return Err("its text is not UTF-8; nothing was done".into());
        }
        request.long_text = Some(LongText::Whole(Bytes::from(text)));
        Ok(())
    }
}

fn joined(mut text: Vec<u8>, piece: &[u8]) -> Result<Vec<u8>, Fault> {
    if text.len().saturating_add(piece.len()) > LongText::MOST {
        return Err(Fault::TooLong);
    }
    text.extend_from_slice(piece);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{AgentId, ByteOffset};
    use crate::wire::payload::TypedBytes;
    use proptest::prelude::*;

    fn request(text: &str) -> CommandRequest {
        CommandRequest::of_any_length(CommandId::new("c"), AgentId::new("a"), text.into())
    }

    /// The request as it is read from the wire.
    fn declared(request: &CommandRequest) -> CommandRequest {
        let mut request = request.clone();
        request.long_text = request.long_text.map(|long| LongText::Declared(long.bytes()));
        request
    }

    fn pieces(request: &CommandRequest) -> Vec<CommandText> {
        request.long_text.as_ref().unwrap().pieces(&CommandId::new("c")).collect()
    }

    fn join(draft: &mut Draft, request: &CommandRequest) -> Result<CommandRequest, String> {
        let mut request = declared(request);
        draft.join(&mut request).map(|()| request)
    }

    #[test]
    fn a_text_is_joined_once_and_only_for_its_own_command() {
        let long = request(&"é".repeat(200_000));
        let mut draft = Draft::default();
        for piece in pieces(&long) {
            draft.add(piece);
        }
        let mut other = declared(&long);
        other.command_id = Some(CommandId::new("other"));
        assert!(draft.join(&mut other).unwrap_err().contains("did not arrive"));
        assert_eq!(join(&mut draft, &long), Ok(long.clone()));
        assert!(join(&mut draft, &long).unwrap_err().contains("did not arrive"));
        // One without a long text needs none.
        assert_eq!(join(&mut draft, &request("ls")), Ok(request("ls")));
    }

    #[test]
    fn a_text_has_a_bound_and_is_text() {
        let piece = |at: usize, bytes: &[u8]| CommandText {
            command_id: CommandId::new("c"),
            offset: ByteOffset(at as u64),
            bytes: TypedBytes(Bytes::copy_from_slice(bytes)),
        };
        let declares = |bytes: usize| {
            let mut it = request("x");
            it.long_text = Some(LongText::Declared(bytes as u64));
            it
        };
        let mut draft = Draft::default();
        draft.add(piece(0, &alloc::vec![b'x'; LongText::MOST]));
        draft.add(piece(LongText::MOST, b"x"));
        let why = draft.join(&mut declares(LongText::MOST + 1)).unwrap_err();
        assert!(why.contains("1048576 bytes (1 MiB)") && why.contains("a file"), "{why}");
        draft.add(piece(0, &alloc::vec![b'x'; LongText::MOST]));
        assert_eq!(draft.join(&mut declares(LongText::MOST)), Ok(()));
        draft.add(piece(0, b"\xff"));
        assert!(draft.join(&mut declares(1)).unwrap_err().contains("UTF-8"));
        draft.add(piece(0, b"abc"));
        assert!(draft.join(&mut declares(4)).unwrap_err().contains("3 of the 4 bytes"));
    }

    proptest! {
        // Each has megabytes.
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Whatever is lost, repeated or moved on the way: what is joined is the text, or nothing.
        #[test]
        fn a_text_is_whole_or_refused(
            length in 65_537..700_000_usize,
            sent in proptest::collection::vec(0..6_usize, 0..8),
        ) {
            let long = request(&"abcdefg\n".repeat(length / 8 + 1));
            let all = pieces(&long);
            let mut draft = Draft::default();
            for at in &sent {
                if let Some(piece) = all.get(*at) {
                    draft.add(piece.clone());
                }
            }
            match join(&mut draft, &long) {
                Ok(joined) => prop_assert_eq!(&joined, &long),
                Err(why) => prop_assert!(why.contains("nothing was done"), "{}", why),
            }
            for piece in all {
                draft.add(piece);
            }
            prop_assert_eq!(join(&mut draft, &long), Ok(long));
        }
    }
}
