//! Random tokens: 256 random bits under an id. A server keeps a hash of each, and so cannot lose them.

use super::TokenKind;
use onsembl_protocol::id::TokenId;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use std::fmt::Write as _;
use thiserror::Error;

/// What all of them begin with, so that they are known for what they are where they should not be.
const PREFIX: &str = "onsembl";
/// Bytes of an id: enough not to meet another one among all that a server ever makes.
const ID_BYTES: usize = 8;
/// Bytes of what is secret.
const SECRET_BYTES: usize = 32;

/// The system gave no random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the system provides no random numbers")]
pub struct NoRandom;

/// A random token that was just made.
pub(crate) struct MadeToken {
    /// What its bearer shows. It cannot be read back later.
    pub(crate) text: String,
    pub(crate) id: TokenId,
    pub(crate) hash: Vec<u8>,
}

/// A random token as it is shown.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ShownToken {
    pub(crate) id: TokenId,
    /// Of all of it. It is compared as it is: who could learn from the time that this takes would learn of
    /// the hash, from which no token follows.
    pub(crate) hash: Vec<u8>,
}

/// Makes a token.
pub(crate) fn make(kind: TokenKind) -> Result<MadeToken, NoRandom> {
    let mut bytes = [0; ID_BYTES + SECRET_BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandom)?;
    let (id, secret) = bytes.split_at(ID_BYTES);
    let (id, secret) = (hex(id), hex(secret));
    let text = format!("{PREFIX}_{kind}_{id}_{secret}");
    let hash = digest(&SHA256, text.as_bytes()).as_ref().to_vec();
    Ok(MadeToken { text, id: TokenId::new(id), hash })
}

/// The random token that this text is; `None` if it is none.
pub(crate) fn parse(text: &str) -> Option<ShownToken> {
    let (_, id) = parts(text)?;
    Some(ShownToken { id, hash: digest(&SHA256, text.as_bytes()).as_ref().to_vec() })
}

fn parts(text: &str) -> Option<(TokenKind, TokenId)> {
    let mut parts = text.split('_');
    let (prefix, kind) = (parts.next()?, TokenKind::parse(parts.next()?)?);
    let (id, secret) = (parts.next()?, parts.next()?);
    let is_hex = |part: &str, bytes: usize| {
        part.len() == 2 * bytes && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_whole = is_hex(id, ID_BYTES) && is_hex(secret, SECRET_BYTES) && parts.next().is_none();
    (prefix == PREFIX && is_whole).then(|| (kind, TokenId::new(id)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _cannot_fail = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_read_and_nothing_else_is() {
        for kind in [TokenKind::Agent, TokenKind::Dashboard] {
            let made = make(kind).unwrap();
            let shown = parse(&made.text).unwrap();
            assert_eq!((&shown.id, &shown.hash), (&made.id, &made.hash));
            assert_ne!(make(kind).unwrap().text, made.text);
            for other in [
                &made.text[1..],
                &made.text[..made.text.len() - 1],
                &made.text.to_uppercase(),
                &format!("{}_", made.text),
                &made.text.replace("onsembl", "x"),
                "",
                "a.b.c",
            ] {
                assert_eq!(parse(other), None, "{other}");
            }
            let mut changed = made.text.clone();
            let last = if changed.pop() == Some('0') { '1' } else { '0' };
            changed.push(last);
            assert_ne!(parse(&changed).unwrap().hash, made.hash);
        }
    }
}
