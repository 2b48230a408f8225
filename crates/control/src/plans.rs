//! Plans: operators' names for weights, as companies' contracts call them. Which there are is a setting; the registry keeps
//! of each company the name and the weight, so that a plan which changes changes nobody who has it until they are given it
//! again.

use crate::{Change, Control, TenantError};
use portero_kernel::Subdomain;
use portero_registry::TenantPlan;
use std::collections::BTreeMap;

/// Characters of a plan's name, at most.
const LONGEST: usize = 32;

/// The plans that there are, with the weight of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plans(BTreeMap<String, u8>);

/// Why something is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPlan {
    /// It could not be typed, or be in an address.
    #[error("{0:?} can't be a plan's name: up to {LONGEST} of a-z, 0-9 and, between them, hyphens")]
    Name(String),
    /// It is none that a company may have.
    #[error("the weight of the plan {0} is from 1 to 100")]
    Weight(String),
}

/// There is no plan of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no plan {name:?}: {}", there_are(.known))]
pub struct UnknownPlan {
    name: String,
    known: Vec<String>,
}

fn there_are(known: &[String]) -> String {
    if known.is_empty() {
        "none is set, as with PORTERO_PLANS=free=1,pro=4".to_owned()
    } else {
        format!("those that are set are {}", known.join(", "))
    }
}

impl Plans {
    /// Names with their weights.
    ///
    /// # Errors
    /// The first that is none.
    pub fn new(weights: BTreeMap<String, u8>) -> Result<Self, BadPlan> {
        for (name, weight) in &weights {
            let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            let proper = (1..=LONGEST).contains(&name.len()) && name.bytes().all(inner);
            if !proper || name.starts_with('-') || name.ends_with('-') {
                return Err(BadPlan::Name(name.clone()));
            }
            if !(1..=100).contains(weight) {
                return Err(BadPlan::Weight(name.clone()));
            }
        }
        Ok(Self(weights))
    }

    /// The plan of this name.
    ///
    /// # Errors
    /// There is none; it says which there are.
    pub fn find(&self, name: &str) -> Result<TenantPlan, UnknownPlan> {
        match self.0.get(name) {
            Some(weight) => Ok(TenantPlan { name: name.to_owned(), weight: *weight }),
            None => Err(UnknownPlan { name: name.to_owned(), known: self.0.keys().cloned().collect() }),
        }
    }
}

impl Control {
    /// The plan of this name.
    ///
    /// # Errors
    /// There is none; it says which there are.
    pub fn plan(&self, name: &str) -> Result<TenantPlan, UnknownPlan> {
        self.plans.find(name)
    }

    pub(crate) async fn do_set_plan(
        &self,
        subdomain: &Subdomain,
        plan: &TenantPlan,
    ) -> Result<Change, TenantError> {
        let tenant = self.find(subdomain).await?;
        if tenant.plan.as_ref() == Some(&plan.name) && tenant.weight == plan.weight {
            return self.nothing_new(subdomain).await;
        }
        let clock = self.registry.tenant_set_plan(tenant.id, plan).await?;
        let clock = clock.ok_or_else(|| TenantError::Changed(subdomain.clone()))?;
        tracing::info!(tenant = %tenant.id, %subdomain, plan = plan.name, "a tenant has another plan");
        self.changed(subdomain, clock, 0).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plans(all: &[(&str, u8)]) -> Result<Plans, BadPlan> {
        Plans::new(all.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect())
    }

    #[test]
    fn a_plan_has_a_name_that_can_be_typed_and_a_weight_that_a_company_may_have() {
        let long = "p".repeat(LONGEST);
        let all = plans(&[("free", 1), ("pro-2", 100), (&long, 3)]).unwrap();
        assert_eq!(all.find("pro-2").unwrap(), TenantPlan { name: "pro-2".to_owned(), weight: 100 });
        assert_eq!(all.find(&long).unwrap().weight, 3);
        for wrong in ["", "Pro", "pro plan", "-pro", "pro-", "pró", "pro_1", &"p".repeat(LONGEST + 1)] {
            assert_eq!(plans(&[(wrong, 1)]), Err(BadPlan::Name(wrong.to_owned())), "{wrong}");
        }
        for weight in [0, 101] {
            assert_eq!(plans(&[("pro", weight)]), Err(BadPlan::Weight("pro".to_owned())));
        }
    }

    #[test]
    fn who_asks_for_a_plan_that_is_not_there_reads_which_are() {
        let told = plans(&[("free", 1), ("pro", 4)]).unwrap().find("gold").unwrap_err().to_string();
        assert_eq!(told, "there is no plan \"gold\": those that are set are free, pro");
        let told = Plans::default().find("gold").unwrap_err().to_string();
        assert!(told.contains("PORTERO_PLANS"), "{told}");
    }
}
