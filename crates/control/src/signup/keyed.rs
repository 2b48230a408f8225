//! An operator's request that is sent twice takes on one company: by a key, which is that operator's own.

use super::{RequestKey, SignUp, SignUpError, SignUpOutcome, SignedUp, Wishes, parts};
use crate::{Control, FieldNames};
use portero_registry::{Actor, SignUpKey};

impl Control {
    pub(crate) async fn take_on_once(
        &self,
        form: &SignUp<'_>,
        names: FieldNames,
        wishes: &Wishes,
        key: &RequestKey,
    ) -> Result<SignedUp, SignUpError> {
        let key = self.operators_key(key, form, wishes);
        if let Some(begun) = self.begun_by(&key).await? {
            return Ok(begun);
        }
        match self.take_on(form, names, wishes, Some(key.clone())).await {
            // It may be this very request, sent twice, that was there a moment before.
            Err(error @ (SignUpError::Taken(_) | SignUpError::LookAlike(..) | SignUpError::KeyReused)) => {
                self.begun_by(&key).await?.ok_or(error)
            }
            outcome => outcome,
        }
    }

    fn operators_key(&self, key: &RequestKey, form: &SignUp<'_>, wishes: &Wishes) -> SignUpKey {
        let operator = match &self.actor {
            Actor::Operator { name, .. } => name.as_bytes(),
            _ => &[],
        };
        let look_alike = [u8::from(wishes.look_alike.is_allowed())];
        let plan = wishes.plan.as_ref().map(|plan| plan.name.as_bytes()).unwrap_or_default();
        let exact = [parts(key, form).as_slice(), &[operator, &look_alike, plan]].concat();
        SignUpKey {
            exact: self.registry.digest("signup_keys.operator.exact", &exact),
            scoped: self.registry.digest("signup_keys.operator", &[operator, key.0.as_bytes()]),
        }
    }

    /// What the key was answered with before.
    async fn begun_by(&self, key: &SignUpKey) -> Result<Option<SignedUp>, SignUpError> {
        Ok(match self.answered(key).await? {
            Some(SignUpOutcome::Begun(begun)) => Some(begun),
            _ => None,
        })
    }
}
