-- What makes the last lists of large stores short.

-- Executions that changed long after they were created, or before: for all others the time of creation says nearly when they changed.
create index executions_late on executions (owner, updated_at, created_at, id, status, trigger, method, status_code, duration, deployment)
	where updated_at - created_at not between 0 and 10000;

-- What searches look into, in letters that all are small.
create index functions_text on functions (project, lower(name), lower(id), lower(runtime));
