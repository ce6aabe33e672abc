-- What functions are searched by, for SQLite: every three characters in a row, with ASCII letters small as lower() makes them.
-- The project is written so that no part of another's id is taken for it.

create virtual table function_search using fts5 (project, id, name, runtime,
	content = '', contentless_delete = 1, tokenize = 'trigram case_sensitive 1');
insert into function_search (rowid, project, id, name, runtime)
	select uid, '<' || project || '>', lower(id), lower(name), lower(runtime) from functions;

create trigger function_search_insert after insert on functions begin
	insert into function_search (rowid, project, id, name, runtime)
		values (new.uid, '<' || new.project || '>', lower(new.id), lower(new.name), lower(new.runtime));
end;
create trigger function_search_delete after delete on functions begin
	delete from function_search where rowid = old.uid;
end;
create trigger function_search_update after update of name, runtime on functions when old.name <> new.name or old.runtime <> new.runtime begin
	delete from function_search where rowid = old.uid;
	insert into function_search (rowid, project, id, name, runtime)
		values (new.uid, '<' || new.project || '>', lower(new.id), lower(new.name), lower(new.runtime));
end;
