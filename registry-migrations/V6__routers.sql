-- What several routers share: who is there, and how each server's connections are divided among them.
CREATE TABLE routers (
    id         uuid        PRIMARY KEY,
    name       text        NOT NULL,
    -- Where its operators' endpoints are, if it said.
    address    text,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now(),
    -- By this database's clock alone.
    expires_at timestamptz NOT NULL,
    -- Counts its beats: what was seen of a silent router is void once it has spoken again.
    beats      bigint      NOT NULL DEFAULT 1,
    -- The value of the route clock up to which it knows every route.
    applied    bigint      NOT NULL
);

-- Each router writes its own rows only. A row counts for the greatest of `granted`, `held` and `used`, and the sum over a
-- server's rows stays within its capacity.
CREATE TABLE budget_leases (
    server_id uuid    NOT NULL REFERENCES servers ON DELETE CASCADE,
    router_id uuid    NOT NULL REFERENCES routers ON DELETE CASCADE,
    -- The connections it may hold.
    granted   integer NOT NULL CHECK (granted >= 0),
    -- What it kept to when it last spoke: until it has heard of a smaller grant, it may still go up to this.
    held      integer NOT NULL CHECK (held >= 0),
    -- What it could put to use.
    wanted    integer NOT NULL CHECK (wanted >= 0),
    -- What it had open.
    used      integer NOT NULL CHECK (used >= 0),
    PRIMARY KEY (server_id, router_id)
);

ALTER TABLE servers
    ADD COLUMN status   text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'draining')),
    -- The connections that tenants together may hold, as last read from the server.
    ADD COLUMN capacity integer CHECK (capacity >= 0);

-- New tenants go where few are.
CREATE INDEX tenants_server ON tenants (server_id);

-- The log is pruned by age.
CREATE INDEX route_log_changed_at ON route_log (changed_at);
