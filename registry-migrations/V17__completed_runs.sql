-- When a run had seen to everybody for the first time. From then on its files are what companies have, also while it is opened
-- again to try what failed, and stopped in that.
ALTER TABLE migration_runs ADD completed_at timestamptz;
UPDATE migration_runs SET completed_at = finished_at WHERE status <> 'stopped';
UPDATE migration_runs SET finished_at = NULL WHERE status = 'running';
