//! What a tenant's database is made of, read from PostgreSQL's catalogue: two that were made alike have the same things in it,
//! whichever way each came about.
//!
//! It knows no table of Portero's. The template is held against it, each spare, and by `fleet::drift` every tenant. A thing has
//! a name that says what it is, and aspects, so that a difference can be told in words.

use portero_pg::{Session, lock_key};
use std::fmt;
use tokio_postgres::{Error, Row};

/// Schemas, tables, columns, constraints, indexes, sequences, functions, triggers, types and migrations: each with its name and
/// its aspects, a name and a value in turn.
const STRUCTURE: &str = "
    WITH spaces AS (
        SELECT oid, nspname, nspowner FROM pg_catalog.pg_namespace
        WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
    ), relations AS (
        SELECT c.*, s.nspname || '.' || c.relname AS name,
               CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'v' THEN 'view'
                              WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' WHEN 'S' THEN 'sequence'
                              WHEN 'c' THEN 'composite type' ELSE c.relkind::text END AS kind
        FROM pg_catalog.pg_class c JOIN spaces s ON s.oid = c.relnamespace
    )
    SELECT what, aspects FROM (
        SELECT 'schema ' || nspname, ARRAY['owner', pg_get_userbyid(nspowner)::text] FROM spaces
        UNION ALL
        SELECT kind || ' ' || name,
               ARRAY['owner', pg_get_userbyid(relowner)::text, 'row security', relrowsecurity::text,
                     'forced row security', relforcerowsecurity::text, 'options', reloptions::text]
        FROM relations WHERE relkind NOT IN ('i', 'I', 'S')
        UNION ALL
        SELECT format('column %s.%s', r.name, a.attname),
               ARRAY['type', format_type(a.atttypid, a.atttypmod), 'nullable', (NOT a.attnotnull)::text,
                     'default', pg_get_expr(d.adbin, d.adrelid), 'identity', nullif(a.attidentity, '')::text,
                     'generated', nullif(a.attgenerated, '')::text,
                     'collation', (SELECT collname::text FROM pg_catalog.pg_collation
                                   WHERE oid = a.attcollation AND collname <> 'default'),
                     'position', (rank() OVER (PARTITION BY r.oid ORDER BY a.attnum))::text]
        FROM relations r JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum
        WHERE r.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')
        UNION ALL
        SELECT format('constraint %s on %s', k.conname, r.name),
               ARRAY['definition', pg_get_constraintdef(k.oid), 'validated', k.convalidated::text]
        FROM relations r JOIN pg_catalog.pg_constraint k ON k.conrelid = r.oid
        UNION ALL
        SELECT format('index %s on %s', c.relname, r.name),
               ARRAY['definition', pg_get_indexdef(i.indexrelid), 'valid', i.indisvalid::text]
        FROM relations r JOIN pg_catalog.pg_index i ON i.indrelid = r.oid
        JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
        UNION ALL
        SELECT format('definition of %s', name), ARRAY['definition', pg_get_viewdef(oid)]
        FROM relations WHERE relkind IN ('v', 'm')
        UNION ALL
        SELECT format('sequence %s', r.name),
               ARRAY['owner', pg_get_userbyid(r.relowner)::text, 'type', format_type(q.seqtypid, NULL),
                     'start', q.seqstart::text, 'increment', q.seqincrement::text, 'max', q.seqmax::text,
                     'cache', q.seqcache::text, 'cycle', q.seqcycle::text]
        FROM relations r JOIN pg_catalog.pg_sequence q ON q.seqrelid = r.oid
        UNION ALL
        SELECT format('function %s.%s(%s)', s.nspname, p.proname, pg_get_function_identity_arguments(p.oid)),
               ARRAY['owner', pg_get_userbyid(p.proowner)::text, 'definition',
                     CASE WHEN p.prokind = 'a' THEN 'aggregate' ELSE pg_get_functiondef(p.oid) END]
        FROM pg_catalog.pg_proc p JOIN spaces s ON s.oid = p.pronamespace
        UNION ALL
        SELECT format('trigger %s on %s', t.tgname, r.name),
               ARRAY['definition', pg_get_triggerdef(t.oid), 'enabled', t.tgenabled::text]
        FROM relations r JOIN pg_catalog.pg_trigger t ON t.tgrelid = r.oid AND NOT t.tgisinternal
        UNION ALL
        SELECT format('policy %s on %s', p.polname, r.name),
               ARRAY['for', p.polcmd::text, 'using', pg_get_expr(p.polqual, p.polrelid),
                     'check', pg_get_expr(p.polwithcheck, p.polrelid)]
        FROM relations r JOIN pg_catalog.pg_policy p ON p.polrelid = r.oid
        UNION ALL
        SELECT format('type %s.%s', s.nspname, t.typname),
               ARRAY['kind', t.typtype::text, 'base', format_type(nullif(t.typbasetype, 0), t.typtypmod),
                     'labels', (SELECT array_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_catalog.pg_enum e
                                WHERE e.enumtypid = t.oid)::text]
        FROM pg_catalog.pg_type t JOIN spaces s ON s.oid = t.typnamespace WHERE t.typtype IN ('d', 'e', 'r', 'm')
        UNION ALL
        SELECT 'extension ' || extname, ARRAY['version', extversion] FROM pg_catalog.pg_extension
        UNION ALL
        SELECT 'migration ' || coalesce(version::text, 'without a number'), ARRAY['name', name::text, 'checksum', checksum::text] FROM public.schema_history
    ) AS things (what, aspects) ORDER BY what COLLATE \"C\"";

/// Who may do what, a line for each right; the role `$1` reads `tenant`, and whoever is asking `owner`.
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
                       WHEN pg_get_userbyid(grantee) = $1 THEN 'tenant'
                       WHEN pg_get_userbyid(grantee) = current_user THEN 'owner'
                       ELSE pg_get_userbyid(grantee)::text END,
                  CASE WHEN is_grantable THEN ', to hand on' ELSE '' END) COLLATE \"C\" AS line
    FROM granted, aclexplode(acl) ORDER BY line";

/// Something that is in a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thing {
    /// What it is, by its whole name: `column public.users.email`, `index users_email_key on public.users`.
    pub what: String,
    /// How it is, aspect by aspect: `type`, `text`. An aspect that it doesn't have is left out.
    pub aspects: Vec<(String, String)>,
}

impl Thing {
    fn from_row(row: &Row) -> Self {
        let (what, aspects): (String, Vec<Option<String>>) = (row.get("what"), row.get("aspects"));
        let pairs = aspects.chunks_exact(2).filter_map(|pair| Some((pair[0].clone()?, pair[1].clone()?)));
        Self { what, aspects: pairs.collect() }
    }

    /// Reads an aspect.
    #[must_use]
    pub fn aspect(&self, name: &str) -> Option<&str> {
        self.aspects.iter().find(|(aspect, _)| aspect == name).map(|(_, value)| value.as_str())
    }
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        self.aspects.iter().try_for_each(|(aspect, value)| write!(f, " {aspect} {value}"))
    }
}

/// A database's structure and rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalogue {
    /// What is in it, in order.
    pub structure: Vec<Thing>,
    /// Who may do what in it, in order.
    pub grants: Vec<String>,
}

impl Catalogue {
    /// Reads that of the session's database, which has been migrated, and whose tenant's role is called like it. The session is
    /// Portero's own: others may not see all.
    ///
    /// # Errors
    /// As PostgreSQL says.
    pub async fn read(session: &Session) -> Result<Self, Error> {
        let database = session.query_one("SELECT current_database()::text", &[]).await?;
        Self::read_for(session, database.get(0)).await
    }

    /// The same, where the tenant's role has this name.
    pub(crate) async fn read_for(session: &Session, role: &str) -> Result<Self, Error> {
        // What a definition looks like depends on it: names outside are written with their schema, those inside without.
        session.batch_execute("SET search_path = public").await?;
        let (structure, grants) =
            (session.query(STRUCTURE, &[]).await?, session.query(GRANTS, &[&role]).await?);
        let mut structure: Vec<_> = structure.iter().map(Thing::from_row).collect();
        let owner: String = session.query_one("SELECT current_user::text", &[]).await?.get(0);
        for (_, value) in
            structure.iter_mut().flat_map(|thing| &mut thing.aspects).filter(|(name, _)| name == "owner")
        {
            if *value == owner {
                "owner".clone_into(value);
            } else if *value == role {
                "tenant".clone_into(value);
            }
        }
        Ok(Self { structure, grants: grants.iter().map(|row| row.get("line")).collect() })
    }

    /// A short name for the structure: 16 hexadecimal digits, another for every other one. It is for telling what differs by
    /// mistake, not by intent.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let lines: Vec<_> = self.structure.iter().map(Thing::to_string).collect();
        format!("{:016x}", lock_key(&lines.join("\n")))
    }
}
