-- A job that a person gave up rests as `abandoned`.
ALTER TABLE jobs
    DROP CONSTRAINT jobs_status_check,
    ADD CONSTRAINT jobs_status_check
        CHECK (status IN ('running', 'undoing', 'done', 'undone', 'stuck', 'abandoned'));

-- One at a time for a tenant: a second would act on what the first is about to change.
CREATE UNIQUE INDEX jobs_one_per_tenant ON jobs (tenant_id) WHERE status IN ('running', 'undoing', 'stuck');

-- What is shown is the newest; what is forgotten is the oldest.
CREATE INDEX jobs_created ON jobs (created_at);

-- An undo that failed stays `undoing`, so that a retry goes on with it; it used to be `failed`, like the step before it.
UPDATE job_steps SET status = 'undoing'
WHERE status = 'failed'
  AND EXISTS (SELECT FROM jobs WHERE id = job_id AND status = 'stuck')
  AND EXISTS (SELECT FROM job_steps later
              WHERE later.job_id = job_steps.job_id AND later.status = 'failed' AND later.position > job_steps.position);
