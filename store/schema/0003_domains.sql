-- Rules of every type, and the events that changes cause.

alter table rules add column type text not null default 'deployment';
alter table rules add column trigger text not null default 'manual';
alter table rules add column redirect_url text not null default '';
alter table rules add column redirect_status bigint not null default 301;
alter table rules add column branch text not null default '';
alter table rules add column status text not null default 'verified';
alter table rules add column logs text not null default '';
create index rules_unverified on rules (created_at) where status <> 'verified';

-- Written in the transaction that causes them. Numbers are given inside the writer: their order is that of the commits. A
-- number is the time in microseconds, or one more than the last where that is later.
create table events (
	seq        bigint not null primary key,
	project    text not null,
	pattern    text not null,
	ids        text not null, -- one a line, for the brackets of the pattern
	payload    text not null  -- JSON; empty: the row it is about is final
);
