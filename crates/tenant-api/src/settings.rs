//! What a company decides for itself: for now, the language its pages fall back to.

use crate::{
    Actor,
    store::{audit, settings},
};
use portero_edge::{Db, Problem};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A language that pages are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Locale {
    /// Spanish.
    Es,
    /// English.
    En,
}

/// A company's settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The language for browsers that ask for none of ours; nothing means the platform's own.
    pub locale: Option<Locale>,
}

/// The company's settings.
///
/// # Errors
/// The database.
pub async fn read(db: &Db) -> Result<Settings, Problem> {
    let stored: serde_json::Map<String, Value> = settings::settings_all(db).await?.into_iter().collect();
    // A key that a newer version wrote is left alone.
    let locale = stored.get("locale").cloned().and_then(|value| serde_json::from_value(value).ok());
    Ok(Settings { locale })
}

/// Replaces the company's settings.
///
/// # Errors
/// The database.
pub async fn write(actor: &Actor, new: Settings) -> Result<(), Problem> {
    settings::setting_put(&actor.db, "locale", &json!(new.locale)).await?;
    audit::audit_insert(&actor.db, Some(actor.user.id), "settings.changed", None, &json!(new)).await?;
    Ok(())
}
