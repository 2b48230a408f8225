//! Whether the tenants' schemas are what this program was made for, and what the next tenant's will be.

use super::{Check, Health};
use portero_kernel::SchemaVersion;
use portero_provisioner::{
    TENANT_MIGRATIONS,
    fleet::{FleetSchema, SchemaSource, Unfit},
};

const NAME: &str = "tenants' schema";

/// What a company gets that signs up.
pub(super) fn check_fleet_schema(schema: &FleetSchema) -> Check {
    let name = "schema of new companies";
    let (version, built_in) = (schema.migrations.latest(), TENANT_MIGRATIONS.latest());
    match &schema.source {
        SchemaSource::BuiltIn => Check::ok(name, format!("version {version}, which is built in")),
        SchemaSource::Run(run) => {
            Check::ok(name, format!("version {version}: {built_in} is built in, the rest is of run {run}"))
        }
        SchemaSource::Apart(run, why) => Check::bad(
            if *why == Unfit::Unknown { Health::Warn } else { Health::Fail },
            name,
            format!("version {version}, which is built in; run {run} gave the companies another: {why}"),
            match why {
                Unfit::Differs(_) => {
                    "run the Portero whose migration is the one that was run; one that is to come has a number of its own"
                }
                Unfit::Unknown => "run the Portero that began the run, or a newer one",
                Unfit::Unreadable => "run the newer Portero that wrote them",
            },
        ),
    }
}

/// The tenants' versions, each with how many have it, beside those that the code runs on and was made for.
pub(super) fn check_schemas(
    tenants: &[(SchemaVersion, i64)],
    oldest: SchemaVersion,
    newest: SchemaVersion,
) -> Check {
    let told = |wanted: &dyn Fn(SchemaVersion) -> bool| {
        let some = tenants.iter().filter(|(version, _)| wanted(*version));
        some.map(|(version, count)| format!("{count} at {version}")).collect::<Vec<_>>().join(", ")
    };
    let unserved = told(&|version| version < oldest);
    if !unserved.is_empty() {
        return Check::bad(
            Health::Fail,
            NAME,
            format!("{unserved}: this Portero needs version {oldest}, so they read tenant-upgrading"),
            "portero migrate run; or go back to the Portero that served them",
        );
    }
    let behind = told(&|version| version < newest);
    if !behind.is_empty() {
        return Check::bad(
            Health::Warn,
            NAME,
            format!("{behind}: older than version {newest}, and served if PORTERO_SCHEMA_BEHIND is serve"),
            "portero migrate run",
        );
    }
    let ahead = told(&|version| version > newest);
    if !ahead.is_empty() {
        return Check::bad(
            Health::Warn,
            NAME,
            format!(
                "{ahead}: newer than version {newest}, which is all that this Portero knows; they are served"
            ),
            "deploy the Portero that they were migrated for",
        );
    }
    let all: i64 = tenants.iter().map(|(_, count)| count).sum();
    Check::ok(
        NAME,
        if all == 0 { "nobody's yet".to_owned() } else { format!("all {all} at version {newest}") },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use portero_kernel::MigrationRunId;

    #[test]
    fn a_program_with_other_migrations_than_the_fleet_is_told_of() {
        let run = MigrationRunId::generate();
        let schema = |source| FleetSchema { migrations: TENANT_MIGRATIONS.clone(), spares_up_to: 1, source };
        for (source, health, words) in [
            (SchemaSource::BuiltIn, Health::Ok, "which is built in"),
            (SchemaSource::Run(run), Health::Ok, "the rest is of run"),
            (SchemaSource::Apart(run, Unfit::Differs("V5__a".to_owned())), Health::Fail, "V5__a is another"),
            (SchemaSource::Apart(run, Unfit::Unknown), Health::Warn, "other migrations"),
        ] {
            let check = check_fleet_schema(&schema(source));
            assert!(check.health == health && check.found.contains(words), "{check:?}");
            assert_eq!(check.advice.is_empty(), health == Health::Ok, "{check:?}");
        }
    }

    #[test]
    fn the_worst_is_told_with_what_to_do() {
        for (tenants, health, words) in [
            ([].as_slice(), Health::Ok, "nobody's yet"),
            (&[(6, 12)], Health::Ok, "all 12 at version 6"),
            (&[(6, 12), (7, 2), (8, 1)], Health::Warn, "2 at 7, 1 at 8: newer than version 6"),
            (&[(5, 3), (6, 12), (7, 2)], Health::Warn, "3 at 5: older than version 6"),
            (&[(3, 1), (4, 2), (5, 3), (7, 2)], Health::Fail, "1 at 3, 2 at 4: this Portero needs version 5"),
        ] {
            let check = check_schemas(tenants, 5, 6);
            assert_eq!(check.health, health, "{check:?}");
            assert!(check.found.contains(words), "{check:?}");
            assert_eq!(check.advice.is_empty(), health == Health::Ok, "{check:?}");
        }
    }
}
