-- What needs somebody: a control projection, so that the list over all customers of an MSP opens no silo.
create table alerts (
    id uuid primary key,
    msp_id uuid not null references msps (id),
    customer_id uuid not null references customers (id),
    kind text not null constraint alerts_kind check (kind in ('limit_machines', 'limit_storage', 'limit_jobs', 'limit_api', 'backup_failed', 'rpo_missed',
        'repository_full', 'replication_lag', 'control_plane_silent')),
    -- the id of a machine or repository, a source, or the name of a limit
    subject text not null,
    name text not null,
    severity text not null constraint alerts_severity check (severity in ('info', 'warning', 'critical')),
    state text not null constraint alerts_state check (state in ('open', 'acknowledged', 'snoozed', 'escalated', 'resolved')),
    -- what was found, with its figures
    words text not null,
    raised_at timestamptz not null,
    -- of the last step: when, who, why
    changed_at timestamptz not null,
    changed_by text not null,
    reason text,
    snoozed_until timestamptz,
    -- since when its cause is gone; it is resolved when that has lasted
    clear_since timestamptz,
    resolved_at timestamptz,
    -- resolved by hand while its cause goes on: not raised again before
    muted_until timestamptz,
    constraint alerts_snooze check ((state = 'snoozed') = (snoozed_until is not null)),
    constraint alerts_resolution check ((state = 'resolved') = (resolved_at is not null))
);
create unique index alerts_one_a_subject on alerts (customer_id, kind, subject) where state <> 'resolved';
create index alerts_list on alerts (msp_id, state);
create index alerts_customer on alerts (customer_id, muted_until);

-- When a customer is looked at next: soon after its events came, and in any case before long.
create table alert_watches (
    customer_id uuid primary key references customers (id),
    msp_id uuid not null references msps (id),
    due_at timestamptz not null,
    looked_at timestamptz
);
create index alert_watches_due on alert_watches (msp_id, due_at);
