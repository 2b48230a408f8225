-- Who is logged in to the console: SHA-256 of what the browser's cookie holds.
CREATE TABLE operator_sessions (
    digest      bytea       PRIMARY KEY,
    operator_id uuid        NOT NULL REFERENCES operators ON DELETE CASCADE,
    expires_at  timestamptz NOT NULL
);

-- What was done on the platform, and what was refused: each row holds the hash of the one before, so that none can be
-- changed, taken out or put in between without the next one telling.
CREATE TABLE audit (
    seq         bigint      PRIMARY KEY,
    at          timestamptz NOT NULL,
    -- cli, operator, signup, system, outsider.
    actor_kind  text        NOT NULL,
    actor       text        NOT NULL,
    verb        text        NOT NULL,
    outcome     text        NOT NULL CHECK (outcome IN ('done', 'refused', 'failed')),
    -- No reference: the row outlives the tenant.
    tenant_id   uuid,
    -- As it was called then.
    subdomain   text,
    address     text,
    agent       text,
    -- As text that is kept to the byte: the hash is over it.
    details     json        NOT NULL,
    hash        bytea       NOT NULL,
    -- HMAC over number and hash with a key that this database doesn't have.
    seal        bytea       NOT NULL
);

CREATE INDEX audit_tenant ON audit (subdomain, seq);

-- Where the chain ends. Whoever appends holds this row, so that there is one after the other.
CREATE TABLE audit_head (
    one  boolean PRIMARY KEY DEFAULT true CHECK (one),
    seq  bigint  NOT NULL,
    hash bytea   NOT NULL
);
INSERT INTO audit_head (seq, hash) VALUES (0, '\x0000000000000000000000000000000000000000000000000000000000000000');

-- This stops slips, and whoever has no more than a way to run statements by accident. The owner of the table can drop it:
-- what was changed then is told by the chain.
CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is appended to, and never changed';
END
$$;
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();
