-- For how many days an MSP keeps the rows of a dataset; without a rule for ever.
create table retention_rules (
    msp_id uuid not null references msps (id),
    dataset text not null,
    keep_days int not null constraint retention_rules_days check (keep_days between 1 and 36600),
    set_by text not null,
    set_at timestamptz not null,
    primary key (msp_id, dataset)
);

-- Before which day the rows of a customer's dataset were let go, written before the first of them goes: whoever misses rows
-- finds the reason here.
create table retention_marks (
    customer_id uuid not null references customers (id),
    msp_id uuid not null references msps (id),
    dataset text not null,
    kept_from date not null,
    updated_at timestamptz not null,
    primary key (customer_id, dataset)
);
create trigger retention_marks_inserted after insert on retention_marks referencing new table as new_rows
    for each statement execute function mark_dirty();
create trigger retention_marks_updated after update on retention_marks referencing old table as old_rows new table as new_rows
    for each statement execute function mark_dirty();
create trigger retention_marks_deleted after delete on retention_marks referencing old table as old_rows
    for each statement execute function mark_dirty();
