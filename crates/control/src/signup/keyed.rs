//! An operator's request that is sent twice takes on one company: by a key, which is that operator's own.

use super::{LookAlike, RequestKey, SignUp, SignUpError, SignUpOutcome, SignedUp, parts};
use crate::{Control, FieldNames};
use portero_registry::{Actor, SignUpKey};

impl Control {
    pub(crate) async fn take_on_once(
        &self,
        form: &SignUp<'_>,
        names: FieldNames,
        look_alike: LookAlike,
        key: &RequestKey,
    ) -> Result<SignedUp, SignUpError> {
        let key = self.operators_key(key, form, look_alike);
        if let Some(begun) = self.begun_by(&key).await? {
            return Ok(begun);
        }
        match self.take_on(form, names, look_alike, Some(key.clone())).await {
            // It may be this very request, sent twice, that was there a moment before.
            Err(error @ (SignUpError::Taken(_) | SignUpError::LookAlike(..) | SignUpError::KeyReused)) => {
                self.begun_by(&key).await?.ok_or(error)
            }
            outcome => outcome,
        }
    }

    fn operators_key(&self, key: &RequestKey, form: &SignUp<'_>, look_alike: LookAlike) -> SignUpKey {
        let operator = match &self.actor {
            Actor::Operator { name, .. } => name.as_bytes(),
            _ => &[],
        };
        let look_alike = [u8::from(look_alike.is_allowed())];
        let exact = [parts(key, form).as_slice(), &[operator, &look_alike]].concat();
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
