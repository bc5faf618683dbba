-- Support, liveness and use.
create table tickets (
    id uuid primary key,
    source text not null,
    vendor_id text not null,
    priority text not null constraint tickets_priority check (priority in ('low', 'normal', 'high', 'urgent')),
    opened_at timestamptz not null,
    answered_at timestamptz,
    closed_at timestamptz,
    rating int constraint tickets_rating check (rating between 1 and 5)
);

-- Intervals of 15 minutes in which a control plane was heard, per day.
create table heartbeats (
    source text not null,
    service_on date not null,
    received int not null,
    expected int not null,
    last_at timestamptz not null,
    primary key (source, service_on)
);

-- Portal logins, API calls and the use of features, per day and source.
create table activity (
    source text not null,
    service_on date not null,
    -- 'portal_login', 'api_call', or 'feature:<name>'
    kind text not null,
    amount bigint not null,
    primary key (service_on, kind, source)
);
