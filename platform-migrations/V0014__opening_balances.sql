-- What a customer owed when its past was imported, or, below zero, had to its credit: the first line of its account.
create table opening_balances (
    customer_id uuid primary key references customers (id),
    msp_id uuid not null references msps (id),
    amount_minor bigint not null,
    currency text not null,
    as_of_on date not null,
    created_at timestamptz not null
);
