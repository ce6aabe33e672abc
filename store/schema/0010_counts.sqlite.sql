-- How many executions there are, kept behind the calls as the indexes of 0005 are, for SQLite: of the rows up to execution_behind.upto.
-- What changes or is removed among these is counted anew at once; later rows are looked at one by one.

-- For each function those that are alike. The path is '/' or empty for any other, the duration 0 or from a second on 1.
create table execution_counts (
	owner       bigint not null, -- functions.uid
	status      text not null,
	trigger     text not null,
	method      text not null,
	status_code bigint not null,
	path        text not null,
	duration    double precision not null,
	n           bigint not null,
	primary key (owner, status, trigger, method, status_code, path, duration)
) without rowid;
insert into execution_counts
	select t.owner, t.status, t.trigger, t.method, t.status_code, case t.path when '/' then '/' else '' end, case when t.duration >= 1 then 1.0 else 0.0 end, count(*)
	from executions t where t.rowid <= (select upto from execution_behind) group by 1, 2, 3, 4, 5, 6, 7;

-- And those that have a path. A path that only later rows have is not among the paths.
alter table execution_paths add column n bigint not null default 0;
update execution_paths set n = (select count(*) from executions t indexed by executions_path
	where t.owner = execution_paths.owner and t.path = execution_paths.path and t.path <> '/' and t.rowid <= (select upto from execution_behind));
delete from execution_paths where n = 0;

-- And those of a deployment.
alter table execution_spans add column n bigint not null default 0;
update execution_spans set n = x.n from (select t.owner, t.deployment, count(*) as n from executions t
	where t.rowid <= (select upto from execution_behind) group by 1, 2) x
	where execution_spans.owner = x.owner and execution_spans.deployment = x.deployment;

-- One trigger for all of what is removed: up to where rows have been counted is what its last statement changes.
drop trigger execution_paths_delete;
drop trigger execution_behind_delete;
create trigger execution_behind_delete after delete on executions begin
	delete from execution_ranks where rowid = old.rowid;
	delete from execution_again where row = old.rowid;
	update execution_counts set n = n - 1 where old.rowid <= (select upto from execution_behind)
		and owner = old.owner and status = old.status and trigger = old.trigger and method = old.method and status_code = old.status_code
		and path = case old.path when '/' then '/' else '' end and duration = case when old.duration >= 1 then 1.0 else 0.0 end;
	delete from execution_counts where n = 0
		and owner = old.owner and status = old.status and trigger = old.trigger and method = old.method and status_code = old.status_code
		and path = case old.path when '/' then '/' else '' end and duration = case when old.duration >= 1 then 1.0 else 0.0 end;
	update execution_paths set n = n - 1 where old.path <> '/' and old.rowid <= (select upto from execution_behind)
		and owner = old.owner and path = old.path;
	delete from execution_paths where n = 0 and owner = old.owner and path = old.path;
	update execution_spans set n = n - 1 where old.rowid <= (select upto from execution_behind)
		and owner = old.owner and deployment = old.deployment;
	update execution_behind set upto = (select coalesce(max(rowid), 0) from executions)
		where upto >= old.rowid and not exists (select 1 from executions where rowid > old.rowid);
end;

create trigger execution_counts_update after update of status, trigger, method, status_code, duration on executions
	when old.rowid <= (select upto from execution_behind) and (old.status <> new.status or old.status_code <> new.status_code
		or (old.duration >= 1) <> (new.duration >= 1) or old.trigger <> new.trigger or old.method <> new.method)
begin
	update execution_counts set n = n - 1
		where owner = old.owner and status = old.status and trigger = old.trigger and method = old.method and status_code = old.status_code
		and path = case old.path when '/' then '/' else '' end and duration = case when old.duration >= 1 then 1.0 else 0.0 end;
	delete from execution_counts where n = 0
		and owner = old.owner and status = old.status and trigger = old.trigger and method = old.method and status_code = old.status_code
		and path = case old.path when '/' then '/' else '' end and duration = case when old.duration >= 1 then 1.0 else 0.0 end;
	insert into execution_counts values (new.owner, new.status, new.trigger, new.method, new.status_code,
		case new.path when '/' then '/' else '' end, case when new.duration >= 1 then 1.0 else 0.0 end, 1)
		on conflict (owner, status, trigger, method, status_code, path, duration) do update set n = execution_counts.n + 1;
end;
create trigger execution_spans_update after update of deployment on executions
	when old.deployment <> new.deployment and old.rowid <= (select upto from execution_behind)
begin
	update execution_spans set n = n - 1 where owner = old.owner and deployment = old.deployment;
	update execution_spans set n = n + 1 where owner = new.owner and deployment = new.deployment;
end;
