-- Who did what in this company, for its admins to read.
CREATE TABLE audit (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT now(),
    -- Who did it; null where nobody was logged in.
    actor_id   uuid,
    action     text        NOT NULL CHECK (char_length(action) BETWEEN 1 AND 64),
    subject_id uuid,
    detail     jsonb       NOT NULL DEFAULT '{}'
);
