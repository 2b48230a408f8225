-- The companies: which subdomain belongs to which database.
CREATE TABLE tenants (
    id             uuid        PRIMARY KEY,
    name           text        NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
    subdomain      text        NOT NULL CONSTRAINT tenants_subdomain_key UNIQUE
                               CHECK (subdomain ~ '^[a-z0-9]([a-z0-9-]{1,38})[a-z0-9]$'),
    db_name        text        NOT NULL CONSTRAINT tenants_db_name_key UNIQUE
                               CHECK (db_name ~ '^t_[0-9a-f]{32}$'),
    -- postgresql://role:password@/database, sealed. The host is the server's: it can move without touching tenants.
    db_url         bytea       NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    status         text        NOT NULL CHECK (status IN ('provisioning', 'active', 'paused')),
    admin_user_id  uuid,
    server_id      uuid        NOT NULL REFERENCES servers,
    schema_version integer     NOT NULL DEFAULT 0,
    pause_reason   text,
    -- Counts the changes of this tenant's route.
    generation     bigint      NOT NULL DEFAULT 0
);
