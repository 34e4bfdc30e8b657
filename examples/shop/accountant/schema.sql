create table if not exists events (
	stream text not null,
	id text not null,
	sequence text not null, -- the version in the stream, 20 digits
	type text not null,
	amount integer not null,
	late integer not null, -- came after a later one of its stream
	primary key (stream, id)
) without rowid, strict;

create index if not exists events_in_order on events (stream, sequence);

create table if not exists again (one integer primary key check (one = 1), events integer not null) strict;
insert or ignore into again values (1, 0);
