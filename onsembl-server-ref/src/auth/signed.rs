//! The default [`Auth`]: tokens signed with this server's secret, revoked in its database.

use super::{Auth, Credentials, Identity, LookupError, Refusal, Tokens};
use crate::store::Store;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct SignedTokens {
    pub(crate) tokens: Tokens,
    pub(crate) store: Store,
}

impl Auth for SignedTokens {
    async fn identify(&self, credentials: &Credentials<'_>) -> Result<Identity, Refusal> {
        Ok(self.tokens.verify(credentials.token(), credentials.kind())?)
    }

    async fn is_revoked(&self, token_id: &str) -> Result<bool, LookupError> {
        self.store.is_revoked(token_id).await.map_err(LookupError::new)
    }
}
