-- What a company decides for itself: a value by key.
CREATE TABLE settings (
    key        text        PRIMARY KEY CHECK (key ~ '^[a-z_]{1,64}$'),
    value      jsonb       NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
