-- How calls that nobody waits for are made: attempts, order, limits, and what is kept of those that failed for good.

alter table calls add column expires_at bigint not null default 0; -- when it is given up if nobody has begun it; 0: never
update calls set expires_at = due_at + 86400000;
alter table calls add column tries bigint not null default 0; -- attempts that have ended
alter table calls add column order_key text not null default ''; -- one of a key is made at a time, in the order of place
alter table calls add column place bigint not null default 0;
alter table calls add column parked text not null default ''; -- why nobody may take it although it is due: order, limit
alter table calls add column reason text not null default ''; -- why it waits after it was taken, for people
alter table call_requests drop column deadline;

drop index calls_due;
create index calls_due on calls (due_at, id) where lease_node = '' and parked = '';
create index calls_expiring on calls (expires_at) where lease_node = '' and expires_at > 0;
create index calls_running on calls (owner) where lease_node <> '';
create index calls_limited on calls (owner, due_at, id) where parked = 'limit';
create index calls_order on calls (owner, order_key, place) where order_key <> '';

-- Attempts that have ended, of executions that had several or whose only one did not end by itself.
create table attempts (
	execution   text not null,
	number      bigint not null, -- from 1
	owner       bigint not null,
	node        text not null,
	begun_at    bigint not null,
	ended_at    bigint not null,
	outcome     text not null,
	status_code bigint not null,
	error       text not null,
	primary key (execution, number)
);
create index attempts_ended on attempts (ended_at);
create index attempts_owner on attempts (owner);

-- Calls that failed for good, with all that is needed to make them again.
create table dead_letters (
	id          text not null primary key, -- of the execution
	owner       bigint not null,
	died_at     bigint not null,
	accepted_at bigint not null,
	outcome     text not null,
	status_code bigint not null,
	tries       bigint not null,
	error       text not null,
	trigger     text not null,
	method      text not null,
	path        text not null,
	headers     text not null,
	body        bytea not null,
	user_id     text not null,
	client_ip   text not null,
	event       text not null,
	hops        bigint not null,
	order_key   text not null
);
create index dead_letters_owner on dead_letters (owner, died_at, id);
create index dead_letters_died on dead_letters (died_at);

-- The execution that a key of a function stands for, and what the function answered.
create table idempotency (
	owner       bigint not null,
	key         text not null,
	execution   text not null,
	fingerprint text not null, -- of the call: a key stands for one call
	created_at  bigint not null,
	headers     text not null,
	body        bytea not null,
	answered    boolean not null,
	primary key (owner, key)
);
create unique index idempotency_execution on idempotency (execution);
create index idempotency_created on idempotency (created_at);
