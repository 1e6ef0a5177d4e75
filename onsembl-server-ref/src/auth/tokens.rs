//! Signed tokens: who a caller is, and what kind of peer it may be.
//!
//! HS256 JSON Web Tokens, signed with the secret of this server, by an issuer of its operator's or by an earlier
//! version. Nothing here knows connections; whether a token was revoked is the store's to say.

use super::{Identity, TokenKind};
use crate::store::FILE_NAME;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use onsembl_protocol::id::{LineageId, UserId};
use onsembl_protocol::time::WallTime;
use onsembl_transport::clock::SystemClock;
use onsembl_transport::private::{self, Mode};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// Name of the file that holds the signing secret.
pub(crate) const SECRET_FILE: &str = "token.secret";
/// Bytes of a new secret: as many as the hash has, as RFC 7518, section 3.2, asks.
const SECRET_BYTES: usize = 32;

/// Why a token is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TokenError {
    /// None was sent.
    #[error("no token was sent; use the header `Authorization: Bearer …`")]
    Missing,
    /// It ran out.
    #[error("the token has expired; make a new one with `onsembl-server token`")]
    Expired,
    /// It is for another kind of peer.
    #[error(
        "this is a token of kind `{0}`; this address requires another kind (`onsembl-server token --kind`)"
    )]
    WrongKind(TokenKind),
    /// Its signature is not by this server's secret.
    #[error(
        "the token is not from this server: it is from another data directory, from before the secret was replaced, or incomplete; create one with `onsembl-server token`"
    )]
    Foreign,
    /// It is unknown, or no longer: it may be of another server.
    #[error(
        "unknown token: it is from another data directory, was removed from this one, or is incomplete; create one with `onsembl-server token`"
    )]
    Unknown,
    /// It is none.
    #[error("invalid token (was it copied completely?)")]
    Malformed,
}

/// Why the signing secret cannot be had.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the names say all")]
pub enum SecretError {
    /// The file cannot be read or written.
    #[error("cannot use the signing secret {path}: {error}")]
    Io {
        path: PathBuf,
        /// What the operating system says.
        #[source]
        error: io::Error,
    },
    /// Others can read it.
    #[error(
        "every user of this machine can read or write the signing secret {path} (mode {mode}), and so make tokens; run \
         `chmod 600 {path}`, or, if others may have read it, remove it and start the server with --new-secret, which \
         makes all tokens invalid"
    )]
    Exposed {
        path: PathBuf,
        /// In octal.
        mode: String,
    },
    /// It is missing, and a database is there.
    #[error(
        "the signing secret {path} is missing beside a database, so that no token of this server is valid; restore it \
         from a backup, or start the server with --new-secret once, and make a new token for every agent and dashboard"
    )]
    Lost { path: PathBuf },
    /// The file holds something else.
    #[error(
        "{path} does not hold a signing secret of at least 32 bytes; restore it, or remove it and issue all tokens again"
    )]
    TooShort { path: PathBuf },
}

/// Why a token cannot be signed.
#[derive(Debug, Error)]
#[error("cannot sign a token")]
pub struct IssueError(#[source] jsonwebtoken::errors::Error);

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    kind: TokenKind,
    jti: String,
    iat: i64,
    exp: i64,
    /// Its lineage, if it is not the first of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lin: Option<String>,
}

impl Claims {
    /// Whose token it is, and when it was made.
    fn read(self) -> Signed {
        let (expires, made_at) = (seconds(self.exp), seconds(self.iat));
        let lineage = LineageId::new(self.lin.as_ref().unwrap_or(&self.jti));
        let identity = Identity::new(UserId::new(self.sub), self.kind, self.jti);
        Signed { identity: identity.expiring_at(expires).in_lineage(lineage), made_at }
    }
}

fn seconds(since_1970: i64) -> WallTime {
    WallTime::from_unix_millis(since_1970.saturating_mul(1000))
}

/// What a signed token says.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub(crate) identity: Identity,
    pub(crate) made_at: WallTime,
}

/// Makes and checks tokens.
#[derive(Clone)]
pub struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(secret)")
    }
}

impl Tokens {
    /// The secret of the server in `dir`; made on first use, with mode 0600. Not made where a database is already:
    /// there it was lost, and a new one would silently make all tokens invalid.
    ///
    /// # Errors
    /// The file cannot be read or made, is no secret, is open to others, or was lost.
    pub fn open(dir: &Path) -> Result<Self, SecretError> {
        let path = dir.join(SECRET_FILE);
        let has_database = fs::metadata(dir.join(FILE_NAME)).is_ok_and(|data| data.len() > 0);
        if has_database && !path.try_exists().unwrap_or(true) {
            return Err(SecretError::Lost { path });
        }
        Self::open_or_make(dir)
    }

    /// The same, but makes a new secret where it was lost. Every token from before is invalid then.
    ///
    /// # Errors
    /// The file cannot be read or made, is no secret, or is open to others.
    pub fn open_or_make(dir: &Path) -> Result<Self, SecretError> {
        let path = dir.join(SECRET_FILE);
        let io = |error| SecretError::Io { path: path.clone(), error };
        private::create_dir(dir).map_err(io)?;
        if !path.try_exists().map_err(io)? {
            make_secret(&path).map_err(io)?;
        }
        read_secret(dir).map(|secret| Self::of(&secret))
    }

    /// With this secret.
    pub(super) fn of(secret: &[u8]) -> Self {
        Self {
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
        }
    }

    /// A new token, and its id.
    ///
    /// # Errors
    /// The library could not sign, which with a good secret it always can.
    pub fn issue(
        &self,
        user: &UserId,
        kind: TokenKind,
        ttl: Duration,
        now: WallTime,
    ) -> Result<(String, String), IssueError> {
        let iat = now.unix_millis() / 1000;
        let jti = uuid::Uuid::new_v4().to_string();
        let ttl = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
        let claims = Claims {
            sub: user.as_str().to_owned(),
            kind,
            jti: jti.clone(),
            iat,
            exp: iat.saturating_add(ttl),
            lin: None,
        };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)
            .map_err(IssueError)?;
        Ok((token, jti))
    }

    /// Who bears this token.
    ///
    /// # Errors
    /// It is missing, bad or has expired, or is of another kind.
    pub fn verify(&self, token: Option<&str>, kind: TokenKind) -> Result<Identity, TokenError> {
        let identity = self.check(token, kind)?.identity;
        match identity.has_expired(SystemClock::new().now().wall) {
            true => Err(TokenError::Expired),
            false => Ok(identity),
        }
    }

    /// Who bore this token when it was valid, and when it was made: whose it was is to be said also when it has
    /// expired, which is for the caller to see.
    #[allow(clippy::wildcard_enum_match_arm, reason = "the errors of the library are open")]
    pub(crate) fn check(&self, token: Option<&str>, kind: TokenKind) -> Result<Signed, TokenError> {
        let token = token.ok_or(TokenError::Missing)?;
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        validation.validate_exp = false;
        validation.set_required_spec_claims(&["exp", "sub"]);
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decoding, &validation)
            .map_err(|error| match error.kind() {
                ErrorKind::InvalidSignature => TokenError::Foreign,
                _ => TokenError::Malformed,
            })?
            .claims;
        if claims.kind != kind {
            return Err(TokenError::WrongKind(claims.kind));
        }
        Ok(claims.read())
    }

    /// The id of a token of this server, also when it has expired: for revoking it.
    pub fn id_of(&self, token: &str) -> Option<String> {
        self.read(token).map(|signed| signed.identity.token_id)
    }

    /// What a token of this server says, also when it has expired.
    pub(crate) fn read(&self, token: &str) -> Option<Signed> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.validate_exp = false;
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decoding, &validation).ok()?;
        Some(claims.claims.read())
    }
}

/// The secret that is there.
///
/// # Errors
/// The file cannot be read, is no secret, or is open to others.
pub(super) fn read_secret(dir: &Path) -> Result<Vec<u8>, SecretError> {
    let path = dir.join(SECRET_FILE);
    let io = |error| SecretError::Io { path: path.clone(), error };
    let secret = fs::read(&path).map_err(io)?;
    let mode = Mode::at(&path).map_err(io)?;
    if mode.is_open_to_others() {
        return Err(SecretError::Exposed { path, mode: mode.to_string() });
    }
    if mode.is_open_to_group() {
        tracing::warn!(path = %path.display(), %mode, "a group of this machine can use the signing secret; run chmod 600 on it unless intended");
    }
    if secret.len() < SECRET_BYTES {
        return Err(SecretError::TooShort { path });
    }
    Ok(secret)
}

/// Writes a new secret beside the name and links it into place, so that of two servers that start
/// at once both end with the same one.
fn make_secret(path: &Path) -> io::Result<()> {
    let mut secret = Vec::with_capacity(SECRET_BYTES);
    while secret.len() < SECRET_BYTES {
        secret.extend_from_slice(uuid::Uuid::new_v4().as_bytes());
    }
    // Two UUIDs hold 244 random bits; a third pads for the version and variant bits.
    secret.extend_from_slice(uuid::Uuid::new_v4().as_bytes());
    let temporary = path.with_extension(format!("new-{}", std::process::id()));
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(&secret)?;
    file.sync_all()?;
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime::from_unix_millis(4_000_000_000_000);

    fn tokens() -> (tempfile::TempDir, Tokens) {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(dir.path()).unwrap();
        (dir, tokens)
    }

    #[test]
    fn a_token_says_who_and_what_kind() {
        let (_dir, tokens) = tokens();
        let user = UserId::new("ann");
        let hour = Duration::from_secs(3600);
        let (token, id) = tokens.issue(&user, TokenKind::Agent, hour, NOW).unwrap();
        let who = tokens.verify(Some(&token), TokenKind::Agent).unwrap();
        assert_eq!((who.user, who.token_id), (user, id));
        let wrong = tokens.verify(Some(&token), TokenKind::Dashboard);
        assert_eq!(wrong, Err(TokenError::WrongKind(TokenKind::Agent)));
    }

    #[test]
    fn expired_foreign_and_unsigned_tokens_are_refused() {
        let (_dir, ours) = tokens();
        let (_dir2, theirs) = tokens();
        let user = UserId::new("ann");
        let long_ago = WallTime::from_unix_millis(1_000_000_000_000);
        let second = Duration::from_secs(1);
        let old = ours.issue(&user, TokenKind::Agent, second, long_ago).unwrap().0;
        let foreign = theirs.issue(&user, TokenKind::Agent, second, NOW).unwrap().0;
        let none = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4iLCJraW5kIjoiYWdlbnQiLCJqdGkiOiJ4IiwiaWF0IjowLCJleHAiOjQxMDI0NDQ4MDB9.";
        let verify = |t: &str| ours.verify(Some(t), TokenKind::Agent);
        assert_eq!(verify(&old), Err(TokenError::Expired));
        assert_eq!(verify(&foreign), Err(TokenError::Foreign));
        assert_eq!(verify(none), Err(TokenError::Malformed));
        assert_eq!(verify(&foreign[1..]), Err(TokenError::Malformed));
        assert_eq!(ours.verify(None, TokenKind::Agent), Err(TokenError::Missing));
    }

    #[test]
    fn a_lost_secret_is_not_replaced_without_an_order() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE_NAME), "").unwrap();
        drop(Tokens::open(dir.path()).unwrap());
        fs::write(dir.path().join(FILE_NAME), "a database").unwrap();
        drop(Tokens::open(dir.path()).unwrap());
        fs::remove_file(dir.path().join(SECRET_FILE)).unwrap();
        let lost = Tokens::open(dir.path()).unwrap_err();
        assert!(matches!(lost, SecretError::Lost { .. }), "{lost}");
        assert!(!dir.path().join(SECRET_FILE).exists());
        drop(Tokens::open_or_make(dir.path()).unwrap());
        drop(Tokens::open(dir.path()).unwrap());
    }

    #[test]
    fn a_secret_that_others_can_use_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let (dir, _) = tokens();
        let path = dir.path().join(SECRET_FILE);
        for (mode, is_good) in [(0o644, false), (0o602, false), (0o640, true), (0o400, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(Tokens::open(dir.path()).is_ok(), is_good, "{mode:o}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let refused = Tokens::open(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("chmod 600") && refused.contains("0644"), "{refused}");
    }

    #[test]
    fn the_secret_is_private_and_stays() {
        use std::os::unix::fs::PermissionsExt as _;
        let (dir, first) = tokens();
        let mode = fs::metadata(dir.path().join(SECRET_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let second = Tokens::open(dir.path()).unwrap();
        let user = UserId::new("ann");
        let token = first.issue(&user, TokenKind::Agent, Duration::from_secs(9), NOW).unwrap().0;
        assert!(second.verify(Some(&token), TokenKind::Agent).is_ok());
    }
}
