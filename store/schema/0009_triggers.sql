-- What reads the events: how far it has come, and what events lead to.

alter table events add column user_id text not null default '';
alter table events add column hops bigint not null default 0; -- triggers that led to it in turn

-- What happened before there were triggers triggers nothing.
create table event_cursors (
	name text not null primary key,
	seq  bigint not null -- of the last event that has had its effects
);
insert into event_cursors (name, seq) select 'relay', coalesce(max(seq), 0) from events;

alter table call_requests add column event text not null default '';
alter table call_requests add column hops bigint not null default 0;

-- The last columns are the queue of a webhook: one delivery at a time.
create table webhooks (
	uid         bigint not null primary key, -- of one life of a webhook
	project     text not null,
	id          text not null,
	created_at  bigint not null,
	updated_at  bigint not null,
	name        text not null,
	url         text not null,
	events      text not null, -- one a line
	verify      boolean not null,
	auth_user   text not null,
	auth_secret text not null, -- sealed
	secret      text not null, -- sealed
	enabled     boolean not null,
	failures    bigint not null, -- deliveries in a row that were given up
	logs        text not null,
	waiting     bigint not null, -- deliveries that have not ended
	due_at      bigint not null, -- of the next of them; 0: there is none
	lease_node  text not null,
	lease_until bigint not null,
	claim       bigint not null, -- fencing number: grows with every claim
	unique (project, id)
);
create index webhooks_created on webhooks (project, created_at, id);
create index webhooks_due on webhooks (due_at) where lease_node = '' and due_at > 0;
create index webhooks_leased on webhooks (lease_until) where lease_node <> '';

create table webhook_deliveries (
	webhook    bigint not null, -- webhooks.uid
	seq        bigint not null, -- of the event
	names      text not null,   -- of the event, with commas between them
	user_id    text not null,
	payload    text not null,   -- empty once it has ended
	created_at bigint not null,
	due_at     bigint not null, -- 0: it has ended
	ended_at   bigint not null, -- 0: it has not ended
	attempts   bigint not null,
	status     bigint not null, -- of the last answer; 0: there was none
	error      text not null,   -- of the last attempt
	primary key (webhook, seq)
);
create index webhook_deliveries_due on webhook_deliveries (webhook, due_at, seq) where due_at > 0;
create index webhook_deliveries_ended on webhook_deliveries (webhook, ended_at, seq) where ended_at > 0;
