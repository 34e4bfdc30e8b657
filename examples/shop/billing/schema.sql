-- Amounts and prices are tenths of a penny.
create table if not exists invoices (
	number   text primary key,
	customer text not null,
	country  text not null,
	amount   integer not null,
	paid     integer not null default 0,
	credited integer not null default 0
) without rowid;

create table if not exists credits (
	note    text not null,
	row     integer not null,
	part    integer not null,
	invoice text, -- null: goodwill
	country text not null,
	sku     text not null,
	units   integer not null,
	price   integer not null
);

create table if not exists adjustments (
	number  text not null,
	row     integer not null,
	country text not null,
	reason  text not null,
	units   integer not null,
	price   integer not null
);
