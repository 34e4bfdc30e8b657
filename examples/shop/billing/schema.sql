-- Amounts and prices are tenths of a penny.
create table if not exists invoices (
	number   text primary key,
	customer text not null,
	country  text not null,
	amount   bigint not null,
	paid     bigint not null default 0,
	credited bigint not null default 0
);

create table if not exists credits (
	note    text not null,
	row     bigint not null,
	part    bigint not null,
	invoice text, -- null: goodwill
	country text not null,
	sku     text not null,
	units   bigint not null,
	price   bigint not null
);

create table if not exists adjustments (
	number  text not null,
	row     bigint not null,
	country text not null,
	reason  text not null,
	units   bigint not null,
	price   bigint not null
);
