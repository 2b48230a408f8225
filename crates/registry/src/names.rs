//! Whether a name can be had: looked at in the transaction that takes it.

use crate::{RegistryError, Result, connection::Transaction};
use portero_kernel::{Subdomain, TenantId};
use portero_pg::lock_key;

/// Who asks, and may have what is theirs already.
pub(crate) enum NameFor<'a> {
    /// Nobody who has anything.
    Anybody,
    /// The digest of an address that a name may be held for.
    Email(&'a [u8; 32]),
    /// A tenant that gets another name.
    Tenant(TenantId),
}

/// Until the transaction ends, nobody else decides about a name that reads like this.
pub(crate) async fn name_lock_in_txn(txn: &Transaction<'_>, name: &Subdomain) -> Result<()> {
    let key = lock_key(&format!("portero.name.{}", name.skeleton()));
    txn.execute("SELECT pg_advisory_xact_lock($1)", &[&key]).await?;
    Ok(())
}

/// Refuses a name that is another's, held for another or in quarantine, and one that reads like such a name, unless those are let pass.
pub(crate) async fn name_check_in_txn(
    txn: &Transaction<'_>,
    name: &Subdomain,
    look_alikes: bool,
    asker: NameFor<'_>,
) -> Result<()> {
    let (email, tenant) = match asker {
        NameFor::Anybody => (None, None),
        NameFor::Email(digest) => (Some(digest.as_slice()), None),
        NameFor::Tenant(id) => (None, Some(id.uuid())),
    };
    let row = txn
        .query_opt(
            "SELECT subdomain FROM (
                 SELECT subdomain FROM tenants WHERE skeleton = public.name_skeleton($1) AND id IS DISTINCT FROM $3
                 UNION ALL
                 SELECT subdomain FROM signup_pending
                 WHERE skeleton = public.name_skeleton($1) AND expires_at > now() AND ($2::bytea IS NULL OR email <> $2)
                 UNION ALL
                 SELECT subdomain FROM former_subdomains
                 WHERE public.name_skeleton(subdomain) = public.name_skeleton($1) AND quarantined_until > now()
                   AND tenant_id IS DISTINCT FROM $3
             ) AS same ORDER BY subdomain <> $1 LIMIT 1",
            &[&name.as_str(), &email, &tenant],
        )
        .await?;
    match row.as_ref().map(|row| row.get::<_, &str>(0)) {
        Some(found) if found == name.as_str() => Err(RegistryError::SubdomainTaken),
        Some(found) if !look_alikes => Err(RegistryError::LookAlike(found.to_owned())),
        _ => Ok(()),
    }
}
