//! Who is admitted: the trait [`Auth`], by which a service brings its own accounts, and the tokens of this
//! server that are the default.
//!
//! Nothing here knows HTTP statuses, links or sessions.

mod authenticator;
mod credentials;
mod identity;
mod known;
mod lookups;
mod making;
mod open;
mod random;
mod refusal;
mod signing;
mod tokens;
mod uses;

pub(crate) use authenticator::{Authenticator, Refused};
pub use credentials::Credentials;
pub use identity::{Identity, TokenKind};
pub(crate) use known::KnownTokens;
pub use making::{MakeError, NewToken, TokenOrder, make_token, renew_token};
pub(crate) use open::{LinkEnd, OpenRequest, Opens};
pub use random::NoRandom;
pub(crate) use random::parse as parse_random;
pub use refusal::{LookupError, Refusal};
pub(crate) use signing::Signing;
pub(crate) use tokens::SECRET_FILE;
pub use tokens::{IssueError, SecretError, TokenError, Tokens};
pub(crate) use uses::{MOST as USES, Uses, keep as keep_uses};

use onsembl_protocol::id::UserId;

/// Knows the accounts of a service.
///
/// The server asks [`identify`](Self::identify) at each connection and each HTTP request, and when
/// a dashboard refreshes its token. It asks [`is_revoked`](Self::is_revoked) right after that, and
/// every 10 s for each token of an agent in session, every 30 s for each dashboard. A call that has not answered
/// after 5 s is abandoned, and its peer is asked to come back later; so both may wait for a database
/// or for another server.
///
/// ```
/// use onsembl_protocol::id::UserId;
/// use onsembl_server_ref::auth::{Auth, Credentials, Identity, LookupError, Refusal};
///
/// /// One key for everything.
/// struct OneKey;
///
/// impl Auth for OneKey {
///     async fn identify(&self, credentials: &Credentials<'_>) -> Result<Identity, Refusal> {
///         match credentials.header("x-api-key").or(credentials.token()) {
///             Some("secret") => {
///                 Ok(Identity::new(UserId::new("ann"), credentials.kind(), "the-one-key"))
///             }
///             Some(_) => Err(Refusal::Unauthorized("unknown API key; ask the operator".into())),
///             None => Err(Refusal::Unauthorized("no API key; send X-Api-Key".into())),
///         }
///     }
///
///     async fn is_revoked(&self, _token_id: &str) -> Result<bool, LookupError> {
///         Ok(false)
///     }
/// }
/// ```
pub trait Auth: Send + Sync + 'static {
    /// Whose credentials these are.
    ///
    /// [`Credentials::kind`] says what the peer connects as. An identity of another kind is refused
    /// by the server, and so is one that has expired.
    ///
    /// # Errors
    /// [`Refusal`]: the peer is not admitted, and gets this text.
    fn identify(
        &self,
        credentials: &Credentials<'_>,
    ) -> impl Future<Output = Result<Identity, Refusal>> + Send;

    /// Whether the token with this [`Identity::token_id`] is no longer accepted. Sessions that it
    /// opened are closed then, and their agents do not come back by themselves.
    ///
    /// # Errors
    /// [`LookupError`]: not known now. Sessions continue, new connections are asked to come back.
    fn is_revoked(&self, token_id: &str) -> impl Future<Output = Result<bool, LookupError>> + Send;

    /// The same on behalf of the user whose token it is, for an `Auth` that looks up for each user in turn. By default
    /// [`is_revoked`](Self::is_revoked), which the server asks by itself for the agents in session.
    ///
    /// # Errors
    /// As there.
    fn is_revoked_of(
        &self,
        user: &UserId,
        token_id: &str,
    ) -> impl Future<Output = Result<bool, LookupError>> + Send {
        let _ = user;
        self.is_revoked(token_id)
    }
}
