-- Calls of customers' programs, by billing day. A process counts in memory and writes what it has counted so far since it began: to
-- write the same row twice changes nothing, so that no answer that got lost makes anybody count twice.
create table api_calls (
    customer_id uuid not null references customers (id),
    msp_id uuid not null references msps (id),
    billing_on date not null,
    process_id uuid not null,
    calls bigint not null constraint api_calls_counted check (calls > 0),
    primary key (customer_id, billing_on, process_id)
);

-- What an open month was measured to be a moment ago, for whoever asks again. It goes nowhere else: a closed month has its seal.
create table usage_measurements (
    customer_id uuid not null references customers (id),
    msp_id uuid not null references msps (id),
    period text not null,
    usage jsonb not null,
    measured_at timestamptz not null,
    primary key (customer_id, period)
);
