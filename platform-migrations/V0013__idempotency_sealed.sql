-- Answers may name people: they are kept sealed under the MSP's key. Null while the first request is at work.
alter table idempotency_keys
    drop column body,
    drop column status,
    add column status int,
    add column sealed bytea,
    add column key_version int;
