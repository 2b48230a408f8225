-- The people who run the platform. Companies' users are in the companies' own databases.
CREATE TABLE operators (
    id           uuid        PRIMARY KEY,
    name         text        NOT NULL CONSTRAINT operators_name_key UNIQUE CHECK (char_length(name) BETWEEN 1 AND 100),
    -- SHA-256 of a random token of 256 bits.
    token_digest bytea       NOT NULL CONSTRAINT operators_token_key UNIQUE,
    created_at   timestamptz NOT NULL DEFAULT now(),
    disabled_at  timestamptz
);
