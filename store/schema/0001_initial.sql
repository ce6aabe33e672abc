-- Times are Unix milliseconds, 0 is unset. Lists and settings that no query looks into are JSON.
-- A function's uid names one life of it: what belongs to a function points there, so nothing of a deleted function
-- can show up under a new one with the same id.

create table meta (
	name  text not null primary key,
	value text not null
);

create table projects (
	id         text not null primary key,
	name       text not null,
	created_at bigint not null,
	updated_at bigint not null
);

create table project_keys (
	project     text not null,
	id          text not null,
	name        text not null,
	secret_hash text not null unique,
	secret      text not null, -- sealed
	scopes      text not null,
	created_at  bigint not null,
	updated_at  bigint not null,
	expire_at   bigint not null,
	primary key (project, id)
);

create table functions (
	project               text not null,
	id                    text not null,
	uid                   bigint not null unique,
	born_at               bigint not null, -- executions begun earlier belong to a deleted namesake
	created_at            bigint not null,
	updated_at            bigint not null,
	name                  text not null,
	runtime               text not null,
	enabled               boolean not null,
	live                  boolean not null,
	schedule              text not null,
	timeout               bigint not null, -- seconds
	entrypoint            text not null,
	commands              text not null,
	installation_id       text not null,
	deployment_id         text not null,
	deployment_created_at bigint not null,
	latest_id             text not null,
	latest_created_at     bigint not null,
	latest_status         text not null,
	settings              text not null,
	primary key (project, id)
);

-- Deleted functions whose rows are still being removed, or that are remembered for their namesakes.
create table buried (
	uid        bigint not null primary key,
	project    text not null,
	id         text not null,
	deleted_at bigint not null,
	swept      boolean not null
);

create table variables (
	project    text not null,
	id         text not null,
	owner      bigint not null, -- functions.uid; 0: of the project
	function   text not null,
	created_at bigint not null,
	updated_at bigint not null,
	key        text not null,
	value      text not null, -- sealed
	secret     boolean not null,
	primary key (project, id),
	unique (project, owner, key)
);

create table rules (
	id         text not null primary key,
	project    text not null,
	domain     text not null unique,
	owner      bigint not null, -- functions.uid; 0: none
	function   text not null,
	created_at bigint not null,
	updated_at bigint not null
);
create index rules_project on rules (project, created_at, id);
create index rules_owner on rules (owner);

create table deployments (
	id               text not null primary key,
	owner            bigint not null,
	created_at       bigint not null,
	updated_at       bigint not null,
	type             text not null,
	status           text not null,
	activate         boolean not null,
	source_size      bigint not null,
	build_size       bigint not null,
	build_duration   bigint not null,
	build_started_at bigint not null,
	source_digest    text not null,
	build_digest     text not null,
	runtime          text not null,
	entrypoint       text not null,
	commands         text not null,
	log_bytes        bigint not null,
	lease_node       text not null,
	lease_until      bigint not null,
	attempt          bigint not null, -- fencing number: grows with every claim
	losses           bigint not null  -- claims that ended without a result
);
create index deployments_owner on deployments (owner, created_at, id);
create index deployments_waiting on deployments (created_at, id) where status = 'waiting' and source_digest <> '';
create index deployments_leased on deployments (lease_until) where lease_node <> '';
create index deployments_source on deployments (source_digest);
create index deployments_build on deployments (build_digest);

create table build_logs (
	deployment text not null,
	seq        bigint not null,
	size       bigint not null,
	text       text not null,
	primary key (deployment, seq)
);

create table executions (
	id           text not null primary key,
	owner        bigint not null,
	created_at   bigint not null,
	updated_at   bigint not null,
	deployment   text not null,
	trigger      text not null,
	status       text not null,
	method       text not null,
	path         text not null,
	status_code  bigint not null,
	duration     double precision not null,
	scheduled_at bigint not null,
	permissions  text not null, -- one a line
	headers      text not null,
	logs         text not null,
	errors       text not null
);
create index executions_owner on executions (owner, created_at, id);

-- Executions nobody waits for, until they end. Small rows: a lease is extended while the call runs.
create table calls (
	id          text not null primary key,
	owner       bigint not null,
	due_at      bigint not null,
	lease_node  text not null,
	lease_until bigint not null,
	attempt     bigint not null
);
create index calls_due on calls (due_at, id) where lease_node = '';
create index calls_leased on calls (lease_until) where lease_node <> '';
create index calls_owner on calls (owner);

create table call_requests (
	id        text not null primary key,
	method    text not null,
	path      text not null,
	headers   text not null,
	body      bytea not null,
	user_id   text not null,
	user_jwt  text not null, -- sealed
	client_ip text not null,
	deadline  bigint not null
);
