-- Databases made ahead, each with its role and grants: a company that signs up is given one, and its row is gone. The role has
-- no password until then and may not log in.
CREATE TABLE spares (
    id             uuid        PRIMARY KEY,
    server_id      uuid        NOT NULL REFERENCES servers,
    db_name        text        NOT NULL CONSTRAINT spares_db_name_key UNIQUE
                               CHECK (db_name ~ '^t_[0-9a-f]{32}$'),
    schema_version integer     NOT NULL DEFAULT 0,
    -- Only what is ready is given away. The row is there before the database, and until after it.
    state          text        NOT NULL DEFAULT 'making' CHECK (state IN ('making', 'ready', 'dropping')),
    created_at     timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX spares_ready ON spares (server_id, schema_version, created_at) WHERE state = 'ready';

-- How the refilling of each server goes, for people and programs to read.
CREATE TABLE refills (
    server_id uuid        PRIMARY KEY REFERENCES servers ON DELETE CASCADE,
    -- When it was last looked after.
    looked_at timestamptz NOT NULL DEFAULT now(),
    -- How many spares are kept there.
    wanted    integer     NOT NULL CHECK (wanted >= 0),
    -- The schema versions of the templates there, newest first.
    templates integer[]   NOT NULL DEFAULT '{}',
    -- Why no spares are made there now.
    stopped   text        CHECK (stopped IN ('disk', 'draining', 'error')),
    -- In words, with figures; for operators and without a secret.
    reason    text,
    -- Counts the times that it failed.
    failures  bigint      NOT NULL DEFAULT 0
);

-- What a tenant's database was made from; nothing until that is known, and of tenants older than this column.
ALTER TABLE tenants ADD origin text CHECK (origin IN ('spare', 'template', 'migrations'));
