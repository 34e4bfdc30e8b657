-- What the articles are.
create table if not exists catalogue (
	sku         text primary key,
	kind        text not null,
	description text not null
) without rowid;

-- What became of them, in units.
create table if not exists stock (
	sku         text primary key,
	kind        text not null,
	description text not null,
	received    integer not null default 0,
	sold        integer not null default 0,
	returned    integer not null default 0,
	adjusted    integer not null default 0,
	on_hand     integer not null default 0,
	lowest      integer not null default 0, -- that on_hand ever was

	-- the event that changed it last
	event       text not null,
	version     integer not null,
	type        text not null,
	cause       text not null,
	correlation text not null
) without rowid;

create table if not exists waiting (
	sku    text not null,
	number text not null, -- of the order
	units  integer not null,
	primary key (sku, number)
) without rowid;

create table if not exists adjustments (
	note   text not null,
	line   integer not null,
	sku    text not null,
	units  integer not null,
	reason text not null,
	charge integer not null -- recorded only
);
