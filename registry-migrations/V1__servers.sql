-- The PostgreSQL servers that hold tenants' databases.
CREATE TABLE servers (
    id         uuid        PRIMARY KEY,
    name       text        NOT NULL CONSTRAINT servers_name_key UNIQUE,
    -- Portero's own login on that server, sealed; its host and port are where tenants' connections go too.
    admin_url  bytea       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
