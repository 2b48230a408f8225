-- The end of a tenant's life: deleted with its data kept for a while, then purged; and names that were given up.
ALTER TABLE tenants
    DROP CONSTRAINT tenants_status_check,
    ADD CONSTRAINT tenants_status_check
        CHECK (status IN ('provisioning', 'active', 'paused', 'deleting', 'deleted', 'purging')),
    ADD deleted_at  timestamptz,
    ADD purge_after timestamptz,
    -- The state that undelete brings back.
    ADD undelete_to text CHECK (undelete_to IN ('active', 'paused')),
    ADD CONSTRAINT tenants_deleted_check
        CHECK ((status IN ('deleting', 'deleted', 'purging')) = (num_nonnulls(deleted_at, purge_after, undelete_to) = 3));

CREATE INDEX tenants_purge_after ON tenants (purge_after) WHERE deleted_at IS NOT NULL;

-- Subdomains that were given up, by a rename or a purge. Nobody else gets one before its quarantine is over: until then
-- cookies, tokens and links of whoever had it find nobody.
CREATE TABLE former_subdomains (
    subdomain         text        PRIMARY KEY,
    -- Not a foreign key: it outlives its tenant.
    tenant_id         uuid        NOT NULL,
    given_up_at       timestamptz NOT NULL DEFAULT now(),
    redirects_until   timestamptz NOT NULL,
    quarantined_until timestamptz NOT NULL CHECK (quarantined_until >= redirects_until)
);

CREATE INDEX former_subdomains_tenant ON former_subdomains (tenant_id);

-- Whoever takes a subdomain. One that is in quarantine reads as taken, but for the tenant that gave it up. After the row
-- is in the unique index, so that whoever gave the name up in this very moment has committed that.
CREATE FUNCTION subdomain_taken_up() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    IF EXISTS (SELECT FROM public.former_subdomains
               WHERE subdomain = NEW.subdomain AND tenant_id <> NEW.id AND quarantined_until > now()) THEN
        RAISE unique_violation USING
            MESSAGE = 'the subdomain is in quarantine', CONSTRAINT = 'tenants_subdomain_key', TABLE = 'tenants';
    END IF;
    DELETE FROM public.former_subdomains WHERE subdomain = NEW.subdomain;
    RETURN NULL;
END
$$;

CREATE TRIGGER subdomain_taken_up
    AFTER INSERT OR UPDATE OF subdomain ON tenants
    FOR EACH ROW EXECUTE FUNCTION subdomain_taken_up();

-- What is left of a purged tenant: that it was, and what to look for to prove that nothing else is left. No name of a
-- person or a company.
CREATE TABLE tombstones (
    tenant_id         uuid        PRIMARY KEY,
    db_name           text        NOT NULL,
    -- Not a foreign key: it outlives its server.
    server_id         uuid        NOT NULL,
    job_id            uuid        NOT NULL,
    deleted_at        timestamptz NOT NULL,
    purged_at         timestamptz NOT NULL DEFAULT now(),
    quarantined_until timestamptz NOT NULL
);

CREATE INDEX tombstones_purged_at ON tombstones (purged_at);

-- What a job found, for people: the proof of a purge.
ALTER TABLE jobs ADD report jsonb;
