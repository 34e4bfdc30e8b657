create table if not exists catalogue (
	sku    text primary key,
	charge integer not null
) without rowid;

-- Amounts are tenths of a penny, times microseconds since 1970.
create table if not exists orders (
	number   text primary key,
	customer text not null,
	country  text not null,
	placed   integer not null,
	status   text not null,
	lines    integer not null,
	units    integer not null,
	returned integer not null default 0,
	gross    integer not null
) without rowid;

create table if not exists lines (
	number   text not null,
	line     integer not null,
	sku      text not null,
	units    integer not null,
	returned integer not null default 0,
	price    integer not null,
	primary key (number, line)
) without rowid;
