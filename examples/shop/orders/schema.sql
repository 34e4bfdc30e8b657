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

-- Orders that wait to be confirmed. The services' events come in no particular
-- order, so any of them may begin a row: wanted is null until OrderPlaced came.
create table if not exists fulfilment (
	number      text primary key,
	last        text not null, -- ID of the event that changed this last
	wanted      integer, -- SKUs that have to be reserved
	reserved    integer not null default 0,
	invoiced    integer not null default 0,
	placed      integer,
	correlation text
) without rowid;

create index if not exists due on fulfilment (number) where invoiced = 1 and reserved = wanted;
