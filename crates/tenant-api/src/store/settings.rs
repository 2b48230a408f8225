//! What a company decides for itself.

use portero_pg::TenantDb;
use serde_json::Value;
use tokio_postgres::Error;

pub(crate) async fn settings_all(db: &TenantDb) -> Result<Vec<(String, Value)>, Error> {
    let rows = db.query("SELECT key, value FROM settings ORDER BY key LIMIT 100", &[]).await?;
    Ok(rows.iter().map(|row| (row.get("key"), row.get("value"))).collect())
}

pub(crate) async fn setting_put(db: &TenantDb, key: &str, value: &Value) -> Result<(), Error> {
    db.execute(
        "INSERT INTO settings (key, value) VALUES ($1, $2)
         ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = now()",
        &[&key, &value],
    )
    .await?;
    Ok(())
}
