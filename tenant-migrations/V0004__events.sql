-- The append-only log of usage events: identified for ever by (source, id). The tenant role may insert and read, no more.
create table usage_events (
    occurred_at timestamptz not null,
    received_at timestamptz not null,
    source text not null,
    id text not null,
    type text not null,
    subject text,
    -- SHA-256 of the canonical type, subject, time and data
    content_hash bytea not null,
    -- the canonical text that was hashed, to the byte: json keeps it, jsonb would not
    data json not null,
    primary key (source, id)
);
-- What is known of a machine is derived anew from all that was ever said of it, whatever the order.
create index usage_events_machine on usage_events ((data ->> 'source_system'), (data ->> 'vendor_id')) where type like 'machine.%';
create index usage_events_occurred on usage_events using brin (occurred_at) with (pages_per_range = 32, autosummarize = on);

-- Events that were refused: the same id with other content, or content that does not fit its type.
create table quarantined_events (
    source text not null,
    id text not null,
    content_hash bytea not null,
    reason text not null,
    event json not null,
    received_at timestamptz not null,
    accepted_at timestamptz,
    primary key (source, id, content_hash)
);
