-- Migrations of the tenants' databases: what was to be done to whom, and what came of it.
CREATE TABLE migration_runs (
    id              uuid        PRIMARY KEY,
    status          text        NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'stopped', 'finished')),
    -- The version that tenants are to have.
    target          integer     NOT NULL,
    -- Goes with the names and texts of all migrations up to there: whoever has others doesn't go on with it.
    digest          bigint      NOT NULL,
    -- Those that are not built in, with their texts, so that anybody can go on with it.
    files           jsonb       NOT NULL,
    -- Whether tenants that come meanwhile belong to it.
    whole_fleet     boolean     NOT NULL,
    waves           text        NOT NULL,
    -- The one that is being worked at.
    wave            integer     NOT NULL DEFAULT 1,
    -- No more begin when more than so many have failed; nothing for the usual rule.
    max_failures    integer     CHECK (max_failures >= 0),
    jobs            integer     NOT NULL CHECK (jobs > 0),
    lock_timeout_ms integer     NOT NULL CHECK (lock_timeout_ms > 0),
    -- Why it was stopped.
    reason          text,
    -- Until when whoever works at it was sure to be there.
    alive_until     timestamptz NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    finished_at     timestamptz
);

CREATE INDEX migration_runs_created ON migration_runs (created_at);

CREATE TABLE migration_run_tenants (
    run_id         uuid        NOT NULL REFERENCES migration_runs ON DELETE CASCADE,
    -- Not a foreign key: the row outlives the tenant.
    tenant_id      uuid        NOT NULL,
    subdomain      text        NOT NULL,
    server_id      uuid        NOT NULL,
    wave           integer     NOT NULL,
    -- Within the run.
    position       integer     NOT NULL,
    state          text        NOT NULL DEFAULT 'pending'
                               CHECK (state IN ('pending', 'running', 'done', 'failed', 'skipped')),
    -- As the registry had it, and as the tenant's own history had it from when that was read.
    version_before integer     NOT NULL,
    version_after  integer,
    attempts       integer     NOT NULL DEFAULT 0,
    started_at     timestamptz,
    took_ms        integer,
    -- Why it failed or was skipped; for operators and without a secret.
    error          text,
    lease_owner    uuid,
    lease_until    timestamptz,
    PRIMARY KEY (run_id, tenant_id)
);

CREATE INDEX migration_run_tenants_open ON migration_run_tenants (run_id, wave, server_id, position)
    WHERE state IN ('pending', 'running');
