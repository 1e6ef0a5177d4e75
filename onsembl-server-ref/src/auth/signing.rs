//! The signing secret in use. An operator can replace it while the server runs: what was opened with a token that the
//! secret before it signed ends then, as it would with a restart.

use super::Opens;
use super::tokens::{SECRET_FILE, SecretError, Tokens, read_secret};
use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing::{error, info, warn};

/// Which of the secrets that a server has had; a later one is greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SecretNumber(u64);

/// See the [module](self).
#[derive(Clone, Debug)]
pub(crate) struct Signing(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    tokens: Tokens,
    number: SecretNumber,
    /// What the file held when it was read, and at the last look; nothing if it could not be read.
    in_use: u64,
    last: Option<u64>,
    seed: RandomState,
}

/// What became of a secret that was read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reread {
    Same,
    Replaced(SecretNumber),
}

impl Signing {
    /// As [`Tokens::open`].
    ///
    /// # Errors
    /// As there.
    pub(crate) fn open(folder: &Path) -> Result<Self, SecretError> {
        // It is made there if there is none yet.
        drop(Tokens::open(folder)?);
        let secret = read_secret(folder)?;
        let seed = RandomState::new();
        let in_use = seed.hash_one(&secret);
        let tokens = Tokens::of(&secret);
        let number = SecretNumber::default();
        let state = Mutex::new(State { tokens, number, in_use, last: Some(in_use), seed });
        Ok(Self(Arc::new(Shared { folder: folder.to_owned(), state })))
    }

    /// What checks tokens now, and which secret that is.
    pub(crate) fn now(&self) -> (Tokens, SecretNumber) {
        let state = self.state();
        (state.tokens.clone(), state.number)
    }

    /// Reads the secret again. A good one is used from here on, and whatever is open under a token of the one before
    /// ends; with a bad one, that in use stays in use. Blocks.
    pub(crate) fn reload(&self, opens: &Opens) {
        let path = self.0.folder.join(SECRET_FILE);
        let path = path.display();
        match self.reread() {
            Ok(Reread::Same) => {}
            Ok(Reread::Replaced(number)) => {
                let ended = opens.signed_before(number);
                warn!(%path, ended, "a new signing secret is in use; signed tokens of the one before are refused, and what was open with them has ended");
            }
            Err(why) => {
                error!(error = %why, "the signing secret cannot be used; keeping the one in use");
            }
        }
    }

    fn reread(&self) -> Result<Reread, SecretError> {
        let secret = read_secret(&self.0.folder)?;
        let mut state = self.state();
        let now = state.seed.hash_one(&secret);
        state.last = Some(now);
        if now == state.in_use {
            return Ok(Reread::Same);
        }
        state.in_use = now;
        state.tokens = Tokens::of(&secret);
        state.number.0 = state.number.0.saturating_add(1);
        Ok(Reread::Replaced(state.number))
    }

    /// Says once that the file holds something else than what is in use. Blocks.
    pub(crate) fn look(&self) {
        if self.has_changed() {
            let path = self.0.folder.join(SECRET_FILE);
            info!(path = %path.display(), "the signing secret on the disk is not the one in use; SIGHUP has it used (each signed token of the old one is refused then)");
        }
    }

    fn has_changed(&self) -> bool {
        let secret = read_secret(&self.0.folder).ok();
        let mut state = self.state();
        let now = secret.map(|secret| state.seed.hash_one(secret));
        std::mem::replace(&mut state.last, now) != now && now != Some(state.in_use)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Identity, TokenKind};
    use onsembl_protocol::fleet::{OpenHandle as _, OpenKind, TokenEnd};
    use onsembl_protocol::id::UserId;
    use onsembl_transport::counters::Counters;
    use std::fs;

    fn put(folder: &Path, secret: [u8; 48]) {
        fs::write(folder.join(SECRET_FILE), secret).unwrap();
    }

    #[test]
    fn a_new_secret_is_noticed_once_and_so_is_its_loss() {
        let dir = tempfile::tempdir().unwrap();
        let signing = Signing::open(dir.path()).unwrap();
        assert!(!signing.has_changed());
        let first = fs::read(dir.path().join(SECRET_FILE)).unwrap();
        put(dir.path(), [1; 48]);
        assert!(signing.has_changed());
        assert!(!signing.has_changed(), "once");
        fs::write(dir.path().join(SECRET_FILE), "short").unwrap();
        assert!(signing.has_changed());
        fs::write(dir.path().join(SECRET_FILE), first).unwrap();
        assert!(!signing.has_changed(), "the one in use is back");
    }

    #[test]
    fn a_good_secret_is_used_and_a_bad_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let signing = Signing::open(dir.path()).unwrap();
        assert_eq!(signing.reread().unwrap(), Reread::Same);
        fs::write(dir.path().join(SECRET_FILE), "short").unwrap();
        assert!(signing.reread().is_err());
        fs::remove_file(dir.path().join(SECRET_FILE)).unwrap();
        assert!(signing.reread().is_err());
        assert!(!dir.path().join(SECRET_FILE).exists(), "none is made while it runs");
        assert_eq!(signing.now().1, SecretNumber(0));
        Tokens::open(dir.path()).unwrap();
        assert_eq!(signing.reread().unwrap(), Reread::Replaced(SecretNumber(1)));
        assert_eq!(signing.reread().unwrap(), Reread::Same);
    }

    #[test]
    fn what_the_secret_before_signed_ends_also_if_it_is_opened_too_late() {
        let (opens, _links) = Opens::new(Counters::default());
        let of = |number: Option<u64>| {
            let identity = Identity::new(UserId::new("ann"), TokenKind::Dashboard, "t");
            Identity { signed_by: number.map(SecretNumber), ..identity }
        };
        let open = |number| opens.open(OpenKind::Dashboard, of(number));
        let (random, old, new) = (open(None), open(Some(0)), open(Some(1)));
        assert_eq!(opens.signed_before(SecretNumber(1)), 1);
        let ends = || [random.end(), old.end(), new.end()];
        assert_eq!(ends(), [None, Some(TokenEnd::Expired), None], "their ids are the same");
        assert_eq!(open(Some(0)).end(), Some(TokenEnd::Expired), "it was checked before");
        assert_eq!(open(Some(1)).end(), None);
        assert_eq!(opens.signed_before(SecretNumber(1)), 0);
    }
}
