-- Logins, by cookie or by token. A row that is gone or past its time opens nothing.
CREATE TABLE sessions (
    id            uuid        PRIMARY KEY,
    user_id       uuid        NOT NULL REFERENCES users ON DELETE CASCADE,
    kind          text        NOT NULL CHECK (kind IN ('web', 'api')),
    -- SHA-256 of the cookie's secret; a token proves itself by its signature.
    secret_digest bytea       CONSTRAINT sessions_secret_key UNIQUE CHECK ((kind = 'web') = (secret_digest IS NOT NULL)),
    created_at    timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz NOT NULL
);

CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_expires ON sessions (expires_at);

-- Hand-over tokens that were used: each opens the door once.
CREATE TABLE used_handoffs (
    jti     uuid        PRIMARY KEY,
    used_at timestamptz NOT NULL DEFAULT now()
);
