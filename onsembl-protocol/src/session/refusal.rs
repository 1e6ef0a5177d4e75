//! What an HTTP answer to a dial means.
//!
//! Between an agent and its server stand proxies, firewalls and captive portals, and any of them may
//! answer a dial. Only our server's own refusal may end an agent or slow it down. A dial carries a
//! random nonce; a server repeats it in a refusal and adds a reason word (P-12).

use super::dial::DialFailure;
use super::dial_fault::DialFault;
use core::time::Duration;

/// The header of a dial with the nonce, and of the refusal that repeats it.
pub const NONCE_HEADER: &str = "onsembl-nonce";

/// The header of a refusal with the reason word.
pub const REFUSAL_HEADER: &str = "onsembl-refusal";

/// The header of a refused token with what is wrong with it, where the server knows more than that.
pub const TOKEN_FAULT_HEADER: &str = "onsembl-token-fault";

/// Most bytes of a nonce that a server repeats: ours have 24, and an answer is not to grow with
/// what a peer sends.
const LONGEST_NONCE: usize = 64;

/// Why a server refuses a dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalReason {
    /// The token is bad, missing or expired.
    Unauthorized,
    /// The token was revoked or the agent deleted. Permanent.
    Forbidden,
    /// The token cannot be checked now.
    Unavailable,
}

impl RefusalReason {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Unauthorized, Self::Forbidden, Self::Unavailable];

    /// Its spelling in [`REFUSAL_HEADER`].
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Unavailable => "unavailable",
        }
    }

    /// Reads the header. `None` for a reason of a later version.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let header = header.trim();
        Self::ALL.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(header))
    }
}

/// What is wrong with a token that a server refuses. It changes nothing of what the refusal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub enum TokenFault {
    Expired,
    /// It is for another kind of peer.
    WrongKind,
    /// The server has made no such token: it is of another one, or not whole.
    Unknown,
}

impl TokenFault {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Expired, Self::WrongKind, Self::Unknown];

    /// Its spelling in [`TOKEN_FAULT_HEADER`].
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::WrongKind => "wrong-kind",
            Self::Unknown => "unknown",
        }
    }

    fn parse(header: &str) -> Option<Self> {
        let header = header.trim();
        Self::ALL.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(header))
    }
}

/// The nonce of a dial as a server may repeat it; `None` if it is none.
#[must_use]
pub fn nonce_to_repeat(nonce: &str) -> Option<&str> {
    let fits = (1..=LONGEST_NONCE).contains(&nonce.len());
    (fits && nonce.bytes().all(|b| b.is_ascii_graphic())).then_some(nonce)
}

/// An answer to a dial that grants no upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct HttpRefusal<'a> {
    pub status: u16,
    /// `Retry-After`, as a distance.
    pub retry_after: Option<Duration>,
    /// The header [`NONCE_HEADER`].
    pub nonce: Option<&'a str>,
    /// The header [`REFUSAL_HEADER`].
    pub reason: Option<&'a str>,
    /// The header [`TOKEN_FAULT_HEADER`].
    pub token_fault: Option<&'a str>,
}

impl HttpRefusal<'_> {
    /// What it means for the dial that sent this nonce.
    ///
    /// Without the nonce, or with an unknown reason, the answer may be that of a proxy: it counts as a
    /// failed dial, whatever the status.
    #[must_use]
    pub fn meaning(&self, sent: &str) -> DialFailure {
        let reason = self
            .reason
            .filter(|_| !sent.is_empty() && self.nonce == Some(sent))
            .and_then(RefusalReason::parse);
        match (reason, self.status) {
            (Some(RefusalReason::Unauthorized), _) => DialFailure::Unauthorized,
            (Some(RefusalReason::Forbidden), _) => DialFailure::Forbidden,
            (Some(RefusalReason::Unavailable), _) | (None, 429 | 503) => {
                DialFailure::Busy { retry_after: self.retry_after }
            }
            (None, status) => DialFailure::NotAServer(status),
        }
    }

    /// What was wrong with the dial that sent this nonce.
    #[must_use]
    pub fn fault(&self, sent: &str) -> DialFault {
        match self.meaning(sent) {
            DialFailure::Unauthorized => match self.token_fault.and_then(TokenFault::parse) {
                Some(TokenFault::Expired) => DialFault::TokenExpired,
                Some(TokenFault::WrongKind) => DialFault::TokenWrongKind,
                Some(TokenFault::Unknown) => DialFault::TokenUnknown,
                None => DialFault::TokenRefused,
            },
            // With its nonce it is our server's own word, and 503 of another is anybody's.
            DialFailure::Busy { .. } if !sent.is_empty() && self.nonce == Some(sent) => {
                DialFault::ServerBusy
            }
            failure @ (DialFailure::Busy { .. }
            | DialFailure::Unreachable
            | DialFailure::TimedOut
            | DialFailure::NoToken
            | DialFailure::Tls
            | DialFailure::NotAServer(_)
            | DialFailure::Forbidden) => DialFault::of(failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer<'a>(status: u16, nonce: Option<&'a str>, reason: Option<&'a str>) -> HttpRefusal<'a> {
        HttpRefusal { status, retry_after: None, nonce, reason, token_fault: None }
    }

    #[test]
    fn only_our_server_says_what_is_wrong_with_a_token() {
        let with = |nonce, word| HttpRefusal {
            token_fault: Some(word),
            ..answer(401, nonce, Some("unauthorized"))
        };
        for (word, fault) in [
            ("expired", DialFault::TokenExpired),
            ("Wrong-Kind", DialFault::TokenWrongKind),
            ("unknown", DialFault::TokenUnknown),
            ("of a later version", DialFault::TokenRefused),
        ] {
            assert_eq!(with(Some("n-1"), word).fault("n-1"), fault, "{word}");
            assert_eq!(with(None, word).fault("n-1"), DialFault::RefusedOnTheWay, "{word}");
            assert_eq!(with(Some("n-1"), word).meaning("n-1"), DialFailure::Unauthorized);
        }
    }

    #[test]
    fn only_an_answer_with_the_nonce_and_a_known_word_decides() {
        for (word, failure) in [
            ("unauthorized", DialFailure::Unauthorized),
            ("Forbidden", DialFailure::Forbidden),
            ("unavailable", DialFailure::Busy { retry_after: None }),
        ] {
            assert_eq!(answer(418, Some("n-1"), Some(word)).meaning("n-1"), failure, "{word}");
        }
        for status in [401, 403, 404, 502] {
            for (nonce, reason) in [
                (None, None),
                (None, Some("forbidden")),
                (Some("n-1"), None),
                (Some("n-2"), Some("forbidden")),
                (Some("n-1"), Some("evicted")),
            ] {
                let meaning = answer(status, nonce, reason).meaning("n-1");
                assert_eq!(meaning, DialFailure::NotAServer(status), "{nonce:?} {reason:?}");
            }
        }
        let empty = answer(403, Some(""), Some("forbidden")).meaning("");
        assert_eq!(empty, DialFailure::NotAServer(403), "a dial without a nonce proves nothing");
    }

    #[test]
    fn anybody_may_ask_for_a_pause() {
        for status in [429, 503] {
            let retry_after = Some(Duration::from_secs(7));
            let busy = HttpRefusal { retry_after, ..answer(status, None, None) };
            assert_eq!(busy.meaning("n-1"), DialFailure::Busy { retry_after });
        }
    }

    #[test]
    fn a_server_repeats_what_is_short_and_visible() {
        assert_eq!(nonce_to_repeat("dGhlIHNhbXBsZSBub25jZQ=="), Some("dGhlIHNhbXBsZSBub25jZQ=="));
        let long = "x".repeat(65);
        for nonce in ["", "a b", "ä", "a\r\nb", long.as_str()] {
            assert_eq!(nonce_to_repeat(nonce), None, "{nonce:?}");
        }
    }
}
