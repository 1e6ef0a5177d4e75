//! Tokens: text that never reaches a log, and where it comes from.

use crate::private::Mode;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;
use thiserror::Error;

/// Longest token file in bytes: four times the longest head that an HTTP server takes. A device or a pipe
/// that never ends is not a token.
const LONGEST_FILE: u64 = 64 * 1024;

/// A text that must not be shown. Its `Debug` says nothing of it, and it has no `Display`.
///
/// ```
/// use onsembl_transport::secret::Secret;
///
/// let token = Secret::new("swordfish\n"); // as it stands in a file
/// assert_eq!(token.expose(), "swordfish");
/// assert_eq!(format!("{token:?}"), "Secret(…)");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes `text`, without the white space around it (files end in a line break) and without the byte
    /// order mark that some editors begin a file with.
    pub fn new(text: impl AsRef<str>) -> Self {
        let text = text.as_ref();
        Self(text.strip_prefix('\u{feff}').unwrap_or(text).trim().to_owned())
    }

    /// Whether it can stand in the header of a request: there is one, and it has only visible ASCII characters.
    #[must_use]
    pub fn can_be_shown(&self) -> bool {
        !self.0.is_empty() && self.0.bytes().all(|byte| byte.is_ascii_graphic())
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where a dialer gets its token: asked at each dial, so that a token that was renewed in the
/// meantime is used. Called on a thread where blocking is allowed, within the dial's time-out.
///
/// Every `Fn() -> io::Result<Secret>` is one, and so is a plain [`Secret`].
pub trait TokenSource: Send + Sync {
    /// The token to show now.
    ///
    /// # Errors
    /// There is none. The dial then fails with
    /// [`DialFailure::NoToken`](onsembl_protocol::session::DialFailure::NoToken).
    fn token(&self) -> io::Result<Secret>;
}

impl<F: Fn() -> io::Result<Secret> + Send + Sync> TokenSource for F {
    fn token(&self) -> io::Result<Secret> {
        self()
    }
}

impl TokenSource for Secret {
    fn token(&self) -> io::Result<Secret> {
        Ok(self.clone())
    }
}

/// The token file cannot be read.
#[derive(Debug, Error)]
#[error("cannot read the token file {path}: {source}")]
struct Unreadable {
    path: String,
    source: io::Error,
}

/// The error number of the operating system for which a token could not be had, if it gave one.
#[cfg(feature = "websocket")]
pub(crate) fn os_error(error: &io::Error) -> Option<i32> {
    let inner = || error.get_ref()?.source()?.downcast_ref::<io::Error>()?.raw_os_error();
    error.raw_os_error().or_else(inner)
}

/// A file that holds a token and nothing else. Read again at each dial.
#[derive(Clone, Debug)]
pub struct TokenFile(pub PathBuf);

impl TokenSource for TokenFile {
    fn token(&self) -> io::Result<Secret> {
        let path = self.0.display();
        // What others put there would make this an agent of theirs, which runs what they ask for.
        if Mode::at(&self.0).is_ok_and(Mode::others_write) {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!(
                    "every user of this machine can write the token file {path}, so its contents are not used; run `chmod 600 {path}` and put the token there again"
                ),
            ));
        }
        let mut text = String::new();
        let read = File::open(&self.0).and_then(|file| {
            let mut file = file.take(LONGEST_FILE + 1);
            file.read_to_string(&mut text)
        });
        let length = read.map_err(|source| {
            io::Error::new(source.kind(), Unreadable { path: path.to_string(), source })
        })?;
        if length as u64 > LONGEST_FILE {
            return Err(io::Error::other(format!(
                "the token file {path} holds more than {LONGEST_FILE} bytes; put only a token into it"
            )));
        }
        let token = Secret::new(text);
        if token.expose().is_empty() {
            return Err(io::Error::other(format!(
                "the token file {path} is empty; put a token into it"
            )));
        }
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_nothing() {
        let secret = Secret::new("  swordfish\n");
        assert_eq!(secret.expose(), "swordfish");
        assert!(!format!("{secret:?}").contains("sword"));
        assert!(secret.can_be_shown());
        for unfit in ["", " \n", "a b", "a\r\nX: y", "ä", "a\0"] {
            assert!(!Secret::new(unfit).can_be_shown(), "{unfit:?}");
        }
    }

    #[test]
    fn a_token_file_is_read_each_time_and_complains_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let source = TokenFile(dir.path().join("token"));
        assert!(source.token().unwrap_err().to_string().contains("token"));
        for token in ["one", "two"] {
            std::fs::write(&source.0, format!("{token}\n")).unwrap();
            assert_eq!(source.token().unwrap().expose(), token);
        }
        for form in ["three", " three \n", "three\r\n", "\u{feff}three\r\n"] {
            std::fs::write(&source.0, form).unwrap();
            assert_eq!(source.token().unwrap().expose(), "three", "{form:?}");
        }
        std::fs::write(&source.0, b"\xff\xfet\0").unwrap();
        assert!(source.token().unwrap_err().to_string().contains("UTF-8"));
        std::fs::write(&source.0, vec![b'x'; 1 << 20]).unwrap();
        let long = source.token().unwrap_err().to_string();
        assert!(long.contains("token holds more than"), "{long}");
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        std::fs::set_permissions(&source.0, open).unwrap();
        assert!(source.token().unwrap_err().to_string().contains("chmod 600"));
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&source.0, private).unwrap();
        std::fs::write(&source.0, "\n").unwrap();
        assert!(source.token().unwrap_err().to_string().contains("is empty"));
    }
}
