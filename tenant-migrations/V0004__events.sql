-- The append-only log of usage events: identified for ever by (source, id). The tenant role may insert and read, no more.
create table usage_events (
    source text not null,
    id text not null,
    type text not null,
    subject text,
    occurred_at timestamptz not null,
    received_at timestamptz not null,
    -- SHA-256 of the canonical type, subject, time and data
    content_hash bytea not null,
    data jsonb not null,
    primary key (source, id)
);

-- Events that were refused: the same id with other content, or content that does not fit its type.
create table quarantined_events (
    source text not null,
    id text not null,
    content_hash bytea not null,
    reason text not null,
    event jsonb not null,
    received_at timestamptz not null,
    accepted_at timestamptz,
    primary key (source, id, content_hash)
);
