-- Uploads that come in several requests, until the last one. Their deployment waits without a source meanwhile.
create table uploads (
	deployment text not null primary key,
	owner      bigint not null, -- functions.uid
	total      bigint not null, -- bytes of the whole file
	chunks     bigint not null,
	touched_at bigint not null
);

create table upload_chunks (
	deployment text not null,
	chunk      bigint not null,
	primary key (deployment, chunk)
);
