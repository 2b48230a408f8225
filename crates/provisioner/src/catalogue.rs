//! What a tenant's database is made of, read from PostgreSQL's catalogue as lines of text: two that were made alike have the
//! same lines, whichever way each came about.
//!
//! It knows no table of Portero's. The template is held against it, and each spare; differences between two databases are
//! the lines that one of them lacks, and each names its table or column.

use portero_pg::{Session, lock_key};
use tokio_postgres::Error;

/// Schemas, tables, columns, constraints, indexes, sequences, functions, triggers, types and migrations, a line each.
const STRUCTURE: &str = "
    WITH spaces AS (
        SELECT oid, nspname FROM pg_catalog.pg_namespace
        WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
    ), relations AS (
        SELECT c.*, s.nspname || '.' || c.relname AS name FROM pg_catalog.pg_class c JOIN spaces s ON s.oid = c.relnamespace
    )
    SELECT line FROM (
        SELECT 'schema ' || nspname FROM spaces
        UNION ALL
        SELECT format('relation %s kind %s security %s %s options %s', name, relkind, relrowsecurity, relforcerowsecurity,
                      reloptions)
        FROM relations WHERE relkind <> 'i'
        UNION ALL
        SELECT format('column %s.%s %s at %s null %s identity %s generated %s default %s', r.name, a.attname,
                      format_type(a.atttypid, a.atttypmod),
                      rank() OVER (PARTITION BY r.oid ORDER BY a.attnum), NOT a.attnotnull, a.attidentity, a.attgenerated,
                      pg_get_expr(d.adbin, d.adrelid))
        FROM relations r JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum
        WHERE r.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')
        UNION ALL
        SELECT format('constraint %s on %s %s valid %s', k.conname, r.name, pg_get_constraintdef(k.oid), k.convalidated)
        FROM relations r JOIN pg_catalog.pg_constraint k ON k.conrelid = r.oid
        UNION ALL
        SELECT format('index %s valid %s', pg_get_indexdef(i.indexrelid), i.indisvalid)
        FROM relations r JOIN pg_catalog.pg_index i ON i.indexrelid = r.oid
        UNION ALL
        SELECT format('view %s %s', name, pg_get_viewdef(oid)) FROM relations WHERE relkind IN ('v', 'm')
        UNION ALL
        SELECT format('sequence %s as %s from %s by %s to %s cache %s cycle %s', r.name, format_type(q.seqtypid, NULL),
                      q.seqstart, q.seqincrement, q.seqmax, q.seqcache, q.seqcycle)
        FROM relations r JOIN pg_catalog.pg_sequence q ON q.seqrelid = r.oid
        UNION ALL
        SELECT format('function %s.%s(%s) %s', s.nspname, p.proname, pg_get_function_identity_arguments(p.oid),
                      CASE WHEN p.prokind = 'a' THEN 'aggregate' ELSE pg_get_functiondef(p.oid) END)
        FROM pg_catalog.pg_proc p JOIN spaces s ON s.oid = p.pronamespace
        UNION ALL
        SELECT format('trigger on %s %s enabled %s', r.name, pg_get_triggerdef(t.oid), t.tgenabled)
        FROM relations r JOIN pg_catalog.pg_trigger t ON t.tgrelid = r.oid AND NOT t.tgisinternal
        UNION ALL
        SELECT format('policy %s on %s for %s using %s check %s', p.polname, r.name, p.polcmd,
                      pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
        FROM relations r JOIN pg_catalog.pg_policy p ON p.polrelid = r.oid
        UNION ALL
        SELECT format('type %s.%s kind %s base %s labels %s', s.nspname, t.typname, t.typtype,
                      format_type(nullif(t.typbasetype, 0), t.typtypmod),
                      (SELECT array_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_catalog.pg_enum e
                       WHERE e.enumtypid = t.oid))
        FROM pg_catalog.pg_type t JOIN spaces s ON s.oid = t.typnamespace WHERE t.typtype IN ('d', 'e', 'r', 'm')
        UNION ALL
        SELECT format('extension %s %s', extname, extversion) FROM pg_catalog.pg_extension
        UNION ALL
        SELECT format('migration %s %s %s', version, name, checksum) FROM public.schema_history
    ) AS lines (line) ORDER BY line COLLATE \"C\"";

/// Who may do what, a line for each right; the role that is called like the database reads `tenant`, and whoever is asking
/// `owner`.
const GRANTS: &str = "
    WITH spaces AS (
        SELECT oid, nspname, nspacl, nspowner FROM pg_catalog.pg_namespace
        WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
    ), granted (what, acl) AS (
        SELECT 'database', coalesce(datacl, acldefault('d', datdba)) FROM pg_catalog.pg_database
        WHERE datname = current_database()
        UNION ALL
        SELECT 'schema ' || nspname, coalesce(nspacl, acldefault('n', nspowner)) FROM spaces
        UNION ALL
        SELECT s.nspname || '.' || c.relname,
               coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::\"char\", c.relowner))
        FROM pg_catalog.pg_class c JOIN spaces s ON s.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
        UNION ALL
        SELECT s.nspname || '.' || c.relname || '.' || a.attname, a.attacl
        FROM pg_catalog.pg_class c JOIN spaces s ON s.oid = c.relnamespace
        JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attacl IS NOT NULL
        UNION ALL
        SELECT s.nspname || '.' || p.proname, coalesce(p.proacl, acldefault('f', p.proowner))
        FROM pg_catalog.pg_proc p JOIN spaces s ON s.oid = p.pronamespace
        UNION ALL
        SELECT format('new %s in %s', defaclobjtype, coalesce(s.nspname, 'every schema')), defaclacl
        FROM pg_catalog.pg_default_acl d LEFT JOIN spaces s ON s.oid = d.defaclnamespace
    )
    SELECT DISTINCT format('grant %s on %s to %s%s', privilege_type, what,
                  CASE WHEN grantee = 0 THEN 'public'
                       WHEN pg_get_userbyid(grantee) = current_database() THEN 'tenant'
                       WHEN pg_get_userbyid(grantee) = current_user THEN 'owner'
                       ELSE pg_get_userbyid(grantee)::text END,
                  CASE WHEN is_grantable THEN ', to hand on' ELSE '' END) COLLATE \"C\" AS line
    FROM granted, aclexplode(acl) ORDER BY line";

/// A database's structure and rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalogue {
    /// What is in it, in order.
    pub structure: Vec<String>,
    /// Who may do what in it, in order.
    pub grants: Vec<String>,
}

impl Catalogue {
    /// Reads that of the session's database, which has been migrated. The session is Portero's own: others may not see all.
    ///
    /// # Errors
    /// As PostgreSQL says.
    pub async fn read(session: &Session) -> Result<Self, Error> {
        // What a line looks like depends on it: names outside are written with their schema, those inside without.
        session.batch_execute("SET search_path = public").await?;
        let lines = async |sql| -> Result<Vec<String>, Error> {
            Ok(session.query(sql, &[]).await?.iter().map(|row| row.get("line")).collect())
        };
        Ok(Self { structure: lines(STRUCTURE).await?, grants: lines(GRANTS).await? })
    }

    /// A short name for the structure: 16 hexadecimal digits, another for every other one. It is for telling what differs by
    /// mistake, not by intent.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        format!("{:016x}", lock_key(&self.structure.join("\n")))
    }
}
