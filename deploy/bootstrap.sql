-- Prepares a PostgreSQL server (15 or newer) for Portero: its role, its registry, and closed doors. Run once by an administrator
-- of the server; running it again does no harm:
--
--     sudo -u postgres psql -X -d postgres -f bootstrap.sql
--
-- The role's password: afterwards with `\password portero` (it travels hashed), or before, in the environment of psql, as
-- PORTERO_DB_PASSWORD (it travels as it is, and a server that logs statements writes it down).
--
-- It ends with a check, and with exit code 3 if the check fails. (REVOKE by somebody who may not merely warns and does nothing.)
--
-- A server that holds tenants but not the registry: leave psql's variable registry_too off (-v registry_too=off).

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never
\if :{?registry_too}
\else
    \set registry_too on
\endif
SET client_min_messages = warning;
SET password_encryption = 'scram-sha-256';

-- --- the role: makes databases and roles, and is no superuser ---------------------------------------------------------------

SELECT 'CREATE ROLE portero'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'portero')
\gexec

ALTER ROLE portero LOGIN CREATEDB CREATEROLE;
COMMENT ON ROLE portero IS 'Portero: owns the registry and the databases of the tenants';

\getenv portero_password PORTERO_DB_PASSWORD
\if :{?portero_password}
    ALTER ROLE portero PASSWORD :'portero_password';
\endif

-- Of other roles' sessions pg_stat_activity shows little without this. Portero does without; its figures are fuller with it.
--GRANT pg_read_all_stats TO portero;
-- Where the server is on the machine of Portero: with this, Portero sees its data_directory, and makes no spare databases when that
-- disk is nearly full.
--GRANT pg_read_all_settings TO portero;

-- --- the registry ------------------------------------------------------------------------------------------------------------

\if :registry_too
    -- An administrator who is no superuser must be a member of a role to make a database for it.
    SELECT pg_has_role(current_user, 'portero', 'USAGE') AS is_member
    \gset
    \if :is_member
    \else
        GRANT portero TO CURRENT_USER;
    \endif

    SELECT 'CREATE DATABASE portero_registry OWNER portero TEMPLATE template0 ENCODING ''UTF8'''
    WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'portero_registry')
    \gexec

    SET ROLE portero;
    REVOKE CONNECT, TEMPORARY ON DATABASE portero_registry FROM PUBLIC;
    COMMENT ON DATABASE portero_registry IS 'Portero: which tenant is where';
    RESET ROLE;

    \if :is_member
    \else
        REVOKE portero FROM CURRENT_USER;
    \endif
\endif

-- --- closed doors ------------------------------------------------------------------------------------------------------------
-- By default everybody may connect to every database. A tenant's role may connect to its own alone; Portero closes the databases
-- that it makes, and these were there before it. Roles that watch the server may need a grant of their own after this:
--     GRANT CONNECT ON DATABASE postgres TO pg_monitor;

REVOKE CONNECT, TEMPORARY ON DATABASE postgres, template1 FROM PUBLIC;
GRANT CONNECT ON DATABASE postgres TO portero;

-- --- pg_hba.conf -------------------------------------------------------------------------------------------------------------
-- The second lock, by PostgreSQL itself: a tenant's role is called like its database (t_ and 32 hexadecimal digits), so
-- `sameuser` lets it into that one and no other. These lines in place of all `host` lines; 10.0.0.5 is the machine of Portero.
--
--   # TYPE   DATABASE   USER       ADDRESS         METHOD
--   local    all        postgres                   peer
--   hostssl  all        portero    10.0.0.5/32     scram-sha-256
--   hostssl  sameuser   all        10.0.0.5/32     scram-sha-256
--   host     all        all        all             reject
--
-- PostgreSQL on the machine of Portero: `host` and 127.0.0.1/32 instead of `hostssl` and 10.0.0.5/32; nothing leaves it.
-- Then: SELECT pg_reload_conf();   SELECT * FROM pg_hba_file_rules WHERE error IS NOT NULL;

-- --- the check ---------------------------------------------------------------------------------------------------------------

SET portero.registry_too = :'registry_too';

DO $check$
DECLARE
    wrong text[];
    others text;
BEGIN
    IF current_setting('server_version_num')::int < 150000 THEN
        wrong := wrong || format('PostgreSQL is %s; Portero needs 15 or newer', current_setting('server_version'));
    END IF;

    wrong := wrong || ARRAY(
        SELECT format('role portero %s', complaint)
        FROM pg_roles, LATERAL (VALUES
            (NOT rolcanlogin, 'can''t log in'),
            (NOT rolcreatedb, 'can''t create databases'),
            (NOT rolcreaterole, 'can''t create roles'),
            (rolsuper, 'is a superuser: ALTER ROLE portero NOSUPERUSER'),
            (rolreplication, 'may replicate: ALTER ROLE portero NOREPLICATION'),
            (rolbypassrls, 'bypasses row security: ALTER ROLE portero NOBYPASSRLS')
        ) AS rules (broken, complaint)
        WHERE rolname = 'portero' AND broken
    );

    IF current_setting('portero.registry_too')::boolean
        AND NOT EXISTS (
            SELECT FROM pg_database
            WHERE datname = 'portero_registry'
                AND pg_get_userbyid(datdba) = 'portero' AND pg_encoding_to_char(encoding) = 'UTF8'
        )
    THEN
        wrong := wrong || 'database portero_registry is missing, not owned by portero, or not in UTF8'::text;
    END IF;

    wrong := wrong || ARRAY(
        SELECT format('PUBLIC has %s on database %I (owner %I, or a superuser, must revoke it)',
                      privilege, datname, pg_get_userbyid(datdba))
        FROM pg_database, unnest(ARRAY['CONNECT', 'TEMPORARY']) AS privilege
        WHERE datname IN ('postgres', 'template1', 'portero_registry')
            AND has_database_privilege('public', oid, privilege)
        ORDER BY datname, privilege
    );

    IF NOT has_database_privilege('portero', 'postgres', 'CONNECT') THEN
        wrong := wrong || 'portero can''t connect to database postgres'::text;
    END IF;

    -- Databases of somebody else: theirs to close, but a tenant's role gets in until they do.
    SELECT string_agg(quote_ident(datname), ', ' ORDER BY datname) INTO others
    FROM pg_database
    WHERE datallowconn AND datname NOT IN ('postgres', 'template1', 'portero_registry')
        AND has_database_privilege('public', oid, 'CONNECT');
    IF others IS NOT NULL THEN
        RAISE WARNING 'every role may connect to: %', others
            USING HINT = 'REVOKE CONNECT, TEMPORARY ON DATABASE … FROM PUBLIC, or rely on the sameuser line of pg_hba.conf.';
    END IF;

    IF cardinality(wrong) > 0 THEN
        RAISE EXCEPTION E'this server is not ready for Portero:\n  - %', array_to_string(wrong, E'\n  - ')
            USING HINT = 'What could be done is done. On a managed server where the last points can''t be mended, the sameuser '
                         'line of pg_hba.conf or separate servers must take their place; `portero doctor` shows them too.';
    END IF;
END
$check$;

\echo 'This server is ready for Portero.'
\if :{?portero_password}
\else
    \echo 'If the role has no password yet:  \\password portero'
\endif
