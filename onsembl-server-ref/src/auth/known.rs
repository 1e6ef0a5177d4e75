//! The default [`Auth`]: the tokens that this server knows, random ones by their hash and signed ones by its
//! secret, and its database, in which they are listed and revoked.

use super::lookups::Lookups;
use super::random;
use super::signing::{SecretNumber, Signing};
use super::tokens::Signed;
use super::uses::Uses;
use super::{Auth, Credentials, Identity, LookupError, Refusal, TokenError, TokenKind};
use crate::store::{Asker, Store, StoreError, TokenForm, TokenRow};
use onsembl_protocol::id::{LineageId, TokenId, UserId};
use tracing::warn;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct KnownTokens {
    signing: Signing,
    store: Store,
    uses: Uses,
    lookups: Lookups,
}

impl KnownTokens {
    pub(crate) fn new(signing: Signing, store: Store, uses: Uses) -> Self {
        Self { signing, store, uses, lookups: Lookups::default() }
    }

    /// Whose random token this is.
    async fn random(
        &self,
        shown: &random::ShownToken,
        credentials: &Credentials<'_>,
    ) -> Result<TokenRow, Refusal> {
        let kind = credentials.kind();
        let read = || self.store.tokens().get_for(credentials.asker(), &shown.id);
        let row = self.lookups.get(&shown.id, read).await;
        let row = row.map_err(|error| not_now(&error))?;
        let row = row.filter(|row| row.form == TokenForm::Random(shown.hash.clone()));
        let row = row.ok_or(TokenError::Unknown)?;
        match TokenKind::parse(&row.kind) {
            Some(is) if is == kind => Ok(row),
            Some(is) => Err(TokenError::WrongKind(is).into()),
            None => Err(TokenError::Unknown.into()),
        }
    }

    /// Whose signed token this is, and by which secret. All of a user may be revoked together, also those that were
    /// never seen before.
    async fn signed(
        &self,
        token: Option<&str>,
        kind: TokenKind,
    ) -> Result<(Signed, SecretNumber), Refusal> {
        let (tokens, number) = self.signing.now();
        let signed = tokens.check(token, kind)?;
        let until = self.store.tokens().user_revoked_until(&signed.identity.user).await;
        match until.map_err(|error| not_now(&error))? {
            Some(until) if signed.made_at <= until => {
                let why = "all tokens of this user were revoked; stay away".to_owned();
                Err(Refusal::Forbidden(why))
            }
            Some(_) | None => Ok((signed, number)),
        }
    }
}

impl Auth for KnownTokens {
    async fn identify(&self, credentials: &Credentials<'_>) -> Result<Identity, Refusal> {
        let kind = credentials.kind();
        // What is stored of a random token says whether it is revoked: no second look-up is needed.
        let (row, signed_by, is_unrevoked) = match credentials.token().and_then(random::parse) {
            Some(shown) => {
                let row = self.random(&shown, credentials).await?;
                let is_unrevoked = row.revoked.is_none();
                (row, None, is_unrevoked)
            }
            None => {
                let (signed, number) = self.signed(credentials.token(), kind).await?;
                (signed.row(), Some(number), false)
            }
        };
        let mut identity = Identity::new(row.user.clone(), kind, row.token.as_str())
            .in_lineage(row.lineage.clone())
            .made_at(row.made_at)
            .for_agents(row.scope());
        identity.expires = row.expires_at;
        identity.is_unrevoked = is_unrevoked;
        identity.signed_by = signed_by;
        self.uses.shown(row, credentials.peer());
        Ok(identity)
    }

    async fn is_revoked(&self, token_id: &str) -> Result<bool, LookupError> {
        self.store.tokens().is_revoked(token_id).await.map_err(LookupError::new)
    }

    async fn is_revoked_of(&self, user: &UserId, token_id: &str) -> Result<bool, LookupError> {
        let asker = Asker::User(user.clone());
        self.store.tokens().is_revoked_for(asker, token_id).await.map_err(LookupError::new)
    }
}

fn not_now(error: &StoreError) -> Refusal {
    warn!(%error, "cannot look up tokens");
    Refusal::Unavailable("the token cannot be checked now; try again later".to_owned())
}

impl Signed {
    /// As it is listed.
    pub(crate) fn row(self) -> TokenRow {
        let Identity { user, kind, token_id, expires, lineage, .. } = self.identity;
        TokenRow {
            lineage: lineage.unwrap_or_else(|| LineageId::new(&token_id)),
            token: TokenId::new(token_id),
            user,
            kind: kind.as_str().to_owned(),
            form: TokenForm::Signed,
            made_for: None,
            agent: None,
            bound_at: None,
            made_at: self.made_at,
            expires_at: expires,
            shown_at: None,
            shown_from: None,
            revoked: None,
        }
    }
}
