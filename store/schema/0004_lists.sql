-- Lists of large stores. The index that every execution is in holds all that conditions look at, so that they are checked
-- without reading rows; further ones hold only rows that are not as most are, so that most calls do not pay for them. A call
-- that has not ended has the status code 0 and is found by its status.

drop index executions_owner;
create index executions_owner on executions (owner, created_at, id, path, status, trigger, method, status_code, duration, deployment, updated_at);
create index executions_code on executions (owner, status_code, created_at, id, status, trigger, method, duration, deployment) where status_code <> 200 and status_code <> 0;
create index executions_status on executions (owner, status, created_at, id, trigger, method, status_code, duration, deployment) where status <> 'completed';
create index executions_duration on executions (owner, duration, created_at, id, status, trigger, method, status_code, deployment) where duration >= 1;
create index executions_trigger on executions (owner, trigger, created_at, id, status, method, status_code, duration, deployment) where trigger <> 'http';
create index executions_path on executions (owner, path, created_at, id) where path <> '/';
create index executions_method on executions (owner, method, created_at, id) where method <> 'GET';

-- No execution of a deployment was created outside of its span, which may be longer than needed.
create table execution_spans (
	owner      bigint not null, -- functions.uid
	deployment text not null,
	first_at   bigint not null,
	last_at    bigint not null,
	primary key (owner, deployment)
);
insert into execution_spans (owner, deployment, first_at, last_at)
	select owner, deployment, min(created_at), max(created_at) from executions group by owner, deployment;

create index functions_created on functions (project, created_at, id);
create index functions_updated on functions (project, updated_at, created_at, id);
create index functions_name on functions (project, name, created_at, id);
create index functions_runtime on functions (project, runtime, created_at, id);
create index functions_enabled on functions (project, enabled, created_at, id);
create index functions_schedule on functions (project, schedule, created_at, id);
create index functions_deployment on functions (project, deployment_id, created_at, id);
create index functions_timeout on functions (project, timeout, created_at, id);
create index functions_entrypoint on functions (project, entrypoint, created_at, id);
