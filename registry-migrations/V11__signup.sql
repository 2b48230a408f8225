-- What sign-ups from the open internet need: keys of repeated requests, companies that wait for a mail's link to be opened,
-- invitations, mails to send, and names by how they read.

-- How a name reads at a glance: names with the same skeleton are taken for each other. `Subdomain::skeleton` in the kernel
-- says the same, and a test holds them together.
CREATE FUNCTION name_skeleton(name text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog
AS $$
    SELECT regexp_replace(regexp_replace(replace(replace(translate(
               regexp_replace(regexp_replace(name COLLATE "C",
                   '(?<=[a-z])0|0(?=[a-z])', 'o', 'g'), '(?<=[a-z])1|1(?=[a-z])', 'l', 'g'),
               'i', 'l'), 'rn', 'm'), 'vv', 'w'), '(?<![0-9])-(?![0-9])', '', 'g'), '([a-z])\1+', '\1', 'g')
$$;

-- Generated, so that whatever changes a subdomain changes it along.
ALTER TABLE tenants ADD skeleton text NOT NULL GENERATED ALWAYS AS (public.name_skeleton(subdomain)) STORED;
CREATE INDEX tenants_skeleton ON tenants (skeleton);

-- The answer to a sign-up that bore an Idempotency-Key, for a day. Both digests are keyed: neither the key nor the body, with
-- the password in it, can be guessed from them.
CREATE TABLE signup_keys (
    -- Of the key and the whole body: who has both is the one who asked.
    exact      bytea       PRIMARY KEY,
    -- Of the key and the caller's network: there, a key means one body.
    scoped     bytea       NOT NULL CONSTRAINT signup_keys_scoped_key UNIQUE,
    name       text        NOT NULL,
    subdomain  text        NOT NULL,
    -- Nothing where a mail was sent, and no company is being made yet.
    tenant_id  uuid,
    job_id     uuid,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX signup_keys_created_at ON signup_keys (created_at);

-- Companies that somebody asked for and didn't confirm yet. Nothing of them exists but this row, which holds the name.
CREATE TABLE signup_pending (
    id           uuid        PRIMARY KEY,
    -- SHA-256 of what the mail's link carries.
    token_digest bytea       NOT NULL CONSTRAINT signup_pending_token_key UNIQUE,
    name         text        NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
    subdomain    text        NOT NULL CONSTRAINT signup_pending_subdomain_key UNIQUE,
    skeleton     text        NOT NULL GENERATED ALWAYS AS (public.name_skeleton(subdomain)) STORED,
    -- The first admin's address and password hash, sealed.
    secret       bytea       NOT NULL,
    -- By what the number of them is bounded: keyed digests of the client's network, the address, and its domain.
    network      bytea       NOT NULL,
    email        bytea       NOT NULL,
    email_domain bytea       NOT NULL,
    -- How many mails were sent for it: who asks again gets another, and the former link no longer works.
    mails        integer     NOT NULL DEFAULT 1,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL
);
CREATE INDEX signup_pending_skeleton ON signup_pending (skeleton);
CREATE INDEX signup_pending_expires_at ON signup_pending (expires_at);

-- Who may sign up where one must be invited.
CREATE TABLE invitations (
    id           uuid        PRIMARY KEY,
    -- SHA-256 of what the link carries.
    token_digest bytea       NOT NULL CONSTRAINT invitations_token_key UNIQUE,
    -- Whom it is for, sealed; nothing where it is for whoever has the link.
    email        bytea,
    -- Which name it is for; nothing where that is theirs to choose.
    subdomain    text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    used_at      timestamptz,
    revoked_at   timestamptz,
    -- Not a foreign key: a sign-up that was undone leaves no tenant.
    tenant_id    uuid
);

-- Mails to send. A row is written in the transaction of what it tells of; what it says is sealed, and erased when it was sent.
CREATE TABLE outbox (
    id         uuid        PRIMARY KEY,
    message    bytea,
    attempts   integer     NOT NULL DEFAULT 0,
    -- When it is next somebody's turn to try.
    next_at    timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now(),
    -- After that it would tell of nothing that still holds.
    expires_at timestamptz NOT NULL,
    sent_at    timestamptz,
    failed_at  timestamptz,
    -- What kind of error the last try met; never an address.
    error      text
);
CREATE INDEX outbox_due ON outbox (next_at) WHERE sent_at IS NULL AND failed_at IS NULL;
CREATE INDEX outbox_sent_at ON outbox (sent_at);
