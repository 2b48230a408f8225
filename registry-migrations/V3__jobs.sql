-- Long work with steps one can see, resume and undo.
CREATE TABLE jobs (
    id          uuid        PRIMARY KEY,
    kind        text        NOT NULL,
    -- Not a foreign key: a job that was undone outlives its tenant.
    tenant_id   uuid        NOT NULL,
    subdomain   text        NOT NULL,
    status      text        NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'undoing', 'done', 'undone', 'stuck')),
    -- What the steps need and nobody should read, sealed; erased when the job comes to rest.
    secret      bytea,
    -- SHA-256 of what the browser that asked holds in a cookie: only it is led in when the job is done.
    claim       bytea,
    error       text,
    lease_owner uuid,
    lease_until timestamptz,
    -- Grows with each claim; every write of a worker names the one it claimed with.
    fence       bigint      NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);

CREATE INDEX jobs_open ON jobs (created_at) WHERE status IN ('running', 'undoing');
CREATE INDEX jobs_tenant ON jobs (tenant_id);

CREATE TABLE job_steps (
    job_id      uuid        NOT NULL REFERENCES jobs ON DELETE CASCADE,
    position    integer     NOT NULL,
    name        text        NOT NULL,
    status      text        NOT NULL DEFAULT 'pending'
                            CHECK (status IN ('pending', 'running', 'done', 'failed', 'undoing', 'undone')),
    attempt     integer     NOT NULL DEFAULT 0,
    started_at  timestamptz,
    finished_at timestamptz,
    error       text,
    PRIMARY KEY (job_id, position)
);
