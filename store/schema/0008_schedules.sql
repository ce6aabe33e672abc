-- When functions run by themselves. A function that has had a schedule has a row, which counts what became of it. Rows are made for
-- functions that are there already when the first node starts its schedules.

create table schedules (
	owner          bigint not null primary key, -- functions.uid
	cron           text not null,
	settings       text not null,   -- JSON; of the function
	next_at        bigint not null, -- the next of the schedule's times; 0: none comes
	due_at         bigint not null, -- when that one runs; 0: it does not
	last_at        bigint not null,
	last_execution text not null,
	runs           bigint not null,
	skipped        bigint not null,
	skip_at        bigint not null,
	skip_reason    text not null
);
create index schedules_due on schedules (due_at) where due_at > 0;
create index functions_scheduled on functions (uid) where schedule <> '';
