-- Indexes of executions that are kept behind the calls, for SQLite: a call does not wait for them. They hold the rows up to
-- execution_behind.upto; later ones are looked at one by one. What is removed leaves them at once.

create table execution_behind (upto bigint not null);
insert into execution_behind values (0);

-- Rows up to there whose duration has changed since.
create table execution_again (row integer not null primary key);

-- Every execution under rank() of its duration, and once more in the other direction: an index of texts takes rows at random places
-- in large pieces, and its vocabulary is in order.
create virtual table execution_ranks using fts5 (places, content = '', contentless_delete = 1, detail = none, tokenize = 'ascii');
create virtual table execution_ranked using fts5vocab (execution_ranks, instance);

-- The paths that executions have, but for the usual one, up to where the indexes behind the calls have come.
create table execution_paths (
	id    integer not null primary key,
	owner bigint not null,
	path  text not null,
	unique (owner, path)
);

-- Every three characters in a row of the paths, and three that stand for the owner. What is found is compared again.
create virtual table path_search using fts5 (owner, path, content = '', contentless_delete = 1, detail = none, tokenize = 'trigram case_sensitive 1');
create trigger path_search_insert after insert on execution_paths begin
	insert into path_search (rowid, owner, path) values (new.id,
		char(57344 + new.owner % 6400, 57344 + new.owner / 6400 % 6400, 57344 + new.owner / 40960000 % 6400), lower(new.path));
end;
create trigger path_search_delete after delete on execution_paths begin
	delete from path_search where rowid = old.id;
end;

create trigger execution_behind_update after update of duration on executions when old.duration <> new.duration begin
	insert or ignore into execution_again values (old.rowid);
end;
-- The number of the newest row is given again when it is removed.
create trigger execution_behind_delete after delete on executions begin
	delete from execution_ranks where rowid = old.rowid;
	delete from execution_again where row = old.rowid;
	update execution_behind set upto = (select coalesce(max(rowid), 0) from executions)
		where upto >= old.rowid and not exists (select 1 from executions where rowid > old.rowid);
end;
create trigger execution_paths_delete after delete on executions when old.path <> '/' begin
	delete from execution_paths where owner = old.owner and path = old.path
		and not exists (select 1 from executions t where t.owner = old.owner and t.path = old.path and t.path <> '/');
end;

-- Functions are searched by one and two characters too: those that begin three of them, for which two fillers are behind each text.
drop trigger function_search_insert;
drop trigger function_search_update;
drop table function_search;
create virtual table function_search using fts5 (project, id, name, runtime,
	content = '', contentless_delete = 1, tokenize = 'trigram case_sensitive 1');
create virtual table function_parts using fts5vocab (function_search, row);
insert into function_search (rowid, project, id, name, runtime)
	select uid, '<' || project || '>', lower(id) || char(31, 31), lower(name) || char(31, 31), lower(runtime) || char(31, 31) from functions;
create trigger function_search_insert after insert on functions begin
	insert into function_search (rowid, project, id, name, runtime)
		values (new.uid, '<' || new.project || '>', lower(new.id) || char(31, 31), lower(new.name) || char(31, 31), lower(new.runtime) || char(31, 31));
end;
create trigger function_search_update after update of name, runtime on functions when old.name <> new.name or old.runtime <> new.runtime begin
	delete from function_search where rowid = old.uid;
	insert into function_search (rowid, project, id, name, runtime)
		values (new.uid, '<' || new.project || '>', lower(new.id) || char(31, 31), lower(new.name) || char(31, 31), lower(new.runtime) || char(31, 31));
end;
