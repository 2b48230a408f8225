-- A job that a person gave up rests as `abandoned`.
ALTER TABLE jobs
    DROP CONSTRAINT jobs_status_check,
    ADD CONSTRAINT jobs_status_check
        CHECK (status IN ('running', 'undoing', 'done', 'undone', 'stuck', 'abandoned'));

-- One at a time for a tenant: a second would act on what the first is about to change.
CREATE UNIQUE INDEX jobs_one_per_tenant ON jobs (tenant_id) WHERE status IN ('running', 'undoing', 'stuck');

-- What is shown is the newest; what is forgotten is the oldest.
CREATE INDEX jobs_created ON jobs (created_at);
