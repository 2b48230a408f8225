//! The people who run the platform: add, list, disable, give another token, and know them again.

use crate::Control;
use portero_auth::{OperatorToken, SessionSecret};
use portero_kernel::OperatorId;
use portero_registry::{OperatorRow, RegistryError};
use serde::Serialize;
use std::time::Duration;
use time::OffsetDateTime;

const LONGEST_NAME: usize = 40;

/// An operator, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OperatorView {
    /// Its id.
    pub id: OperatorId,
    /// Its name.
    pub name: String,
    /// `active` or `disabled`.
    pub status: &'static str,
    /// When it was added.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it was disabled, if it is.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub disabled_at: Option<OffsetDateTime>,
}

/// Why an operator could not be looked after.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// No operator has the name, or it is disabled.
    #[error("no operator who isn't disabled is called {0}: see `portero operator list`")]
    NotFound(String),
    /// It can't be an operator's name.
    #[error(
        "an operator can't be called {0:?}: 1 to {LONGEST_NAME} lower-case letters, digits, dots and hyphens"
    )]
    Name(String),
    /// Another operator has the name; a disabled one keeps it, so that the audit log means one person by it.
    #[error("there is an operator called {0} already, or was one")]
    Taken(String),
    /// The registry.
    #[error("the registry doesn't answer")]
    Registry(#[from] RegistryError),
}

impl Control {
    /// How long a login to the console lasts.
    pub const OPERATOR_SESSION: Duration = Duration::from_secs(12 * 60 * 60);

    pub(crate) async fn do_operator_add(
        &self,
        name: &str,
    ) -> Result<(OperatorView, OperatorToken), OperatorError> {
        check_name(name)?;
        let (id, token) = (OperatorId::generate(), OperatorToken::generate());
        match self.registry.operator_insert(id, name, &token.digest()).await {
            Err(RegistryError::OperatorTaken) => return Err(OperatorError::Taken(name.to_owned())),
            outcome => outcome?,
        }
        tracing::info!(operator = name, "an operator was added");
        Ok((self.operator(name).await?, token))
    }

    /// Every operator, by name.
    ///
    /// # Errors
    /// The registry.
    pub async fn operators(&self) -> Result<Vec<OperatorView>, RegistryError> {
        Ok(self.registry.operators().await?.into_iter().map(OperatorView::from).collect())
    }

    pub(crate) async fn do_operator_disable(&self, name: &str) -> Result<OperatorView, OperatorError> {
        if check_name(name).is_err() || !self.registry.operator_disable(name).await? {
            return Err(OperatorError::NotFound(name.to_owned()));
        }
        tracing::info!(operator = name, "an operator was disabled");
        self.operator(name).await
    }

    pub(crate) async fn do_operator_rotate(
        &self,
        name: &str,
    ) -> Result<(OperatorView, OperatorToken), OperatorError> {
        let token = OperatorToken::generate();
        if check_name(name).is_err() || !self.registry.operator_set_token(name, &token.digest()).await? {
            return Err(OperatorError::NotFound(name.to_owned()));
        }
        tracing::info!(operator = name, "an operator has another token");
        Ok((self.operator(name).await?, token))
    }

    /// Whose token this is, unless they are disabled.
    ///
    /// # Errors
    /// The registry.
    pub async fn operator_by_token(&self, digest: &[u8; 32]) -> Result<Option<OperatorView>, RegistryError> {
        Ok(self.registry.operator_by_token(digest).await?.map(OperatorView::from))
    }

    /// Whose session this is, while it lasts and they aren't disabled.
    ///
    /// # Errors
    /// The registry.
    pub async fn operator_by_session(
        &self,
        digest: &[u8; 32],
    ) -> Result<Option<OperatorView>, RegistryError> {
        Ok(self.registry.operator_by_session(digest).await?.map(OperatorView::from))
    }

    pub(crate) async fn do_operator_log_in(
        &self,
        operator: OperatorId,
    ) -> Result<SessionSecret, RegistryError> {
        let session = SessionSecret::generate();
        self.registry.operator_session_insert(operator, &session.digest(), Self::OPERATOR_SESSION).await?;
        Ok(session)
    }

    async fn operator(&self, name: &str) -> Result<OperatorView, OperatorError> {
        let found = self.operators().await?.into_iter().find(|operator| operator.name == name);
        found.ok_or_else(|| OperatorError::NotFound(name.to_owned()))
    }
}

impl From<OperatorRow> for OperatorView {
    fn from(row: OperatorRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            status: if row.disabled_at.is_some() { "disabled" } else { "active" },
            created_at: row.created_at,
            disabled_at: row.disabled_at,
        }
    }
}

fn check_name(name: &str) -> Result<(), OperatorError> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
    if (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(fits) {
        Ok(())
    } else {
        Err(OperatorError::Name(name.to_owned()))
    }
}
